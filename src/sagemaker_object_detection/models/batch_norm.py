"""Batch normalisation with the reference's arithmetic, at the speed of TensorFlow's fused operation.

Keras 3's own layer differs in two ways that matter here: it computes the moments unfused (a third of a MobileNet
training step on a CPU), and it moves the variance towards the biased batch variance. The reference, TensorFlow's fused
operation, moves it towards the unbiased one, N / (N - 1) times larger, which shows on small maps: N is 9 per image on
the coarsest level of a 320 pixel model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops


class MovingAverage:
    """How a detector's moving statistics follow its batches: `new = momentum * old + (1 - momentum) * batch`.

    One is shared by every layer of a detector.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self._found: dict[BatchNormalization, tuple[Any, Any]] | None = None

    @contextmanager
    def collected(self) -> "Iterator[dict[BatchNormalization, tuple[Any, Any]]]":
        """Inside nothing moves: what the layers find of a batch, mean and variance of each, is in the dictionary."""
        self._found = {}
        try:
            yield self._found
        finally:
            self._found = None

    def follow(self, layer: "BatchNormalization", mean: Any, variance: Any) -> None:
        """Moves a layer's statistics towards its batch's, unless they are collected."""
        if self._found is not None:
            self._found[layer] = (mean, variance)
            return
        layer.moving_mean.assign(self.moved(layer.moving_mean, mean, self.momentum))
        layer.moving_variance.assign(self.moved(layer.moving_variance, variance, self.momentum))

    @staticmethod
    def moved(old: Any, batch: Any, momentum: Any) -> Any:
        """The rule; `momentum` is a number or a float32 scalar."""
        momentum = ops.cast(ops.convert_to_tensor(momentum, "float32"), old.dtype)
        return old * momentum + batch * (1.0 - momentum)


class BatchNormalization(keras.layers.Layer):
    """Normalises the last axis of [B, H, W, C] over the others; gamma, beta and the moving statistics are float32, also
    under mixed precision, and float64 where all of the detector is.

    With `training=True` it uses the batch's moments and moves the moving statistics; otherwise, and always when
    `trainable` is False, it uses the moving statistics and changes nothing.

    Args:
        moving_average: shared by the detector's layers.
        epsilon: added to the variance.
    """

    def __init__(self, moving_average: MovingAverage, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.moving_average = moving_average
        self.epsilon = epsilon
        self.folded = False
        """Whether the convolution before it computes it in training steps while it is frozen (folding.py)."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        def add(name: str, initializer: str, trainable: bool) -> keras.Variable:
            # Replicas see different batches: their moving statistics are averaged, as in the reference.
            return self.add_weight(
                name=name,
                shape=(input_shape[-1],),
                initializer=initializer,
                trainable=trainable,
                dtype=self.variable_dtype,
                autocast=False,
                aggregation="none" if trainable else "mean",
            )

        self.gamma = add("gamma", "ones", True)
        self.beta = add("beta", "zeros", True)
        self.moving_mean = add("moving_mean", "zeros", False)
        self.moving_variance = add("moving_variance", "ones", False)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any, training: bool = False) -> Any:
        fused = keras.backend.backend() == "tensorflow" and self.variable_dtype == "float32"  # it knows no float64
        if training and self.trainable:
            outputs, mean, variance = normalize(inputs, self.gamma, self.beta, self.epsilon, fused=fused)
            self.moving_average.follow(self, mean, variance)
            return outputs
        if training and self.folded:
            return inputs
        # In inference the fused operation gives the reference's bits. A frozen layer in a training step is an affine
        # map, whose gradient is cheaper: 10.5 against 13.8 ms with the forward pass on [8, 80, 80, 96], two CPU cores.
        moments = self.moving_mean, self.moving_variance
        return normalize_known(inputs, self.gamma, self.beta, *moments, self.epsilon, fused=fused and not training)

    def affine(self) -> tuple[Any, Any]:
        """Scale and offset of every channel, [C] each, as the moving statistics have it."""
        return _affine(self.gamma, self.beta, self.moving_mean, self.moving_variance, self.epsilon)


def normalize(inputs: Any, gamma: Any, beta: Any, epsilon: float, *, fused: bool) -> tuple[Any, Any, Any]:
    """Normalises with the batch's own moments.

    Args:
        inputs: [B, H, W, C], any floating dtype; the moments are computed in that of gamma.
        gamma, beta: float32 or float64 [C].
        fused: by TensorFlow's fused operation, which does it in one pass; else on any Keras backend.

    Returns:
        The outputs, of the inputs' shape and dtype, and the batch's mean and unbiased variance, [C] of gamma's dtype.
    """
    if fused:
        import tensorflow as tf

        parameters = [ops.convert_to_tensor(parameter) for parameter in (gamma, beta)]
        return tf.compat.v1.nn.fused_batch_norm(inputs, *parameters, epsilon=epsilon)
    wide = ops.cast(inputs, gamma.dtype)
    mean, variance = ops.moments(wide, axes=(0, 1, 2))
    scale = gamma * ops.rsqrt(variance + epsilon)
    outputs = ops.cast(wide * scale + (beta - mean * scale), inputs.dtype)
    count = ops.cast(ops.prod(ops.shape(inputs)[:-1]), gamma.dtype)
    return outputs, mean, variance * count / ops.maximum(count - 1.0, 1.0)


def normalize_known(
    inputs: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float, *, fused: bool
) -> Any:
    """As `normalize`, with given moments, [C] of one dtype: outputs of the inputs' shape and dtype."""
    if fused:
        import tensorflow as tf

        parameters = [ops.convert_to_tensor(parameter) for parameter in (gamma, beta, mean, variance)]
        return tf.compat.v1.nn.fused_batch_norm(inputs, *parameters, epsilon=epsilon, is_training=False)[0]
    scale, offset = _affine(gamma, beta, mean, variance, epsilon)
    return ops.cast(ops.cast(inputs, gamma.dtype) * scale + offset, inputs.dtype)


def _affine(gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float) -> tuple[Any, Any]:
    scale = gamma * ops.rsqrt(variance + epsilon)
    return scale, beta - mean * scale
