"""ResNet v1 (He et al., 2015) as the Model Garden's detectors use it: strides on the first 1x1, relu6, no biases."""

from typing import Any

from keras import ops

from sagemaker_object_detection.models.layers import LayerFactory

_WIDTHS = (64, 128, 256, 512)
_EXPANSION = 4


def resnet_v1(layers: LayerFactory, images: Any, *, blocks: tuple[int, int, int, int]) -> list[Any]:
    """Builds the graph from normalised `images` [B, S, S, 3] to the maps C2 to C5 (256, 512, 1024, 2048 channels), with
    so many bottleneck `blocks` in each of the four stages."""
    # The reference pads the stem by 3 on every side, where SAME would pad 2 and 3.
    padded = ops.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)))
    x = layers.max_pool()(layers.activate(layers.normed("stem", padded, 64, 7, strides=2, padding="valid")))
    taps = []
    for stage, (count, width) in enumerate(zip(blocks, _WIDTHS, strict=True), 2):
        for block in range(1, count + 1):
            strides = 2 if block == 1 and stage > 2 else 1
            x = _bottleneck(layers, f"stage_{stage}_block_{block}", x, width, strides, projected=block == 1)
        taps.append(x)
    return taps


def _bottleneck(layers: LayerFactory, name: str, inputs: Any, width: int, strides: int, projected: bool) -> Any:
    """1x1 with the stride, 3x3, 1x1 without an activation; the input is added, projected where the shape changes."""
    shortcut = layers.normed(f"{name}_shortcut", inputs, width * _EXPANSION, 1, strides) if projected else inputs
    x = layers.activate(layers.normed(f"{name}_reduce", inputs, width, 1, strides))
    x = layers.activate(layers.normed(f"{name}_spatial", x, width, 3))
    return layers.activate(shortcut + layers.normed(f"{name}_expand", x, width * _EXPANSION))
