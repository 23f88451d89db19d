"""What a person asks of detections beyond mAP: where to cut the scores, what is mixed up, which images are the worst.

Detections are matched with ground truth as COCO does it, at IoU 0.5: by falling score, each with the free box of its
class that it overlaps most. Thresholds come from that. What is mixed up is seen with those thresholds applied, and
with classes left out of the matching. What is left without a match in an ignored region of its class does not count.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.evaluation.coco import DetectionSet
from sagemaker_object_detection.evaluation.evaluation import CONFIDENT

MATCH_IOU = 0.5
_TOUCHING_IOU = 0.1
"""A detection without a match that overlaps a box by as much was meant for it; below, there is nothing."""
WORST_IMAGES = 8
_RECALLS = np.linspace(0.0, 1.0, 101)
_CONFUSIONS_TOLD = 2


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of a class after each of its n detections, by falling score; all float64 [n]."""

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def interpolated(self) -> np.ndarray:
        """float64 [101]: the best precision at a recall of at least 0, 0.01, ..., 1; 0 where it is never reached."""
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        return np.append(best, 0.0)[np.searchsorted(self.recall, _RECALLS)]


@dataclass(frozen=True)
class Threshold:
    """A detection counts where its score is at least `score`; then precision, recall and F1 are these."""

    score: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, eq=False)
class ClassFigures:
    """One class on the images. `curve` is None without ground truth, `threshold` also where no detection is right."""

    boxes: int
    curve: Curve | None
    threshold: Threshold | None


@dataclass(frozen=True, eq=False)
class Compared:
    """An image's G boxes and D detections, by falling score.

    truth_boxes: float32 [G, 4], ymin xmin ymax xmax, normalised; truth_classes: int32 [G]. boxes: float32 [D, 4];
    classes: int32 [D]; scores: float32 [D]. overlap: float64 [D, G], IoU. excused: bool [D], whether half of the
    detection or more lies in an ignored region of its class.
    """

    truth_boxes: np.ndarray
    truth_classes: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    overlap: np.ndarray
    excused: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, detections: DetectionSet, index: int) -> "Compared":
        rows = slice(dataset.offsets[index], dataset.offsets[index + 1])
        order = np.argsort(-detections.scores[index, : detections.count[index]], kind="stable")
        truth, boxes = dataset.boxes[rows], detections.boxes[index, order]
        classes, scores = detections.classes[index, order], detections.scores[index, order]
        excused = np.zeros(len(boxes), bool)
        if (ignored := dataset.ignored) is not None:
            own = slice(ignored.offsets[index], ignored.offsets[index + 1])
            share = _shared(boxes, ignored.boxes[own]) / np.maximum(_areas(boxes), 1e-12)[:, np.newaxis]
            share *= classes[:, np.newaxis] == ignored.classes[own]
            excused = share.max(axis=1, initial=0.0) >= MATCH_IOU
        return cls(truth, dataset.classes[rows], boxes, classes, scores, _iou(boxes, truth), excused)

    def above(self, cuts: np.ndarray) -> "Compared":
        """With the detections whose score is at least that of their class in `cuts`, float32 [K]."""
        return self._only(self.scores >= cuts[self.classes])

    def matched(self, overlap: np.ndarray) -> tuple["Compared", np.ndarray]:
        """Without the detections that count for nothing, and which box each of the others is matched with.

        Args:
            overlap: float [D, G], as `match` takes it.
        """
        matches = match(overlap)
        counted = (matches >= 0) | ~self.excused
        return self._only(counted), matches[counted]

    def _only(self, kept: np.ndarray) -> "Compared":
        found = (rows[kept] for rows in (self.boxes, self.classes, self.scores, self.overlap, self.excused))
        return Compared(self.truth_boxes, self.truth_classes, *found)


@dataclass(frozen=True, eq=False)
class BadImage:
    """One of the worst images, with the detections that reach their thresholds.

    index: in the data set. missed: bool [G], of its boxes. why: in a few words.
    """

    index: int
    image: Compared
    missed: np.ndarray
    why: str


@dataclass(frozen=True, eq=False)
class Figures:
    """classes: K of them. confusion: int64 [K + 1, K + 1], true class (the last row: nothing there) by predicted class
    (the last column: missed). errors: int64 [N], of each image: boxes missed or taken for another class, and detections
    of nothing."""

    classes: tuple[ClassFigures, ...]
    confusion: np.ndarray
    errors: np.ndarray
    worst: tuple[BadImage, ...]


