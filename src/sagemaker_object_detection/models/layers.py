"""The layers a detector is made of, as its family trained them."""

import random
from typing import Any

import keras

from sagemaker_object_detection.catalogue import Family
from sagemaker_object_detection.models.batch_norm import BatchNormalization, MovingAverage


class LayerFactory:
    """Makes the layers of one detector: the family's initial values, regularisation and batch normalisation.

    Every convolution pads as TensorFlow's SAME. Every layer is named by its caller, so that the variables' paths do not
    depend on what else the process has built. Layers draw their initial values from seeds in the order they are made.

    Args:
        family: the numbers the layers are made with.
        dtype: Keras dtype policy, such as "float32" or "mixed_bfloat16".
        seed: the same seed gives the same initial values.
    """

    def __init__(self, family: Family, dtype: str, seed: int) -> None:
        self.family = family
        self.dtype = keras.DTypePolicy(dtype)
        self.moving_average = MovingAverage(family.batch_norm_momentum)
        self._seeds = random.Random(seed)

    def convolution(
        self, name: str, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False
    ) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=self._normal(),
            kernel_regularizer=self._l2(),
            name=name,
            dtype=self.dtype,
        )

    def depthwise_convolution(self, name: str, strides: int = 1) -> keras.layers.Layer:
        return keras.layers.DepthwiseConv2D(
            3,
            strides,
            padding="same",
            use_bias=False,
            depthwise_initializer=self._normal(),
            depthwise_regularizer=self._l2(),
            name=name,
            dtype=self.dtype,
        )

    def separable_convolution(self, name: str, filters: int, strides: int = 1) -> keras.layers.Layer:
        """3x3 depthwise, then 1x1 pointwise with nothing between; only the depthwise kernel is regularised."""
        return keras.layers.SeparableConv2D(
            filters,
            3,
            strides,
            padding="same",
            use_bias=False,
            depthwise_initializer=self._normal(),
            pointwise_initializer=self._glorot(),
            depthwise_regularizer=self._l2(),
            name=name,
            dtype=self.dtype,
        )

    def separable_predictor(self, name: str, channels: int, bias: float) -> keras.layers.Layer:
        """The last layer of a head: separable 3x3 with a bias, not regularised."""
        return keras.layers.SeparableConv2D(
            channels,
            3,
            padding="same",
            depthwise_initializer=self._glorot(),
            pointwise_initializer=self._glorot(),
            bias_initializer=keras.initializers.Constant(bias),
            name=name,
            dtype=self.dtype,
        )

    def batch_norm(self, name: str) -> BatchNormalization:
        return BatchNormalization(self.moving_average, self.family.batch_norm_epsilon, name=name, dtype=self.dtype)

    def input(self, shape: tuple[int, int, int]) -> Any:
        """A graph input of one image's shape, in the dtype the layers compute in."""
        return keras.Input(shape, dtype=self.dtype.compute_dtype)

    def _normal(self) -> keras.initializers.Initializer:
        return keras.initializers.RandomNormal(stddev=0.01, seed=self._seeds.getrandbits(31))

    def _glorot(self) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=self._seeds.getrandbits(31))

    def _l2(self) -> keras.regularizers.Regularizer:
        return keras.regularizers.L2(self.family.l2)
