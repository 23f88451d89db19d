"""The loop: what it logs, when it stops, what it keeps, and how it ends a run that diverges."""

import itertools
import logging
import math
from dataclasses import dataclass, field

import pytest
import tensorflow as tf

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.training.best import Best, Objective
from sagemaker_object_detection.training.loop import Schedule, fit


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
        detector, step, itertools.count(), schedule, evaluate, best, lambda: float(detector.weight) >= stop_after
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
        "regularizers_l2 where it was raised; no model was saved"
    )


def test_a_validation_that_is_not_finite_is_divergence_too():
    with pytest.raises(UserError, match=r"mAP of the validation became nan after epoch 0; expected a finite loss"):
        run(validations=[math.nan])
