"""Says before training which share of each class's boxes no anchor of the base model can match, and what would help.

Such a box is not lost, because training gives it the anchor that overlaps it most (`models/targets.py`). But that is
one anchor where others have several, and where two boxes want the same one the second has none: the class is learnt
worse, which the loss does not show. Boxes are taken as the images have them, before augmentation changes their size.
"""

import logging
from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.geometry.anchors import MATCH_IOU, anchor_shapes
from sagemaker_object_detection.geometry.coverage import best_anchor_iou, boxes_in_input
from sagemaker_object_detection.sentences import quoted

logger = logging.getLogger(__name__)

_LIMIT = 0.1
"""The share of a class's boxes above which it is worth another base model."""
_FEW = 5
"""With fewer boxes than this beyond the anchors, a class says nothing about the model."""
_CLASSES_SHOWN = 20
_SAMPLE = 5000
"""At most so many boxes of a class are held against other models: enough to know a share of a tenth to within one in a
hundred."""
_STRETCH = ((1 / MATCH_IOU + 1) / 2) ** 2
"""How many times as elongated as an anchor a box may be and still be reached. With the same centre and the best size of
the anchor, which is the box's own area, their IoU is 1 / (2 * sqrt(stretch) - 1)."""


@dataclass(frozen=True)
class Finding:
    """A sentence about a class, or about all of them. bad: whether something should be done about it."""

    text: str
    bad: bool = False


@dataclass(frozen=True, eq=False)
class _Boxes:
    """boxes: float32 [M, 4], normalised to their images; sizes: int32 [M, 2], height and width of those, pixels."""

    boxes: np.ndarray
    sizes: np.ndarray

    def of(self, rows: np.ndarray) -> "_Boxes":
        return _Boxes(self.boxes[rows], self.sizes[rows])

    def unmatched(self, base: BaseModel) -> np.ndarray:
        """bool [M], whether no anchor overlaps the box by MATCH_IOU."""
        return np.asarray(best_anchor_iou(self.boxes, self.sizes, base) < MATCH_IOU)


def log_coverage(data: Dataset, base: BaseModel) -> None:
    """Logs what `find_coverage` finds, with warnings for what is bad."""
    for finding in find_coverage(data, base):
        logger.log(logging.WARNING if finding.bad else logging.INFO, "%s", finding.text)


