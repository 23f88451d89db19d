"""Validates a detector on a data set: the reference's losses and the COCO figures, in one compiled pass."""

import logging
import math

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.pipeline import Batch, evaluation_batches, prefetched
from sagemaker_object_detection.dataset.readable import readable
from sagemaker_object_detection.evaluation.coco import COCO_DETECTIONS, DetectionSet, coco_figures
from sagemaker_object_detection.evaluation.collapse import Channels, Spread
from sagemaker_object_detection.evaluation.evaluation import CONFIDENT, Evaluation
from sagemaker_object_detection.job.metrics import VALIDATION_KEYS
from sagemaker_object_detection.job.stop import NEVER, StopSignal
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.models.losses import detection_losses, regularization_loss
from sagemaker_object_detection.models.postprocess import MAX_DETECTIONS, Detections, detections
from sagemaker_object_detection.models.targets import assign_targets

log = logging.getLogger(__name__)

BATCH_SIZE = 8


class Evaluator:
    """Callable; each call validates the detector's present weights.

    Losses are the reference's evaluation losses: it evaluates one image at a time, so each image's sums are divided by
    that image's own number of matched anchors (at least 1), and the images are averaged. They do not depend on the
    batch size.

    Args:
        l2: replaces the base model's L2 coefficient where it is not None.
        max_detections: how many detections of an image are kept, and counted if they are more than 100.
        stop: ends a validation between two batches.
        channels: looked at as well, where it is not None.
        name: what the data set is called in the log.
    """

    def __init__(
        self,
        detector: Detector,
        dataset: Dataset,
        *,
        l2: float | None,
        max_detections: int = MAX_DETECTIONS,
        stop: StopSignal = NEVER,
        channels: Channels | None = None,
        name: str = "validation",
    ) -> None:
        self._max_detections = max_detections
        if max_detections > COCO_DETECTIONS:
            log.info(
                "Validation counts up to %d detections of an image, where COCO's own figures count %d: mAP and the "
                "others are what pycocotools says with maxDets = [1, 10, %d].",
                max_detections,
                COCO_DETECTIONS,
                max_detections,
            )
        self._stop = stop
        self._channels = channels
        self._name = name
        self._extremes = np.zeros((2, 0), np.float32)
        self._detector = detector
        self._dataset = dataset
        self._batch_size = min(BATCH_SIZE, len(dataset.file_names))
        self._batches = prefetched(evaluation_batches(dataset, detector.base, self._batch_size, name))
        self._l2 = l2
        self._last: tuple[Evaluation, DetectionSet] | None = None
        self._compiled = tf.function(
            self._evaluate_batch, input_signature=[self._batches.element_spec], autograph=False
        )

    def __call__(self) -> Evaluation | None:
        """None where a stop cut the validation short."""
        spread = Spread()
        columns = self._run(math.inf, spread)
        if columns is None:
            return None
        found, images = _found(columns), len(self._dataset.file_names)
        coco = coco_figures(self._dataset, found, self._max_detections)
        localization, classification = (float(column.mean()) for column in columns[:2])
        losses = {"localization_loss": localization, "classification_loss": classification}
        metrics = losses | {key: coco.overall[key] for key in VALIDATION_KEYS if key in coco.overall}
        total_loss = sum(losses.values()) + float(regularization_loss(self._detector, self._l2))
        best_score = np.where(np.arange(found.scores.shape[1]) < found.count[:, None], found.scores, 0.0).max(axis=1)
        confident = int((best_score > CONFIDENT).sum())
        log.info("%d of %d %s images have a detection above %.1f.", confident, images, self._name, CONFIDENT)
        dead = self._channels.dead(self._extremes) if self._channels else None
        evaluation = Evaluation(metrics, total_loss, coco, confident, spread.share, dead)
        self._last = evaluation, found
        return evaluation

    def detections(self, evaluation: Evaluation, seconds: float) -> DetectionSet | None:
        """The detections of the detector's present weights, of which `evaluation` is known.

        Where that was the last validation they are still there; else the detector goes over the images once more.

        Args:
            seconds: how many must be left before the process is killed.

        Returns:
            None where fewer are left.
        """
        if self._last is not None and self._last[0] is evaluation:
            return self._last[1]
        columns = self._run(seconds)
        return _found(columns) if columns is not None else None

    def _run(self, seconds: float, spread: Spread | None = None) -> list[np.ndarray] | None:
        """The columns of `_evaluate_batch` over the N images of the data set; None as soon as fewer seconds are left,
        which is at any stop for infinitely many. What there is of every anchor is too much to keep: it goes to
        `spread`."""
        parts, left = [], len(self._dataset.file_names)
        seen = np.array([[np.inf], [-np.inf]], np.float32)
        for batch in readable(self._batches, self._dataset, lambda number: [number * self._batch_size]):
            if self._stop.seconds_left < seconds:
                return None
            (low, high), best_logits, *columns = (part.numpy() for part in self._compiled(batch))
            seen = np.stack([np.minimum(seen[0], low), np.maximum(seen[1], high)])
            if spread is not None:
                spread.add(best_logits[:left])
            parts.append([column[:left] for column in columns])
            left -= len(best_logits)
        self._extremes = seen
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _evaluate_batch(self, batch: Batch) -> tuple[tf.Tensor, ...]:
        detector, family = self._detector, self._detector.base.family
        if self._channels is None:
            predictions, extremes = detector(batch.images, training=False), tf.zeros([2, 1])
        else:
            maps, extremes = self._channels(batch.images)
            predictions = detector.after_backbone(maps)
        targets = assign_targets(detector.anchors, batch.boxes, batch.classes, batch.box_weights, family, batch.regions)
        losses = detection_losses(predictions, targets, family)
        matched = tf.maximum(1.0, losses.matched)
        found: Detections = detections(
            predictions, detector.anchors, batch.true_shapes, detector.base, self._max_detections
        )
        return (
            extremes,
            tf.reduce_max(predictions.class_logits[..., family.background_column :], axis=2),
            losses.localization / (4.0 * matched),
            losses.classification / matched,
            found.boxes,
            found.scores,
            found.classes,
            found.count,
        )


def _found(columns: list[np.ndarray]) -> DetectionSet:
    """The detections among the columns of `_evaluate_batch`, with the losses of their images."""
    localization, classification, boxes, scores, classes, count = columns
    return DetectionSet(boxes, scores, classes, count, localization + classification)
