"""MobileNet v2 1.0 (Sandler et al., 2018), as the Model Garden's detectors use it: SAME padding everywhere."""

from typing import Any

from sagemaker_object_detection.models.layers import LayerFactory

# (output channels, stride) of the inverted residual blocks 1 to 16.
_BLOCKS = (
    *((24, 2), (24, 1)),
    *((32, 2), (32, 1), (32, 1)),
    *((64, 2), (64, 1), (64, 1), (64, 1)),
    *((96, 1), (96, 1), (96, 1)),
    *((160, 2), (160, 1), (160, 1)),
    (320, 1),
)
_EXPANSION = 6
_LAST_CHANNELS = 1280
# Last blocks at strides 4, 8 and 16; the map at stride 32 is the last convolution's.
_TAPS = (2, 5, 12)


def mobilenet_v2(layers: LayerFactory, images: Any) -> list[Any]:
    """Builds the graph from normalised `images` [B, S, S, 3] to the maps C2 to C5 (24, 32, 96 and 1280 channels)."""
    x = layers.convolution("stem", 32, 3, strides=2)(images)
    x = layers.activate(layers.batch_norm("stem_norm")(x))
    x = layers.depthwise_convolution("block_0_depthwise")(x)
    x = layers.activate(layers.batch_norm("block_0_depthwise_norm")(x))
    x = layers.batch_norm("block_0_project_norm")(layers.convolution("block_0_project", 16, 1)(x))
    taps = []
    for number, (channels, strides) in enumerate(_BLOCKS, 1):
        x = _inverted_residual(layers, f"block_{number}", x, channels, strides)
        if number in _TAPS:
            taps.append(x)
    x = layers.batch_norm("last_norm")(layers.convolution("last", _LAST_CHANNELS, 1)(x))
    return [*taps, layers.activate(x)]


def _inverted_residual(layers: LayerFactory, name: str, inputs: Any, channels: int, strides: int) -> Any:
    """Expand, depthwise, project without an activation; the input is added where its shape is the output's."""
    x = layers.convolution(f"{name}_expand", inputs.shape[-1] * _EXPANSION, 1)(inputs)
    x = layers.activate(layers.batch_norm(f"{name}_expand_norm")(x))
    x = layers.depthwise_convolution(f"{name}_depthwise", strides)(x)
    x = layers.activate(layers.batch_norm(f"{name}_depthwise_norm")(x))
    x = layers.batch_norm(f"{name}_project_norm")(layers.convolution(f"{name}_project", channels, 1)(x))
    return inputs + x if inputs.shape == x.shape else x
