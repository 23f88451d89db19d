"""Reads the boxes of a data set as its format has them, or as the user says, and checks them by training's rules."""

from collections import Counter
from dataclasses import replace

import numpy as np

from sagemaker_object_detection.convert.foreign import ForeignDataSet, Notation
from sagemaker_object_detection.convert.outlines import OVERHANGING
from sagemaker_object_detection.dataset.check_boxes import (
    EMPTY,
    FEW_DROPPED,
    OTHER_FORMAT,
    TWO_FORMATS,
    JudgedBoxes,
    judge_boxes,
    too_many_invalid,
)
from sagemaker_object_detection.dataset.convention_sentences import (
    Wording,
    no_extent,
    other_convention,
    other_part,
    two_conventions,
)
from sagemaker_object_detection.dataset.conventions import BY_SETTING
from sagemaker_object_detection.dataset.judgement import Judgement, judge_conventions
from sagemaker_object_detection.dataset.readings import FEW
from sagemaker_object_detection.sentences import quoted

OWN = "own"
"""The value of --bbox-format for what the format itself has, whatever the boxes look like."""
_OPTION = "--bbox-format"
_FEWEST = 2


def check_boxes(
    data: ForeignDataSet, image_sizes: np.ndarray, *, drop: bool, enclose: bool, bbox_format: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Check every box whose image has a size.

    What is wrong is added to the problems of the data set, and what the summary says of the check to its notes.

    Args:
        image_sizes: int64 [N, 2], height and width of the images, 0 unknown.
        drop: whether boxes that are inverted, empty or outside are left out instead of being problems.
        enclose: whether outlines are replaced by the boxes around them instead of being problems.
        bbox_format: how boxes that are no outlines are written, as the hyperparameter has it, or OWN. None: as the
            format has it, unless they look like something else.

    Returns:
        corners of the M boxes, float64 [M, 4], xmin ymin xmax ymax, pixels; which are kept, bool [M].
    """
    numbers = np.array([box.numbers for box in data.boxes], np.float64).reshape(-1, 4)
    images = np.array([box.image for box in data.boxes], np.int64)
    sizes = image_sizes[images].astype(np.float64)
    outlined = np.array([bool(box.outline) for box in data.boxes], bool)
    corners = data.notation.to_corners(numbers, sizes)
    if bbox_format is not None and bbox_format != OWN:
        way = BY_SETTING[bbox_format]
        data.notation = Notation(way.order.fields, way.expected, way)
        corners[~outlined] = data.notation.to_corners(numbers[~outlined], sizes[~outlined])
    _check_outlines(data, corners, sizes, enclose=enclose)
    known = np.flatnonzero((sizes > 0).all(axis=1))
    kept, dropped = np.ones(len(numbers), bool), Counter[str]()
    judged = judge_boxes(numbers[known], corners[known], sizes[known], data.notation.convention)
    kept[known] = ~judged.invalid
    # The box around a turned one may lie anywhere. Others around outlines are read as the format has them.
    plain = known[~outlined[known]]
    rows = plain if len(plain) else known[[data.boxes[row].outline not in OVERHANGING for row in known]]
    judgement = _judge(data, rows, corners if data.notation.any_corners else numbers, sizes, images, bbox_format)
    if not _add_problem_of_all(data, judgement, rows, numbers, sizes, bbox_format):
        dropped = _add_invalid(data, judgement, known, judged, drop=drop)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(dropped.items()))
    clipped = (corners[known] != judged.clipped).any(axis=1) & ~judged.invalid
    data.notes += (
        (f"left out, as --invalid-boxes drop asks ({kinds})", dropped.total()),
        ("boxes that reach outside by a pixel at most, which training clips", int(clipped.sum())),
    )
    return corners, kept


def _judge(
    data: ForeignDataSet,
    rows: np.ndarray,
    numbers: np.ndarray,
    sizes: np.ndarray,
    images: np.ndarray,
    bbox_format: str | None,
) -> Judgement:
    """The judgement on the boxes in these rows. A few boxes must nearly all be something else: a format says what it
    has."""

    def judge(numbers: np.ndarray) -> Judgement:
        return judge_conventions(
            numbers[rows],
            sizes[rows],
            data.notation.convention,
            images[rows],
            explicit=bbox_format is not None,
            witnesses=data.witnesses.of(rows),
        )

    judgement = judge(numbers)
    if data.notation.any_corners and len(rows) >= FEW:
        written = judge(np.array([box.numbers for box in data.boxes], np.float64))
        way = written.likely or (written.part.convention if written.mixed and written.part is not None else None)
        if (written.sure or written.mixed) and way is not None and "width" in way.order.fields:
            return written
    misfits = int((~judgement.fits).sum())
    if len(rows) < FEW and (misfits < _FEWEST or misfits <= len(rows) / 2):
        return replace(judgement, likely=None, mixed=False)
    return judgement


def _add_problem_of_all(
    data: ForeignDataSet,
    judgement: Judgement,
    rows: np.ndarray,
    numbers: np.ndarray,
    sizes: np.ndarray,
    bbox_format: str | None,
) -> bool:
    """Add what is to be said of the boxes in these rows together; returns whether it is a problem."""
    is_choice, likely = not data.notation.is_known, judgement.likely
    wording = Wording(
        data.format,
        reads=f"{data.format} has" if bbox_format in (None, OWN) else f"{_OPTION} {bbox_format} reads",
        box=lambda number: box_sentence(data, rows[number]),
        choose=f"Convert it with {_OPTION} {{}}" if is_choice else "",
        keep=f"convert it with {_OPTION} {OWN}" if bbox_format is None and is_choice else "",
        otherwise="correct the boxes in the source",
    )
    believed = bbox_format is not None or not is_choice
    if judgement.contradiction:
        data.notes.append((judgement.contradiction, 1))
    if likely is not None:
        text = other_convention(judgement, numbers[rows], sizes[rows], wording)
        if judgement.sure and not (judgement.confined and believed):
            data.add_problem(OTHER_FORMAT, text)
            return True
        data.notes.append((text.removesuffix("."), len(rows)))
    elif judgement.part is not None and judgement.mixed:
        text = two_conventions(judgement, numbers[rows], sizes[rows], wording)
        if not (judgement.part.confined and believed):
            data.add_problem(TWO_FORMATS, text)
            return True
        data.notes.append((text.removesuffix("."), len(judgement.part.boxes)))
    elif judgement.empty.sum() > max(FEW_DROPPED, len(rows) / 2):
        data.add_problem(EMPTY, no_extent(judgement, wording))
        return True
    return False


def _add_invalid(
    data: ForeignDataSet, judgement: Judgement, known: np.ndarray, judged: JudgedBoxes, *, drop: bool
) -> Counter[str]:
    """Add problems of single boxes; returns how many of each kind are left out instead."""
    dropped: Counter[str] = Counter()
    expected, invalid = data.notation.expected, np.flatnonzero(judged.invalid)
    many, part = too_many_invalid(len(invalid), len(known)), other_part(judgement)
    if many and (drop or part):
        text = f"{data.format}: {len(invalid)} of {len(known)} boxes are invalid"
        if drop:
            text += ", which is more than --invalid-boxes drop leaves out: the others are in doubt too"
        drop = False
        data.add_problem(OTHER_FORMAT, f"{text}. Expected {expected}.{part} Correct the source.")
    way_out = "Correct it." if many else "Correct it, or leave such boxes out with --invalid-boxes drop."
    for position in invalid.tolist():
        kind, fault = judged.fault(position, data.notation.convention.inverted)
        if drop:
            dropped[kind] += 1
        else:
            data.add_problem(kind, f"{box_sentence(data, known[position])} {fault}; expected {expected}. {way_out}")
    return dropped


def box_sentence(data: ForeignDataSet, row: int) -> str:
    box = data.boxes[row]
    numbers = zip(data.notation.fields, box.numbers, strict=True)
    shown = ", ".join(f"{field} {number:.15g}" for field, number in numbers)
    return f"{box.place}, image {quoted(data.images[box.image].file_name)}: the box {shown}"


def _check_outlines(data: ForeignDataSet, corners: np.ndarray, sizes: np.ndarray, *, enclose: bool) -> None:
    """Count outlines, and clip the boxes around those that may reach outside; or name each as a problem.

    Args:
        corners: float64 [M, 4], xmin ymin xmax ymax, pixels; changed in place.
        sizes: float64 [M, 2], height and width of each box's image, 0 unknown.
    """
    counts: Counter[str] = Counter()
    for row, box in enumerate(data.boxes):
        if not box.outline:
            continue
        counts[box.outline] += 1
        if not enclose:
            image = quoted(data.images[box.image].file_name)
            text = (
                f"{box.place}, image {image}: is {box.outline}; expected an upright box. "
                f"--polygons enclosing takes the box around each such outline."
            )
            data.add_problem("polygons and rotated boxes", text)
        elif box.outline in OVERHANGING:
            limits, centre = sizes[row, ::-1], (corners[row, :2] + corners[row, 2:]) / 2
            if ((centre >= 0) & (centre <= limits)).all():
                corners[row] = np.clip(corners[row], 0, np.tile(limits, 2))
    told = ", ".join(f"{outline} {count}" for outline, count in sorted(counts.items()))
    if enclose:
        around = f"boxes around outlines, as --polygons enclosing asks ({told})"
        data.notes.append((around, counts.total()))
