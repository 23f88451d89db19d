"""Signs of a collapse: what is measured of a network, and what is said of it."""

from typing import Any

import numpy as np
import pytest
from tiny_models import TINY, TINY_PADDED
from training_steps import calibrated

from sagemaker_object_detection.evaluation import verdict
from sagemaker_object_detection.evaluation.collapse import Channels, Spread
from sagemaker_object_detection.evaluation.evaluation import CocoFigures, Evaluation
from sagemaker_object_detection.hyperparameters.read import read


def dead(detector, *batches):
    """Of the share of dead channels, seen over all of these batches."""
    channels = Channels(detector)
    extremes = [channels(batch)[1].numpy() for batch in batches]
    return channels.dead(np.stack([np.min([low for low, _ in extremes], 0), np.max([high for _, high in extremes], 0)]))


def test_a_channel_that_a_kernel_has_killed_is_counted():
    detector = calibrated(TINY)
    norm = detector.backbone.get_layer("level_1_norm")
    images = np.random.default_rng(0).normal(size=(3, 64, 64, 3)).astype(np.float32)
    alive = dead(detector, images)
    norm.beta.assign(np.where(np.arange(8) < 2, -1000.0, 0.0))
    assert alive == 0.0
    assert dead(detector, images) == pytest.approx(2 / (8 + 8 + 16 + 16 + 32))


def test_a_channel_that_lives_in_one_image_lives():
    blank = np.zeros((1, 64, 64, 3), np.float32)
    noisy = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    assert dead(calibrated(TINY), noisy, blank) == 0.0


@pytest.mark.parametrize("base", [TINY, TINY_PADDED])
def test_an_observed_backbone_predicts_what_it_would_unobserved(base):
    detector = calibrated(base)
    side = base.input_size
    images = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    maps, extremes = Channels(detector)(images)
    for found, expected in zip(detector.after_backbone(maps), detector(images, training=False), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (extremes.numpy()[0] <= extremes.numpy()[1]).all()


def spread(*batches):
    found = Spread()
    for scores in batches:
        found.add(np.array(scores, np.float32))
    return found.share


def test_scores_that_are_the_same_on_every_image_have_no_spread():
    assert spread([[-4, 1, 2]], [[-4, 1, 2], [-4, 1, 2]]) == 0.0
    assert spread([[1, 1], [1, 1]]) == 0.0
    assert spread([[1, 2]]) is None


def test_the_spread_is_the_share_of_the_variance_that_the_images_make():
    scores = np.random.default_rng(1).normal(size=(40, 5)) + np.arange(5)
    total = scores.var()
    expected = scores.var(axis=0).mean() / total
    assert spread(scores[:7], scores[7:]) == pytest.approx(expected, rel=1e-6)


def evaluation(*, map_50=0.9, localization=0.25, dead=0.0, spread=0.5, confident=3, **_: Any) -> Evaluation:
    metrics = {"localization_loss": localization, "classification_loss": 0.5, "mAP": map_50 / 2, "mAP_50": map_50}
    return Evaluation(metrics, 1.0, CocoFigures({}, {}), confident, spread, dead)


def settled(**values: str):
    auto = {"recipe": "fine-tuning", "relative_learning_rate": "0.25", "freeze_batch_norm": "True"}
    return read({**auto, **values})


def said(now=None, start=None, *, loaded=True, **values):
    return verdict.sentence(now or evaluation(), start, settled(**values), loaded=loaded)


def test_a_scene_that_hardly_changes_is_no_collapse():
    assert verdict.collapse(evaluation(spread=0.005), evaluation(spread=0.02)) == []
    assert verdict.collapse(evaluation(localization=0.27), evaluation()) == []
    assert verdict.collapse(evaluation(spread=0.0), None) == []


def test_nothing_is_said_of_a_good_model_even_if_its_scores_are_low():
    assert said(start=evaluation()) is None
    shy = evaluation(confident=0)
    assert said(shy, evaluation()) is None
    assert verdict.shy(shy)
    assert not verdict.shy(evaluation())
    assert not verdict.shy(evaluation(map_50=0.01, confident=0))


@pytest.mark.parametrize(
    ("now", "sign"),
    [
        ({"spread": 0.0005}, "its scores hardly depend on the image"),
        ({"dead": 0.75}, "75% of the backbone's channels are dead (12% at first)"),
        ({"localization": 0.5}, "it places boxes worse than before training (localization loss 0.5, 0.25 then)"),
    ],
)
def test_each_sign_of_a_collapse_is_named_whatever_the_precision(now, sign):
    text = said(evaluation(**now), evaluation(dead=0.125), relative_learning_rate="1")
    assert text == (
        f"The model has collapsed: {sign}. The cause: a learning_rate of 0.001 is too high for layers that were "
        "loaded: leave recipe and relative_learning_rate at Auto, or set learning_rate to 0.0001."
    )


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"relative_learning_rate": "1"}, "leave recipe and relative_learning_rate at Auto"),
        ({"freeze_batch_norm": "False", "batch_size": "4"}, "follows 4 images a step: set freeze_batch_norm to True"),
        ({}, "set relative_learning_rate to 0.083"),
        ({"train_only_on_top_layer": "True"}, "the class predictor alone was trained"),
    ],
)
def test_the_advice_fits_the_cause(values, advice):
    assert advice in said(evaluation(spread=0.0), evaluation(), **values)


def test_random_weights_cannot_collapse_but_may_have_learned_nothing():
    poor = evaluation(map_50=0.01, spread=0.0, confident=0)
    assert said(poor, loaded=False) == (
        "The model finds next to nothing (mAP@0.5 0.010): it is of no use yet. What to do: random weights need many "
        "more epochs: start from trained ones if you can."
    )
    assert "set train_only_on_top_layer to False" in said(
        evaluation(map_50=0.01), evaluation(), train_only_on_top_layer="True"
    )
    advice = said(evaluation(map_50=0.01), evaluation(), passes_per_epoch="7")
    assert "set passes_per_epoch above 7, raise learning_rate" in advice


def test_nothing_found_is_no_fault_where_there_is_nothing():
    losses = {"localization_loss": 0.1, "classification_loss": 0.1}
    assert said(Evaluation(losses, 0.2, CocoFigures({}, {}), confident_images=0)) is None
