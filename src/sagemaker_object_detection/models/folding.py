"""Convolutions that take over the batch normalisation behind them while that is frozen.

A frozen normalisation is the affine map x * scale + offset of every channel. A convolution is linear, so that in a
training step the kernel can be scaled in place of its output, of which there is a thousand times more: conv(x, w) *
scale + offset = conv(x, w * scale) + offset, with the same gradients. In inference the two layers stay apart, which
gives the reference's bits.
"""

import weakref
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from sagemaker_object_detection.models.batch_norm import BatchNormalization


class _Foldable(keras.layers.Layer):
    """Mixed into a convolution."""

    _scaled: Callable[[Any, Any], Any]
    """Inputs and a scale for every channel -> the convolution with its kernel scaled, without its bias."""
    successor: "weakref.ref[BatchNormalization] | None" = None
    """What stands behind it; as a reference, so that Keras does not count its weights twice."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        norm = self.successor() if self.successor is not None else None
        if not training or norm is None or norm.trainable:
            return super().call(inputs)
        scale, offset = norm.affine()
        if self.use_bias:
            offset = offset + self.bias * scale
        outputs = self._scaled(inputs, ops.cast(scale, self.compute_dtype))
        return outputs + ops.cast(offset, outputs.dtype)


class Convolution(_Foldable, keras.layers.Conv2D):
    def _scaled(self, inputs: Any, scale: Any) -> Any:
        return self.convolution_op(inputs, self.kernel * scale)


class DepthwiseConvolution(_Foldable, keras.layers.DepthwiseConv2D):
    def _scaled(self, inputs: Any, scale: Any) -> Any:
        kernel = self.kernel * scale[:, None]  # [height, width, channels, 1]
        return ops.depthwise_conv(inputs, kernel, strides=self.strides, padding=self.padding)


class SeparableConvolution(_Foldable, keras.layers.SeparableConv2D):
    def _scaled(self, inputs: Any, scale: Any) -> Any:
        kernel = self.pointwise_kernel * scale
        return ops.separable_conv(inputs, self.depthwise_kernel, kernel, strides=self.strides, padding=self.padding)


def fold_normalizations(part: keras.Model) -> None:
    """Tells every convolution of a graph which normalisation stands behind it, and that one that it may be folded.

    A convolution with several places in the graph, as those that all levels share, has several behind it: none is
    folded.
    """
    behind: dict[_Foldable, list[Any]] = {}
    for operation in part.operations:
        for node in operation._inbound_nodes:
            for parent in node.parent_nodes:
                if isinstance(parent.operation, _Foldable):
                    behind.setdefault(parent.operation, []).append(operation)
    for convolution, successors in behind.items():
        if len(successors) == 1 and isinstance(successors[0], BatchNormalization):
            convolution.successor = weakref.ref(successors[0])
            successors[0].folded = True
