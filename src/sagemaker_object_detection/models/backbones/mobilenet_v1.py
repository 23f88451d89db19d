"""MobileNet v1 1.0 (Howard et al., 2017), as the Model Garden's detectors use it: SAME padding everywhere."""

from typing import Any

from sagemaker_object_detection.models.layers import LayerFactory

# (output channels, stride) of the separable blocks 1 to 13.
_BLOCKS = (
    (64, 1),
    *((128, 2), (128, 1)),
    *((256, 2), (256, 1)),
    *((512, 2), *((512, 1),) * 5),
    *((1024, 2), (1024, 1)),
)
# Last blocks at strides 4, 8, 16 and 32.
_TAPS = (3, 5, 11, 13)


def mobilenet_v1(layers: LayerFactory, images: Any) -> list[Any]:
    """Builds the graph from normalised `images` [B, S, S, 3] to the maps C2 to C5 (128, 256, 512, 1024 channels)."""

    def normed(name: str, x: Any) -> Any:
        return layers.activate(layers.batch_norm(f"{name}_norm")(x))

    x = normed("stem", layers.convolution("stem", 32, 3, strides=2)(images))
    taps = []
    for number, (channels, strides) in enumerate(_BLOCKS, 1):
        name = f"block_{number}"
        x = normed(f"{name}_depthwise", layers.depthwise_convolution(f"{name}_depthwise", strides)(x))
        x = normed(f"{name}_pointwise", layers.convolution(f"{name}_pointwise", channels, 1)(x))
        if number in _TAPS:
            taps.append(x)
    return taps
