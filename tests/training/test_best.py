"""Which epoch is saved, and when early stopping ends the wait."""

import logging

import pytest

from sagemaker_object_detection.evaluation.evaluation import CocoFigures, Evaluation
from sagemaker_object_detection.training.best import TOTAL_LOSS, Best, Objective, choose_objective


def figures(total_loss: float, **metrics: float) -> Evaluation:
    return Evaluation(metrics, total_loss, CocoFigures({}, {}), 0)


def best_of(values, *, maximize=True, min_delta=0.0, patience=None, losses=None):
    best = Best(Objective("mAP", maximize), min_delta, patience)
    history = []
    for epoch, value in enumerate(values):
        best = best.seen(epoch, figures(losses[epoch] if losses else 1.0, mAP=value))
        history.append(best)
    return history


def test_the_highest_map_wins():
    assert best_of([0.1, 0.5, 0.3])[-1].epoch == 1


def test_the_lowest_loss_wins_where_the_objective_is_minimized():
    assert best_of([0.9, 0.2, 0.4], maximize=False)[-1].epoch == 1


def test_a_tie_goes_to_the_lower_total_loss():
    assert best_of([0.5, 0.5, 0.5], losses=[3.0, 1.0, 2.0])[-1].epoch == 1


def test_a_full_tie_stays_with_the_first():
    assert best_of([0.5, 0.5])[-1].epoch == 0


def test_patience_counts_epochs_without_improvement():
    history = best_of([0.5, 0.4, 0.3, 0.6, 0.6, 0.6], patience=2)
    assert [best.exhausted for best in history] == [False, False, True, False, False, True]


def test_an_improvement_within_min_delta_is_saved_but_does_not_reset_the_wait():
    history = best_of([0.50, 0.52, 0.54, 0.56], min_delta=0.05, patience=3)
    assert [best.waited for best in history] == [0, 1, 2, 0]
    assert history[2].epoch == 2


def test_without_patience_training_is_never_ended():
    assert not best_of([0.5] * 50)[-1].exhausted


def test_total_loss_is_an_objective_of_its_own():
    best = Best(Objective(TOTAL_LOSS, False), 0.0, None)
    for epoch, loss in enumerate([2.0, 1.0, 3.0]):
        best = best.seen(epoch, figures(loss))
    assert (best.epoch, best.value) == (1, 1.0)


@pytest.mark.parametrize(
    ("setting", "tuner", "has_boxes", "expected"),
    [
        ("Auto", None, True, Objective("mAP", True)),
        ("Auto", "validation:localization_loss", True, Objective("localization_loss", False)),
        ("Auto", "validation:mAP_50", True, Objective("mAP_50", True)),
        ("Auto", "accuracy", True, Objective("mAP", True)),
        ("Auto", "train:loss", True, Objective("mAP", True)),
        ("Auto", None, False, Objective(TOTAL_LOSS, False)),
        ("mAP", None, False, Objective(TOTAL_LOSS, False)),
        ("localization_loss", "validation:mAP", True, Objective("localization_loss", False)),
        ("total_loss", None, True, Objective(TOTAL_LOSS, False)),
    ],
)
def test_objective(setting, tuner, has_boxes, expected):
    assert choose_objective(setting, tuner, has_boxes) == expected


def test_an_unknown_tuning_metric_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        choose_objective("Auto", "accuracy", True)
    assert caplog.messages == ["The tuning job ranks by 'accuracy', which no validation gives: using mAP."]
