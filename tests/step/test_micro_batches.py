"""A step that does not fit into the memory is taken in parts, with the result of the whole one."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY
from training_steps import (
    MEMORY_ERRORS,
    Memory,
    assign,
    batch,
    calibrated,
    deviation,
    make_step,
    movements,
    raise_instead,
    values_of,
)

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.step import training_step

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "momentum": "0.9", "learning_rate": "0.0003"},
    "adam": {"optimizer": "adam", "epsilon": "0.01", "learning_rate": "0.001"},
}
HALVED = (
    "A step of {} images at a time does not fit into the device's memory: from now on it takes {} at a time, and adds "
    "up their gradients{}."
)
REGIONS = ([0.0, 0.0, 0.5, 1.0], [0.25, 0.25, 1.0, 0.75])
STATISTICS = "; batch normalization uses the statistics of these"


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == training_step.__name__]


def trained(detector, start, steps, *, size, memory=None, micro_batch=None, freeze=True, **values):
    """Weights, state and losses after some steps; the memory shrinks to `memory` images before step `memory[1]`."""
    assign(detector.variables, start)
    full = Memory(detector)
    step = make_step(detector, freeze=freeze, warm_up=False, micro_batch=micro_batch, **values)
    losses = []
    for number in range(steps):
        if memory is not None and number == memory[1]:
            full.images = memory[0]
        losses.append(float(step(batch(number, 3, size, regions=REGIONS))[0]))
    return values_of(detector.variables), step, losses


@pytest.mark.parametrize(("optimizer", "fails_in"), [("sgd", 0), ("adam", 3)])
@pytest.mark.slow
def test_six_steps_in_parts_are_those_of_the_whole_batch(optimizer, fails_in, caplog):
    detector = calibrated(TINY, "float64")
    start, values = values_of(detector.variables), OPTIMIZERS[optimizer]
    whole, _, losses = trained(detector, start, 6, size=5, **values)
    with caplog.at_level(logging.INFO):
        parts, step, found = trained(detector, start, 6, size=5, memory=(2, fails_in), **values)
    assert step.micro_batch == 2
    assert said(caplog) == [HALVED.format(5, 3, ""), HALVED.format(3, 2, "")]
    assert deviation(parts, whole, start) < 1e-8  # of each variable's movement; measured 1e-11
    assert found == pytest.approx(losses, rel=1e-10)
    assert sum(movement > 0 for movement in movements(whole, start)) == 27


@pytest.mark.slow
def test_a_step_in_parts_is_that_of_the_whole_batch_in_float32():
    detector = calibrated(TINY)
    start = values_of(detector.variables)
    # A rate at which the movement is far above the weights' own rounding.
    whole, parts = (
        trained(detector, start, 1, size=5, micro_batch=size, optimizer="sgd", learning_rate="0.01")[0]
        for size in (None, 2)
    )
    assert deviation(parts, whole, start) < 5e-3  # rounding: 5e-5 to 5e-4 on different processors


@pytest.mark.slow
@pytest.mark.parametrize("fails_in", [0, 1])
def test_failed_step_leaves_everything_as_it_was_and_is_the_users_fault(fails_in, caplog, monkeypatch):
    monkeypatch.setattr(training_step, "smallest_memory", lambda: 15 * 2**29)
    detector = calibrated(TINY)
    full = Memory(detector)
    step = make_step(detector, learning_rate="1e-3")
    for number in range(fails_in):
        step(batch(number, 3, 3))
    before = values_of([*detector.variables, *step.optimizer.variables])
    full.images = 0
    with caplog.at_level(logging.INFO), pytest.raises(UserError) as refused:
        step(batch(7, 3, 3))
    assert str(refused.value) == (
        "model_id: a training step of tiny_64x64 does not fit into the device's memory (7.5 GiB) even with one image "
        "of 64x64 at a time; choose an instance with more memory"
    )
    assert isinstance(refused.value.__cause__, tf.errors.ResourceExhaustedError)
    halved = [HALVED.format(3, 2, STATISTICS), HALVED.format(2, 1, STATISTICS)]
    assert said(caplog) == halved
    after = values_of([*detector.variables, *step.optimizer.variables])
    assert [np.array_equal(one, other) for one, other in zip(after, before, strict=True)] == [True] * len(before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        tf.errors.NotFoundError,
        *(
            pytest.param(error, marks=pytest.mark.nightly)
            for error in MEMORY_ERRORS
            if error is not tf.errors.NotFoundError
        ),
    ],
    ids=lambda error: error.__name__,
)
def test_a_step_is_halved_whatever_tensorflow_raises_where_memory_runs_out(error, monkeypatch, caplog):
    text = MEMORY_ERRORS[error]
    raise_instead(monkeypatch, error, text)
    detector = calibrated(TINY)
    full = Memory(detector, error=RuntimeError(text))
    full.images = 1
    step = make_step(detector)
    with caplog.at_level(logging.INFO):
        losses = [float(step(batch(number, 3, 2))[0]) for number in range(2)]
    assert said(caplog) == [HALVED.format(2, 1, STATISTICS)]
    assert np.isfinite(losses).all()
    assert int(step.optimizer.iterations.value) == 2


@pytest.mark.parametrize(
    "text",
    [
        *MEMORY_ERRORS.values(),
        "CUDNN_STATUS_ALLOC_FAILED",
        "CUBLAS_STATUS_NOT_INITIALIZED",
        "failed to allocate 2.0GiB from device: CUDA_ERROR_OUT_OF_MEMORY",
        "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    ],
)
def test_what_the_libraries_say_where_memory_runs_out_is_known(text):
    assert training_step._is_memory_error(tf.errors.InternalError(None, None, text))


@pytest.mark.slow
def test_a_last_part_that_is_not_full_moves_the_statistics_as_its_own_images_do():
    """Of four equal images every part has the same moments, whatever it is filled up with."""
    detector = calibrated(TINY)
    start = values_of(detector.variables)
    same = batch(0, 3, 1)
    whole = type(same)(*(tf.repeat(column, 4, axis=0) for column in same))
    side = TINY.input_size
    grey = tf.cast(tf.random.stateless_uniform([1, side, side, 3], [1, 2], 90, 160, tf.int32), tf.uint8)
    whole = whole._replace(images=tf.repeat(grey, 4, axis=0))
    found = []
    for micro_batch in (None, 3):
        assign(detector.variables, start)
        make_step(detector, micro_batch=micro_batch, optimizer="sgd")(whole)
        found.append(values_of(detector.variables))
    for variable, one, other in zip(detector.variables, *found, strict=True):
        if "moving" in variable.name:
            np.testing.assert_allclose(other, one, rtol=5e-2, atol=2e-3, err_msg=variable.path)


@pytest.mark.slow
def test_another_error_is_no_lack_of_memory(monkeypatch):
    raise_instead(monkeypatch, tf.errors.InternalError, "cuDNN launch failure: CUDNN_STATUS_EXECUTION_FAILED")
    detector = calibrated(TINY)
    Memory(detector, error=RuntimeError()).images = 1
    with pytest.raises(tf.errors.InternalError, match="EXECUTION_FAILED"):
        make_step(detector)(batch(0, 3, 2))


@pytest.mark.slow
def test_a_step_that_failed_goes_on_as_one_that_knew_before():
    detector = calibrated(TINY)
    start = values_of(detector.variables)
    values = {"size": 3, "freeze": False, **OPTIMIZERS["sgd"]}
    failed, step, losses = trained(detector, start, 2, memory=(2, 0), **values)
    resumed, other, found = trained(detector, start, 2, micro_batch=2, **values)
    assert step.micro_batch == other.micro_batch == 2
    assert found == pytest.approx(losses, rel=1e-4)
    statistics = [name for name, variable in enumerate(detector.variables) if "moving" in variable.name]
    for place in statistics:
        np.testing.assert_allclose(failed[place], resumed[place], rtol=1e-3, atol=1e-4)
    assert sum(movement > 0 for movement in movements(failed, start)) > 0.9 * len(start)


@pytest.mark.slow
def test_parts_scale_the_loss_as_the_whole_batch_does():
    detector = build_detector(TINY, 2, dtype="mixed_float16")
    start = values_of(detector.variables)
    whole, parts = (
        trained(detector, start, 3, size=2, micro_batch=micro_batch, **OPTIMIZERS["sgd"]) for micro_batch in (None, 1)
    )
    assert parts[2] == pytest.approx(whole[2], rel=1e-2)
    for one, other in zip(parts[1].state, whole[1].state, strict=True):
        if one.ndim == 0:
            assert one == other
    assert int(parts[1].optimizer.iterations) > 0
    moved = np.sqrt(np.sum(np.square(movements(whole[0], start))))
    assert np.sqrt(np.sum(np.square(movements(parts[0], whole[0])))) < 0.05 * moved


def test_several_hosts_are_told_which_batch_fits():
    """The others wait in the middle of their step: there is no second try."""
    step: Any = object.__new__(training_step.TrainingStep)
    step.micro_batch, step.detector = None, SimpleNamespace(base=TINY)
    step.replicas = SimpleNamespace(hosts=2, count=4)
    with pytest.raises(UserError) as refused:
        step._halve(6, tf.errors.ResourceExhaustedError(None, None, "OOM"))
    assert str(refused.value) == (
        "batch_size: 6 images do not fit into the memory of a device; set batch_size to 12, or choose an instance with "
        "more memory"
    )
