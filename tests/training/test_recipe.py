"""What each hyperparameter that is left to Auto comes to, and that what was set stands."""

import dataclasses
import logging

import pytest
from tiny_models import TINY

from sagemaker_object_detection.catalogue import CATALOGUE
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.training.recipe import (
    LEAST_STEPS,
    Situation,
    recorded,
    settle,
    steps_per_epoch,
    total_steps,
)

LOADED = Situation(
    base=TINY,
    loaded=True,
    origin="the model channel",
    images=60,
    objects=3,
    replicas=1,
    objective="mAP",
    new_top_layer=True,
    number_format="float32",
    gpu=False,
)
RANDOM = dataclasses.replace(LOADED, loaded=False, origin="none")
PLAIN = {"recipe": "plain", "learning_rate_schedule": "constant", "relative_learning_rate": 1.0, "passes_per_epoch": 1}


def settled(situation=LOADED, in_force=None, **values):
    return settle(read(values), situation, in_force or {})


def of(hyperparameters, names=PLAIN):
    return {name: getattr(hyperparameters, name) for name in names}


def test_nothing_is_left_to_auto():
    efficientdet = next(base for base in CATALOGUE if base.bifpn_repeats)
    for base, l2 in ((TINY, 2e-5), (efficientdet, "5e-06 in the backbone, 2e-05 elsewhere")):
        values = recorded(settled(dataclasses.replace(LOADED, base=base)), base)
        assert not [value for value in values.values() if value is None or str(value).lower() == "auto"]
        assert values["regularizers_l2"] == l2
    assert recorded(settled(regularizers_l2="0.5"), TINY)["regularizers_l2"] == 0.5
    assert settled().pretrained_weights == "the model channel"
    assert settled(pretrained_weights="/weights").pretrained_weights == "the model channel"


def test_loaded_weights_have_a_recipe_of_their_own():
    assert of(settled(epochs="5")) == {
        "recipe": "fine-tuning",
        "learning_rate_schedule": "trapezoid",
        "relative_learning_rate": 0.002,
        "passes_per_epoch": LEAST_STEPS // 100,
    }


@pytest.mark.parametrize(
    ("situation", "values"),
    [(RANDOM, {}), (LOADED, {"train_only_on_top_layer": "True"}), (LOADED, {"recipe": "plain"})],
)
def test_all_else_is_the_built_in_algorithms_plain_way(situation, values):
    assert of(settled(situation, **values)) == PLAIN


def test_what_has_no_effect_is_not_kept_as_if_it_had():
    situation = dataclasses.replace(LOADED, objective="total_loss")
    given = {"objective": "mAP", "train_only_on_top_layer": "True", "xla": "True", "relative_learning_rate": "0.5"}
    found = settled(situation, batch_size="64", **given)
    assert (found.objective, found.xla, found.relative_learning_rate) == ("total_loss", False, 1.0)
    assert found.freeze_batch_norm is True


def test_what_is_set_stands():
    given = {"learning_rate_schedule": "constant", "relative_learning_rate": "1", "passes_per_epoch": "2"}
    assert of(settled(**given)) == {**PLAIN, "recipe": "fine-tuning", "passes_per_epoch": 2}
    assert of(settled(RANDOM, recipe="fine-tuning"))["learning_rate_schedule"] == "trapezoid"


@pytest.mark.parametrize(
    ("images", "batch_size", "epochs", "passes", "steps"),
    [
        (60, 3, 5, 10, 200),
        (20, 3, 5, 30, 200),
        (100, 3, 5, 6, 200),
        (200, 3, 5, 4, 267),
        (296, 3, 5, 4, 395),
        (700, 3, 5, 2, 467),
        (1000, 3, 5, 1, 334),
        (20, 8, 1, 400, 1000),
        (60, 64, 5, 27, 26),
    ],
)
def test_small_sets_are_gone_over_until_there_are_enough_steps(images, batch_size, epochs, passes, steps):
    situation = dataclasses.replace(LOADED, images=images)
    found = settled(situation, batch_size=str(batch_size), epochs=str(epochs))
    assert (found.passes_per_epoch, steps_per_epoch(found, images)) == (passes, steps)


