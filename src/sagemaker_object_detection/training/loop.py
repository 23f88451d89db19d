"""The training loop: epochs of compiled steps, a validation after each, the best epoch's weights at the end."""

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job import metrics
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.training.best import Best, Validation
from sagemaker_object_detection.training.replicas import Replicas
from sagemaker_object_detection.training.step import TrainingStep

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 60.0
CHECK_EVERY_STEPS = 20
"""How many steps may be under way before their losses are read: reading waits for the device."""
EXPLOSION = 1e4
"""A loss this many times the first step's never recovered in our runs; the built-in trained on with 942796.3."""


V = TypeVar("V", bound=Validation)


@dataclass(frozen=True)
class Epoch(Generic[V]):
    """What one epoch came to. `validation` is None where there is no validation set."""

    number: int
    loss: float
    samples_per_second: float
    validation: V | None


@dataclass(frozen=True)
class Outcome(Generic[V]):
    """The detector now holds the weights of epoch `saved`; None: those of a first epoch that a stop cut short."""

    epochs: tuple[Epoch[V], ...]
    saved: Epoch[V] | None
    stopped: bool


@dataclass(frozen=True)
class Schedule:
    """How long to train and how the images of a step are named when it goes wrong."""

    epochs: int
    steps_per_epoch: int
    batch_size: int
    learning_rate: float
    file_names: Callable[[int], list[str]]
    """Step number -> the names of its images."""

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


def fit(
    detector: Detector,
    step: TrainingStep,
    batches: Iterator[Batch],
    schedule: Schedule,
    evaluate: Callable[[], V | None] | None,
    best: Best,
    stop_requested: Callable[[], bool],
    replicas: Replicas,
) -> Outcome[V]:
    """Trains and leaves the best epoch's weights in `detector`.

    With several hosts only the chief is given `evaluate`; it decides for all of them when to end, and a stop of any
    host stops all. The others come out with the last epoch's weights.

    Without `evaluate` every epoch counts as better than the one before. When `stop_requested` turns true the step under
    way ends, and what the validated epochs brought is kept; before the first of them, the weights as they are.
    `evaluate` returns None when a stop cut it short.

    Raises:
        UserError: the loss or the weights are not finite, or the loss explodes; names epoch, step, learning rate and
            images. Or: a step does not fit into the device's memory.
    """
    stopped = False

    def stop() -> bool:
        """Whether any host is to stop: asked by all of them at the same points, and never unsaid."""
        nonlocal stopped
        stopped = stopped or replicas.any(stop_requested())
        return stopped

    history: list[Epoch[V]] = []
    best_weights: list[np.ndarray] | None = None
    guard = _Guard(schedule)
    for number in range(schedule.epochs):
        losses, speed = _run_epoch(number, step, batches, schedule, guard, stop)
        finished, validation = len(losses) == schedule.steps_per_epoch, None
        if finished:
            log.info(metrics.training_line(number, speed, float(np.mean(losses))))
            validation = evaluate() if evaluate and not stop_requested() else None
        if replicas.any(not finished or (evaluate is not None and validation is None)):
            log.warning("Stopped by a signal in epoch %d, after %d of its steps.", number, len(losses))
            break
        if validation is not None:
            guard.check_validation(number, validation)
            for line in metrics.validation_lines(number, validation.metrics):
                log.info(line)
            best = best.seen(number, validation)
        history.append(Epoch(number, float(np.mean(losses)), speed, validation))
        if validation is None or best.epoch == number:
            best_weights = guard.checked_weights(number, detector)
        if stop():
            log.warning("Stopped by a signal after epoch %d.", number)
        elif best.exhausted:
            log.info(
                "Early stopping: %s has not improved by more than %g for %d epochs.",
                best.objective.key,
                best.min_delta,
                best.waited,
            )
        if replicas.any(best.exhausted) or stopped:
            break
    stopped = stopped or stop_requested()
    if best_weights is None:
        guard.checked_weights(0, detector)
        log.warning("No epoch was finished: the weights are saved as they are, and nobody knows how good they are.")
        return Outcome((), None, stopped)
    for variable, value in zip(detector.variables, best_weights, strict=True):
        variable.assign(value)
    return Outcome(tuple(history), history[best.epoch if evaluate else -1], stopped)


