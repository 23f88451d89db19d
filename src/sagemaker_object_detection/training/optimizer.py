"""The six optimizers, each with exactly the hyperparameters that the table gives it, and the learning-rate schedule."""

import keras

from sagemaker_object_detection.hyperparameters.read import Hyperparameters

WARM_UP_SHARE = 0.05


def build_optimizer(hyperparameters: Hyperparameters, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a run of `total_steps` steps. L2 regularisation is a term of the loss, never weight decay."""
    h = hyperparameters
    rate = learning_rate(h.learning_rate_schedule, h.learning_rate, total_steps)
    match h.optimizer:
        case "adam":
            return keras.optimizers.Adam(rate, beta_1=h.beta_1, beta_2=h.beta_2, epsilon=h.epsilon)
        case "sgd":
            return keras.optimizers.SGD(rate, momentum=h.momentum)
        case "nesterov":
            return keras.optimizers.SGD(rate, momentum=h.momentum, nesterov=True)
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
