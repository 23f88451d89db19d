"""The training loop: epochs of compiled steps, a validation after each, the best epoch's weights at the end."""

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job import metrics
from sagemaker_object_detection.job.stop import StoppedError
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.training.best import Validation
from sagemaker_object_detection.training.checkpoints import Checkpoint, Checkpoints
from sagemaker_object_detection.training.progress import Epoch, Progress, Slice, mean_regularization
from sagemaker_object_detection.training.readings import Reading
from sagemaker_object_detection.training.replicas import Replicas
from sagemaker_object_detection.training.step import TrainingStep

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 60.0
CHECK_EVERY_STEPS = 20
"""How many steps may be under way before their losses are read: reading waits for the device."""
SLICES = 20
"""An epoch's gradients are told in so many parts."""
EXPLOSION = 1e4
"""A loss this many times the first step's never recovered in our runs; the built-in trained on with 942796.3."""


V = TypeVar("V", bound=Validation)


@dataclass(frozen=True)
class Outcome(Generic[V]):
    """The detector now holds the weights of epoch `saved`; None: those of a first epoch that a stop cut short."""

    epochs: tuple[Epoch[V], ...]
    saved: Epoch[V] | None
    stopped: bool
    start: V | None = None
    """As in `Progress`."""


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


class Loop(Generic[V]):
    """Trains a detector, from its first step or from where a checkpoint was taken.

    With several hosts only the chief is given `evaluate` and a folder for checkpoints; it decides for all of them when
    to end, and a stop of any host stops all.

    Args:
        evaluate: validates the detector's present weights; returns None when a stop cut it short. Without it every
            epoch counts as better than the one before.
        stop_requested: once it is true the step under way ends, and what the validated epochs brought is kept; before
            the first of them, the weights as they are.
        checkpoints: where the progress is kept, after every epoch, every few minutes, and when a stop ends the run.
        on_epoch: told how far things are after every epoch; it must not raise.
        measure_start: whether the weights are validated before the first step, as what later ones are held against.
    """

    def __init__(
        self,
        detector: Detector,
        step: TrainingStep,
        schedule: Schedule,
        evaluate: Callable[[], V | None] | None,
        stop_requested: Callable[[], bool],
        replicas: Replicas,
        checkpoints: Checkpoints[V],
        on_epoch: Callable[[Progress[V]], None] = lambda progress: None,
        *,
        measure_start: bool = False,
    ) -> None:
        self._detector = detector
        self._step = step
        self._schedule = schedule
        self._evaluate = evaluate
        self._stop_requested = stop_requested
        self._replicas = replicas
        self._checkpoints = checkpoints
        self._on_epoch = on_epoch
        self._measure_start = measure_start
        self._stopped = False
        self._asked: Callable[[], bool] = lambda: False

    def run(
        self,
        batches: Iterator[tuple[Batch, ...]],
        progress: Progress[V],
        best_weights: Sequence[np.ndarray] | None = None,
    ) -> Outcome[V]:
        """Trains to the end and leaves the best epoch's weights in the detector; on other hosts than the chief the
        last epoch's.

        Args:
            batches: what the step takes, from the one on that `progress` leads to.
            progress: how far the detector's weights have come.
            best_weights: those of the best epoch of `progress`.

        Raises:
            UserError: the loss or the weights are not finite, or the loss explodes; names epoch, step, learning rate
                and images. Or: a step does not fit into the device's memory.
            StoppedError: a stop came before the first step, while the weights were measured.
        """
        schedule = self._schedule
        guard = _Guard(schedule, progress.loss_limit)
        if progress.finished(schedule.epochs):
            self._say_why_finished(progress)
        if self._measure_start and not progress.begun:
            progress = replace(progress, start=self._start(guard))
            if self._stop():
                raise StoppedError
        begin = None if progress.losses else self._values()
        while not self._replicas.any(progress.finished(schedule.epochs)):
            if self._stop():
                log.warning("Stopped by a signal before another step.")
                break
            number, validation = progress.epoch, None
            progress, speed = self._run_epoch(batches, progress, best_weights, guard)
            complete = len(progress.losses) == schedule.steps_per_epoch
            loss = float(np.mean(progress.losses)) if progress.losses else math.nan
            if complete:
                log.info(metrics.training_line(number, speed, loss))
                if progress.slices:  # of an older version's epoch there are none
                    of_l2 = mean_regularization(progress.slices)
                    log.info(
                        "[Epoch %d], %.6f of the loss is L2 regularization, %.6f is of the images.",
                        number,
                        of_l2,
                        loss - of_l2,
                    )
                validation = self._evaluate() if self._evaluate and not self._stop_requested() else None
            if self._replicas.any(not complete or (self._evaluate is not None and validation is None)):
                self._stopped = True
                self._save(progress, self._weights(guard, number), best_weights, last=True)
                log.warning("Stopped by a signal in epoch %d, after %d of its steps.", number, len(progress.losses))
                break
            best = progress.best
            if validation is not None:
                guard.check_validation(number, validation)
                for line in metrics.validation_lines(number, validation.metrics):
                    log.info(line)
                best = best.seen(number, validation)
            weights = self._weights(guard, number)
            movement = self._step.movement(begin, weights) if begin is not None else ()
            epochs = (*progress.epochs, Epoch(number, loss, speed, validation, progress.slices, movement))
            progress, begin = replace(progress, best=best, epochs=epochs, losses=(), slices=()), weights
            if validation is None or best.epoch == number:
                best_weights = weights
            stopped = self._stop()
            self._save(progress, weights, best_weights, last=stopped or progress.finished(schedule.epochs))
            self._on_epoch(progress)
            if stopped:
                log.warning("Stopped by a signal after epoch %d.", number)
                break
            if best.exhausted:
                log.info(
                    "Early stopping: %s has not improved by more than %g for %d epochs.",
                    best.objective.key,
                    best.min_delta,
                    best.waited,
                )
        stopped = self._stopped or self._stop_requested()
        if best_weights is None:
            log.warning("No epoch was finished: the weights are as they are, and nobody knows how good they are.")
            return Outcome((), None, stopped)
        for variable, value in zip(self._detector.variables, best_weights, strict=True):
            variable.assign(value)
        saved = progress.epochs[progress.best.epoch if self._evaluate else -1]
        return Outcome(progress.epochs, saved, stopped, progress.start)

    def _start(self, guard: "_Guard") -> V | None:
        """What the weights are worth that training starts from, on the host that validates."""
        if self._evaluate is None:
            return None
        log.info("Before the first step the weights are validated as they are, for later ones to be held against.")
        start = self._evaluate()
        if start is not None:
            guard.check_validation(None, start)
        return start

    def _say_why_finished(self, progress: Progress[V]) -> None:
        if progress.epoch >= self._schedule.epochs:
            log.info("All %d epochs are done: nothing is left to train.", self._schedule.epochs)
        else:
            log.info(
                "Early stopping had ended this job after %d epochs: nothing is left to train. To go on, raise "
                "early_stopping_patience or turn early_stopping off.",
                progress.epoch,
            )

    def _run_epoch(
        self,
        batches: Iterator[tuple[Batch, ...]],
        progress: Progress[V],
        best_weights: Sequence[np.ndarray] | None,
        guard: "_Guard",
    ) -> tuple[Progress[V], float]:
        """The rest of the epoch under way, or of it what a stop left, and images per second."""
        number, schedule = progress.epoch, self._schedule
        first, taken = progress.steps(schedule.steps_per_epoch), len(progress.losses)
        pending: list[tf.Tensor] = []
        heartbeat = _Heartbeat(number, taken, schedule)
        for index, parts in enumerate(itertools.islice(batches, schedule.steps_per_epoch - taken), taken + 1):
            pending.append(self._step(*parts))
            last = index == schedule.steps_per_epoch or self._stop_soon()
            save = self._checkpoints.due and not last
            if last or save or len(pending) == CHECK_EVERY_STEPS or heartbeat.due():
                readings = [Reading.of(vector) for vector in pending]
                read = [reading.loss for reading in readings]
                guard.check(number, first, read)
                slices = self._sliced(progress.slices, readings, len(progress.losses))
                first += len(read)
                pending.clear()
                progress = replace(
                    progress,
                    losses=(*progress.losses, *read),
                    slices=slices,
                    loss_limit=guard.limit,
                    micro_batch=self._step.micro_batch,
                )
                heartbeat.beat(index)
            if save:
                self._save(progress, self._weights(guard, number), best_weights)
            if last:
                break
        return progress, heartbeat.images_per_second(len(progress.losses))

    def _stop(self) -> bool:
        """Whether any host is to stop: asked by all of them at the same points, and never unsaid."""
        self._stopped = self._stopped or self._replicas.any(self._stop_requested())
        return self._stopped

    def _stop_soon(self) -> bool:
        """As `_stop`, in the middle of an epoch: the answer is that to what was asked a step ago, so that a device of
        several hosts has its next step before anyone waits for this one."""
        if self._replicas.hosts == 1:
            return self._stop()
        earlier, self._asked = self._asked, self._replicas.ask(self._stop_requested())
        self._stopped = self._stopped or earlier()
        return self._stopped

    def _values(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self._detector.variables]

    def _weights(self, guard: "_Guard", epoch: int) -> list[np.ndarray]:
        return guard.checked(epoch, self._values())

    def _sliced(self, slices: tuple[Slice, ...], readings: Sequence[Reading], taken: int) -> tuple[Slice, ...]:
        """`slices` of an epoch of which `taken` steps were taken before these."""
        found, steps = list(slices), self._schedule.steps_per_epoch
        for place, reading in enumerate(readings, taken):
            one = Slice(1, reading.regularization, reading.gradients)
            # An epoch of few steps has one for each; one that is taken up from an older checkpoint begins late.
            if not found or place * SLICES // steps > (place - 1) * SLICES // steps:
                found.append(one)
            else:
                found[-1] += one
        return tuple(found)

    def _save(
        self,
        progress: Progress[V],
        weights: list[np.ndarray],
        best_weights: Sequence[np.ndarray] | None,
        *,
        last: bool = False,
    ) -> None:
        self._checkpoints.save(lambda: Checkpoint(progress, weights, self._step.state, best_weights), last=last)


