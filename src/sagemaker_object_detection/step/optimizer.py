"""The six optimizers, each with exactly the hyperparameters that the table gives it, and the learning-rate schedule.

Adam and momentum update a variable by TensorFlow's fused operations: the same formulas, but a third of the operations
that Keras builds for each of some hundred variables, which have to be traced and optimised before the first step.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sagemaker_object_detection.hyperparameters.read import Hyperparameters

WARM_UP_SHARE = 0.05
COOL_DOWN_SHARE = 0.1


def build_optimizer(
    hyperparameters: Hyperparameters, total_steps: int, shares: Sequence[float] | None = None
) -> keras.optimizers.Optimizer:
    """The optimizer of a run of `total_steps` steps. L2 regularisation is a term of the loss, never weight decay.

    Args:
        shares: what part of the learning rate each variable has, in the order in which they are handed to the
            optimizer; None: all of it.
    """
    h = hyperparameters
    rate = learning_rate(h.learning_rate_schedule, h.learning_rate, total_steps)
    match h.optimizer:
        case "adam":
            return Adam(rate, shares, beta_1=h.beta_1, beta_2=h.beta_2, epsilon=h.epsilon)
        case "sgd":
            return SGD(rate, shares, momentum=h.momentum)
        case "nesterov":
            return SGD(rate, shares, momentum=h.momentum, nesterov=True)
        case "rmsprop":
            return RMSprop(rate, shares, rho=h.rho, epsilon=h.epsilon)
        case "adagrad":
            return Adagrad(rate, shares, initial_accumulator_value=h.initial_accumulator_value, epsilon=h.epsilon)
        case "adadelta":
            return Adadelta(rate, shares, rho=h.rho, epsilon=h.epsilon)
    raise ValueError(f"no optimizer is called {h.optimizer!r}: the hyperparameter table lets none such through")


def learning_rate(
    schedule: str, peak: float, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """`constant`: the peak. `cosine`: linear from 0 to the peak over the first 5% of the steps, then cosine to 0.
    `trapezoid`: the same warm-up, the peak, and linear to 0 over the last 10% (Hägele et al., 2024, "Scaling laws and
    compute-optimal training beyond fixed training durations", section 3)."""
    if schedule == "constant":
        return peak
    if schedule == "trapezoid":
        return Trapezoid(peak, total_steps)
    if schedule != "cosine":
        raise ValueError(f"no schedule is called {schedule!r}: the recipe leaves none to Auto")
    warm_up = round(WARM_UP_SHARE * total_steps)
    if warm_up == 0:
        return keras.optimizers.schedules.CosineDecay(peak, total_steps)
    return keras.optimizers.schedules.CosineDecay(0.0, total_steps - warm_up, warmup_target=peak, warmup_steps=warm_up)


class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """Of a run of `total_steps` steps."""

    def __init__(self, peak: float, total_steps: int) -> None:
        super().__init__()
        self._peak, self._total = peak, total_steps
        self._up, self._down = (max(1, round(share * total_steps)) for share in (WARM_UP_SHARE, COOL_DOWN_SHARE))

    def __call__(self, step: Any) -> Any:
        done = tf.cast(step, tf.float32)
        # Every step moves something: the warm-up has begun at the first, the cool-down has not ended at the last.
        return self._peak * tf.minimum(1.0, tf.minimum((done + 1.0) / self._up, (self._total - done) / self._down))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self._peak, "total_steps": self._total}


def layer_shares(
    variables: Sequence[keras.Variable], new: Sequence[keras.Variable], hyperparameters: Hyperparameters
) -> list[float]:
    """What part of the learning rate each variable has: all of it, but for a kernel that was loaded.

    A kernel's rate is at most `relative` times the root mean square of its weights, Adafactor's relative step size
    (Shazeer and Stern, 2018, section 8), of the weights it starts from. A step of Adam moves every weight by about the
    rate, whatever its size: by 0.1% of a large kernel, and 10% of a small one, although both may compute the same,
    where a normalisation stands behind them.

    Args:
        variables: that may move, with the values they start from.
        new: those among them that were not loaded.
        hyperparameters: with the highest learning rate, and the relative one, of which 1 is no bound.
    """
    relative, peak = hyperparameters.relative_learning_rate, hyperparameters.learning_rate
    if relative is None or relative == 1.0 or peak == 0.0 or hyperparameters.train_only_on_top_layer:
        return [1.0] * len(variables)
    started_anew = {id(variable) for variable in new}
    return [
        1.0
        if id(variable) in started_anew or len(variable.shape) < 2
        else min(1.0, relative * float(np.sqrt(np.mean(np.square(variable.numpy(), dtype=np.float64)))) / peak)
        for variable in variables
    ]


class _WithShares(keras.optimizers.Optimizer):
    """Mixed into an optimizer: every variable has its share of the learning rate."""

    def __init__(self, learning_rate: Any, shares: Sequence[float] | None, **settings: Any) -> None:
        super().__init__(learning_rate, **settings)
        self._shares = shares

    def own_rate(self, variable: tf.Variable, learning_rate: tf.Tensor) -> tf.Tensor:
        """The part of the learning rate that a variable has; nothing is computed for one that has all of it."""
        share = 1.0 if self._shares is None else self._shares[self._get_variable_index(variable)]
        return learning_rate if share == 1.0 else learning_rate * share

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        super().update_step(gradient, variable, self.own_rate(variable, learning_rate))


class RMSprop(_WithShares, keras.optimizers.RMSprop):
    """Keras's own."""


class Adagrad(_WithShares, keras.optimizers.Adagrad):
    """Keras's own."""


class Adadelta(_WithShares, keras.optimizers.Adadelta):
    """Keras's own."""


class Adam(_WithShares, keras.optimizers.Adam):
    """Keras's Adam (Kingma and Ba, 2015, the efficient order of section 2), fused."""

    def _backend_update_step(
        self, gradients: Sequence[tf.Tensor], variables: Sequence[Any], learning_rate: tf.Tensor
    ) -> None:
        # What Keras hands to each variable's update, on its device: also what all of them have in common.
        dtype = variables[0].dtype
        step = tf.cast(self.iterations + 1, dtype)
        powers = (tf.pow(tf.constant(beta, dtype), step) for beta in (self.beta_1, self.beta_2))
        super()._backend_update_step(gradients, variables, (learning_rate, *powers))

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, shared: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> None:
        place = self._get_variable_index(variable)
        learning_rate, beta_1_power, beta_2_power = shared
        beta_1, beta_2 = (tf.constant(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=_handle(self._momentums[place]),
            v=_handle(self._velocities[place]),
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=self.own_rate(variable, tf.cast(learning_rate, variable.dtype)),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )


class SGD(_WithShares, keras.optimizers.SGD):
    """Keras's gradient descent with momentum, Nesterov's or not, fused."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        rate = self.own_rate(variable, tf.cast(learning_rate, variable.dtype))
        gradient = tf.cast(gradient, variable.dtype)
        if self.momentum == 0:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=_handle(self.momentums[self._get_variable_index(variable)]),
            lr=rate,
            grad=gradient,
            momentum=tf.constant(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


def _handle(slot: Any) -> tf.Tensor:
    """Of an optimizer's variable, on the device whose update is traced."""
    return slot.value.handle
