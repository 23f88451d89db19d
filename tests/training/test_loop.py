"""The loop: what it logs, when it stops, what it keeps, and how it ends a run that diverges."""

import contextlib
import itertools
import logging
import math
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import StopWhen

from sagemaker_object_detection.dataset.pipeline import Order
from sagemaker_object_detection.devices.replicas import find_replicas
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.evaluation.evaluation import CocoFigures, Evaluation
from sagemaker_object_detection.job.metrics import METRICS
from sagemaker_object_detection.job.stop import StoppedError
from sagemaker_object_detection.training import loop
from sagemaker_object_detection.training.best import Best, Objective
from sagemaker_object_detection.training.checkpoints import Checkpoints
from sagemaker_object_detection.training.divergence import DivergenceCheck
from sagemaker_object_detection.training.loop import Loop, Schedule
from sagemaker_object_detection.training.progress import Epoch, Progress, Slice, State

ALONE = find_replicas(["algo-1"], "algo-1")
BEST = Best(Objective("mAP", True), 0.0, None)


class Detector:
    """One weight, which every step raises by one."""

    def __init__(self):
        self.weight = tf.Variable(0.0)
        self.variables = [self.weight]


@dataclass
class Step:
    detector: Detector
    losses: list[float] = field(default_factory=list)
    micro_batch: int | None = None
    state: list[Any] = field(default_factory=list)

    def __call__(self, batch):
        self.detector.weight.assign_add(1.0)
        return tf.constant([self.losses[batch] if self.losses else 0.5, 0.125, 1.0, 4.0, 9.0, 16.0])

    def movement(self, before, after):
        return (float(after[0] - before[0]),)


def figures(precision: float, total_loss: float = 1.0) -> Evaluation:
    return Evaluation({"mAP": precision}, total_loss, CocoFigures({}, {}), 0)


class Kept:
    """In place of checkpoints: keeps what they would hold; one is due at the given question for it.

    taken: finished epochs, steps of the next, the weight, that of the best epoch, whether it must not be left out.
    """

    def __init__(self, due_at=math.inf):
        self.taken = []
        self.progress = None
        self._asked, self._due_at = 0, due_at

    @property
    def due(self):
        self._asked += 1
        return self._asked == self._due_at

    def can_save(self, *, last):
        self._last = last
        return True

    def save(self, state):
        self.progress = state.progress
        weights = [values and float(values[0]) for values in (state.weights, state.best_weights)]
        self.taken.append((self.progress.epoch, len(self.progress.losses), *weights, self._last))


def train(
    step,
    schedule,
    evaluate=None,
    *,
    progress=None,
    stop=lambda: False,
    batches=None,
    checkpoints=None,
    on_epoch=lambda progress: None,
    best_weights=None,
    replicas=ALONE,
    measure_start=False,
    images=2,
):
    names = [f"{letter}.jpg" for letter in "abcdefghij"[:images]]
    divergence = DivergenceCheck(0.25, Order(images, images, seed=1), names)
    checkpoints = checkpoints or Checkpoints(None, {})
    loop = Loop(
        step,
        schedule,
        divergence,
        evaluate,
        StopWhen(stop),
        replicas,
        checkpoints,
        on_epoch,
        measure_start=measure_start,
    )
    numbers: Any = itertools.count() if batches is None else batches
    progress = progress or Progress(BEST)
    return loop.run(((number,) for number in numbers), State(progress, best_weights=best_weights))


def run(
    *,
    epochs=3,
    steps=4,
    losses=(),
    validations=None,
    total_loss=1.0,
    patience=None,
    stop_after=math.inf,
    micro_batch=None,
    progress=None,
    **given,
):
    detector = Detector()
    step = Step(detector, list(losses), micro_batch)
    stop = lambda: float(detector.weight) >= stop_after  # noqa: E731
    evaluate = None
    if validations is not None:
        left = iter(validations)

        def evaluate():
            if stop():
                return None
            values = {"localization_loss": 0.25, "classification_loss": 0.5, "mAP": next(left), "mAP_50": 0.75}
            return Evaluation(values, total_loss, CocoFigures({}, {}), 0)

    progress = progress or Progress(Best(Objective("mAP", True), 0.0, patience))
    return detector, train(step, Schedule(epochs, steps, 2), evaluate, progress=progress, stop=stop, **given)


