"""Where a training stands between two steps: everything but the arrays."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from sagemaker_object_detection.training.best import Best, Validation

V = TypeVar("V", bound=Validation)


@dataclass(frozen=True)
class Epoch(Generic[V]):
    """What one epoch came to. `validation` is None where there is no validation set."""

    number: int
    loss: float
    samples_per_second: float
    validation: V | None


@dataclass(frozen=True)
class Progress(Generic[V]):
    """Frozen: a later state is a new value, so that a checkpoint can be written while the training goes on."""

    best: Best
    epochs: tuple[Epoch[V], ...] = ()
    """Those that are finished, validation included."""
    losses: tuple[float, ...] = ()
    """Of the steps of the epoch under way."""
    loss_limit: float | None = None
    """A loss above it counts as an explosion; None before the first step."""
    freeze_batch_norm: bool = False
    """What "Auto" came to: with another number of replicas it might come to something else."""
    micro_batch: int | None = None
    """How many images a replica takes at a time, where a whole batch did not fit into its memory."""

    @property
    def epoch(self) -> int:
        """The epoch under way."""
        return len(self.epochs)

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

    def stopping_as(self, best: Best) -> "Progress[V]":
        """With the early stopping of `best`, which may be another than when this was stored."""
        return replace(self, best=replace(self.best, min_delta=best.min_delta, patience=best.patience))
