"""The training step: one trace, the right variables move, the moving statistics follow the documented rule."""

import numpy as np
import pytest
import tensorflow as tf
from training_steps import SMALL, batch, make_step

from sagemaker_object_detection.models.detector import build_detector


def snapshot(detector):
    return {variable.path: variable.numpy() for variable in detector.variables}


def moved(before, after):
    return {path for path, value in before.items() if not np.array_equal(value, after[path])}


def test_one_trace_for_any_number_of_boxes_and_the_loss_falls():
    step = make_step(build_detector(SMALL, 2))
    same = batch(0, 3)
    losses = [float(step(same)) for _ in range(4)]
    for boxes in (0, 1, 4):
        assert np.isfinite(float(step(batch(boxes, boxes))))
    assert step.traces == 1
    assert losses[-1] < losses[0]


def test_only_the_class_prediction_layer_moves():
    detector = build_detector(SMALL, 2)
    # With statistics of real maps: by initial ones the features vanish, and with them the gradients.
    detector.moving_average.momentum.assign(0.0)
    detector(batch(0, 0).images, training=True)
    before = snapshot(detector)
    step = make_step(detector, only_top_layer=True, warm_up=False)
    for seed in range(2):
        step(batch(seed, 3))
    assert moved(before, snapshot(detector)) == {variable.path for variable in detector.class_predictor.variables}


def test_frozen_batch_normalisation_keeps_statistics_scale_and_offset():
    detector = build_detector(SMALL, 2)
    frozen = {variable.path for layer in detector.batch_norms for variable in layer.variables}
    before = snapshot(detector)
    make_step(detector, freeze=True, warm_up=False)(batch(0, 3))
    changed = moved(before, snapshot(detector))
    assert changed
    assert not changed & frozen


@pytest.mark.slow
@pytest.mark.parametrize(("warm_up", "momentum"), [(True, 0.1), (False, 0.997)])
def test_moving_statistics_follow_the_rule_of_the_first_update(warm_up, momentum):
    # From random weights momentum_0 is min(0.997, (1 + 0) / (10 + 0)); from loaded ones the table's.
    detector = build_detector(SMALL, 2)
    images = batch(0, 1)
    stem = detector.backbone.get_layer("stem")(images.images)
    mean = tf.reduce_mean(stem, axis=[0, 1, 2]).numpy()
    make_step(detector, warm_up=warm_up)(images)
    measured = detector.backbone.get_layer("stem_norm").moving_mean.numpy()
    np.testing.assert_allclose(measured, mean * (1.0 - momentum), rtol=1e-3, atol=1e-7)


@pytest.mark.slow
def test_l2_replaces_the_models_own_coefficient():
    detector = build_detector(SMALL, 2)
    squares = sum(float(tf.reduce_sum(tf.square(kernel))) for kernel in detector.regularized_kernels)
    first = batch(0, 0)
    weights = snapshot(detector)

    def loss(l2):
        for variable in detector.variables:
            variable.assign(weights[variable.path])
        return float(make_step(detector, l2=l2, freeze=True, warm_up=False)(first))

    assert loss(0.5) - loss(0.0) == pytest.approx(0.5 * squares, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_in_16_bits_and_keeps_float32_weights(policy):
    detector = build_detector(SMALL, 2, dtype=policy)
    before = snapshot(detector)
    step = make_step(detector)
    losses = [float(step(batch(0, 2))) for _ in range(2)]
    assert np.isfinite(losses).all()
    assert detector.backbone.get_layer("stem").compute_dtype == policy.removeprefix("mixed_")
    assert {value.dtype for value in snapshot(detector).values()} == {np.dtype("float32")}
    assert moved(before, snapshot(detector))