def test_the_best_epochs_weights_are_kept():
    detector, outcome = run(validations=[0.1, 0.9, 0.4])
    assert float(detector.weight) == 8.0
    assert outcome.saved.number == 1
    assert [epoch.validation.metrics["mAP"] for epoch in outcome.epochs] == [0.1, 0.9, 0.4]


def test_every_finished_epoch_is_told_and_one_that_a_stop_cut_short_is_not():
    told = []
    _, outcome = run(validations=[0.1, 0.9, 0.4], stop_after=10, on_epoch=told.append)
    assert [progress.epochs for progress in told] == [outcome.epochs[:1], outcome.epochs]


def test_without_validation_the_last_epoch_is_kept():
    detector, outcome = run()
    assert float(detector.weight) == 12.0
    assert outcome.saved.number == 2
    assert outcome.saved.validation is None


def test_several_hosts_are_asked_in_every_step_and_heard_a_step_later():
    """So that a device has its next step before anyone waits for the others."""
    events = []

    class TwoHosts:
        hosts = 2

        def any(self, flag):
            return flag

        def ask(self, flag):
            number = sum(event.startswith("ask") for event in events) + 1
            events.append(f"ask {number}")

            def answer():
                events.append(f"hear {number}")
                return flag

            return answer

    class Noted(Step):
        def __call__(self, batch):
            events.append("step")
            return super().__call__(batch)

    detector = Detector()
    train(Noted(detector), Schedule(1, 9, 2), stop=lambda: float(detector.weight) >= 2.0, replicas=TwoHosts())
    assert events == ["step", "ask 1", "step", "ask 2", "hear 1", "step", "ask 3", "hear 2"]


def test_the_log_lines_of_an_epoch(caplog):
    with caplog.at_level(logging.INFO):
        run(epochs=1, validations=[0.125], losses=[0.25, 0.75, 0.125, 0.875])
    speed, *rest = caplog.messages
    assert speed.startswith("[Epoch 0], Speed: ")
    assert speed.endswith(" samples/sec, loss=0.500000.")
    assert rest == [
        "[Epoch 0], 0.125000 of the loss is L2 regularization, 0.375000 is of the images.",
        "[Epoch 0], Val_localization=0.250000, Val_classification=0.500000",
        "[Epoch 0], Val_mAP=0.125000, Val_mAP_50=0.750000",
    ]


def test_speed_and_time_left_are_told_of_the_steps_of_this_run(caplog, monkeypatch):
    clock = SimpleNamespace(now=0.0)

    def batches():
        for number in itertools.count(1):
            clock.now += 2.0
            yield number

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(loop, "HEARTBEAT_SECONDS", 4.0)
    begun = Progress(BEST, losses=(0.5,))
    with caplog.at_level(logging.INFO):
        run(epochs=2, steps=3, progress=begun, batches=batches())
    beats = caplog.messages[::3]
    assert beats == [
        "[Epoch 0], step 3 of 3, 1.0 images per second, 0 s left in this epoch, 6 s in all",
        "[Epoch 1], step 2 of 3, 1.0 images per second, 2 s left in this epoch, 2 s in all",
    ]
    assert caplog.messages[1::3] == [f"[Epoch {n}], Speed: 1.000 samples/sec, loss=0.500000." for n in (0, 1)]
    assert not any(re.search(metric.regex, beat) for metric in METRICS for beat in beats)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3599.6, "1 h 0 min"), (9000, "2 h 30 min")]
)
def test_durations_are_told_in_two_units(seconds, text):
    assert loop._duration(seconds) == text


