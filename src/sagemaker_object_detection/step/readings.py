"""What a training step tells of itself: one small vector, so that reading it is one copy from the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from sagemaker_object_detection.models.detector import Detector

PARTS = ("backbone", "pyramid", "heads", "class predictor")
"""Of a detector, in the order of the data's flow; "heads" are all of the heads but the class predictor."""


@dataclass(frozen=True)
class Reading:
    """Of one step: the total loss, what L2 regularisation is of it, and the norm of the gradient of each of `PARTS`,
    0 where nothing of a part may move. With several replicas the norms are those of their shares of the gradient, added
    in squares."""

    loss: float
    regularization: float
    gradients: tuple[float, ...]

    @classmethod
    def of(cls, vector: tf.Tensor) -> "Reading":
        """Waits for the step. vector: [2 + len(PARTS)], loss, regularisation, squares of the norms."""
        loss, regularization, *squares = (float(value) for value in vector.numpy())
        # Where float16 overflows, the step is skipped: it has no gradient.
        norms = np.sqrt(np.where(np.isfinite(squares), squares, 0.0))
        return cls(loss, regularization, tuple(norms.tolist()))


def part_of(detector: Detector, variable: keras.Variable) -> int:
    """The place in `PARTS` of the part of the detector that a variable belongs to."""
    if any(variable is own for own in detector.class_predictor.variables):
        return PARTS.index("class predictor")
    return PARTS.index(variable.path.split("/")[0])


def squared_norms(parts: Sequence[int], values: Sequence[tf.Tensor]) -> tf.Tensor:
    """[len(PARTS)], of the values' dtype: the sum of the squares of all values of each part.

    Args:
        parts: for each of `values`, the place in `PARTS` of its part.
    """
    halves = []
    for part in range(len(PARTS)):
        own = [value for place, value in zip(parts, values, strict=True) if place == part]
        vectors = [value for value in own if len(value.shape) == 1]  # of some hundred normalizations: one operation
        terms = [value for value in own if len(value.shape) != 1] + ([tf.concat(vectors, axis=0)] if vectors else [])
        halves.append(tf.add_n([tf.nn.l2_loss(term) for term in terms]) if terms else tf.zeros([], values[0].dtype))
    return 2.0 * tf.stack(halves)
