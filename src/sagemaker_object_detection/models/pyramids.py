"""Feature pyramids, levels 3 to 7: the plain network (Lin et al., 2017) and the bidirectional one (Tan et al.,
"EfficientDet", 2020)."""

from typing import Any

import keras
from keras import ops

from sagemaker_object_detection.models.layers import LayerFactory

_EPSILON = 1e-4


def feature_pyramid(layers: LayerFactory, taps: list[Any], depth: int) -> list[Any]:
    """Builds the graph from the maps C3, C4, C5 to the maps P3 to P7, each `depth` deep.

    1. P5 is a 1x1 convolution of C5, and nothing more.
    2. P4 and P3 add a 1x1 convolution of their own map to the next coarser *smoothed* level, enlarged by repeating
       pixels, and smooth the sum.
    3. P6 and P7 are strided convolutions of P5 and P6, normalised and activated once.
    """
    c3, c4, c5 = taps

    def lateral(level: int, tap: Any) -> Any:
        return layers.convolution(f"lateral_{level}", depth, 1, use_bias=True)(tap)

    def block(name: str, x: Any, strides: int = 1) -> Any:
        x = layers.normed_convolution(name, depth, strides)(x)
        return layers.activate(layers.batch_norm(f"{name}_norm")(x))

    p5 = lateral(5, c5)
    p4 = block("smooth_4", layers.enlarge()(p5) + lateral(4, c4))
    p3 = block("smooth_3", layers.enlarge()(p4) + lateral(3, c3))
    p6 = block("coarse_6", p5, strides=2)
    p7 = block("coarse_7", p6, strides=2)
    return [p3, p4, p5, p6, p7]


class Fusion(keras.layers.Layer):
    """Fast normalised fusion: sum(w_i * x_i) / (sum(w_i) + 1e-4), with w = relu of one trained number per input."""

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        self.fusion_weights = self.add_weight(
            name="fusion_weights",
            shape=(len(input_shape), 1),
            initializer="ones",
            dtype=self.variable_dtype,
            autocast=False,
        )

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return input_shape[0]

    def call(self, inputs: list[Any]) -> Any:
        positive = ops.relu(self.fusion_weights)
        shares = positive / (ops.sum(positive) + _EPSILON)
        return sum(x * ops.cast(shares[number, 0], x.dtype) for number, x in enumerate(inputs))


def bidirectional_feature_pyramid(layers: LayerFactory, taps: list[Any], depth: int, repeats: int) -> list[Any]:
    """Builds the graph from the maps C3, C4, C5 to the maps P3 to P7, each `depth` deep.

    1. A map of the backbone comes in through a 1x1 convolution and a batch normalisation; wherever it is used, it has
       its own. P6 is C5 brought in and pooled, P7 is P6 pooled.
    2. Each repeat goes down, from level 6 to 3, fusing a level with the coarser one enlarged; then up, from level 4 to
       7, fusing it with what came down and with the finer one pooled.
    3. What is fused is activated, convolved and normalised, in this order.
    """

    def bring_in(name: str, tap: Any) -> Any:
        return layers.normed(f"{name}_input", tap, depth, use_bias=True)

    def node(name: str, inputs: list[Any]) -> Any:
        x = layers.activate(Fusion(name=f"{name}_fusion", dtype=layers.dtype)(inputs))
        x = layers.normed_convolution(name, depth, pointwise_like_depthwise=True)(x)
        return layers.batch_norm(f"{name}_norm")(x)

    backbone = dict(zip((3, 4, 5), taps, strict=True))
    level_6 = layers.max_pool()(bring_in("level_6", backbone[5]))
    levels = {6: level_6, 7: layers.max_pool()(level_6)}
    for repeat in range(1, repeats + 1):

        def own(name: str, level: int, repeat: int = repeat, levels: dict[int, Any] = levels) -> Any:
            return bring_in(name, backbone[level]) if repeat == 1 and level in backbone else levels[level]

        down = {7: levels[7]}
        for level in (6, 5, 4, 3):
            name = f"repeat_{repeat}_down_{level}"
            down[level] = node(name, [own(name, level), layers.enlarge()(down[level + 1])])
        up = {3: down[3]}
        for level in (4, 5, 6):
            name = f"repeat_{repeat}_up_{level}"
            up[level] = node(name, [own(name, level), down[level], layers.max_pool()(up[level - 1])])
        up[7] = node(f"repeat_{repeat}_up_7", [levels[7], layers.max_pool()(up[6])])
        levels = up
    return [levels[level] for level in (3, 4, 5, 6, 7)]
