import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.models.batch_norm import (
    BatchNormalization,
    MovingAverage,
    normalize,
    normalize_known,
)

EPSILON = 1e-3
# Three cells by three, as on the coarsest level: the unbiased variance is 18 / 17 of the biased one.
INPUTS = np.random.default_rng(1).normal(2.0, 3.0, (2, 3, 3, 4)).astype(np.float32)
GAMMA = np.array([0.5, 1.0, 1.5, -1.0], np.float32)
BETA = np.array([0.0, 1.0, -1.0, 2.0], np.float32)
MEAN = INPUTS.mean((0, 1, 2), dtype=np.float64)
VARIANCE = INPUTS.var((0, 1, 2), dtype=np.float64)
EXPECTED = (INPUTS - MEAN) / np.sqrt(VARIANCE + EPSILON) * GAMMA + BETA


def batch_norm(momentum: float = 0.9) -> BatchNormalization:
    layer = BatchNormalization(MovingAverage(momentum), EPSILON)
    layer.build((None, None, None, 4))
    layer.gamma.assign(GAMMA)
    layer.beta.assign(BETA)
    return layer


@pytest.mark.parametrize("fused", [False, True])
def test_batch_moments_normalise_and_the_variance_is_unbiased(fused):
    outputs, mean, variance = normalize(INPUTS, GAMMA, BETA, EPSILON, fused=fused)
    np.testing.assert_allclose(outputs, EXPECTED, atol=1e-5)
    np.testing.assert_allclose(mean, MEAN, rtol=1e-5)
    np.testing.assert_allclose(variance, VARIANCE * 18 / 17, rtol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_variance_of_a_single_value_is_zero(fused):
    outputs, _, variance = normalize(INPUTS[:1, :1, :1], GAMMA, BETA, EPSILON, fused=fused)
    np.testing.assert_allclose(outputs[0, 0, 0], BETA, atol=1e-5)
    np.testing.assert_allclose(variance, 0.0, atol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_known_moments_normalise(fused):
    outputs = normalize_known(
        INPUTS, GAMMA, BETA, MEAN.astype(np.float32), VARIANCE.astype(np.float32), EPSILON, fused=fused
    )
    np.testing.assert_allclose(outputs, EXPECTED, atol=1e-5)


def test_training_moves_the_statistics_by_one_minus_momentum():
    layer = batch_norm(momentum=0.9)
    np.testing.assert_allclose(layer(INPUTS, training=True), EXPECTED, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * MEAN, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * VARIANCE * 18 / 17, rtol=1e-5)


def test_collected_moments_move_nothing_and_the_rule_moves_by_them():
    layer = batch_norm(momentum=0.9)
    with layer.moving_average.collected() as found:
        layer(INPUTS, training=True)
    assert not layer.moving_mean.numpy().any()
    ((mean, variance),) = found.values()
    np.testing.assert_allclose(mean, MEAN, rtol=1e-5)
    np.testing.assert_allclose(variance, VARIANCE * 18 / 17, rtol=1e-5)
    np.testing.assert_allclose(MovingAverage.moved(layer.moving_variance, variance, 0.75), 0.75 + 0.25 * variance)
    layer(INPUTS, training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * MEAN, rtol=1e-5)


def test_inference_uses_the_moving_statistics_and_leaves_them():
    layer = batch_norm()
    layer.moving_mean.assign(MEAN)
    layer.moving_variance.assign(VARIANCE)
    np.testing.assert_allclose(layer(INPUTS, training=False), EXPECTED, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), MEAN.astype(np.float32))


def test_frozen_layer_in_training_mode_is_in_inference_mode():
    layer = batch_norm()
    layer.trainable = False
    frozen = layer(INPUTS, training=True)
    np.testing.assert_allclose(frozen, INPUTS / np.sqrt(1 + EPSILON) * GAMMA + BETA, atol=1e-5)
    assert layer.trainable_variables == []
    assert not layer.moving_mean.numpy().any()


def test_gradient_of_the_portable_arithmetic_is_the_fused_one():
    weights = np.random.default_rng(2).normal(size=INPUTS.shape).astype(np.float32)
    gradients = []
    for fused in (False, True):
        inputs, gamma, beta = watched = [tf.constant(value) for value in (INPUTS, GAMMA, BETA)]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            loss = tf.reduce_sum(normalize(inputs, gamma, beta, EPSILON, fused=fused)[0] * weights)
        gradients.append(tape.gradient(loss, watched))
    for portable, by_tensorflow in zip(*gradients, strict=True):
        np.testing.assert_allclose(portable, by_tensorflow, atol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("fused", [False, True])
def test_half_precision_inputs_give_half_precision_outputs_and_float32_moments(fused, dtype):
    outputs, mean, variance = normalize(tf.cast(INPUTS, dtype), GAMMA, BETA, EPSILON, fused=fused)
    assert (outputs.dtype, mean.dtype, variance.dtype) == (dtype, tf.float32, tf.float32)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), EXPECTED, atol=0.05)
