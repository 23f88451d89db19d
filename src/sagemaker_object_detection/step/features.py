"""What stands before the class predictor, computed once for each image where only that layer is trained.

Nothing before it moves then, so that an image that is never augmented has the same features in every epoch. They are
computed the first time an image comes up, and stay in the host's memory: an epoch after the first is the class
predictor's alone.
"""

import logging
import math

import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Inputs
from sagemaker_object_detection.dataset.preprocess import scaled_images
from sagemaker_object_detection.job.memory import available_memory
from sagemaker_object_detection.models.detector import Detector, Predictions

log = logging.getLogger(__name__)

SHARE = 1 / 4
"""Of the memory that is free when training begins: how much of it features may fill."""


class KeptFeatures:
    """Callable on `Inputs`, in place of the detector; its images are told apart by their indices.

    The features lie on the host whatever device computes: a GPU's memory is smaller, and full of other things.

    Args:
        detector: only its class predictor's variables move.
        images: N, of the data set; each of them always comes with the same pixels. 0: nothing is kept. The operations
            are the same, to the last bit of what they compute.
    """

    def __init__(self, detector: Detector, images: int) -> None:
        self._detector = detector
        with tf.device("CPU:0"):
            # The row behind the last is written for images that are not kept or only fill up a batch.
            self._kept = [
                tf.Variable(tf.zeros([images + 1, *shape], dtype), trainable=False)
                for shape, dtype in detector.feature_shapes
            ]
            self._known = tf.Variable(tf.zeros([images + 1], tf.bool), trainable=False)
        self._spare = images

    def __call__(self, inputs: Inputs) -> Predictions:
        with tf.device("CPU:0"):
            counts = inputs.image_weights > 0.0
            rows = tf.where(counts, tf.minimum(inputs.indices, self._spare), self._spare)
            known = tf.reduce_all(tf.gather(self._known, rows) | ~counts)
        found = tf.cond(known, lambda: self._read(rows), lambda: self._compute(inputs, rows))
        return self._detector.predict_classes(found)

    def _read(self, rows: tf.Tensor) -> list[tf.Tensor]:
        with tf.device("CPU:0"):
            return [tf.gather(kept, rows) for kept in self._kept]

    def _compute(self, inputs: Inputs, rows: tf.Tensor) -> list[tf.Tensor]:
        images = scaled_images(inputs.images, inputs.true_shapes, self._detector.base)
        found = self._detector.features(images, training=True)
        with tf.device("CPU:0"):
            for kept, values in zip(self._kept, found, strict=True):
                kept.scatter_update(tf.IndexedSlices(values, rows))
            self._known.scatter_update(tf.IndexedSlices(rows < self._spare, rows))
        return found


def keep_features(detector: Detector, images: int) -> KeptFeatures | None:
    """What keeps the features of a data set where memory has room for all of them, and else computes them every time:
    a job that is restarted on a machine with less memory comes to the same weights. None where noise makes features
    differ. The log says which."""
    if detector.is_noisy:
        log.info(
            "Only the class predictor is trained. What stands before it draws noise, and is computed in every step."
        )
        return None
    size = (images + 1) * sum(math.prod(shape) * tf.as_dtype(dtype).size for shape, dtype in detector.feature_shapes)
    room = int(SHARE * available_memory())
    has_room, needed = size <= room, f"{size / 2**20:.0f} MB"
    log.info(
        "Only the class predictor is trained, on images that stay as they are: what stands before it %s.",
        f"is computed once for each of them, and stays in memory ({needed})"
        if has_room
        else f"would take {needed}, of which {room / 2**20:.0f} MB may be filled: it is computed in every step",
    )
    return KeptFeatures(detector, images if has_room else 0)
