"""Whether a detector still looks at its images: what a learning rate too high for loaded weights ends in.

Channels die first: their activation is the same wherever one looks, so that no gradient brings them back. What is left
finds one and the same box with the same score in every image, which mAP alone does not tell: if the objects are large
and in the middle, that box is often right.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from sagemaker_object_detection.models.detector import Detector

_CONSTANT = 1e-3
"""A channel is dead if its values span less than this share of what those of its layer span at the median."""
_LOOKED_AT = 16
"""Of a map's rows and columns about so many are looked at, which costs next to nothing."""
_ACTIVATIONS = ("Relu6", "Silu")


class Channels:
    """The backbone of a detector, observed: between which values each of its activated channels lies."""

    def __init__(self, detector: Detector) -> None:
        backbone = detector.backbone
        activated = [step.output for step in backbone.operations if type(step).__name__ in _ACTIVATIONS]
        self._taps = len(backbone.outputs)
        self._probe = keras.Model(backbone.inputs, [*backbone.outputs, *activated])
        self._ends = np.cumsum([x.shape[-1] for x in activated])

    def __call__(self, images: Any) -> tuple[list[Any], Any]:
        """Normalised images [B, S, S, 3] -> the backbone's maps, as it would have them, and float32 [2, C]: the least
        and the largest value of each of its C activated channels."""
        outputs = self._probe(images, training=False)
        strides = [max(1, x.shape[1] // _LOOKED_AT) for x in outputs[self._taps :]]
        seen = [ops.cast(x[:, ::n, ::n], "float32") for x, n in zip(outputs[self._taps :], strides, strict=True)]
        extremes = [ops.concatenate([extreme(x, axis=(0, 1, 2)) for x in seen]) for extreme in (ops.min, ops.max)]
        return outputs[: self._taps], ops.stack(extremes)

    def dead(self, extremes: np.ndarray) -> float:
        """The share of channels that have the same value wherever one looks; `extremes` [2, C] over all images."""
        low, high = extremes
        spans = np.split(high - low, self._ends[:-1])
        return float(np.concatenate([span <= _CONSTANT * np.median(span) for span in spans]).mean())


class Spread:
    """Adds up what share of the variance of an image's scores, over all anchors, differs from image to image.

    0: every image gets the same scores.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sum: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0

    def add(self, scores: np.ndarray) -> None:
        """scores: float32 [N, A], a number for every anchor of every image."""
        wide = scores.astype(np.float64)
        self._count += len(wide)
        self._sum = self._sum + wide.sum(axis=0)
        self._squares = self._squares + np.square(wide).sum(axis=0)

    @property
    def share(self) -> float | None:
        """None for fewer than two images."""
        if self._count < 2:
            return None
        mean = self._sum / self._count
        within = np.maximum(self._squares / self._count - np.square(mean), 0.0)
        total = within.mean() + np.var(mean)
        return float(within.mean() / total) if total > 0 else 0.0
