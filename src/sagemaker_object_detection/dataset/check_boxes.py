"""Holds a channel's boxes against the sizes of its images."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.geometry.boxes import from_xyxy_pixels, xywh_to_xyxy

INVERTED, EMPTY, OUTSIDE = "inverted boxes", "empty boxes", "boxes outside their image"
OTHER_FORMAT = "boxes in another format"
_FIRST_FEW = 3
_MAX_OVERHANG = 1.0
"""Pixels. Tools round differently, so a box may end this far outside its image and is then clipped."""
_FORMATS = {"xyxy": "[xmin, ymin, xmax, ymax]", "xywh": "COCO's [xmin, ymin, width, height]"}
_INVERTED = {"xyxy": "is inverted", "xywh": "has a negative width or height"}
_EXPECTED = {
    "xyxy": "xmin < xmax and ymin < ymax, in pixels, inside the image",
    "xywh": "[xmin, ymin, width, height] in pixels, with width and height above 0, inside the image",
}


@dataclass(frozen=True, eq=False)
class CheckedBoxes:
    """Boxes that may be trained on. rows: int64 [m], index into the table's boxes. boxes: float32 [m, 4], ymin xmin
    ymax xmax, normalised. clipped, dropped: how many were clipped to their image, or left out on request."""

    rows: np.ndarray
    boxes: np.ndarray
    clipped: int
    dropped: int


@dataclass(frozen=True, eq=False)
class JudgedBoxes:
    """sizes: float64 [M, 2], height and width of each box's image. clipped: float64 [M, 4], the boxes clipped to their
    images, in pixels. boxes: float32 [M, 4], those, ymin xmin ymax xmax, normalised. kinds: text [M], what is wrong
    with each, empty if nothing is."""

    sizes: np.ndarray
    clipped: np.ndarray
    boxes: np.ndarray
    kinds: np.ndarray

    @property
    def invalid(self) -> np.ndarray:
        return np.asarray(self.kinds != "")

    def fault(self, number: int, inverted: str) -> tuple[str, str]:
        """Kind of an invalid box, and what is wrong with it; `inverted` is what to say of one that ends before it
        begins."""
        kind, (height, width) = str(self.kinds[number]), self.sizes[number]
        outside = f"reaches outside its image, which is {width:g} wide and {height:g} high"
        return kind, {INVERTED: inverted, EMPTY: "is empty", OUTSIDE: outside}[kind]


def check_boxes(
    table: AnnotationTable, sizes: np.ndarray, bbox_format: str, *, lenient: bool
) -> tuple[CheckedBoxes, list[Problem], list[str]]:
    """Check every box against its image's size, clip overhangs of at most a pixel, and convert.

    Args:
        sizes: int64 [N, 2], height and width of each image as displayed; 0 unknown, its boxes are then left unchecked.
        bbox_format: "xyxy" or "xywh", what the four numbers mean.
        lenient: whether inverted, empty and outside boxes are left out instead of being problems.

    Returns:
        the boxes of known images, the problems, and warnings.
    """
    known = np.flatnonzero(table.box_images >= 0)
    known = known[(sizes[table.box_images[known]] > 0).all(axis=1)]
    written, box_sizes = table.bboxes[known], sizes[table.box_images[known]].astype(np.float64)
    corners = xywh_to_xyxy(written) if bbox_format == "xywh" else written
    is_other, broken, misfits = read_both_ways(written, box_sizes, bbox_format, lenient=lenient)
    other = "xywh" if bbox_format == "xyxy" else "xyxy"
    if is_other and table.bbox_format is None:
        text = (
            f"{table.channel}: these look like {_FORMATS[other]} boxes, but bbox_format={bbox_format!r} means "
            f"{_FORMATS[bbox_format]}: {broken.sum()} of {len(written)} boxes cannot be read so, {misfits or 'none'} "
            f'the other way; first: {_box(table, known[np.flatnonzero(broken)[0]])}. Set bbox_format="{other}" or '
            f"convert the file."
        )
        problem = Problem(table.channel, OTHER_FORMAT, text)
        return CheckedBoxes(known[:0], np.zeros((0, 4), np.float32), 0, 0), [problem], []
    warnings = []
    if len(written) and not broken.any() and not misfits and table.bbox_format is None:
        warnings.append(
            f"{table.channel}: every box ({len(written)}) fits its image both as {_FORMATS['xyxy']} and as "
            f"{_FORMATS['xywh']}; they are read as {_FORMATS[bbox_format]}. If that is wrong, set "
            f'bbox_format="{other}".'
        )

    judged = judge_boxes(corners, box_sizes)
    invalid = np.flatnonzero(judged.invalid)
    faults = [
        (_box(table, known[number]), *judged.fault(number, _INVERTED[bbox_format])) for number in invalid.tolist()
    ]
    problems: list[Problem] = []
    if not lenient:
        advice = 'Correct it, or set invalid_boxes="drop" to leave such boxes out.'
        for box, kind, what in faults:
            text = f"{box} {what}; expected {_EXPECTED[bbox_format]}. {advice}"
            problems.append(Problem(table.channel, kind, text))
    elif faults:
        kinds = Counter(kind for _, kind, _ in faults)
        counts = ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items()))
        warnings.append(
            f'{table.channel}: left out {len(faults)} of {len(known)} boxes, as invalid_boxes="drop" asks: {counts}. '
            f"First: {'; '.join(box for box, _, _ in faults[:_FIRST_FEW])}."
        )
    kept = ~judged.invalid
    moved = int((kept & (corners != judged.clipped).any(axis=1)).sum())
    return CheckedBoxes(known[kept], judged.boxes[kept], moved, len(invalid)), problems, warnings


def judge_boxes(corners: np.ndarray, sizes: np.ndarray) -> JudgedBoxes:
    """Which boxes may not be trained on.

    Args:
        corners: float64 [M, 4], xmin ymin xmax ymax, pixels.
        sizes: float64 [M, 2], height and width of each box's image, above 0.
    """
    clipped = np.clip(corners, 0.0, np.tile(sizes[:, ::-1], 2))
    boxes = from_xyxy_pixels(clipped, sizes)
    faults = {
        INVERTED: (corners[:, 2:] < corners[:, :2]).any(axis=1),
        OUTSIDE: np.abs(corners - clipped).max(axis=1, initial=0) > _MAX_OVERHANG,
        EMPTY: (boxes[:, 2:] <= boxes[:, :2]).any(axis=1),  # also what vanishes when clipped, or in float32
    }
    return JudgedBoxes(sizes, clipped, boxes, np.select(list(faults.values()), list(faults), ""))


def read_both_ways(
    written: np.ndarray, sizes: np.ndarray, bbox_format: str, *, lenient: bool
) -> tuple[bool, np.ndarray, int]:
    """Whether boxes are surely of the other format; which of them cannot be what `bbox_format` says, bool [M]; and how
    many of all do not fit as the other format.

    The tests come from what people feed in (aws/amazon-sagemaker-examples#3853): COCO files, read as corners, have
    boxes whose end lies before their start. Published COCO files hold a few empty boxes themselves, so a few may be
    wrong either way. With `lenient`, for boxes that may be dropped, a tenth of them must be so.

    Args:
        written: float64 [M, 4], the numbers as written, pixels.
        sizes: float64 [M, 2], height and width of each box's image.
    """
    limits = np.tile(sizes[:, ::-1], 2) + _MAX_OVERHANG

    def fits(corners: np.ndarray) -> np.ndarray:
        inside = (corners >= -_MAX_OVERHANG) & (corners <= limits)
        return np.asarray(inside.all(axis=1) & (corners[:, 2:] > corners[:, :2]).all(axis=1))

    fits_coco = fits(xywh_to_xyxy(written))
    if bbox_format == "xywh":
        broken, misfits = ~fits_coco, int((~fits(written)).sum())
    else:
        broken, misfits = np.asarray((written[:, 2:] <= written[:, :2]).any(axis=1)), int((~fits_coco).sum())
    is_other = broken.any() and 10 * misfits <= broken.sum() and (not lenient or broken.mean() >= 0.1)
    return bool(is_other), broken, misfits


def _box(table: AnnotationTable, row: int) -> str:
    return f"{table.box(row)}: bbox [{', '.join(f'{number:.15g}' for number in table.bboxes[row])}]"
