"""The training step: one trace, the right variables move, the moving statistics follow the documented rule."""

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY, TINY_PADDED
from training_steps import assign, batch, calibrated, deviation, make_step, values_of

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.step import replica_step
from sagemaker_object_detection.step.readings import PARTS, Reading, part_of
from sagemaker_object_detection.step.training_step import TrainingStep


@pytest.fixture
def eager():
    """Steps without a trace, which takes seconds."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def snapshot(detector):
    return {variable.path: variable.numpy() for variable in detector.variables}


def moved(before, after):
    return {path for path, value in before.items() if not np.array_equal(value, after[path])}


def test_one_trace_for_any_number_of_boxes_and_the_loss_falls():
    step = make_step(build_detector(TINY, 2))
    same = batch(0, 3)
    losses = [float(step(same)[0]) for _ in range(4)]
    for boxes in (0, 1, 4):
        assert np.isfinite(float(step(batch(boxes, boxes))[0]))
    assert step.traces == 1
    assert losses[-1] < losses[0]


def test_background_in_a_region_to_ignore_is_not_learned_in_one_trace():
    detector = build_detector(TINY, 2)
    start, step = values_of(detector.variables), make_step(detector)
    losses, padding = [], [0.0] * 4
    for regions in ([padding], [[0.0, 0.0, 1.0, 0.5]], [[0.0, 0.0, 1.0, 1.0], padding, padding]):
        assign(detector.variables, start)
        losses.append(float(step(batch(0, 0, regions=regions))[0]))
    # Of two images without boxes nothing, half of the first, and all of it is not known.
    assert losses[0] > losses[1] > losses[2] > 0.0
    assert step.traces == 1


def test_only_the_class_prediction_layer_moves(eager):
    detector = build_detector(TINY, 2)
    # With statistics of real maps: by initial ones the features vanish, and with them the gradients.
    detector.moving_average.momentum = 0.0
    detector(batch(0, 0).images, training=True)
    before = snapshot(detector)
    step = make_step(detector, only_top_layer=True, warm_up=False)
    for seed in range(2):
        step(batch(seed, 3))
    assert moved(before, snapshot(detector)) == {variable.path for variable in detector.class_predictor.variables}


def test_frozen_batch_normalisation_keeps_statistics_scale_and_offset(eager):
    detector = build_detector(TINY, 2)
    frozen = {variable.path for layer in detector.batch_norms for variable in layer.variables}
    before = snapshot(detector)
    make_step(detector, freeze=True, warm_up=False)(batch(0, 3))
    changed = moved(before, snapshot(detector))
    assert changed
    assert not changed & frozen


@pytest.mark.parametrize(
    ("warm_up", "updates", "momentum"),
    [(True, 0, 1 / 10), (True, 1, 2 / 11), (True, 10_000, 0.997), (False, 0, 0.997)],
)
def test_moving_statistics_follow_the_rule_of_the_number_of_updates(eager, warm_up, updates, momentum):
    # From random weights momentum_n is min(0.997, (1 + n) / (10 + n)); from loaded ones the table's.
    detector = build_detector(TINY, 2)
    images = batch(0, 1)
    first = detector.backbone.get_layer("level_1")(images.images)
    mean = tf.reduce_mean(first, axis=[0, 1, 2]).numpy()
    step = make_step(detector, warm_up=warm_up)
    step.optimizer.iterations.assign(updates)
    step(images)
    measured = detector.backbone.get_layer("level_1_norm").moving_mean.numpy()
    np.testing.assert_allclose(measured, mean * (1.0 - momentum), rtol=1e-3, atol=1e-7)


def test_l2_replaces_the_models_own_coefficient(eager):
    detector = build_detector(TINY, 2)
    squares = sum(float(tf.reduce_sum(tf.square(kernel))) for kernel in detector.regularized_kernels)
    first = batch(0, 0)
    weights = snapshot(detector)

    def loss(l2):
        for variable in detector.variables:
            variable.assign(weights[variable.path])
        total, of_l2, *_ = make_step(detector, l2=l2, freeze=True, warm_up=False)(first).numpy()
        assert of_l2 == pytest.approx(l2 * squares, rel=1e-4)
        return float(total)

    assert loss(0.5) - loss(0.0) == pytest.approx(0.5 * squares, rel=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.slow
def test_mixed_precision_computes_in_16_bits_and_keeps_float32_weights(eager, policy):
    # Eagerly: in a graph, oneDNN's bfloat16 on AMD's Zen 5 makes NaN of the tiny maps now and then.
    detector = build_detector(TINY, 2, dtype=policy)
    before = snapshot(detector)
    step = make_step(detector)
    losses = [float(step(batch(0, 2))[0]) for _ in range(2)]
    assert np.isfinite(losses).all()
    assert detector.backbone.get_layer("level_1").compute_dtype == policy.removeprefix("mixed_")
    assert {value.dtype for value in snapshot(detector).values()} == {np.dtype("float32")}
    assert moved(before, snapshot(detector))


def test_the_parts_of_a_step_know_the_place_of_their_first_image(eager, monkeypatch):
    """What an image's noise depends on: that of a batch taken in parts is that of the whole one."""
    step = make_step(build_detector(TINY, 2), micro_batch=2)
    places = []

    def gradients_of(shares, images):
        def gradients(values, share):
            places.append((int(share.first), len(share.inputs.image_weights), shares, images))
            return (
                [tf.zeros(variable.shape) for variable in step.variables],
                tf.zeros(step.on_replica.moments_spec[0]),
                tf.zeros([2]),
            )

        return gradients

    monkeypatch.setattr(step.on_replica, "gradients_of", gradients_of)
    step(batch(0, 3, size=5))
    assert places == [(0, 2, 3, 6), (2, 2, 3, 6), (4, 2, 3, 6)]


