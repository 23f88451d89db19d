"""Drop-connect (Huang et al., "Deep Networks with Stochastic Depth", 2016), seeded by the training step.

Keras's own dropout keeps a random state in every layer. Here an image's noise depends on nothing but the detector's
seed, the layer, the number of the step and the image's place in the batch, so that a resumed run repeats it, and so do
replicas and micro-batches that take a batch in parts.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops


class Noise:
    """What a detector's layers draw from. A plain object, so that it is not among their weights."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._layers = 0
        self._step = keras.Variable(
            0, dtype="int32", trainable=False, autocast=False, aggregation="only_first_replica", name="step"
        )
        self.first_image = keras.Variable(
            0, dtype="int32", trainable=False, autocast=False, synchronization="on_read", name="first_image"
        )
        """The place in the batch of the first image that a layer is called with; each replica has its own."""
        self.images: int | None = None

    def begin_step(self, step: Any, first_image: Any = 0, images: int | None = None) -> None:
        """Settles the noise of training step number `step` for images from `first_image` on in its batch.

        Args:
            step, first_image: integers or scalar tensors.
            images: at least the place after the last image that a layer is called with, where that is known: all shapes
                are known then, as XLA needs them. What is drawn for an image does not depend on it.
        """
        self._step.assign(ops.cast(step, "int32"))
        self.first_image.assign(ops.cast(first_image, "int32"))
        self.images = images

    def new_stream(self) -> Callable[[Any], Any]:
        """The noise of one more layer: a number of values -> so many, float32, uniform in [0, 1). The layers of a
        detector ask in the order they are made."""
        self._layers += 1
        return partial(self._draw, (self._seed * 1009 + self._layers) % 2**31)

    def _draw(self, key: int, count: Any) -> Any:
        import tensorflow as tf

        seed = tf.stack([tf.constant(key, tf.int32), tf.convert_to_tensor(self._step.value)])
        # Of the same bits XLA makes other numbers than TensorFlow. So bits are drawn; the numbers are TensorFlow's.
        bits = tf.random.stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32)
        return tf.cast(tf.bitwise.bitwise_and(bits, 2**23 - 1), tf.float32) / 2**23


class DropConnect(keras.layers.Layer):
    """Drops a whole sample of [B, H, W, C] with probability `rate` in training, and scales the others by 1/(1 - rate).

    It stands before the addition of a residual block, so that a dropped sample skips the block.
    """

    def __init__(self, noise: Noise, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self._noise = noise
        self._draw = noise.new_stream()

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0.0:
            return inputs
        count, first = ops.shape(inputs)[0], self._noise.first_image.value
        # However many are drawn, the first of them are the same.
        drawn = ops.slice(self._draw(self._noise.images or first + count), (first,), (count,))
        drawn = ops.reshape(drawn, (-1, 1, 1, 1))
        return inputs * ops.cast(drawn >= self.rate, inputs.dtype) / (1.0 - self.rate)