def test_early_stopping_ends_the_run(caplog):
    with caplog.at_level(logging.INFO):
        _, outcome = run(epochs=9, validations=[0.5, 0.4, 0.3, 0.9], patience=2)
    assert len(outcome.epochs) == 3
    assert "Early stopping: mAP has not improved by more than 0 for 2 epochs." in caplog.messages


def test_a_stop_ends_after_the_step_and_keeps_the_best_finished_epoch():
    detector, outcome = run(validations=[0.2, 0.1, 0.9], stop_after=6)
    assert float(detector.weight) == 4.0
    assert outcome.saved.number == 0


def test_a_stop_does_not_wait_for_another_validation():
    detector, outcome = run(validations=[], stop_after=4)
    assert (float(detector.weight), outcome.saved) == (4.0, None)


EPOCHS = [(1, 0, 4.0, 4.0, False), (2, 0, 8.0, 8.0, False), (3, 0, 12.0, 8.0, True)]


@pytest.mark.parametrize(
    ("due_at", "given", "taken"),
    [
        (math.inf, {}, EPOCHS),
        (math.inf, {"epochs": 9, "patience": 1}, EPOCHS),
        (6, {}, [EPOCHS[0], (1, 2, 6.0, 4.0, False), *EPOCHS[1:]]),
        (math.inf, {"stop_after": 6}, [EPOCHS[0], (1, 2, 6.0, 4.0, True)]),
        (math.inf, {"stop_after": 2}, [(0, 2, 2.0, None, True)]),
    ],
)
def test_checkpoints_are_taken_after_an_epoch_when_due_and_at_the_end(due_at, given, taken):
    kept = Kept(due_at)
    run(validations=[0.1, 0.9, 0.4], checkpoints=kept, **given)
    assert kept.taken == taken


def test_a_checkpoint_knows_the_losses_their_limit_and_the_micro_batch():
    kept = Kept()
    run(losses=[0.25, 3.0, 0.5], stop_after=3, micro_batch=2, checkpoints=kept)
    assert (kept.progress.losses, kept.progress.loss_limit, kept.progress.micro_batch) == ((0.25, 3.0, 0.5), 1e4, 2)


def test_a_stop_after_the_last_step_of_an_epoch_without_validation_keeps_the_epoch():
    detector, outcome = run(stop_after=4)
    assert float(detector.weight) == 4.0
    assert outcome.saved.number == 0


def test_a_stop_inside_the_first_epoch_keeps_the_weights_as_they_are():
    detector, outcome = run(validations=[0.2], stop_after=2)
    assert float(detector.weight) == 2.0
    assert outcome.saved is None
    assert outcome.epochs == ()


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e9])
def test_divergence_names_epoch_step_learning_rate_and_images(bad):
    with pytest.raises(UserError) as caught:
        run(losses=[0.5] * 6 + [bad] + [0.5] * 5)
    assert str(caught.value) == (
        f"training diverged at learning_rate 0.25: the loss became {bad:g} in epoch 1, step 6, on images b.jpg, "
        "a.jpg; expected a finite loss that falls. Lower learning_rate (a tenth is a good next try), or "
        "regularizers_l2 where it was raised, and keep beta_1, beta_2 and momentum below 1 and epsilon above 0, and "
        "begin with an empty checkpoint folder; no model was saved"
    )


def test_divergence_in_a_long_epoch_names_the_step_and_some_of_many_images():
    names = ", ".join(f"{'abcdefghij'[index]}.jpg" for index in Order(10, 10, seed=1).batch(22)[:8])
    with pytest.raises(UserError, match=rf"became nan in epoch 0, step 22, on images {names} and 2 more; expected"):
        run(steps=25, losses=[0.5] * 22 + [math.nan] * 3, images=10)


@pytest.mark.parametrize(
    ("limit", "losses", "diverges"),
    [
        (None, [0.001, 9999.0], False),
        (None, [0.001, 10001.0], True),
        (None, [5.0, 49999.0], False),
        (None, [5.0, 50001.0], True),
        (10.0, [5.0, 11.0], True),
    ],
)
def test_a_loss_explodes_at_ten_thousand_times_the_first_or_one(limit, losses, diverges):
    progress = Progress(BEST, loss_limit=limit)
    with pytest.raises(UserError, match="step 1, on images") if diverges else contextlib.nullcontext():
        run(epochs=1, steps=2, losses=losses, progress=progress)


