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
        """What `begin_step` was told."""

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

    def new_stream(self) -> "_Stream":
        """The noise of one more layer; the layers of a detector ask in the order they are made."""
        self._layers += 1
        return _Stream((self._seed * 1009 + self._layers) % 2**31, self._step)


class _Stream(keras.random.SeedGenerator):
    """A generator without a state: what it gives depends on the step. Keras asks for this class, not for a protocol."""

    def __init__(self, key: int, step: keras.Variable) -> None:
        self._key, self._step = key, step

    def next(self, ordered: bool = True) -> Any:
        return ops.stack([ops.convert_to_tensor(self._key, "int32"), self._step.value])


class DropConnect(keras.layers.Layer):
    """Drops a whole sample of [B, H, W, C] with probability `rate` in training, and scales the others by 1/(1 - rate).

    It stands before the addition of a residual block, so that a dropped sample skips the block.
    """

    def __init__(self, noise: Noise, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self._noise = noise
        self._draw: Callable[..., Any] = partial(keras.random.uniform, seed=noise.new_stream())

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0.0:
            return inputs
        count, first = ops.shape(inputs)[0], self._noise.first_image.value
        # However many are drawn, the first of them are the same.
        drawn = self._draw((self._noise.images or first + count, 1, 1, 1))
        drawn = ops.slice(drawn, (first, 0, 0, 0), (count, 1, 1, 1))
        return inputs * ops.cast(drawn >= self.rate, inputs.dtype) / (1.0 - self.rate)