def _run_epoch(
    number: int,
    step: TrainingStep,
    batches: Iterator[Batch],
    schedule: Schedule,
    guard: "_Guard",
    stop_requested: Callable[[], bool],
) -> tuple[list[float], float]:
    """The loss of every step, fewer than an epoch's where a stop ended it, and images per second."""
    losses: list[float] = []
    pending: list[tf.Tensor] = []
    heartbeat = _Heartbeat(number, schedule)
    for index, batch in enumerate(itertools.islice(batches, schedule.steps_per_epoch)):
        try:
            pending.append(step(batch))
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(
                f"batch_size: a step of {schedule.batch_size} images does not fit into the device's memory; set "
                f"batch_size to {max(1, schedule.batch_size // 2)}, choose a base model with a smaller input, or an "
                "instance with more memory"
            ) from error
        last = index + 1 == schedule.steps_per_epoch or stop_requested()
        if last or len(pending) == CHECK_EVERY_STEPS or heartbeat.due():
            read = [float(loss) for loss in pending]
            pending.clear()
            guard.check(number, number * schedule.steps_per_epoch + len(losses), read)
            losses += read
            heartbeat.beat(index + 1)
        if last:
            break
    return losses, heartbeat.images_per_second(len(losses))


class _Guard:
    """Ends the job when a loss or a weight is no longer finite, or a loss has exploded."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._limit: float | None = None

    def check(self, epoch: int, first_step: int, losses: list[float]) -> None:
        """Looks at the losses of consecutive steps, the first of which is `first_step` of the whole run."""
        for step, loss in enumerate(losses, first_step):
            if self._limit is None and math.isfinite(loss):
                self._limit = EXPLOSION * max(loss, 1.0)
            if self._is_bad(loss):
                names = self._schedule.file_names(step)
                shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
                raise self._diverged(f"the loss became {loss:g} in epoch {epoch}, step {step}, on images {shown}")

    def check_validation(self, epoch: int, validation: Validation) -> None:
        """A network can blow up in inference mode alone: its moving statistics lag behind its weights."""
        for key, value in {**validation.metrics, "total_loss": validation.total_loss}.items():
            if self._is_bad(value):
                raise self._diverged(f"{key} of the validation became {value:g} after epoch {epoch}")

    def checked_weights(self, epoch: int, detector: Detector) -> list[np.ndarray]:
        """A copy of the weights. The last step's update comes after its loss, so that no loss vouches for it."""
        weights = [variable.numpy() for variable in detector.variables]
        if not all(np.isfinite(value).all() for value in weights):
            raise self._diverged(f"weights are no longer finite after epoch {epoch}")
        return weights

    def _is_bad(self, loss: float) -> bool:
        return not math.isfinite(loss) or (self._limit is not None and loss > self._limit)

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"training diverged at learning_rate {self._schedule.learning_rate:g}: {what}; expected a finite loss that "
            "falls. Lower learning_rate (a tenth is a good next try), or regularizers_l2 where it was raised, and keep "
            "beta_1, beta_2 and momentum below 1 and epsilon above 0; no model was saved"
        )


class _Heartbeat:
    """A line with speed and time left during epochs that are long enough to make a person wonder."""

    def __init__(self, epoch: int, schedule: Schedule) -> None:
        self._epoch, self._schedule = epoch, schedule
        self._start = self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= HEARTBEAT_SECONDS

    def images_per_second(self, steps: int) -> float:
        return steps * self._schedule.batch_size / max(time.monotonic() - self._start, 1e-9)

    def beat(self, steps: int) -> None:
        if not self.due():
            return
        self._last = time.monotonic()
        speed = self.images_per_second(steps)
        in_epoch = self._schedule.steps_per_epoch - steps
        in_all = self._schedule.total_steps - self._epoch * self._schedule.steps_per_epoch - steps
        log.info(
            "[Epoch %d], step %d of %d, %.1f images per second, %s left in this epoch, %s in all",
            self._epoch,
            steps,
            self._schedule.steps_per_epoch,
            speed,
            _duration(in_epoch * self._schedule.batch_size / speed),
            _duration(in_all * self._schedule.batch_size / speed),
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