def test_a_validation_without_a_finite_total_is_divergence():
    with pytest.raises(UserError, match="total_loss of the validation became inf after epoch 0; expected a finite"):
        run(validations=[0.5], total_loss=math.inf)


@pytest.mark.parametrize("bad", [math.nan, 1e9])
def test_a_validation_that_explodes_is_divergence_too(bad):
    with pytest.raises(
        UserError, match=rf"mAP of the validation became {re.escape(f'{bad:g}')} after epoch 0; expected a finite loss"
    ):
        run(validations=[bad])


@pytest.mark.parametrize("stop_after", [math.inf, 2])
def test_weights_ruined_by_an_update_that_no_loss_has_seen_are_not_saved(stop_after):
    detector = Detector()

    class Ruining(Step):
        def __call__(self, batch):
            self.detector.weight.assign_add(1.0 if batch == 0 else math.nan)
            return tf.constant([0.5] * 6)

    with pytest.raises(UserError, match=r"weights are no longer finite after epoch 0"):
        train(Ruining(detector), Schedule(1, 2, 2), stop=lambda: not detector.weight.numpy() < stop_after)


def test_a_stop_reads_the_losses_that_are_still_pending():
    with pytest.raises(UserError, match=r"the loss became nan in epoch 0, step 1"):
        run(losses=[0.5, math.nan], stop_after=2)


def test_a_stop_during_validation_keeps_the_epoch_before():
    validations = iter([0.5, None])
    stopping = []

    def evaluate():
        value = next(validations)
        if value is None:
            stopping.append(True)
            return None
        return figures(value)

    detector = Detector()
    outcome = train(Step(detector), Schedule(5, 4, 2), evaluate, stop=lambda: bool(stopping))
    assert float(detector.weight) == 4.0
    assert outcome.saved.number == 0


def checkpoints_in(folder):
    return Checkpoints(folder, {"batch_size": "2"})