def test_an_epoch_of_one_pass_ends_with_a_step_that_takes_what_is_left():
    found = settled(RANDOM, batch_size="8", epochs="3")
    assert (steps_per_epoch(found, 60), total_steps(found, 60)) == (8, 24)


@pytest.mark.parametrize(
    ("situation", "setting", "batch_size", "replicas", "frozen"),
    [
        (RANDOM, "Auto", 4, 1, False),
        (LOADED, "Auto", 31, 1, True),
        (LOADED, "Auto", 32, 1, False),
        (LOADED, "Auto", 62, 2, True),
        (LOADED, "False", 4, 1, False),
        (RANDOM, "True", 32, 1, True),
    ],
)
def test_auto_freezes_loaded_statistics_of_few_images(situation, setting, batch_size, replicas, frozen):
    situation = dataclasses.replace(situation, replicas=replicas)
    assert settled(situation, freeze_batch_norm=setting, batch_size=str(batch_size)).freeze_batch_norm == frozen


@pytest.mark.parametrize(("gpu", "epochs", "compiled"), [(True, 250, True), (True, 249, False), (False, 250, False)])
def test_xla_compiles_long_jobs_on_a_gpu(gpu, epochs, compiled):
    situation = dataclasses.replace(LOADED, gpu=gpu)
    assert settled(situation, epochs=str(epochs)).xla == compiled


def test_a_job_goes_on_as_it_began(caplog):
    began = {"recipe": "plain", "relative_learning_rate": "0.25", "passes_per_epoch": "7", "freeze_batch_norm": "False"}
    with caplog.at_level(logging.INFO):
        found = settled(in_force=began)
    assert (found.recipe, found.relative_learning_rate, found.passes_per_epoch) == ("plain", 0.25, 7)
    assert (found.freeze_batch_norm, found.learning_rate_schedule) == (False, "constant")
    assert "relative_learning_rate 0.25 (as the checkpoint has it)" in caplog.text


def test_the_log_says_what_auto_came_to_and_why_and_nothing_of_what_was_set(caplog):
    with caplog.at_level(logging.INFO):
        settled(
            freeze_batch_norm="True",
            xla="False",
            mixed_precision="False",
            objective="mAP",
            epochs="5",
            bbox_format="xywh",
        )
    assert caplog.messages == [
        "What Auto came to: reinitialize_top_layer True (the weights are of other classes); recipe fine-tuning "
        "(trained weights are fine-tuned); learning_rate_schedule trapezoid (recipe fine-tuning); "
        "relative_learning_rate 0.002 (recipe fine-tuning); passes_per_epoch 10 (one pass makes 100 steps in 5 epochs, "
        "of some 1000 that are wanted); max_detections 100 (an image has 3 objects at most); split_by group "
        "(a copy of a training image measures nothing)."
    ]


@pytest.mark.parametrize(
    ("objects", "limit"),
    [(1, 100), (66, 100), (67, 200), (133, 200), (134, 300), (201, 500), (300, 500), (334, 1000), (1000, 1000)],
)
def test_the_fullest_image_has_room_for_half_as_many_detections_again(objects, limit, caplog):
    found = settled(dataclasses.replace(LOADED, objects=objects))
    assert found.max_detections == limit
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


@pytest.mark.parametrize(
    ("objects", "given", "in_force", "sentence"),
    [
        (
            1001,
            {},
            {},
            "max_detections is 1000, but an image holds 1001 objects: no more than 1000 of them can be found. Cut the "
            "images into tiles.",
        ),
        (
            300,
            {"max_detections": "299"},
            {},
            "max_detections is 299, but an image holds 300 objects: no more than 299 of them can be found. Set it to "
            "300 or more, or cut the images into tiles.",
        ),
        (
            5000,
            {},
            {"max_detections": "100"},
            "max_detections is 100, but an image holds 5000 objects: no more than 100 of them can be found. Set it to "
            "1000, or cut the images into tiles.",
        ),
    ],
)
def test_objects_that_cannot_be_found_are_a_warning(objects, given, in_force, sentence, caplog):
    settled(dataclasses.replace(LOADED, objects=objects), in_force, **given)
    assert sentence in caplog.messages
