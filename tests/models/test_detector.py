import keras
import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.models.batch_norm import BatchNormalization
from sagemaker_object_detection.models.detector import Detector, build_detector

BASE_320 = DEFAULT_MODEL


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build_detector(BASE_320, 3, seed=7)


def test_pyramid_of_320_pixels_ends_in_three_cells(detector):
    sides = [level.shape[1] for level in detector.pyramid.outputs]
    assert sides == [40, 20, 10, 5, 3]
    assert [tap.shape[-1] for tap in detector.backbone.outputs] == [24, 32, 96, 1280]
    assert detector.anchors.shape == (12804, 4)


def test_predictions_are_float32_per_anchor_with_a_background_column(detector):
    predictions = detector(np.zeros((2, 320, 320, 3), np.float32))
    assert predictions.box_encodings.shape == (2, 12804, 4)
    assert predictions.class_logits.shape == (2, 12804, 4)
    assert predictions.class_logits.dtype == tf.float32


def test_new_detector_calls_everything_background_with_probability_99_percent(detector):
    logits = detector(np.zeros((1, 320, 320, 3), np.float32)).class_logits.numpy()
    assert np.allclose(logits, -4.6, atol=0.01)


def test_same_seed_gives_the_same_weights_and_paths_whatever_was_built_before(detector):
    again = build_detector(BASE_320, 3, seed=7)
    assert [v.path for v in again.weights] == [v.path for v in detector.weights]
    assert len({v.path for v in again.weights}) == len(again.weights)
    for variable, other in zip(again.weights, detector.weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), other.numpy(), err_msg=variable.path)


def test_every_kernel_is_drawn_apart_and_from_the_seed(detector):
    other = build_detector(BASE_320, 3, seed=8)
    kernels = [v.numpy() for d in (detector, other) for v in d.weights if v.path.endswith("kernel")]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 2 * 75


def test_initial_values_follow_the_table(detector):
    values = {variable.path: variable.numpy() for variable in detector.weights}
    assert values["backbone/last/kernel"].std() == pytest.approx(0.01, rel=0.01)
    assert values["heads/tower_0/depthwise_kernel"].std() == pytest.approx(0.01, rel=0.1)
    # Glorot uniform draws from +-sqrt(6 / (fan in + fan out)), whose deviation is that over sqrt(3).
    assert values["pyramid/smooth_3/pointwise_kernel"].std() == pytest.approx(np.sqrt(2 / 256), rel=0.02)
    assert set(values["heads/class_predictor/bias"]) == {np.float32(-4.6)}
    assert not values["heads/box_predictor/bias"].any()


def test_only_the_class_predictor_depends_on_the_number_of_classes(detector):
    other = build_detector(BASE_320, 5)
    differing = [
        variable.path
        for variable, counterpart in zip(detector.weights, other.weights, strict=True)
        if variable.shape != counterpart.shape
    ]
    assert differing == ["heads/class_predictor/pointwise_kernel", "heads/class_predictor/bias"]
    assert [v.path for v in detector.class_predictor.weights[1:]] == differing


def test_momentum_is_shared(detector):
    assert detector.moving_average.momentum == 0.997
    assert all(layer.moving_average is detector.moving_average for layer in detector.batch_norms)


def test_frozen_batch_norms_leave_only_kernels_and_biases_trainable():
    detector = build_detector(BASE_320, 1)
    for layer in detector.batch_norms:
        layer.trainable = False
    assert {variable.name for variable in detector.trainable_variables} == {
        *("kernel", "depthwise_kernel", "pointwise_kernel", "bias")
    }
    before = [layer.moving_mean.numpy() for layer in detector.batch_norms]
    detector(np.ones((1, 320, 320, 3), np.float32), training=True)
    for layer, mean in zip(detector.batch_norms, before, strict=True):
        np.testing.assert_array_equal(layer.moving_mean.numpy(), mean)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.slow
def test_mixed_precision_keeps_variables_and_predictions_in_float32(policy, detector):
    mixed = build_detector(BASE_320, 3, dtype=policy, seed=7)
    images = np.random.default_rng(0).uniform(-1, 1, (1, 320, 320, 3)).astype(np.float32)
    predictions = mixed(images, training=False)
    assert {variable.dtype for variable in mixed.weights} == {"float32"}
    assert mixed.backbone.outputs[-1].dtype == keras.DTypePolicy(policy).compute_dtype
    assert {part.dtype for part in predictions} == {tf.float32}
    np.testing.assert_allclose(predictions.class_logits, detector(images).class_logits, atol=0.05)


def test_batch_norms_of_the_towers_are_not_shared_between_levels(detector):
    tower = [layer for layer in detector.batch_norms if layer.name.startswith("tower_")]
    assert len(tower) == len(set(map(id, tower))) == 4 * 5
    assert all(isinstance(layer, BatchNormalization) for layer in tower)
