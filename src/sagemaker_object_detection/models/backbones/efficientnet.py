"""EfficientNet B0 to B3 (Tan and Le, 2019), as the Model Garden's EfficientDet uses them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras import layers as keras_layers
from keras import ops

from sagemaker_object_detection.models.layers import LayerFactory


@dataclass(frozen=True)
class Version:
    """One of the versions: how wide, and how often the blocks of each stack are repeated."""

    stem: int
    channels: tuple[int, ...]
    repeats: tuple[int, ...]
    top: int


VERSIONS = {
    "efficientnet_b0": Version(32, (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1), 1280),
    "efficientnet_b1": Version(32, (16, 24, 40, 80, 112, 192, 320), (2, 3, 3, 4, 4, 5, 2), 1280),
    "efficientnet_b2": Version(32, (16, 24, 48, 88, 120, 208, 352), (2, 3, 3, 4, 4, 5, 2), 1408),
    "efficientnet_b3": Version(40, (24, 32, 48, 96, 136, 232, 384), (2, 3, 3, 5, 5, 6, 2), 1536),
}
# (kernel size, stride, expansion) of the stacks 0 to 6.
_STACKS = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
# (stack, block) of C3, C4 and C5: the same blocks in every version, although only B0's are the last of their stacks.
_TAPS = ((2, 1), (4, 2), (6, 0))
_DROP_RATE = 0.2
_CLASSES = 1000


@dataclass(frozen=True)
class _Block:
    name: str
    place: tuple[int, int]
    kernel_size: int
    strides: int
    expansion: int
    channels: int
    drop_rate: float


def efficientnet(layers: LayerFactory, images: Any, *, version: Version) -> list[Any]:
    """Builds the graph from normalised `images` [B, S, S, 3] to the maps C3, C4 and C5."""
    x = layers.activate(layers.normed("stem", images, version.stem, 3, strides=2))
    taps = []
    for block in _blocks(version):
        x = _inverted_residual(layers, block, x)
        if block.place in _TAPS:
            taps.append(x)
        if block.place == _TAPS[-1]:
            break
    return taps


def classifier(layers: LayerFactory, c5: Any, version: Version) -> Any:
    """Builds the rest of the network, from C5 to the logits of 1000 classes.

    Detections do not depend on it, but its variables are in every published checkpoint and in the reference's L2 term.
    """
    x = c5
    for block in _blocks(version):
        if block.place > _TAPS[-1]:
            x = _inverted_residual(layers, block, x)
    x = layers.activate(layers.normed("top", x, version.top))
    return layers.dense("logits", _CLASSES)(ops.mean(x, axis=(1, 2)))


def _blocks(version: Version) -> Iterator[_Block]:
    total, number = sum(version.repeats), 0
    for stack, (kernel_size, strides, expansion) in enumerate(_STACKS):
        for block in range(version.repeats[stack]):
            yield _Block(
                name=f"stack_{stack}_block_{block}",
                place=(stack, block),
                kernel_size=kernel_size,
                strides=strides if block == 0 else 1,
                expansion=expansion,
                channels=version.channels[stack],
                drop_rate=_DROP_RATE * number / total,
            )
            number += 1


def _inverted_residual(layers: LayerFactory, block: _Block, inputs: Any) -> Any:
    """Expand, depthwise, squeeze and excite, project; the input is added where its shape is the output's."""
    name, x = block.name, inputs
    if block.expansion != 1:
        x = layers.activate(layers.normed(f"{name}_expand", x, inputs.shape[-1] * block.expansion))
    depthwise = layers.normed_depthwise(f"{name}_depthwise", x, block.strides, block.kernel_size, regularized=False)
    x = layers.activate(depthwise)

    squeezed = keras_layers.GlobalAveragePooling2D(keepdims=True, dtype=layers.dtype)(x)
    reduce = layers.convolution(f"{name}_reduce", inputs.shape[-1] // 4, 1, use_bias=True, bias_regularized=True)
    excite = layers.convolution(f"{name}_excite", x.shape[-1], 1, use_bias=True, bias_regularized=True)
    x = x * ops.sigmoid(excite(layers.activate(reduce(squeezed))))

    x = layers.normed(f"{name}_project", x, block.channels)
    if inputs.shape != x.shape:
        return x
    return inputs + layers.drop_connect(f"{name}_drop", block.drop_rate)(x)
