"""Holds a channel's boxes against the sizes of its images."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.box_keys import BoxKey
from sagemaker_object_detection.dataset.convention_sentences import (
    FIRST_FEW,
    Wording,
    no_extent,
    numbers_of,
    other_convention,
    other_part,
    two_conventions,
)
from sagemaker_object_detection.dataset.conventions import (
    BY_SETTING,
    CORNERS,
    MAX_OVERHANG,
    PIXELS,
    Convention,
    look_like_shares,
)
from sagemaker_object_detection.dataset.conventions import SHARES as UNIT_OF_SHARES
from sagemaker_object_detection.dataset.judgement import Judgement, judge_conventions
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.geometry.boxes import from_xyxy_pixels
from sagemaker_object_detection.hyperparameters.kinds import AUTO

INVERTED, EMPTY, OUTSIDE = "inverted boxes", "empty boxes", "boxes outside their image"
SHARES, NO_SHARES = "boxes in shares of their image", "boxes that are not shares"
OTHER_FORMAT, MANY_INVALID = "boxes in another format", "channels with many invalid boxes"
TWO_FORMATS = "channels in several formats"
_MOST_DROPPED, FEW_DROPPED = 0.05, 5
"""Published data sets have some invalid boxes in a thousand; where one in twenty is invalid, what is left is in doubt
too. Of a few boxes no share can be told, so that five may always be left out."""
_LARGEST_SHARE = 2.0
"""What is larger is no share of an image, of which a box that only reaches outside does not have as much."""
_FACTORS = np.array([0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9, 0x14D049BB133111EB, 0x5851F42D4C957F2D], np.int64)
"""Odd numbers that scatter bits; they are SplitMix64's and Knuth's."""


@dataclass(frozen=True, eq=False)
class CheckedBoxes:
    """Valid boxes. rows: int64 [m], index into the table's boxes. boxes: float32 [m, 4], ymin xmin ymax xmax,
    normalised. repeated: bool [m], those that are there already, which nothing learns from. clipped, dropped: how many
    were clipped to their image, or left out on request. conventions: how the boxes are read, and how well that fits."""

    rows: np.ndarray
    boxes: np.ndarray
    repeated: np.ndarray
    clipped: int = 0
    dropped: int = 0
    conventions: str = ""


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
        return kind, {
            INVERTED: inverted,
            EMPTY: "is empty",
            OUTSIDE: outside,
            SHARES: "has no number above 1, as shares of the image have",
            NO_SHARES: "has numbers that cannot be shares of the image's width and height",
        }[kind]


def check_boxes(
    table: AnnotationTable, sizes: np.ndarray, bbox_format: str, *, lenient: bool, clip: bool = False
) -> tuple[CheckedBoxes, list[Problem], list[str]]:
    """Check every box against its image's size, clip overhangs of at most a pixel, and convert.

    Args:
        sizes: int64 [N, 2], height and width of each image as displayed; 0 unknown, its boxes are then left unchecked.
        bbox_format: what the four numbers mean, as the hyperparameter has it.
        lenient: whether inverted, empty and outside boxes are left out instead of being problems, if they are few.
        clip: whether boxes that reach further outside are clipped, too, if half of them or more is inside.

    Returns:
        the boxes of known images, the problems, and warnings.
    """
    known = np.flatnonzero(table.box_images >= 0)
    known = known[(sizes[table.box_images[known]] > 0).all(axis=1)]
    written, box_sizes = table.bboxes[known], sizes[table.box_images[known]].astype(np.float64)
    declared = BY_SETTING["xyxy" if bbox_format == AUTO else bbox_format]
    judgement = judge_conventions(
        written,
        box_sizes,
        declared,
        table.box_images[known],
        explicit=bbox_format != AUTO and table.bbox_format is None,
        witnesses=table.witnesses.of(known),
    )
    nothing = CheckedBoxes(known[:0], np.zeros((0, 4), np.float32), np.zeros(0, bool), conventions=judgement.line)
    said = [
        _contradiction(table, key, declared, bbox_format) for key in table.said_formats if key.says != declared.setting
    ]
    if said:
        return nothing, said, []
    corners = declared.to_xyxy_pixels(written, box_sizes)
    judged = judge_boxes(written, corners, box_sizes, declared, clip=clip)
    # Boxes that are but thin do not fit, and yet may be what someone knows them to be.
    thin = not judgement.testimony and int(judged.invalid.sum()) <= _MOST_DROPPED * len(known)
    found, warnings = _of_all(table, known, box_sizes, judgement, bbox_format, believed=judgement.confined or thin)
    if found:
        return nothing, found, []
    invalid = np.flatnonzero(judged.invalid)
    problems, warned = _invalid_boxes(table, known, judged, invalid, judgement, lenient=lenient)
    kept = np.flatnonzero(~judged.invalid)
    warnings += _far_outside(table, known[kept], corners[kept], judged.clipped[kept])
    warnings += warned + _thin_boxes(table, known[kept], judged.clipped[kept])
    repeated, warned = _repeats(table, known[kept], judged.clipped[kept])
    moved = int((corners[kept] != judged.clipped[kept]).any(axis=1).sum())
    boxes = CheckedBoxes(known[kept], judged.boxes[kept], repeated, moved, len(invalid), judgement.line)
    return boxes, problems, warnings + warned


def _contradiction(table: AnnotationTable, key: BoxKey, declared: Convention, bbox_format: str) -> Problem:
    text = (
        f"{table.channel}: {len(key.rows)} annotations say by {key.key} {key.value} that their boxes are "
        f"{BY_SETTING[str(key.says)]}, but bbox_format={bbox_format!r} reads {declared}; first: "
        f'annotations[{key.rows[0]}]. Set bbox_format="{key.says}" if that holds for all boxes, or else correct them.'
    )
    return Problem(table.channel, OTHER_FORMAT, text)


def _of_all(
    table: AnnotationTable,
    known: np.ndarray,
    sizes: np.ndarray,
    judgement: Judgement,
    bbox_format: str,
    *,
    believed: bool,
) -> tuple[list[Problem], list[str]]:
    """What is to be said of all boxes together: a problem if they may not be trained on, or warnings. believed: whether
    an explicit `bbox_format` is, where another convention is likely."""
    written, declared, explicit = table.bboxes[known], judgement.declared, bbox_format != AUTO
    is_choice = table.bbox_format is None
    wording = Wording(
        table.channel,
        reads=f"bbox_format={bbox_format!r} reads" if is_choice else f"{table.file} has",
        box=lambda number: _box(table, known[number]),
        choose="Set bbox_format={}" if is_choice else "",
        keep="" if explicit else f'set bbox_format="{declared.setting}"',
        otherwise=f"convert the file to {CORNERS}" if is_choice else f"correct {table.file}",
    )
    warnings = [f"{table.channel}: {judgement.contradiction}."] if judgement.contradiction else []
    if judgement.likely is not None:
        text = other_convention(judgement, written, sizes, wording)
        if judgement.sure and not (believed and explicit):
            return [Problem(table.channel, OTHER_FORMAT, text)], []
        warnings.append(text)
    elif judgement.part is not None and judgement.mixed:
        text = two_conventions(judgement, written, sizes, wording)
        if not (judgement.part.confined and explicit):
            return [Problem(table.channel, TWO_FORMATS, text)], []
        warnings.append(text)
    elif judgement.empty.sum() > max(FEW_DROPPED, len(written) / 2):
        return [Problem(table.channel, EMPTY, no_extent(judgement, wording))], []
    elif judgement.ties and not explicit:
        warnings.append(_ties(table, judgement, written, sizes))
    return [], warnings


def _ties(table: AnnotationTable, judgement: Judgement, written: np.ndarray, sizes: np.ndarray) -> str:
    declared, fitting = judgement.declared, int(judgement.fits.sum())
    ways = " and as ".join(map(str, judgement.ties))
    counts = [int(tie.fits(written, sizes).sum()) for tie in judgement.ties]
    if fitting == len(written) == min(counts):
        fit = f"every box ({fitting}) fits its image as {declared}, but also as {ways}"
    else:
        told = " and ".join(map(str, counts))
        fit = f"{fitting} of {len(written)} boxes fit their images as {declared}, but about as many ({told}) as {ways}"
    values = " or ".join(f'"{tie.setting}"' for tie in judgement.ties)
    return (
        f"{table.channel}: {fit}; they are read as {declared}. If that is wrong, set bbox_format={values}; if it is "
        f'right, "{declared.setting}".'
    )


def _invalid_boxes(
    table: AnnotationTable,
    known: np.ndarray,
    judged: JudgedBoxes,
    invalid: np.ndarray,
    judgement: Judgement,
    *,
    lenient: bool,
) -> tuple[list[Problem], list[str]]:
    """Problems, or warnings, of the boxes that may not be trained on."""
    if not len(invalid):
        return [], []
    declared, mixed = judgement.declared, other_part(judgement)
    many = too_many_invalid(len(invalid), len(known))
    fitting = judgement.fits.sum()
    better = [tie for tie in judgement.ties if tie.fits(table.bboxes[known], judged.sizes).sum() > fitting]
    if lenient and not many:
        kinds = Counter(judged.kinds[invalid].tolist())
        counts = ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items()))
        first = "; ".join(_box(table, known[number]) for number in invalid[:FIRST_FEW])
        asked = f'{table.channel}: left out {len(invalid)} of {len(known)} boxes, as invalid_boxes="drop" asks'
        return [], [f"{asked}: {counts}. First: {first}.{mixed}"]
    problems: list[Problem] = []
    share = f"{table.channel}: {len(invalid)} of {len(known)} boxes ({len(invalid) / len(known):.0%}) are invalid"
    if many:
        text = (
            f"{share} as {declared}, and no known way of writing boxes fits nearly all.{mixed} Where so many are wrong "
            f'the others are in doubt too: invalid_boxes="drop" does not leave them out. Correct the file.'
        )
        problems.append(Problem(table.channel, MANY_INVALID, text))
    elif mixed:
        problems.append(
            Problem(table.channel, TWO_FORMATS, f"{share} as {declared}.{mixed} Write all boxes in one way.")
        )
    way_out = "Correct it." if many or mixed else 'Correct it, or set invalid_boxes="drop" to leave such boxes out.'
    if better:
        value = f'bbox_format="{better[0].setting}"'
        way_out = f"More boxes fit as {better[0]}: if the file is written so, set {value}; else correct the box."
    clipped = way_out
    if not (mixed or better):
        clipped = f'{way_out} invalid_boxes="clip" clips those of which half or more is inside.'
    for number in invalid.tolist():
        kind, what = judged.fault(number, declared.inverted)
        advice = clipped if kind == OUTSIDE else way_out
        text = f"{_box(table, known[number])} {what}; expected {declared.expected}. {advice}"
        problems.append(Problem(table.channel, kind, text))
    return problems, []


def too_many_invalid(invalid: int, count: int) -> bool:
    """Whether so large a share of the boxes is invalid that leaving them out would hide what is wrong."""
    return invalid > max(FEW_DROPPED, _MOST_DROPPED * count) and invalid < count


def _far_outside(table: AnnotationTable, rows: np.ndarray, corners: np.ndarray, clipped: np.ndarray) -> list[str]:
    """A warning about boxes, of these rows of the table, that were clipped by more than a pixel."""
    far = np.flatnonzero(np.abs(corners - clipped).max(axis=1, initial=0) > MAX_OVERHANG)
    if not len(far):
        return []
    first = "; ".join(_box(table, rows[number]) for number in far[:FIRST_FEW])
    return [
        f'{table.channel}: clipped {len(far)} of {len(rows)} boxes to their images, as invalid_boxes="clip" asks: they '
        f"reached outside by more than a pixel. First: {first}."
    ]


def _thin_boxes(table: AnnotationTable, rows: np.ndarray, corners: np.ndarray) -> list[str]:
    """A warning about boxes, of these rows of the table and these corners in pixels, that are thinner than a pixel."""
    thin = np.flatnonzero((corners[:, 2:] - corners[:, :2]).min(axis=1, initial=np.inf) < 1)
    if not len(thin):
        return []
    return [
        f"{table.channel}: {len(thin)} of {len(rows)} boxes are thinner than a pixel of their image, and will "
        f"hardly be learnt. First: {'; '.join(_box(table, rows[number]) for number in thin[:FIRST_FEW])}."
    ]


def _repeats(table: AnnotationTable, rows: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which of some rows of the table, with corners float64 [m, 4], are there already, with the same image, class and
    corners, bool [m]; and warnings, also of those that are there with another class."""
    images, classes = table.box_images[rows], table.box_categories[rows]
    hashes = (corners + 0.0).view(np.int64) @ _FACTORS + images * _FACTORS[0]  # equal boxes have equal ones
    order = np.lexsort((classes, hashes))
    before, after = order[:-1], order[1:]
    same = (images[before] == images[after]) & (corners[before] == corners[after]).all(axis=1)
    same_class = classes[before] == classes[after]
    repeated, relabelled = np.sort(after[same & same_class]), np.sort(after[same & ~same_class])
    warnings = []
    for numbers, what in (
        (repeated, "boxes are there already, with the same class, and are trained on once"),
        (relabelled, "boxes are there already, with another class; training gives a place one class, so correct them"),
    ):
        if len(numbers):
            first = "; ".join(_box(table, rows[number]) for number in numbers[:FIRST_FEW])
            warnings.append(f"{table.channel}: {len(numbers)} of {len(rows)} {what}. First: {first}.")
    found = np.zeros(len(rows), bool)
    found[repeated] = True
    return found, warnings