def test_a_run_that_goes_on_in_the_middle_of_an_epoch_ends_as_the_whole_one(tmp_path, monkeypatch):
    monkeypatch.setattr("sagemaker_object_detection.training.checkpoints.SECONDS_BETWEEN", 0.0)
    schedule = Schedule(3, 4, 2)
    losses = [0.1 * number for number in range(12)]
    values = [0.1, 0.9, 0.4]

    def pieces(stop_after):
        """Runs until a weight, then goes on from the newest checkpoint."""
        detector = Detector()

        def evaluate():
            return figures(values[int(detector.weight) // 4 - 1])

        with checkpoints_in(tmp_path / str(stop_after)) as checkpoints:
            stored = checkpoints.newest([detector.weight])
            progress = stored.progress if stored else Progress(BEST)
            if stored:
                detector.weight.assign(stored.weights[0])
            outcome = train(
                Step(detector, losses),
                schedule,
                evaluate,
                progress=progress,
                stop=lambda: stored is None and float(detector.weight) >= stop_after,
                batches=itertools.count(progress.steps(schedule.steps_per_epoch)),
                checkpoints=checkpoints,
                best_weights=stored.best_weights if stored else None,
            )
        return float(detector.weight), outcome

    def comparable(outcome):
        return [(epoch.number, epoch.loss, epoch.validation) for epoch in outcome.epochs], outcome.saved.number

    whole = pieces(math.inf)
    for stop_after in (1, 4, 6, 8, 11):
        pieces(stop_after)
        weight, outcome = pieces(stop_after)
        assert weight == whole[0] == 8.0
        assert comparable(outcome) == comparable(whole[1])


def test_a_stop_before_the_first_step_of_a_resumed_run_keeps_the_best_weights(tmp_path):
    detector = Detector()
    best = Best(Objective("mAP", True), 0.0, None, epoch=0, value=0.5)
    progress = Progress(best, epochs=(Epoch(0, 0.5, 1.0, figures(0.5)),), losses=(0.5,))
    outcome = train(
        Step(detector),
        Schedule(3, 4, 2),
        lambda: None,
        progress=progress,
        stop=lambda: True,
        batches=itertools.count(5),
        best_weights=[np.float32(7.0)],
    )
    assert (float(detector.weight), outcome.saved.number) == (7.0, 0)


@pytest.mark.parametrize(
    ("patience", "epochs", "said"),
    [
        (None, 1, "All epochs are done (1): nothing is left to train."),
        (
            2,
            5,
            "Early stopping had ended this job after 1 epochs: nothing is left to train. To go on, raise "
            "early_stopping_patience or turn early_stopping off.",
        ),
    ],
)
def test_a_finished_training_says_why_it_does_not_go_on(caplog, patience, epochs, said):
    best = Best(Objective("mAP", True), 0.0, patience, epoch=0, value=0.5, waited=2)
    progress = Progress(best, epochs=(Epoch(0, 0.5, 1.0, figures(0.5)),))
    detector = Detector()
    with caplog.at_level(logging.INFO):
        outcome = train(
            Step(detector),
            Schedule(epochs, 4, 2),
            lambda: None,
            progress=progress,
            batches=iter(()),
            best_weights=[np.float32(7.0)],
        )
    assert caplog.messages == [said]
    assert (float(detector.weight), outcome.saved.number) == (7.0, 0)


def test_gradients_and_movement_of_an_epoch_are_kept_whatever_interrupts_it():
    def kept(progress=None, batches=None):
        _, outcome = run(epochs=1, steps=50, progress=progress, batches=batches)
        return outcome.epochs[0]

    whole = kept()
    assert [one.steps for one in whole.slices] == [3, 2] * 10
    assert whole.slices[0] == Slice(3, 0.375, (3.0, 6.0, 9.0, 12.0))  # the roots of what the step tells, summed
    assert (whole.regularization, whole.gradients, whole.movement) == (0.125, (1.0, 2.0, 3.0, 4.0), (50.0,))
    begun = Progress(
        Best(Objective("mAP", True), 0.0, None),
        losses=(0.5,) * 4,
        slices=(whole.slices[0], Slice(1, 0.125, (1.0, 2.0, 3.0, 4.0))),
    )
    resumed = kept(begun)
    assert (resumed.slices, resumed.movement) == (whole.slices, ())
    of_an_older_version = kept(Progress(begun.best, losses=(0.5,) * 4))
    assert (of_an_older_version.regularization, len(of_an_older_version.slices)) == (0.125, 19)


def test_the_start_is_measured_once():
    values, told = iter([0.25, 0.5]), []
    evaluate = lambda: figures(next(values))  # noqa: E731
    outcome = train(Step(Detector()), Schedule(1, 1, 2), evaluate, measure_start=True, on_epoch=told.append)
    assert (outcome.start, outcome.saved.validation) == (figures(0.25), figures(0.5))
    assert told[0].start == outcome.start


def test_an_older_versions_epoch_that_only_lacks_its_validation_goes_on():
    losses = Progress(BEST, losses=(0.5,) * 4)
    _, outcome = run(epochs=1, validations=[0.25], progress=losses)
    assert (outcome.saved.loss, outcome.saved.regularization) == (0.5, None)


def test_a_stop_while_the_start_is_measured_leaves_nothing():
    stopping = []

    def evaluate():
        stopping.append(True)
        return

    with pytest.raises(StoppedError):
        train(Step(Detector()), Schedule(1, 1, 2), evaluate, stop=lambda: bool(stopping), measure_start=True)


def test_weights_that_are_not_finite_end_the_job_before_the_first_step():
    with pytest.raises(UserError, match="total_loss of the validation became nan before the first step"):
        train(Step(Detector()), Schedule(1, 1, 2), lambda: figures(0.5, math.nan), measure_start=True)
