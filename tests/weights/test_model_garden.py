"""The names of the published files: digests of what their indexes list, and the lists themselves where they are."""

import hashlib
from typing import Any, NamedTuple

import pytest
from shared import shared

from sagemaker_object_detection.catalogue import find
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.weights.checkpoint import SUFFIX
from sagemaker_object_detection.weights.model_garden import (
    checkpoint_variables,
    model_garden_variables,
    saved_model_variables,
)


class Figures(NamedTuple):
    """Of one architecture with 90 classes; `digest` of the sorted lines each."""

    variables: int
    checkpoint: str
    """Lines "key shape" of the checkpoint."""
    one_list: str
    """Lines "SavedModel key, checkpoint key" where each part has the list `variables` alone."""
    two_lists: str
    """The same where each part has `trainable_variables` too."""


FIGURES = {
    "ssd_efficientdet_d0_512x512": Figures(683, "60f25e155c4f5d09", "15793f82b9ed79bf", "7c4b854b2a6c2900"),
    "ssd_efficientdet_d1_640x640": Figures(875, "afde1da0f6d815a0", "e84622f485abc8a3", "6466b609c615f7b5"),
    "ssd_mobilenet_v1_fpn_640x640": Figures(333, "c85e0bd064837f54", "f7ef045708a0441e", "1b3044d453606c4e"),
    "ssd_mobilenet_v2_fpnlite_320x320": Figures(384, "5909f80f903dadc7", "0908fade5285cbaf", "b31b12c24fd1752c"),
    "ssd_resnet50_v1_fpn_640x640": Figures(463, "1132df3fb6ec10bc", "a38095ecd8dfd34c", "33cf74c175d4fba0"),
    "ssd_resnet101_v1_fpn_640x640": Figures(718, "8d549c53260df87b", "585dfb8fb15258fd", "c27082627be826eb"),
    "ssd_resnet152_v1_fpn_640x640": Figures(973, "48836bc3dd90fb7b", "3414b30704eb0389", "60ee0125ef7b1d30"),
    "ssd_efficientdet_d2_768x768": Figures(939, "f91e0d4da6043d85", "890597a2fc26f123", "2c2d21b7a57b903a"),
    "ssd_efficientdet_d3_896x896": Figures(1106, "2e18e49d953d8841", "8712a0300d9d4a0d", "729ac3f02bc5bbcc"),
}
# What is published of these is known from their own index files; of the others from models built from the source.
PUBLISHED = list(FIGURES)[:5]
# Lines "key shape" of the SavedModels' indexes, and which lists the parts have there.
SAVED_MODELS = {
    "ssd_efficientdet_d1_640x640": ("2d4bc04f04de58db", ("trainable_variables", "variables")),
    "ssd_mobilenet_v1_fpn_640x640": ("920056a10062e30d", ("variables",)),
    "ssd_resnet50_v1_fpn_640x640": ("4589a92a02c194f0", ("variables",)),
}
FAST = ("ssd_efficientdet_d0_512x512", "ssd_mobilenet_v2_fpnlite_320x320")
ARCHITECTURES = [
    *(pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in PUBLISHED),
    *(pytest.param(name, marks=pytest.mark.nightly) for name in FIGURES if name not in PUBLISHED),
]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def detector(request) -> Detector:
    return build_detector(find(request.param), 90)


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def with_shapes(variables: dict[str, Any]) -> list[str]:
    return [f"{key} {list(variable.shape)}" for key, variable in variables.items()]


def first_keys(*lists: str) -> list[str]:
    return [f"_model/{part}/{name}/0{SUFFIX}" for part in ("_feature_extractor", "_box_predictor") for name in lists]


def listed(file: str) -> list[str]:
    rows = [line.split("\t") for line in shared(f"zoo/{file}").read_text().splitlines()[1:]]
    return [f"{key} [{shape.strip('(),')}]" for key, shape, _ in rows if key.startswith(("model/", "_model/"))]