def find_coverage(data: Dataset, base: BaseModel) -> list[Finding]:
    """Of which classes the anchors do not reach every box, the worst first, and how it is with all boxes.

    It takes a second or two for as many boxes as COCO has. Without boxes there is nothing to say.
    """
    if not len(data.boxes):
        return []
    boxes = _Boxes(data.boxes, np.repeat(data.sizes, np.diff(data.offsets), axis=0))
    unmatched = boxes.unmatched(base)
    counts = np.bincount(data.classes, minlength=len(data.labels))
    missed = np.bincount(data.classes[unmatched], minlength=len(data.labels))
    shares = missed / np.maximum(counts, 1)
    worst = [number for number in np.argsort(-shares, kind="stable").tolist() if missed[number]]
    where = f"at {base.input_size} x {base.input_size} pixels"
    if not worst:
        return [Finding(f"Anchors: each of the {len(data.boxes):,} boxes overlaps an anchor by half {where}.")]
    findings = []
    for number in worst[:_CLASSES_SHOWN]:
        share, rows = float(shares[number]), np.flatnonzero(data.classes == number)
        name = data.labels.names[number]
        count = f"of {len(rows):,} boxes of {quoted(name)} {missed[number]:,} ({share:.1%})"
        text = f"Anchors: {count} overlap no anchor by half {where}"
        bad = share > _LIMIT and int(missed[number]) >= _FEW
        if bad:
            reasons = _reasons(boxes.of(rows[unmatched[rows]]), base)
            way_out = _way_out(boxes.of(rows[:: -(-len(rows) // _SAMPLE)]), base, share)
            text += f": {', '.join(f'{count:,} {reason}' for reason, count in reasons.items() if count)}. {way_out}"
        findings.append(Finding(text if bad else f"{text}.", bad))
    listed = f" of {len(worst)} classes, of which the worst are listed," if len(worst) > _CLASSES_SHOWN else ""
    summary = (
        f"Anchors: of all {len(data.boxes):,} boxes{listed} {unmatched.sum():,} ({unmatched.mean():.1%}) overlap no "
        "anchor by half. Training gives such a box one anchor at most, where others have several, so that it is learnt "
        "worse."
    )
    return [*findings, Finding(summary)]


def _reasons(boxes: _Boxes, base: BaseModel) -> dict[str, int]:
    """Why no anchor reaches these boxes, as the end of a sentence, and of how many it is true; every box has one
    reason. The first one is their size. None is too large: in every base model the largest anchors overlap even the
    whole image by half."""
    framed = boxes_in_input(boxes.boxes, boxes.sizes, base) * np.float32(base.input_size)
    height, width = framed[:, 2] - framed[:, 0], framed[:, 3] - framed[:, 1]
    area = anchor_shapes(base, base.levels[0]).prod(axis=1).min()
    longest = max(max(ratio, 1 / ratio) for ratio in base.family.aspect_ratios) * _STRETCH
    thin = ((boxes.boxes[:, 2:] - boxes.boxes[:, :2]) * boxes.sizes).min(axis=1) < 0.999  # float32
    elongated = ~thin & (np.maximum(height, width) > longest * np.minimum(height, width))
    small = ~thin & ~elongated & (height * width < area)
    return {
        f"cover less than the smallest anchor, {np.sqrt(area):.0f} x {np.sqrt(area):.0f}": int(small.sum()),
        "are thinner than a pixel of their image": int(thin.sum()),
        f"have one side more than {longest:g} times as long as the other": int(elongated.sum()),
        "lie between the anchors": int((~(thin | elongated | small)).sum()),
    }


def _way_out(boxes: _Boxes, base: BaseModel, share: float) -> str:
    """What to do about a class of which too large a share is not reached, `boxes` being a sample of it."""

    def about(part: float) -> str:
        return f"about {part:.0%}" if part >= 0.01 else "less than 1%"

    left, best = 1.0, base
    for other in _others(base):
        other_left = float(boxes.unmatched(other).mean())
        if other_left <= _LIMIT:
            return f"The base model {other.name} would leave {about(other_left)}."
        if other_left < left:
            left, best = other_left, other
    if left < share / 2:
        told = f"No base model leaves less than {_LIMIT:.0%}; {best.name} leaves least, {about(left)}."
    else:
        told, best = "Every base model leaves at least half as many.", base
    small, *others = _reasons(boxes.of(boxes.unmatched(best)), best).values()
    if small <= max(others):
        return told
    return f"{told} Cut the images into tiles, in which the objects are larger."


def _others(base: BaseModel) -> list[BaseModel]:
    """The models with other anchors, one of those that share them: the nearest input size first, and of one size the
    models most like `base`. A smaller one helps where stretching makes objects elongated, or undoes it."""

    def unlikeness(other: BaseModel) -> tuple[int, bool, bool]:
        distance = abs(other.input_size - base.input_size)
        return distance, other.backbone != base.backbone, other.family is not base.family

    def frame(model: BaseModel) -> tuple[object, ...]:
        """What decides which boxes the anchors overlap."""
        anchors = model.family.scales_per_octave, model.family.aspect_ratios, model.family.anchor_scale
        return model.input_size, model.family.keep_aspect_ratio, *anchors

    first: dict[object, BaseModel] = {frame(base): base}
    for other in sorted(catalogue.CATALOGUE, key=unlikeness):
        first.setdefault(frame(other), other)
    return list(first.values())[1:]
