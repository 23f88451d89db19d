"""The detectors: their sizes, and what each architecture does in its own way."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.catalogue import CATALOGUE, BaseModel, find
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.models.drop_connect import DropConnect
from sagemaker_object_detection.models.losses import regularization_loss
from sagemaker_object_detection.step.training_step import choose_trainable

# Of 90 classes: all values, L2 terms, anchors, channels of the backbone's maps. From the published models.
SIZES = {
    "ssd_resnet50_v1_fpn_640x640": (32_916_218, 70, 51150, [256, 512, 1024, 2048]),
    "ssd_mobilenet_v1_fpn_640x640": (12_125_178, 44, 51150, [128, 256, 512, 1024]),
    "ssd_mobilenet_v2_fpnlite_640x640": (2_667_002, 63, 51150, [24, 32, 96, 1280]),
    "ssd_efficientdet_d0_512x512": (5_622_923, 159, 49104, [40, 112, 320]),
    "ssd_resnet50_v1_fpn_1024x1024": (32_916_218, 70, 130944, [256, 512, 1024, 2048]),
    "ssd_resnet101_v1_fpn_640x640": (51_960_570, 121, 51150, [256, 512, 1024, 2048]),
    "ssd_resnet101_v1_fpn_1024x1024": (51_960_570, 121, 130944, [256, 512, 1024, 2048]),
    "ssd_resnet152_v1_fpn_640x640": (67_650_298, 172, 51150, [256, 512, 1024, 2048]),
    "ssd_resnet152_v1_fpn_1024x1024": (67_650_298, 172, 130944, [256, 512, 1024, 2048]),
    "ssd_efficientdet_d1_640x640": (8_393_074, 216, 76725, [40, 112, 320]),
    "ssd_efficientdet_d2_768x768": (10_089_063, 232, 110484, [48, 120, 352]),
    "ssd_efficientdet_d3_896x896": (14_279_568, 268, 150381, [48, 136, 384]),
}
FAST = ("ssd_mobilenet_v1_fpn_640x640", "ssd_mobilenet_v2_fpnlite_640x640")
"""Those that are built in a second."""


def small(name: str, size: int = 128) -> BaseModel:
    base = find(name)
    assert base is not None
    return dataclasses.replace(base, input_size=size)


@functools.cache
def built(name: str, size: int) -> Detector:
    """For tests that change nothing of it that another one looks at."""
    return build_detector(small(name, size), 2)


@pytest.fixture(scope="module")
def efficientdet() -> Detector:
    return build_detector(small("ssd_efficientdet_d1_640x640"), 2, seed=3)


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(n, marks=pytest.mark.nightly) for n in SIZES if n not in FAST)])
def test_a_detector_of_90_classes_has_the_published_sizes(name):
    base = find(name)
    values, terms, anchors, channels = SIZES[name]
    detector = build_detector(base, 90)
    assert sum(int(np.prod(variable.shape)) for variable in detector.weights) == values
    assert len(detector.regularized_kernels) == terms
    assert len({variable.path for variable in detector.weights}) == len(detector.weights)
    assert [tap.shape[-1] for tap in detector.backbone.outputs] == channels
    assert [level.shape[1:] for level in detector.pyramid.outputs] == [
        (-(-base.input_size // 2**level), -(-base.input_size // 2**level), base.pyramid_depth) for level in base.levels
    ]
    columns = 90 + base.family.background_column
    assert [tuple(output.shape[1:]) for output in detector.heads.outputs] == [(anchors, 4), (anchors, columns)]


def test_every_architecture_has_its_sizes_here():
    parameters = {find(name).stem: round(values / 1e6, 1) for name, (values, *_) in SIZES.items()}
    assert parameters == {base.stem: base.parameters for base in CATALOGUE}


def test_models_that_differ_in_the_input_size_alone_are_one_architecture():
    architectures = {base.name: base.stem for base in CATALOGUE}
    assert architectures["ssd_resnet50_v1_fpn_640x640"] == architectures["ssd_resnet50_v1_fpn_1024x1024"]
    assert architectures["ssd_resnet50_v1_fpn_640x640"] != architectures["ssd_resnet101_v1_fpn_640x640"]


@pytest.mark.parametrize(
    ("name", "size", "path", "deviation"),
    [
        *(
            pytest.param("ssd_resnet50_v1_fpn_640x640", 64, path, deviation, marks=pytest.mark.slow)
            for path, deviation in (
                ("backbone/stage_3_block_2_spatial/kernel", 0.03),
                ("pyramid/smooth_3/kernel", 0.03),
                ("heads/class_tower_1/kernel", 0.01),
            )
        ),
        ("ssd_mobilenet_v1_fpn_640x640", 64, "backbone/block_9_pointwise/kernel", 0.01),
        # Variance scaling by 2 / fan out, cut at two deviations and widened to make up for it.
        ("ssd_efficientdet_d0_512x512", 128, "backbone/stack_5_block_1_expand/kernel", np.sqrt(2 / 1152)),
        ("ssd_efficientdet_d0_512x512", 128, "pyramid/repeat_1_up_5/pointwise_kernel", 0.03),
        ("ssd_efficientdet_d0_512x512", 128, "heads/box_tower_0/pointwise_kernel", np.sqrt(2 / 128)),
    ],
)
def test_initial_values_follow_the_table(name, size, path, deviation):
    values = {variable.path: variable.numpy() for variable in built(name, size).weights}
    # Keras cuts truncated_normal at two deviations without widening it, as the reference's TensorFlow does: 0.88.
    expected = deviation * 0.8796 if deviation == 0.03 else deviation
    assert values[path].std() == pytest.approx(expected, rel=0.03)


def test_drop_connect_drops_whole_samples_and_scales_the_others(efficientdet):
    layer = next(layer for layer in efficientdet.backbone.layers if layer.name == "stack_5_block_4_drop")
    assert layer.rate == pytest.approx(0.2 * 20 / 23)
    efficientdet.noise.begin_step(0)
    outputs = layer(np.ones((4000, 2, 2, 1), np.float32), training=True).numpy()
    kept = outputs[:, 0, 0, 0] > 0
    assert kept.mean() == pytest.approx(1 - layer.rate, abs=0.03)
    np.testing.assert_allclose(outputs[kept], 1 / (1 - layer.rate), rtol=1e-6)
    assert not outputs[~kept].any()
    np.testing.assert_array_equal(layer(np.ones((3, 2, 2, 1), np.float32)), 1.0)


def test_drop_connect_depends_on_the_step_alone(efficientdet):
    first, last = (
        next(layer for layer in efficientdet.backbone.layers if layer.name == f"stack_{place}_drop")
        for place in ("2_block_2", "5_block_4")
    )
    ones = np.ones((200, 1, 1, 1), np.float32)

    def draws(step: int) -> list[np.ndarray]:
        efficientdet.noise.begin_step(tf.constant(step))
        return [layer(ones, training=True).numpy() > 0 for layer in (first, last)]

    before, other = draws(5), draws(6)
    for again, expected in zip(draws(5), before, strict=True):
        np.testing.assert_array_equal(again, expected)
    assert (before[0] != other[0]).any()
    assert (before[0] != before[1]).any()


def test_parts_of_a_batch_draw_the_noise_of_the_whole(efficientdet):
    layer = next(layer for layer in efficientdet.backbone.layers if layer.name == "stack_5_block_4_drop")

    def draws(first: int, count: int) -> np.ndarray:
        efficientdet.noise.begin_step(4, first)
        return layer(np.ones((count, 1, 1, 1), np.float32), training=True).numpy()

    whole = draws(0, 50)
    assert 0 < (whole > 0).sum() < 50
    np.testing.assert_array_equal(np.concatenate([draws(0, 20), draws(20, 20), draws(40, 10)]), whole)


@pytest.mark.slow
def test_a_compiled_step_repeats_its_noise_and_another_step_does_not(efficientdet):
    images = np.random.default_rng(0).normal(size=(8, 128, 128, 3)).astype(np.float32)

    @tf.function(autograph=False)
    def features(step):
        efficientdet.noise.begin_step(step)
        return efficientdet.backbone(images, training=True)[-1]

    first, again, other = (features(tf.constant(step)).numpy() for step in (3, 3, 4))
    np.testing.assert_allclose(first, again, atol=1e-3)
    assert np.abs(first - other).max() > 0.1


def test_noise_is_no_weight_and_rises_with_the_depth(efficientdet):
    assert {variable.path for variable in efficientdet.variables} == {v.path for v in efficientdet.weights}
    assert not [variable for variable in efficientdet.variables if "step" in variable.path]
    rates = [layer.rate for layer in efficientdet.backbone.layers if isinstance(layer, DropConnect)]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(0.2 / 23)  # the net's second block is the first that adds its input


def test_what_no_prediction_depends_on_is_in_the_l2_term_and_never_trained(efficientdet):
    rest = efficientdet.classifier.weights
    trained = {
        id(variable) for variable in choose_trainable(efficientdet, only_top_layer=False, freeze_batch_norm=False)
    }
    assert not trained & {id(variable) for variable in rest}
    assert len(trained) == sum(len(part.trainable_variables) for part in efficientdet.parts)
    before = float(regularization_loss(efficientdet))
    logits = efficientdet.classifier.get_layer("logits")
    kernel = logits.kernel.numpy()
    logits.kernel.assign(kernel * 0)
    assert before - float(regularization_loss(efficientdet)) == pytest.approx(5e-6 * (kernel**2).sum(), rel=1e-2)
    logits.kernel.assign(kernel)
    images = np.random.default_rng(0).normal(size=(1, 128, 128, 3)).astype(np.float32)
    expected = efficientdet(images).class_logits.numpy()
    for variable in rest:
        variable.assign(variable * 0 + 7)
    np.testing.assert_array_equal(efficientdet(images).class_logits, expected)


def test_backbone_and_the_rest_have_coefficients_of_their_own(efficientdet):
    coefficients = {
        part.name: {float(v.regularizer.l2) for v in part.weights if v.regularizer is not None}
        for part in efficientdet.parts
    }
    assert {name: {round(value, 9) for value in values} for name, values in coefficients.items()} == {
        "backbone": {5e-6},
        "pyramid": {2e-5},
        "heads": {2e-5},
    }


@pytest.mark.parametrize("name", ["ssd_resnet50_v1_fpn_640x640", "ssd_mobilenet_v1_fpn_640x640"])
def test_box_and_class_towers_are_apart_where_the_family_has_two(name):
    detector = built(name, 64)
    random = np.random.default_rng(0)
    levels = [random.normal(size=(1, *level.shape[1:])).astype(np.float32) for level in detector.pyramid.outputs]
    boxes, logits = detector.heads(levels)
    kernel = detector.heads.get_layer("class_tower_0").kernel
    kernel.assign(kernel * -3)
    new_boxes, new_logits = detector.heads(levels)
    np.testing.assert_array_equal(boxes, new_boxes)
    assert not np.array_equal(logits, new_logits)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_variables_and_predictions_in_float32(policy, efficientdet):
    mixed = build_detector(efficientdet.base, 2, dtype=policy, seed=3)
    images = np.random.default_rng(0).normal(size=(1, 128, 128, 3)).astype(np.float32)
    predictions = mixed(images, training=True)
    assert {variable.dtype for variable in mixed.weights} == {"float32"}
    assert {part.dtype for part in predictions} == {tf.float32}
    assert mixed.pyramid.outputs[0].dtype == mixed.backbone.outputs[0].dtype == policy.removeprefix("mixed_")
