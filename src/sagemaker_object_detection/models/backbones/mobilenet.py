"""MobileNet v1 and v2 1.0 (Howard et al., 2017; Sandler et al., 2018), as the Model Garden's detectors use them: SAME
padding everywhere."""

from typing import Any

from sagemaker_object_detection.models.layers import LayerFactory

# (output channels, stride) of v1's separable blocks 1 to 13.
_V1_BLOCKS = (
    (64, 1),
    *((128, 2), (128, 1)),
    *((256, 2), (256, 1)),
    *((512, 2), *((512, 1),) * 5),
    *((1024, 2), (1024, 1)),
)
# v1's last blocks at strides 4, 8, 16 and 32.
_V1_TAPS = (3, 5, 11, 13)
# (output channels, stride) of v2's inverted residual blocks 1 to 16.
_V2_BLOCKS = (
    *((24, 2), (24, 1)),
    *((32, 2), (32, 1), (32, 1)),
    *((64, 2), (64, 1), (64, 1), (64, 1)),
    *((96, 1), (96, 1), (96, 1)),
    *((160, 2), (160, 1), (160, 1)),
    (320, 1),
)
_EXPANSION = 6
_LAST_CHANNELS = 1280
# v2's last blocks at strides 4, 8 and 16; the map at stride 32 is the last convolution's.
_V2_TAPS = (2, 5, 12)


def mobilenet_v1(layers: LayerFactory, images: Any) -> list[Any]:
    """Builds the graph from normalised `images` [B, S, S, 3] to the maps C2 to C5 (128, 256, 512, 1024 channels)."""
    x = layers.activate(layers.normed("stem", images, 32, 3, strides=2))
    taps = []
    for number, (channels, strides) in enumerate(_V1_BLOCKS, 1):
        x = layers.activate(layers.normed_depthwise(f"block_{number}_depthwise", x, strides))
        x = layers.activate(layers.normed(f"block_{number}_pointwise", x, channels))
        if number in _V1_TAPS:
            taps.append(x)
    return taps


def mobilenet_v2(layers: LayerFactory, images: Any) -> list[Any]:
    """Builds the graph from normalised `images` [B, S, S, 3] to the maps C2 to C5 (24, 32, 96 and 1280 channels)."""
    x = layers.activate(layers.normed("stem", images, 32, 3, strides=2))
    x = layers.activate(layers.normed_depthwise("block_0_depthwise", x))
    x = layers.normed("block_0_project", x, 16)
    taps = []
    for number, (channels, strides) in enumerate(_V2_BLOCKS, 1):
        x = _inverted_residual(layers, f"block_{number}", x, channels, strides)
        if number in _V2_TAPS:
            taps.append(x)
    return [*taps, layers.activate(layers.normed("last", x, _LAST_CHANNELS))]


def _inverted_residual(layers: LayerFactory, name: str, inputs: Any, channels: int, strides: int) -> Any:
    """Expand, depthwise, project without an activation; the input is added where its shape is the output's."""
    x = layers.activate(layers.normed(f"{name}_expand", inputs, inputs.shape[-1] * _EXPANSION))
    x = layers.activate(layers.normed_depthwise(f"{name}_depthwise", x, strides))
    x = layers.normed(f"{name}_project", x, channels)
    return inputs + x if inputs.shape == x.shape else x
