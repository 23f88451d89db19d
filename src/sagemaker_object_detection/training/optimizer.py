"""The six optimizers, each with exactly the hyperparameters that the table gives it, and the learning-rate schedule.

Adam and momentum update a variable by TensorFlow's fused operations: the same formulas, but a third of the operations
that Keras builds for each of some hundred variables, which have to be traced and optimised before the first step.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sagemaker_object_detection.hyperparameters.read import Hyperparameters

WARM_UP_SHARE = 0.05


def build_optimizer(hyperparameters: Hyperparameters, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a run of `total_steps` steps. L2 regularisation is a term of the loss, never weight decay."""
    h = hyperparameters
    rate = learning_rate(h.learning_rate_schedule, h.learning_rate, total_steps)
    match h.optimizer:
        case "adam":
            return Adam(rate, beta_1=h.beta_1, beta_2=h.beta_2, epsilon=h.epsilon)
        case "sgd":
            return SGD(rate, momentum=h.momentum)
        case "nesterov":
            return SGD(rate, momentum=h.momentum, nesterov=True)
        case "rmsprop":
            return keras.optimizers.RMSprop(rate, rho=h.rho, epsilon=h.epsilon)
        case "adagrad":
            return keras.optimizers.Adagrad(
                rate, initial_accumulator_value=h.initial_accumulator_value, epsilon=h.epsilon
            )
        case "adadelta":
            return keras.optimizers.Adadelta(rate, rho=h.rho, epsilon=h.epsilon)
    raise ValueError(f"no optimizer is called {h.optimizer!r}: the hyperparameter table lets none such through")


def learning_rate(
    schedule: str, peak: float, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """`constant`: the peak. `cosine`: linear from 0 to the peak over the first 5% of the steps, then cosine to 0."""
    if schedule == "constant":
        return peak
    warm_up = round(WARM_UP_SHARE * total_steps)
    if warm_up == 0:
        return keras.optimizers.schedules.CosineDecay(peak, total_steps)
    return keras.optimizers.schedules.CosineDecay(0.0, total_steps - warm_up, warmup_target=peak, warmup_steps=warm_up)


class Adam(keras.optimizers.Adam):
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
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )


class SGD(keras.optimizers.SGD):
    """Keras's gradient descent with momentum, Nesterov's or not, fused."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        rate, gradient = tf.cast(learning_rate, variable.dtype), tf.cast(gradient, variable.dtype)
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
