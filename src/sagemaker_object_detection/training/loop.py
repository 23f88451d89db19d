"""The training loop: epochs of compiled steps, a validation after each, the best epoch's weights at the end."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.devices.replicas import Replicas
from sagemaker_object_detection.evaluation.evaluation import Evaluation
from sagemaker_object_detection.job import metrics
from sagemaker_object_detection.job.stop import StoppedError, StopSignal
from sagemaker_object_detection.step.readings import Reading
from sagemaker_object_detection.step.training_step import TrainingStep
from sagemaker_object_detection.training.checkpoints import Checkpoints
from sagemaker_object_detection.training.divergence import DivergenceCheck
from sagemaker_object_detection.training.progress import Epoch, Progress, Slice, State, mean_regularization

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 60.0
CHECK_EVERY_STEPS = 20
"""How many steps may be under way before their losses are read: reading waits for the device."""
SLICES = 20
"""An epoch's gradients are told in so many parts."""


@dataclass(frozen=True)
class Schedule:
    """How long to train."""

    epochs: int
    steps_per_epoch: int
    batch_size: int

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


class Loop:
    """Trains a detector, from its first step or from where a checkpoint was taken.

    With several hosts only the chief is given `evaluate` and a folder for checkpoints; it decides for all of them when
    to end, and a stop of any host stops all.

    Args:
        step: of the detector.
        evaluate: validates the detector's present weights; returns None when a stop cut it short. Without it every
            epoch counts as better than the one before.
        stop: once it is requested the step under way ends, and what the validated epochs brought is kept; before the
            first of them, the weights as they are.
        checkpoints: where the state is kept, after every epoch, every few minutes, and when a stop ends the run.
        on_epoch: told how far things are after every epoch; it must not raise.
        measure_start: whether the weights are validated before the first step, as what later ones are held against.
    """

    def __init__(
        self,
        step: TrainingStep,
        schedule: Schedule,
        divergence: DivergenceCheck,
        evaluate: Callable[[], Evaluation | None] | None,
        stop: StopSignal,
        replicas: Replicas,
        checkpoints: Checkpoints,
        on_epoch: Callable[[Progress], None],
        *,
        measure_start: bool,
    ) -> None:
        self._step = step
        self._schedule = schedule
        self._divergence = divergence
        self._evaluate = evaluate
        self._stop = _SharedStop(stop, replicas)
        self._replicas = replicas
        self._checkpoints = checkpoints
        self._on_epoch = on_epoch
        self._measure_start = measure_start

    def run(self, batches: Iterator[tuple[Batch, ...]], state: State) -> Progress:
        """Trains to the end and leaves the best epoch's weights in the detector; on other hosts than the chief the
        last epoch's.

        Args:
            batches: what the step takes, from the one on that `state` leads to.
            state: what the step holds.

        Raises:
            UserError: the loss or the weights are not finite, or the loss explodes; names epoch, step, learning rate
                and images. Or: a step does not fit into the device's memory.
            StoppedError: a stop came before the first step, while the weights were measured.
        """
        self._progress, self._best_weights = state.progress, state.best_weights
        if self._finished:
            self._say_why_finished()
        elif self._measure_start and not self._progress.begun:
            self._measure()
        before = None if self._progress.losses else self._values()
        while not self._replicas.any(self._finished):
            if self._stop.agreed():
                log.warning("Stopped by a signal before another step.")
                break
            number = self._progress.epoch
            speed = self._take_steps(batches)
            complete = len(self._progress.losses) == self._schedule.steps_per_epoch
            evaluation = self._validate(speed) if complete else None
            weights = self._weights()
            if self._replicas.any(not complete or (self._evaluate is not None and evaluation is None)):
                self._save(weights, last=True)
                steps = len(self._progress.losses)
                log.warning("Stopped by a signal in epoch %d, after %d of its steps.", number, steps)
                break
            self._finish_epoch(speed, evaluation, weights, before)
            before, stopped = weights, self._stop.agreed()
            self._save(weights, last=stopped or self._finished)
            self._on_epoch(self._progress)
            if stopped:
                log.warning("Stopped by a signal after epoch %d.", number)
                break
        if self._best_weights is not None:
            for variable, value in zip(self._step.detector.variables, self._best_weights, strict=True):
                variable.assign(value)
        elif not self._progress.epochs:
            log.warning("No epoch was finished: the weights are as they are, and nobody knows how good they are.")
        return self._progress

    @property
    def _finished(self) -> bool:
        return self._progress.finished(self._schedule.epochs)

    def _say_why_finished(self) -> None:
        if self._progress.epoch >= self._schedule.epochs:
            log.info("All epochs are done (%d): nothing is left to train.", self._schedule.epochs)
        else:
            log.info(
                "Early stopping had ended this job after %d epochs: nothing is left to train. To go on, raise "
                "early_stopping_patience or turn early_stopping off.",
                self._progress.epoch,
            )

    def _measure(self) -> None:
        """Finds out what the weights are worth that training starts from, on the host that validates."""
        if self._evaluate is not None:
            log.info("Before the first step the weights are validated as they are, for later ones to be held against.")
            start = self._evaluate()
            if start is not None:
                self._divergence.check_validation(start, self._progress.loss_limit, "before the first step")
            self._progress = replace(self._progress, start=start)
        if self._stop.agreed():
            raise StoppedError

    def _take_steps(self, batches: Iterator[tuple[Batch, ...]]) -> float:
        """Takes the rest of the epoch's steps, or of it what a stop leaves; returns images per second."""
        progress, schedule = self._progress, self._schedule
        first, taken = progress.steps(schedule.steps_per_epoch), len(progress.losses)
        pending: list[tf.Tensor] = []
        heartbeat = _Heartbeat(progress.epoch, taken, schedule)
        for index, parts in enumerate(itertools.islice(batches, schedule.steps_per_epoch - taken), taken + 1):
            pending.append(self._step(*parts))
            last = index == schedule.steps_per_epoch or self._stop.agreed_soon()
            save = self._checkpoints.due and not last
            if last or save or len(pending) == CHECK_EVERY_STEPS or heartbeat.due():
                self._read(pending, first + index - taken - len(pending))
                pending.clear()
                heartbeat.beat(index)
            if save:
                self._save(self._weights())
            if last:
                break
        return heartbeat.images_per_second(len(self._progress.losses))

    def _read(self, pending: Sequence[tf.Tensor], step: int) -> None:
        """Adds what these steps tell, the first of which is `step` of the whole run, to the progress."""
        progress, readings = self._progress, [Reading.of(vector) for vector in pending]
        losses = [reading.loss for reading in readings]
        self._progress = replace(
            progress,
            loss_limit=self._divergence.check_losses(losses, progress.loss_limit, epoch=progress.epoch, step=step),
            losses=(*progress.losses, *losses),
            slices=self._sliced(progress.slices, readings, len(progress.losses)),
            micro_batch=self._step.micro_batch,
        )

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

    def _validate(self, speed: float) -> Evaluation | None:
        """Says what the epoch's steps came to, and validates; None where nothing does, or a stop cut it short."""
        progress, loss = self._progress, float(np.mean(self._progress.losses))
        log.info(metrics.training_line(progress.epoch, speed, loss))
        if progress.slices:  # of an older version's epoch there are none
            of_l2 = mean_regularization(progress.slices)
            text = "[Epoch %d], %.6f of the loss is L2 regularization, %.6f is of the images."
            log.info(text, progress.epoch, of_l2, loss - of_l2)
        evaluation = self._evaluate() if self._evaluate else None
        if evaluation is not None:
            self._divergence.check_validation(evaluation, progress.loss_limit, f"after epoch {progress.epoch}")
            for line in metrics.validation_lines(progress.epoch, evaluation.metrics):
                log.info(line)
        return evaluation

    def _finish_epoch(
        self,
        speed: float,
        evaluation: Evaluation | None,
        weights: Sequence[np.ndarray],
        before: Sequence[np.ndarray] | None,
    ) -> None:
        progress = self._progress
        best = progress.best.seen(progress.epoch, evaluation) if evaluation is not None else progress.best
        movement = self._step.movement(before, weights) if before is not None else ()
        loss = float(np.mean(progress.losses))
        epoch = Epoch(progress.epoch, loss, speed, evaluation, progress.slices, movement)
        if evaluation is None or best.epoch == epoch.number:
            self._best_weights = weights
        self._progress = replace(progress, best=best, epochs=(*progress.epochs, epoch), losses=(), slices=())
        if best.exhausted:
            text = "Early stopping: %s has not improved by more than %g for %d epochs."
            log.info(text, best.objective.key, best.min_delta, best.waited)

    def _values(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self._step.detector.variables]

    def _weights(self) -> list[np.ndarray]:
        weights = self._values()
        self._divergence.check_weights(weights, epoch=self._progress.epoch)
        return weights

    def _save(self, weights: Sequence[np.ndarray], *, last: bool = False) -> None:
        if self._checkpoints.can_save(last=last):
            self._checkpoints.save(State(self._progress, weights, self._step.state, self._best_weights))


class _SharedStop:
    """Whether any host is to stop: asked by all of them at the same points, and never unsaid."""

    def __init__(self, stop: StopSignal, replicas: Replicas) -> None:
        self._stop, self._replicas = stop, replicas
        self._agreed = False
        self._asked: Callable[[], bool] = lambda: False

    def agreed(self) -> bool:
        self._agreed = self._agreed or self._replicas.any(self._stop.requested)
        return self._agreed

    def agreed_soon(self) -> bool:
        """In the middle of an epoch: the answer is that to what was asked a step ago, so that a device of several hosts
        has its next step before anyone waits for this one."""
        if self._replicas.hosts == 1:
            return self.agreed()
        earlier, self._asked = self._asked, self._replicas.ask(self._stop.requested)
        self._agreed = self._agreed or earlier()
        return self._agreed


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