def test_float16_moves_the_weights_as_float32_does(eager):
    moved = {}
    for policy in ("float32", "mixed_float16"):
        detector = calibrated(TINY, policy)
        start = moved.setdefault("start", values_of(detector.variables))
        assign(detector.variables, start)
        make_step(detector, freeze=True, warm_up=False, optimizer="sgd", momentum="0")(batch(0, 3))
        moved[policy] = values_of(detector.variables)
    # Rounding of features and gradients: 2e-2. Without loss scaling the weights move a 32768th as far.
    assert deviation(moved["mixed_float16"], moved["float32"], moved["start"]) < 0.1


@pytest.mark.parametrize(("of_another", "moves"), [(0.0, True), (np.nan, False)])
def test_a_step_that_overflows_on_another_replica_is_skipped_on_this_one_too(of_another, moves):
    variable = keras.Variable([1.0])
    detector: Any = SimpleNamespace(
        dtype_policy=SimpleNamespace(name="mixed_float16"),
        batch_norms=[],
        class_predictor=SimpleNamespace(variables=[variable]),
    )
    replicas: Any = SimpleNamespace(count=2, sum_in_step=lambda value: value + of_another)
    step = TrainingStep(
        detector,
        keras.optimizers.SGD(0.5),
        [variable],
        l2=None,
        warm_up_statistics=False,
        replicas=replicas,
    )
    step.on_replica.apply([step.optimizer.scale_loss(tf.ones([1]))], tf.zeros([0]))
    assert variable.numpy() == ([0.5] if moves else [1.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "policy"),
    [
        (TINY, "float32"),
        pytest.param(TINY_PADDED, "float32", marks=pytest.mark.nightly),  # draws noise
        pytest.param(replace(TINY, pyramid_depth=32), "mixed_bfloat16", marks=pytest.mark.nightly),
        pytest.param(TINY_PADDED, "mixed_float16", marks=pytest.mark.nightly),
    ],
)
def test_a_compiled_step_is_the_same_step(base, policy):
    """For any number of rows of ground truth, whole and in parts, to the number format's rounding."""
    detector = calibrated(base, policy)
    start, ways = values_of(detector.variables), {}
    for xla, micro_batch in ((False, None), (True, None), (True, 1)):
        assign(detector.variables, start)
        step = make_step(detector, warm_up=False, freeze=True, optimizer="sgd", xla=xla, micro_batch=micro_batch)
        losses = [float(step(batch(0, boxes, rows=rows, base=base))[0]) for boxes, rows in ((3, 4), (5, 6))]
        ways[xla, micro_batch] = losses, values_of(detector.variables)
        assert step.traces == (0 if micro_batch else 1)
    expected, weights = ways[False, None]
    for losses, found in list(ways.values())[1:]:
        assert losses == pytest.approx(expected, rel=1e-4 if policy == "float32" else 3e-2)
        assert deviation(found, weights, start) < (5e-3 if policy == "float32" else 0.6)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name",
    [
        "ssd_mobilenet_v2_fpnlite_320x320",
        "ssd_mobilenet_v1_fpn_640x640",
        "ssd_resnet50_v1_fpn_640x640",
        "ssd_efficientdet_d0_512x512",
    ],
)
def test_the_step_of_every_family_compiles(name):
    base = catalogue.find(name)
    assert base is not None
    detector = build_detector(replace(base, input_size=128), 2)
    start, losses = values_of(detector.variables), []
    for xla in (False, True):
        assign(detector.variables, start)
        losses.append(float(make_step(detector, xla=xla)(batch(0, 3, base=detector.base))))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.nightly
