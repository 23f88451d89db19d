"""A training between two steps, as one value: how far it is, and its arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sagemaker_object_detection.evaluation.evaluation import Evaluation
from sagemaker_object_detection.training.best import Best


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. `validation` is None where there is no validation set."""

    number: int
    loss: float
    samples_per_second: float
    validation: Evaluation | None
    slices: tuple["Slice", ...] = ()
    movement: tuple[float, ...] = ()
    """How far the weights of each of `readings.PARTS` came in it, relative to their norm before; empty where the epoch
    was taken up in its middle."""

    @property
    def regularization(self) -> float | None:
        """What L2 regularisation is of the loss; None in what an older version wrote."""
        return mean_regularization(self.slices) if self.slices else None

    @property
    def gradients(self) -> tuple[float, ...]:
        """Mean norm of the gradient of each of `readings.PARTS`; empty in what an older version wrote."""
        steps = sum(one.steps for one in self.slices)
        return tuple(sum(norms) / steps for norms in zip(*(one.gradients for one in self.slices), strict=True))


@dataclass(frozen=True)
class Slice:
    """Sums over some consecutive steps of an epoch."""

    steps: int
    regularization: float
    gradients: tuple[float, ...]
    """Norms of the gradient of each of `readings.PARTS`."""

    def __add__(self, other: "Slice") -> "Slice":
        gradients = tuple(mine + its for mine, its in zip(self.gradients, other.gradients, strict=True))
        return Slice(self.steps + other.steps, self.regularization + other.regularization, gradients)


def mean_regularization(slices: Sequence[Slice]) -> float:
    """Over their steps; there is at least one."""
    return sum(one.regularization for one in slices) / sum(one.steps for one in slices)


@dataclass(frozen=True)
class Progress:
    """Everything but the arrays. Frozen: a later one is a new value, so that a checkpoint can be written while the
    training goes on."""

    best: Best
    epochs: tuple[Epoch, ...] = ()
    """Those that are finished, validation included."""
    losses: tuple[float, ...] = ()
    """Of the steps of the epoch under way."""
    slices: tuple[Slice, ...] = ()
    """Of the epoch under way, in as many steps as `losses` has."""
    loss_limit: float | None = None
    """A loss above it counts as an explosion; None before the first step."""
    in_force: Mapping[str, str] = field(default_factory=dict)
    """Hyperparameters of which "Auto" is a value, and what they came to: with other devices, or another version of this
    package, they might come to something else. Empty until they are settled."""
    micro_batch: int | None = None
    """How many images a replica takes at a time, where a whole batch did not fit into its memory."""
    start: Evaluation | None = None
    """What the weights that training starts from come to, where they were trained before."""

    @property
    def epoch(self) -> int:
        """The epoch under way."""
        return len(self.epochs)

    @property
    def saved(self) -> Epoch | None:
        """The epoch whose weights are the job's model: the best, or without validation the last; None before any."""
        return self.epochs[self.best.epoch] if self.epochs else None

    def steps(self, steps_per_epoch: int) -> int:
        """How many steps were taken in all."""
        return self.epoch * steps_per_epoch + len(self.losses)

    @property
    def begun(self) -> bool:
        """Whether there is anything to save."""
        return bool(self.epochs or self.losses)

    def finished(self, epochs: int) -> bool:
        """Whether nothing is left of a training of so many epochs."""
        return self.epoch >= epochs or self.best.exhausted

    def stopping_as(self, best: Best) -> "Progress":
        """With the early stopping of `best`, which may be another than when this was stored."""
        return replace(self, best=replace(self.best, min_delta=best.min_delta, patience=best.patience))


@dataclass(frozen=True, eq=False)
class State:
    """What a checkpoint holds. Arrays in the order of the detector's and the optimizer's variables; none where these
    are as they were made."""

    progress: Progress
    weights: Sequence[np.ndarray] = ()
    optimizer: Sequence[np.ndarray] = ()
    best_weights: Sequence[np.ndarray] | None = None
    """Those of the best epoch, None before the first was finished; they may be `weights` itself."""