def judge_boxes(
    written: np.ndarray, corners: np.ndarray, sizes: np.ndarray, declared: Convention, *, clip: bool = False
) -> JudgedBoxes:
    """Which boxes may not be trained on.

    Args:
        written: float64 [M, 4], the numbers as written.
        corners: float64 [M, 4], what they are as declared: xmin ymin xmax ymax, pixels.
        sizes: float64 [M, 2], height and width of each box's image, above 0.
        clip: whether those may be of which half or more is inside, however far they reach outside.
    """
    clipped = np.clip(corners, 0.0, np.tile(sizes[:, ::-1], 2))
    boxes = from_xyxy_pixels(clipped, sizes)
    outside = ~(np.abs(corners - clipped).max(axis=1, initial=0) <= MAX_OVERHANG)
    if clip:
        with np.errstate(over="ignore", invalid="ignore"):
            inside, whole = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (clipped, corners))
        outside &= ~(2 * inside >= whole)
    faults = {
        SHARES: look_like_shares(written, sizes) & (written % 1).any(axis=1) & (declared.unit == PIXELS),
        NO_SHARES: (np.abs(written).max(axis=1, initial=0) > _LARGEST_SHARE) & (declared.unit == UNIT_OF_SHARES),
        INVERTED: (corners[:, 2:] < corners[:, :2]).any(axis=1),
        OUTSIDE: outside,
        EMPTY: (boxes[:, 2:] <= boxes[:, :2]).any(axis=1),  # also what vanishes when clipped, or in float32
    }
    return JudgedBoxes(sizes, clipped, boxes, np.select(list(faults.values()), list(faults), ""))


def _box(table: AnnotationTable, row: int) -> str:
    return f"{table.box(row)}: bbox {numbers_of(table.bboxes[row])}"
