"""The layers a detector is made of, as its family trained them."""

import copy
import random
from typing import Any

import keras
from keras import ops

from sagemaker_object_detection.catalogue import Family, Initializer
from sagemaker_object_detection.models.batch_norm import BatchNormalization, MovingAverage
from sagemaker_object_detection.models.drop_connect import DropConnect, Noise
from sagemaker_object_detection.models.folding import Convolution, DepthwiseConvolution, SeparableConvolution


class LayerFactory:
    """Makes the layers of one detector: the family's initial values, regularisation, activation and normalisation.

    Every convolution pads as TensorFlow's SAME unless it says otherwise. Every layer is named by its caller, so that
    the variables' paths do not depend on what else the process has built. Layers draw their initial values from seeds
    in the order they are made.

    Args:
        family: the numbers the layers are made with.
        dtype: Keras dtype policy, such as "float32" or "mixed_bfloat16".
        seed: the same seed gives the same initial values.
    """

    def __init__(self, family: Family, dtype: str, seed: int) -> None:
        self.family = family
        self.dtype = keras.DTypePolicy(dtype)
        self.moving_average = MovingAverage(family.batch_norm_momentum)
        self.noise = Noise(seed)
        self._seeds = random.Random(seed)
        self._initializer = family.backbone_initializer
        self._l2 = family.backbone_l2

    def for_part(self, initializer: Initializer, l2: float) -> "LayerFactory":
        """The factory of another part of the same detector."""
        other = copy.copy(self)
        other._initializer, other._l2 = initializer, l2
        return other

    def activate(self, x: Any) -> Any:
        return ops.relu6(x) if self.family.activation == "relu6" else ops.silu(x)

    def convolution(
        self,
        name: str,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        use_bias: bool = False,
        padding: str = "same",
        bias_regularized: bool = False,
    ) -> keras.layers.Layer:
        return Convolution(
            filters,
            kernel_size,
            strides,
            padding=padding,
            use_bias=use_bias,
            kernel_initializer=self._kernel(),
            kernel_regularizer=self._regularizer(),
            bias_regularizer=self._regularizer() if bias_regularized else None,
            name=name,
            dtype=self.dtype,
        )

    def normed_depthwise(
        self, name: str, x: Any, strides: int = 1, kernel_size: int = 3, *, regularized: bool = True
    ) -> Any:
        """A depthwise convolution of `x`, normalised."""
        convolution = DepthwiseConvolution(
            kernel_size,
            strides,
            padding="same",
            use_bias=False,
            depthwise_initializer=self._kernel(),
            depthwise_regularizer=self._regularizer() if regularized else None,
            name=name,
            dtype=self.dtype,
        )
        return self.batch_norm(f"{name}_norm")(convolution(x))

    def normed(self, name: str, x: Any, filters: int, kernel_size: int = 1, strides: int = 1, **options: Any) -> Any:
        """A convolution of `x`, normalised."""
        return self.batch_norm(f"{name}_norm")(self.convolution(name, filters, kernel_size, strides, **options)(x))

    def normed_convolution(
        self, name: str, filters: int, strides: int = 1, *, pointwise_like_depthwise: bool = False
    ) -> keras.layers.Layer:
        """3x3 convolution in pyramid or heads that a batch normalisation follows; separable where the family's are.

        Separable: 3x3 depthwise, then 1x1 pointwise with nothing between. Only the depthwise kernel is regularised, and
        the pointwise one is drawn as `glorot_uniform`, unless `pointwise_like_depthwise`.
        """
        use_bias = self.family.bias_before_norm
        if not self.family.separable:
            return self.convolution(name, filters, 3, strides, use_bias=use_bias)
        return SeparableConvolution(
            filters,
            3,
            strides,
            padding="same",
            use_bias=use_bias,
            depthwise_initializer=self._kernel(),
            pointwise_initializer=self._kernel() if pointwise_like_depthwise else self._glorot(),
            depthwise_regularizer=self._regularizer(),
            pointwise_regularizer=self._regularizer() if pointwise_like_depthwise else None,
            name=name,
            dtype=self.dtype,
        )

    def predictor(self, name: str, channels: int, bias: float) -> keras.layers.Layer:
        """The last layer of a head: 3x3 with a bias. Where it is separable it is not regularised."""
        constant = keras.initializers.Constant(bias)
        options: dict[str, Any] = {"padding": "same", "bias_initializer": constant, "name": name, "dtype": self.dtype}
        if not self.family.separable:
            options |= {"kernel_initializer": self._kernel(), "kernel_regularizer": self._regularizer()}
            return keras.layers.Conv2D(channels, 3, **options)
        options |= {"depthwise_initializer": self._glorot(), "pointwise_initializer": self._glorot()}
        return keras.layers.SeparableConv2D(channels, 3, **options)

    def dense(self, name: str, units: int) -> keras.layers.Layer:
        return keras.layers.Dense(
            units,
            kernel_initializer=self._glorot(),
            kernel_regularizer=self._regularizer(),
            bias_regularizer=self._regularizer(),
            name=name,
            dtype=self.dtype,
        )

    def batch_norm(self, name: str) -> BatchNormalization:
        return BatchNormalization(self.moving_average, self.family.batch_norm_epsilon, name=name, dtype=self.dtype)

    def drop_connect(self, name: str, rate: float) -> DropConnect:
        return DropConnect(self.noise, rate, name=name, dtype=self.dtype)

    def max_pool(self) -> keras.layers.Layer:
        """3x3, stride 2."""
        return keras.layers.MaxPooling2D(3, 2, padding="same", dtype=self.dtype)

    def enlarge(self) -> keras.layers.Layer:
        """Twice the height and width, by repeating pixels."""
        return keras.layers.UpSampling2D(2, interpolation="nearest", dtype=self.dtype)

    def input(self, shape: tuple[int, int, int]) -> Any:
        """A graph input of one image's shape, in the dtype the layers compute in."""
        return keras.Input(shape, dtype=self.dtype.compute_dtype)

    def _kernel(self) -> keras.initializers.Initializer:
        scale, seed = self._initializer.scale, self._seeds.getrandbits(31)
        if self._initializer.kind == "normal":
            return keras.initializers.RandomNormal(stddev=scale, seed=seed)
        if self._initializer.kind == "truncated_normal":
            return keras.initializers.TruncatedNormal(stddev=scale, seed=seed)
        return keras.initializers.VarianceScaling(scale, mode="fan_out", distribution="truncated_normal", seed=seed)

    def _glorot(self) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=self._seeds.getrandbits(31))

    def _regularizer(self) -> keras.regularizers.Regularizer:
        return keras.regularizers.L2(self._l2)
