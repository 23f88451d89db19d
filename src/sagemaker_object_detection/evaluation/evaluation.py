"""What a validation came to: figures alone, which need no TensorFlow to be read or stored."""

from collections.abc import Mapping
from dataclasses import dataclass

CONFIDENT = 0.5
"""What many take for the score from which on a detection is to be believed."""


@dataclass(frozen=True)
class CocoFigures:
    """The twelve figures by name (only those that are defined), and AP@[.5:.95] and AP@.5 per class name."""

    overall: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """The metrics of the log and the total loss, all COCO figures, and for how many images there is a detection above
    `CONFIDENT`."""

    metrics: Mapping[str, float]
    """By the keys of `job.metrics`."""
    total_loss: float
    """The losses' sum, with the L2 term."""
    coco: CocoFigures
    confident_images: int
    spread: float | None = None
    """What share of the variance of the scores differs from image to image (`collapse.Spread`)."""
    dead_channels: float | None = None
    """The share of the backbone's channels that are dead (`collapse.Channels`)."""