def test_checkpoint_keys_and_shapes_are_the_published_ones(detector):
    variables = checkpoint_variables(detector)
    assert len(variables) == FIGURES[detector.base.name].variables
    assert digest(with_shapes(variables)) == FIGURES[detector.base.name].checkpoint


def test_every_variable_has_a_key_of_its_own_in_both_grammars(detector):
    everything = {id(variable) for variable in detector.weights}
    for variables in (
        checkpoint_variables(detector),
        saved_model_variables(detector, first_keys("variables")),
        saved_model_variables(detector, first_keys("variables", "trainable_variables")),
    ):
        assert {id(variable) for variable in variables.values()} == everything
        assert len(variables) == len(everything)


def test_positions_in_a_saved_model_are_those_of_the_published_lists(detector):
    keys = {id(variable): key for key, variable in checkpoint_variables(detector).items()}
    digests = [
        digest(
            [
                f"{key.removesuffix(SUFFIX)} {keys[id(variable)]}"
                for key, variable in saved_model_variables(detector, first_keys(*lists)).items()
            ]
        )
        for lists in (("variables",), ("variables", "trainable_variables"))
    ]
    assert tuple(digests) == FIGURES[detector.base.name][2:]


def test_positions_do_not_depend_on_what_is_frozen(detector):
    before = saved_model_variables(detector, first_keys("variables", "trainable_variables"))
    detector.trainable = False
    after = saved_model_variables(detector, first_keys("variables", "trainable_variables"))
    detector.trainable = True
    assert {key: id(variable) for key, variable in before.items()} == {k: id(v) for k, v in after.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAVED_MODELS)
def test_saved_model_keys_and_shapes_are_the_published_ones(name):
    published, lists = SAVED_MODELS[name]
    variables = model_garden_variables(build_detector(find(name), 90), first_keys(*lists))
    assert digest(with_shapes(variables)) == published


@pytest.mark.parametrize("name", PUBLISHED)
def test_digests_are_those_of_the_published_lists(name):
    tarball = find(name).weights.tarball
    assert digest(listed(f"published.{tarball}.ckpt-0.tsv")) == FIGURES[name].checkpoint
    if name in SAVED_MODELS:
        assert digest(listed(f"published.{tarball}.variables.tsv")) == SAVED_MODELS[name][0]


def test_layers_that_shapes_cannot_tell_apart_have_their_own_keys():
    variables = checkpoint_variables(build_detector(find("ssd_mobilenet_v2_fpnlite_320x320"), 2))
    paths = {key.removesuffix(SUFFIX): variable.path for key, variable in variables.items()}
    extractor, predictor = "model/_feature_extractor", "model/_box_predictor"
    backbone, towers = f"{extractor}/classification_backbone", f"{predictor}/_base_tower_layers_for_heads"
    expected = {
        f"{backbone}/layer_with_weights-2/depthwise_kernel": "backbone/block_0_depthwise/kernel",
        f"{backbone}/layer_with_weights-14/depthwise_kernel": "backbone/block_2_depthwise/kernel",
        f"{extractor}/_fpn_features_generator/conv_layers/0/1/gamma": "pyramid/smooth_4_norm/gamma",
        f"{extractor}/_coarse_feature_layers/1/0/pointwise_kernel": "pyramid/coarse_7/pointwise_kernel",
        f"{predictor}/_head_scope_conv_layers/PredictionTower/3/depthwise_kernel": "heads/tower_3/depthwise_kernel",
        f"{towers}/box_encodings/4/7/moving_mean": "heads/tower_2_level_7_norm/moving_mean",
    }
    assert {key: paths[key] for key in expected} == expected


@pytest.mark.parametrize("name", FIGURES)
def test_digests_of_positions_are_those_of_the_lists(name):
    rows = [line.split("\t") for line in shared(f"zoo/{name}.tsv").read_text().splitlines()[1:]]
    one, two = [], []
    for key, _, part, place, trainable, _ in rows:
        one.append(f"_model/{part}/variables/{place} {key}")
        two.append(f"_model/{part}/trainable_variables/{trainable} {key}" if trainable else one[-1])
    assert (digest(one), digest(two)) == FIGURES[name][2:]
