"""Drop-connect (Huang et al., "Deep Networks with Stochastic Depth", 2016), seeded by the training step.

Keras's own dropout keeps a random state of its own in every layer. Here one state serves the whole detector and is set
at the start of a step, so that a step's noise depends on nothing but its number, and a resumed run repeats it.
"""

from typing import Any

import keras
from keras import ops

# More than the random numbers drawn in one step: one per layer that drops.
_DRAWS_PER_STEP = 1024


class Noise:
    """The random state that a detector's layers draw from. A plain object, so that it is not among their weights."""

    def __init__(self, seed: int) -> None:
        self._seed = seed % 2**31
        self.generator = keras.random.SeedGenerator(self._seed)

    def begin_step(self, step: Any) -> None:
        """Sets the state for training step number `step`, an integer or a scalar tensor."""
        state = self.generator.state
        start = ops.cast(step, state.dtype) * _DRAWS_PER_STEP
        state.assign(ops.stack([ops.cast(self._seed, state.dtype), start]))


class DropConnect(keras.layers.Layer):
    """Drops a whole sample of [B, H, W, C] with probability `rate` in training, and scales the others by 1/(1 - rate).

    It stands before the addition of a residual block, so that a dropped sample skips the block.
    """

    def __init__(self, noise: Noise, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.noise = noise
        self.rate = rate

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0.0:
            return inputs
        draws = keras.random.uniform((ops.shape(inputs)[0], 1, 1, 1), seed=self.noise.generator)
        kept = ops.cast(draws >= self.rate, inputs.dtype)
        return inputs * kept / (1.0 - self.rate)
