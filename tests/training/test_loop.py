"""The loop: what it logs, when it stops, what it keeps, and how it ends a run that diverges."""

import itertools
import logging
import math
import re
from dataclasses import dataclass, field

import pytest
import tensorflow as tf

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.metrics import METRICS
from sagemaker_object_detection.training import loop
from sagemaker_object_detection.training.best import Best, Objective
from sagemaker_object_detection.training.loop import Schedule, fit
from sagemaker_object_detection.training.replicas import find_replicas

ALONE = find_replicas(["algo-1"], "algo-1")


class Detector:
    """One weight, which every step raises by one."""

    def __init__(self):
        self.weight = tf.Variable(0.0)
        self.variables = [self.weight]


@dataclass
class Step:
    detector: Detector
    losses: list[float] = field(default_factory=list)

    def __call__(self, batch):
        self.detector.weight.assign_add(1.0)
        return tf.constant(self.losses[batch] if self.losses else 0.5)


@dataclass(frozen=True)
class Figures:
    metrics: dict[str, float]
    total_loss: float = 1.0


def run(*, epochs=3, steps=4, losses=(), validations=None, patience=None, stop_after=math.inf):
    detector = Detector()
    step = Step(detector, list(losses))
    schedule = Schedule(epochs, steps, 2, 0.25, lambda number: [f"{number}-a.jpg", f"{number}-b.jpg"])
    evaluate = None
    if validations is not None:
        left = iter(validations)

        def evaluate():
            return Figures({"localization_loss": 0.25, "classification_loss": 0.5, "mAP": next(left), "mAP_50": 0.75})

    best = Best(Objective("mAP", True), 0.0, patience)
    outcome = fit(
        detector, step, itertools.count(), schedule, evaluate, best, lambda: float(detector.weight) >= stop_after, ALONE
    )
    return detector, outcome


def test_the_best_epochs_weights_are_kept():
    detector, outcome = run(validations=[0.1, 0.9, 0.4])
    assert float(detector.weight) == 8.0
    assert outcome.saved.number == 1
    assert [epoch.validation.metrics["mAP"] for epoch in outcome.epochs] == [0.1, 0.9, 0.4]
    assert not outcome.stopped


def test_without_validation_the_last_epoch_is_kept():
    detector, outcome = run()
    assert float(detector.weight) == 12.0
    assert outcome.saved.number == 2
    assert outcome.saved.validation is None


def test_the_log_lines_of_an_epoch(caplog):
    with caplog.at_level(logging.INFO):
        run(epochs=1, validations=[0.125])
    speed, *rest = caplog.messages
    assert speed.startswith("[Epoch 0], Speed: ")
    assert speed.endswith(" samples/sec, loss=0.500000.")
    assert rest == [
        "[Epoch 0], Val_localization=0.250000, Val_classification=0.500000",
        "[Epoch 0], Val_mAP=0.125000, Val_mAP_50=0.750000",
    ]


def test_a_long_epoch_has_a_heartbeat_that_no_metric_regex_reads(caplog, monkeypatch):
    monkeypatch.setattr(loop, "HEARTBEAT_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        run(epochs=2, steps=3)
    beats = [message for message in caplog.messages if ", step " in message]
    assert len(beats) == 6
    assert re.fullmatch(
        r"\[Epoch 0\], step 2 of 3, [\d.]+ images per second, \d+ s left in this epoch, \d+ s in all", beats[1]
    )
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
    assert outcome.stopped


def test_a_stop_after_the_last_step_of_an_epoch_without_validation_keeps_the_epoch():
    detector, outcome = run(stop_after=4)
    assert float(detector.weight) == 4.0
    assert outcome.saved.number == 0
    assert outcome.stopped


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
        f"training diverged at learning_rate 0.25: the loss became {bad:g} in epoch 1, step 6, on images 6-a.jpg, "
        "6-b.jpg; expected a finite loss that falls. Lower learning_rate (a tenth is a good next try), or "
        "regularizers_l2 where it was raised, and keep beta_1, beta_2 and momentum below 1 and epsilon above 0; no "
        "model was saved"
    )


@pytest.mark.parametrize("bad", [math.nan, 1e9])
def test_a_validation_that_explodes_is_divergence_too(bad):
    with pytest.raises(
        UserError, match=rf"mAP of the validation became {re.escape(f'{bad:g}')} after epoch 0; expected a finite loss"
    ):
        run(validations=[bad])


@pytest.mark.parametrize("stop_after", [math.inf, 2])
def test_weights_ruined_by_an_update_that_no_loss_has_seen_are_not_saved(stop_after):
    detector = Detector()
    schedule = Schedule(1, 2, 2, 0.25, lambda number: ["a.jpg"])

    def step(batch):
        detector.weight.assign_add(1.0 if batch == 0 else math.nan)
        return tf.constant(0.5)

    steps = iter(range(5))
    best = Best(Objective("mAP", True), 0.0, None)
    with pytest.raises(UserError, match=r"weights are no longer finite after epoch 0"):
        fit(detector, step, steps, schedule, None, best, lambda: not detector.weight.numpy() < stop_after, ALONE)


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
        return Figures({"mAP": value})

    detector = Detector()
    schedule = Schedule(5, 4, 2, 0.25, lambda number: [])
    best = Best(Objective("mAP", True), 0.0, None)
    outcome = fit(detector, Step(detector), itertools.count(), schedule, evaluate, best, lambda: bool(stopping), ALONE)
    assert float(detector.weight) == 4.0
    assert outcome.saved.number == 0
    assert outcome.stopped


def test_a_step_that_does_not_fit_into_memory_names_the_next_batch_size_to_try():
    def step(batch):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    schedule = Schedule(1, 2, 12, 0.25, lambda number: [])
    with pytest.raises(UserError) as caught:
        fit(
            Detector(),
            step,
            itertools.count(),
            schedule,
            None,
            Best(Objective("mAP", True), 0.0, None),
            lambda: False,
            ALONE,
        )
    assert str(caught.value) == (
        "batch_size: a step of 12 images does not fit into the device's memory; set batch_size to 6, choose a base "
        "model with a smaller input, or an instance with more memory"
    )