def test_a_compiled_step_moves_the_statistics_too():
    detector = calibrated(TINY)
    start, moved = values_of(detector.variables), []
    for xla in (False, True):
        assign(detector.variables, start)
        make_step(detector, xla=xla, optimizer="sgd")(batch(0, 3))
        moved.append(values_of(detector.variables))
    for one, other in zip(*moved, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_step_that_xla_cannot_compile_is_taken_without(monkeypatch, caplog):
    def refuse(*arguments, **named):
        def fail(*arguments, **named):
            raise tf.errors.InternalError(None, None, "libdevice not found at ./libdevice.10.bc")

        return fail

    monkeypatch.setattr(replica_step, "_compiled", refuse)
    step = make_step(build_detector(TINY, 2), xla=True)
    with caplog.at_level("WARNING"):
        assert np.isfinite(float(step(batch(0, 3))[0]))
    own = [record for record in caplog.records if record.name.startswith("sagemaker_object_detection")]
    assert [record.getMessage() for record in own if record.levelname == "WARNING"] == [
        "XLA cannot compile the training step (libdevice not found at ./libdevice.10.bc): it goes on without."
    ]


@pytest.mark.parametrize("micro_batch", [None, 1])
def test_gradients_are_told_by_part_of_the_network(eager, micro_batch):
    detector = calibrated(TINY)
    step = make_step(detector, warm_up=False, freeze=True, micro_batch=micro_batch, optimizer="sgd", momentum="0")
    before = values_of(step.variables)
    reading = Reading.of(step(batch(0, 3)))
    # The optimizer's plain step is rate times gradient; each variable's rate is known.
    moved = [float(step.optimizer.own_rate(variable, tf.constant(0.01))) for variable in step.variables]
    squares = [0.0] * len(PARTS)
    for variable, old, rate in zip(step.variables, before, moved, strict=True):
        squares[part_of(detector, variable)] += float(np.square((variable.numpy() - old) / rate).sum())
    assert reading.gradients == pytest.approx(np.sqrt(squares), rel=1e-3)
    assert min(reading.gradients) > 0.0


def test_what_may_not_move_has_no_gradient_and_no_movement(eager):
    detector = build_detector(TINY, 2)
    step = make_step(detector, only_top_layer=True)
    assert [norm > 0.0 for norm in Reading.of(step(batch(0, 3))).gradients] == [False, False, False, True]
    before = values_of(detector.variables)
    after = [value * 1.5 for value in before]
    assert list(step.movement(before, after)) == pytest.approx([0.0, 0.0, 0.0, 0.5])
    assert list(make_step(detector).movement(before, after)) == pytest.approx([0.5] * 4)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("ssd_mobilenet_v2_fpnlite_320x320", "mixed_float16"),  # slow on a CPU
        *itertools.product(
            [
                "ssd_mobilenet_v2_fpnlite_320x320",
                "ssd_mobilenet_v1_fpn_640x640",
                "ssd_resnet50_v1_fpn_640x640",
                "ssd_efficientdet_d0_512x512",
            ],
            ["float32", "mixed_bfloat16"],
        ),
    ],
)
def test_every_family_starts_with_the_recipe(name, policy):
    """Twenty steps on the same images, from weights of the published scale: the loss falls, and nothing diverges."""
    base = catalogue.find(name)
    assert base is not None
    step = make_step(
        calibrated(base, policy),
        warm_up=False,
        freeze=True,
        learning_rate="0.001",
        relative_learning_rate="0.002",
    )
    same = batch(0, 3, base=base)
    losses = [float(step(same)[0]) for _ in range(20)]
    assert np.isfinite(losses).all()
    assert max(losses) < 2 * losses[0]
    assert np.mean(losses[-3:]) < losses[0]
