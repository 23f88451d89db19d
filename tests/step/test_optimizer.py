"""Each optimizer gets exactly the hyperparameters the table gives it, and the schedule follows its definition."""

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.step.optimizer import build_optimizer, layer_shares, learning_rate

GIVEN = {
    "learning_rate": "0.25",
    "learning_rate_schedule": "constant",
    "beta_1": "0.8",
    "beta_2": "0.95",
    "epsilon": "0.001",
    "momentum": "0.7",
    "rho": "0.6",
    "initial_accumulator_value": "0.4",
}


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("adam", "Adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.001, "amsgrad": False}),
        ("sgd", "SGD", {"momentum": 0.7, "nesterov": False}),
        ("nesterov", "SGD", {"momentum": 0.7, "nesterov": True}),
        ("rmsprop", "RMSprop", {"rho": 0.6, "epsilon": 0.001, "momentum": 0.0, "centered": False}),
        ("adagrad", "Adagrad", {"initial_accumulator_value": 0.4, "epsilon": 0.001}),
        ("adadelta", "Adadelta", {"rho": 0.6, "epsilon": 0.001}),
    ],
)
def test_parameters_reach_the_optimizer(name, kind, expected):
    optimizer = build_optimizer(read({**GIVEN, "optimizer": name}), total_steps=10)
    config = optimizer.get_config()
    assert type(optimizer).__name__ == kind
    assert {key: config[key] for key in expected} == expected
    assert config["learning_rate"] == pytest.approx(0.25)
    assert not config["weight_decay"]
    assert config["clipnorm"] is None
    assert config["use_ema"] is False


def test_constant_is_the_peak():
    assert learning_rate("constant", 0.3, 100) == 0.3


def test_cosine_warms_up_over_five_percent_and_ends_at_zero():
    schedule: Any = learning_rate("cosine", 0.8, 200)
    assert [float(schedule(step)) for step in (0, 5, 10)] == pytest.approx([0.0, 0.4, 0.8])
    assert float(schedule(105)) == pytest.approx(0.8 * 0.5 * (1 + math.cos(math.pi * 95 / 190)), rel=1e-5)
    assert float(schedule(200)) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize(("total_steps", "warm_up"), [(5, 0), (15, 1), (25, 1), (35, 2)])
def test_cosine_of_a_short_run_warms_up_for_the_nearest_number_of_steps(total_steps, warm_up):
    schedule: Any = learning_rate("cosine", 0.8, total_steps)
    assert [float(schedule(step)) for step in range(warm_up + 1)][-1] == pytest.approx(0.8)
    assert all(float(schedule(step)) < 0.7 for step in range(warm_up))


def test_trapezoid_warms_up_stays_and_ends_near_zero():
    schedule: Any = learning_rate("trapezoid", 0.8, 200)
    rates = [float(schedule(step)) for step in range(200)]
    assert rates[:10] == pytest.approx([0.08 * step for step in range(1, 11)])
    assert rates[10:181] == pytest.approx([0.8] * 171)
    assert rates[180:] == pytest.approx([0.04 * left for left in range(20, 0, -1)])


@pytest.mark.parametrize("total_steps", [1, 2, 3, 9])
def test_every_step_of_a_short_run_moves_weights(total_steps):
    schedule: Any = learning_rate("trapezoid", 0.8, total_steps)
    assert [float(schedule(step)) for step in range(total_steps)] == pytest.approx([0.8] * total_steps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("adam", lambda rate: keras.optimizers.Adam(rate, beta_1=0.8, beta_2=0.95, epsilon=0.001)),
        ("sgd", lambda rate: keras.optimizers.SGD(rate, momentum=0.7)),
        ("sgd without momentum", lambda rate: keras.optimizers.SGD(rate)),
        ("nesterov", lambda rate: keras.optimizers.SGD(rate, momentum=0.7, nesterov=True)),
    ],
)
def test_fused_updates_are_those_of_keras(name, theirs, dtype):
    """But for Keras's rounding of hyperparameters to float32, also where the variable is float64."""
    given = {**GIVEN, "learning_rate_schedule": "cosine", "optimizer": name.split()[0]}
    if "without" in name:
        given["momentum"] = "0"
    ours = build_optimizer(read(given), total_steps=40)
    random = np.random.default_rng(0)
    start = random.normal(size=(5, 3))
    gradients = [tf.constant(random.normal(size=(5, 3)), dtype) for _ in range(10)]

    def trained(optimizer):
        variable = keras.Variable(start, dtype=dtype)
        optimizer.build([variable])
        apply = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
        for gradient in gradients:
            apply(gradient)
        return [variable.numpy(), *(slot.numpy() for slot in optimizer.variables)]

    expected = trained(theirs(learning_rate("cosine", 0.25, 40)))
    found = trained(ours)
    assert np.abs(found[0] - start).max() > 0.01
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6 if dtype == "float64" else 1e-5, atol=1e-7)


def test_adam_raises_its_betas_once_for_all_variables():
    optimizer = build_optimizer(read({"optimizer": "adam", "learning_rate_schedule": "constant"}), total_steps=10)
    variables = [keras.Variable([1.0]) for _ in range(5)]
    optimizer.build(variables)
    step = tf.function(lambda: optimizer.apply([tf.ones([1])] * 5, variables), autograph=False)
    operations = [operation.type for operation in step.get_concrete_function().graph.get_operations()]
    assert (operations.count("Pow"), operations.count("ResourceApplyAdam")) == (2, 5)


@pytest.mark.parametrize("name", ["adam", "sgd", "nesterov", "rmsprop", "adagrad", "adadelta"])
def test_a_share_of_the_rate_is_a_smaller_rate_for_that_variable_alone(name):
    given = {**GIVEN, "optimizer": name}
    gradient = tf.constant([[1.0, -2.0], [0.5, 4.0]])

    def moved(shares, rate="0.25"):
        variables = [keras.Variable(np.ones((2, 2), np.float32)) for _ in range(2)]
        optimizer = build_optimizer(read({**given, "learning_rate": rate}), 10, shares)
        optimizer.build(variables)
        for _ in range(3):
            optimizer.apply([gradient, gradient], variables)
        return [variable.numpy() for variable in variables]

    whole, fifth = moved(None)[0], moved(None, rate="0.05")[0]
    first, second = moved([1.0, 0.2])
    np.testing.assert_array_equal(first, whole)
    np.testing.assert_allclose(second, fifth, rtol=1e-6)


def test_the_rate_of_a_loaded_kernel_is_bounded_by_the_size_of_its_weights():
    kernel = keras.Variable(np.full((2, 2), -0.5, np.float32))
    small = keras.Variable(np.array([[0.003, -0.004]], np.float32))
    bias, new = keras.Variable(np.ones(2, np.float32)), keras.Variable(np.full((2, 2), 1e-6, np.float32))
    variables = [kernel, small, bias, new]
    shares = layer_shares(variables, [new], read({"relative_learning_rate": "0.01", "learning_rate": "0.001"}))
    assert shares == [1.0, pytest.approx(0.01 * math.sqrt(12.5e-6) / 0.001), 1.0, 1.0]
    for values in ({"relative_learning_rate": "1", "learning_rate": "1"}, {"learning_rate": "0"}):
        assert layer_shares(variables, [new], read({"relative_learning_rate": "0.01", **values})) == [1.0] * 4


def test_a_schedule_that_nobody_settled_is_refused():
    with pytest.raises(ValueError, match="no schedule is called 'Auto'"):
        build_optimizer(read({}), total_steps=10)
