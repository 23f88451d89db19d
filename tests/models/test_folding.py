"""Frozen batch normalisation folded into the convolution before it: the same network, the same gradients, less work."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY_PADDED

from sagemaker_object_detection.catalogue import find
from sagemaker_object_detection.models.detector import Detector, build_detector

pytestmark = pytest.mark.usefixtures("tiny_catalogue")
FOLDED = {
    "tiny-padded": 22,
    "ssd_mobilenet_v2_fpnlite_320x320": 56,
    "ssd_resnet50_v1_fpn_640x640": 57,
    "ssd_efficientdet_d0_512x512": 78,
}


def frozen_detector(name: str) -> Detector:
    """In float64, with statistics, scales, offsets and biases that are not their initial ones."""
    detector = build_detector(dataclasses.replace(find(name), input_size=128), 2, dtype="float64")
    random = np.random.default_rng(0)
    for norm in detector.batch_norms:
        norm.trainable = False
        norm.gamma.assign(random.uniform(0.5, 1.5, norm.gamma.shape))
        norm.beta.assign(random.normal(0.0, 0.1, norm.beta.shape))
        norm.moving_mean.assign(random.normal(0.0, 0.1, norm.moving_mean.shape))
        norm.moving_variance.assign(random.uniform(0.5, 2.0, norm.moving_variance.shape))
    for bias in (variable for variable in detector.trainable_variables if variable.name == "bias"):
        bias.assign(random.normal(0.0, 0.1, bias.shape))
    return detector


def apart(detector: Detector) -> int:
    """Undoes the folding; returns how many there were."""
    folded = [norm for norm in detector.batch_norms if norm.folded]
    for norm in folded:
        norm.folded = False
    for part in detector.parts:
        for layer in part.layers:
            if getattr(layer, "successor", None) is not None:
                layer.successor = None
    return len(folded)


def pass_through(detector: Detector) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Predictions of a training step, and the gradients of the kernels."""
    images = tf.constant(np.random.default_rng(1).normal(size=(2, 128, 128, 3)))
    variables = [variable.value for part in detector.parts for variable in part.trainable_variables]
    detector.noise.begin_step(3)
    with tf.GradientTape() as tape:
        predictions = detector(images, training=True)
        loss = tf.add_n([tf.reduce_sum(tf.tanh(output)) for output in predictions])
    return [output.numpy() for output in predictions], [g.numpy() for g in tape.gradient(loss, variables)]


@pytest.mark.parametrize(
    "name", ["tiny-padded", *(pytest.param(name, marks=pytest.mark.nightly) for name in list(FOLDED)[1:])]
)
def test_predictions_and_gradients_are_those_of_the_layers_apart(name):
    detector = frozen_detector(name)
    predictions, gradients = pass_through(detector)
    assert apart(detector) == FOLDED[name]
    expected_predictions, expected_gradients = pass_through(detector)
    for found, expected in zip(predictions + gradients, expected_predictions + expected_gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
    assert sum(np.abs(gradient).max() > 0 for gradient in gradients) > 0.9 * len(gradients)


def test_no_layer_counts_its_successors_weights():
    detector = build_detector(TINY_PADDED, 2)
    first = detector.backbone.get_layer("level_1")
    assert [variable.path for variable in first.variables] == ["backbone/level_1/kernel"]
    assert len({variable.path for variable in detector.variables}) == len(detector.variables)


def test_a_convolution_that_levels_share_is_not_folded():
    detector = build_detector(TINY_PADDED, 2)
    assert {norm.folded for norm in detector.batch_norms if "_tower_" in norm.name} == {False}
    assert detector.backbone.get_layer("level_1_norm").folded


@pytest.mark.parametrize(("training", "trainable"), [(False, False), (False, True), (True, True)])
@pytest.mark.slow
def test_in_inference_and_where_statistics_move_the_layers_stay_apart(training, trainable):
    keras.utils.set_random_seed(0)
    detector = build_detector(TINY_PADDED, 2)
    for norm in detector.batch_norms:
        norm.trainable = trainable
    images = tf.constant(np.random.default_rng(1).normal(size=(2, 128, 128, 3)), tf.float32)
    before = [variable.numpy() for variable in detector.variables]
    outputs = detector(images, training=training)
    for variable, value in zip(detector.variables, before, strict=True):
        variable.assign(value)
    apart(detector)
    for found, expected in zip(outputs, detector(images, training=training), strict=True):
        np.testing.assert_array_equal(found, expected)