def compute_figures(dataset: Dataset, detections: DetectionSet, thresholds: Sequence[float] | None = None) -> Figures:
    """The figures of N images with K classes.

    Args:
        thresholds: of each class, which were chosen elsewhere. None: those with the best F1 here, and 0.5 for a class
            that has none.
    """
    labels, images = dataset.labels, len(dataset.file_names)
    columns = []
    for index in range(images):
        image = Compared.of(dataset, detections, index)
        image, matches = image.matched(image.overlap * (image.classes[:, np.newaxis] == image.truth_classes))
        columns.append((image.scores, matches >= 0, image.classes))
    scores, right, predicted = (np.concatenate(column) for column in zip(*columns, strict=True))
    classes = []
    for index in range(len(labels)):
        boxes, own = int((dataset.classes == index).sum()), predicted == index
        curve = precision_recall(scores[own], right[own], boxes) if boxes else None
        threshold = None
        if curve:
            threshold = best_threshold(curve) if thresholds is None else threshold_at(curve, thresholds[index])
        classes.append(ClassFigures(boxes, curve, threshold))
    chosen = thresholds or [one.threshold.score if one.threshold else CONFIDENT for one in classes]
    cuts = np.array(chosen, np.float32)

    confusion = np.zeros((len(labels) + 1, len(labels) + 1), np.int64)

    def cut(index: int) -> tuple[Compared, np.ndarray]:  # again for the worst: all together would fill the memory
        image = Compared.of(dataset, detections, index).above(cuts)
        return image.matched(image.overlap)

    errors = np.zeros(images, np.int64)
    for index in range(images):
        image, matches = cut(index)
        truth = np.append(image.truth_classes, len(labels))[matches]  # -1, without a match, is nothing there
        np.add.at(confusion, (truth, image.classes), 1)
        missed = image.truth_classes[_missed(image, matches)]
        np.add.at(confusion, (missed, len(labels)), 1)
        errors[index] = len(missed) + (truth != image.classes).sum()
    order = [int(index) for index in np.argsort(-errors, kind="stable")[:WORST_IMAGES] if errors[index] > 0]
    worst = tuple(_bad_image(index, *cut(index), labels.names) for index in order)
    return Figures(tuple(classes), confusion, errors, worst)


def match(overlap: np.ndarray) -> np.ndarray:
    """Which box each detection is matched with.

    Args:
        overlap: float [D, G], IoU of detections, best first, with boxes.

    Returns:
        int64 [D], the box, or -1 where none is free that it overlaps by at least 0.5.
    """
    matches = np.full(len(overlap), -1, np.int64)
    free = np.ones(overlap.shape[1], bool)
    for detection in np.flatnonzero((overlap >= MATCH_IOU).any(axis=1)):
        candidates = np.where(free, overlap[detection], 0.0)
        box = int(candidates.argmax())
        if candidates[box] >= MATCH_IOU:
            matches[detection], free[box] = box, False
    return matches


def precision_recall(scores: np.ndarray, hits: np.ndarray, boxes: int) -> Curve:
    """The curve of detections, scores [n] and whether each is right, bool [n], in any order; `boxes` is at least 1."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    return Curve(scores[order].astype(float), right / np.arange(1, len(right) + 1), right / boxes)


def best_threshold(curve: Curve) -> Threshold | None:
    """Where F1 is best, the highest score of those that tie; None where no detection is right."""
    # Of detections with the same score no threshold takes some and leaves others.
    last = np.flatnonzero(np.append(np.diff(curve.scores) < 0, True)) if len(curve.scores) else np.zeros(0, int)
    precision, recall = curve.precision[last], curve.recall[last]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    if not f1.any():
        return None
    best = int(f1.argmax())
    return Threshold(float(curve.scores[last][best]), float(precision[best]), float(recall[best]), float(f1[best]))


def threshold_at(curve: Curve, score: float) -> Threshold:
    """What a threshold comes to that was chosen elsewhere; precision is 0 where nothing reaches it."""
    reached = int((curve.scores >= score).sum())
    precision, recall = (float(values[reached - 1]) if reached else 0.0 for values in (curve.precision, curve.recall))
    return Threshold(score, precision, recall, 2 * precision * recall / max(precision + recall, 1e-12))


def _missed(image: Compared, matches: np.ndarray) -> np.ndarray:
    """bool [G]."""
    return ~np.isin(np.arange(len(image.truth_classes)), matches)


def _bad_image(index: int, image: Compared, matches: np.ndarray, names: Sequence[str]) -> BadImage:
    missed = _missed(image, matches)
    stray = matches < 0
    nearest = image.overlap.max(axis=1, initial=0.0)[stray]
    confused = Counter(
        (int(image.truth_classes[box]), int(predicted))
        for box, predicted in zip(matches, image.classes, strict=True)
        if box >= 0 and image.truth_classes[box] != predicted
    )
    told = confused.most_common(_CONFUSIONS_TOLD)
    others = confused.total() - sum(count for _, count in told)
    reasons = [
        (int(missed.sum()), "missed"),
        *((count, f"{names[truth]} taken for {names[predicted]}") for (truth, predicted), count in told),
        (others, "of another wrong class"),
        (int((nearest >= MATCH_IOU).sum()), "found again"),
        (int(((nearest >= _TOUCHING_IOU) & (nearest < MATCH_IOU)).sum()), "badly placed"),
        (int((nearest < _TOUCHING_IOU).sum()), "where nothing is"),
    ]
    return BadImage(index, image, missed, ", ".join(f"{count} {what}" for count, what in reasons if count))


def _iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[N, 4] and [M, 4] to float64 [N, M]. `geometry/iou.py` would start the accelerator for each of a few boxes."""
    shared = _shared(boxes, others)
    union = _areas(boxes)[:, np.newaxis] + _areas(others) - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area that each of boxes [N, 4] shares with each of others [M, 4], float64 [N, M]."""
    a, b = boxes[:, np.newaxis].astype(float), others[np.newaxis].astype(float)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.asarray(np.clip(sides, 0.0, None).prod(axis=-1))


def _areas(boxes: np.ndarray) -> np.ndarray:
    """[N, 4] to float64 [N]."""
    return np.asarray((boxes[:, 2:].astype(float) - boxes[:, :2]).prod(axis=1))
