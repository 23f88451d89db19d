"""What stands before the class predictor, computed once for each image where only that layer is trained.

Nothing before it moves then, so that an image that is never augmented has the same features in every epoch. They are
computed the first time an image comes up, and stay in the host's memory: an epoch after the first is the class
predictor's alone.
"""

import logging
import math

import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.job.memory import available_memory
from sagemaker_object_detection.models.detector import Detector, Predictions

log = logging.getLogger(__name__)

SHARE = 1 / 4
"""Of the memory that is free when training begins: how much of it features may fill."""


class KeptFeatures:
    """Callable on a `Batch`, in place of the detector; its images are told apart by their indices.

    The features lie on the host whatever device computes: a GPU's memory is smaller, and full of other things.

    Args:
        detector: only its class predictor's variables move.
        images: N, of the data set; each of them always comes with the same pixels.
    """

    def __init__(self, detector: Detector, images: int) -> None:
        self._detector = detector
        with tf.device("CPU:0"):
            # The row behind the last is written for images that only fill up a batch.
            self._kept = [
                tf.Variable(tf.zeros([images + 1, *shape], dtype), trainable=False)
                for shape, dtype in detector.feature_shapes
            ]
            self._known = tf.Variable(tf.zeros([images + 1], tf.bool), trainable=False)
        self._spare = images

    def __call__(self, batch: Batch) -> Predictions:
        with tf.device("CPU:0"):
            rows = tf.where(batch.image_weights > 0.0, batch.indices, self._spare)
            known = tf.reduce_all(tf.gather(self._known, rows))
        found = tf.cond(known, lambda: self._read(rows), lambda: self._compute(batch.images, rows))
        return self._detector.predict_classes(found)

    def _read(self, rows: tf.Tensor) -> list[tf.Tensor]:
        with tf.device("CPU:0"):
            return [tf.gather(kept, rows) for kept in self._kept]

    def _compute(self, images: tf.Tensor, rows: tf.Tensor) -> list[tf.Tensor]:
        found = self._detector.features(images, training=True)
        with tf.device("CPU:0"):
            for kept, values in zip(self._kept, found, strict=True):
                kept.scatter_update(tf.IndexedSlices(values, rows))
            self._known.scatter_update(tf.IndexedSlices(tf.ones_like(rows, tf.bool), rows))
        return found


def keep_features(detector: Detector, images: int) -> KeptFeatures | None:
    """Makes room for the features of a data set; None where memory has no room for all, or noise makes them differ."""
    if detector.is_noisy:
        return None
    size = sum(math.prod(shape) * tf.as_dtype(dtype).size for shape, dtype in detector.feature_shapes)
    if (images + 1) * size > SHARE * available_memory():
        return None
    log.info(
        "Only the class predictor is trained, on images that stay as they are: what stands before it is computed once "
        "for each of them, and stays in memory (%.0f MB).",
        (images + 1) * size / 2**20,
    )
    return KeptFeatures(detector, images)