class _Guard:
    """Ends the job when a loss or a weight is no longer finite, or a loss has exploded."""

    def __init__(self, schedule: Schedule, limit: float | None) -> None:
        self._schedule = schedule
        self.limit = limit
        """A loss above it has exploded; None before the first."""

    def check(self, epoch: int, first_step: int, losses: list[float]) -> None:
        """Looks at the losses of consecutive steps, the first of which is `first_step` of the whole run."""
        for step, loss in enumerate(losses, first_step):
            if self.limit is None and math.isfinite(loss):
                self.limit = EXPLOSION * max(loss, 1.0)
            if self._is_bad(loss):
                names = self._schedule.file_names(step)
                shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
                raise self._diverged(f"the loss became {loss:g} in epoch {epoch}, step {step}, on images {shown}")

    def check_validation(self, epoch: int | None, validation: Validation) -> None:
        """A network can blow up in inference mode alone: its moving statistics lag behind its weights.

        Args:
            epoch: None before the first.
        """
        when = "before the first step" if epoch is None else f"after epoch {epoch}"
        for key, value in {**validation.metrics, "total_loss": validation.total_loss}.items():
            if self._is_bad(value):
                raise self._diverged(f"{key} of the validation became {value:g} {when}")

    def checked(self, epoch: int, weights: list[np.ndarray]) -> list[np.ndarray]:
        """The weights. The last step's update comes after its loss, so that no loss vouches for it."""
        if not all(np.isfinite(value).all() for value in weights):
            raise self._diverged(f"weights are no longer finite after epoch {epoch}")
        return weights

    def _is_bad(self, loss: float) -> bool:
        return not math.isfinite(loss) or (self.limit is not None and loss > self.limit)

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"training diverged at learning_rate {self._schedule.learning_rate:g}: {what}; expected a finite loss that "
            "falls. Lower learning_rate (a tenth is a good next try), or regularizers_l2 where it was raised, and keep "
            "beta_1, beta_2 and momentum below 1 and epsilon above 0, and begin with an empty checkpoint folder; no "
            "model was saved"
        )


class _Heartbeat:
    """A line with speed and time left during epochs that are long enough to make a person wonder."""

    def __init__(self, epoch: int, taken: int, schedule: Schedule) -> None:
        self._epoch, self._taken, self._schedule = epoch, taken, schedule
        self._start = self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= HEARTBEAT_SECONDS

    def images_per_second(self, steps: int) -> float:
        """Of this process; `steps` counts those before it too."""
        return (steps - self._taken) * self._schedule.batch_size / max(time.monotonic() - self._start, 1e-9)

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
