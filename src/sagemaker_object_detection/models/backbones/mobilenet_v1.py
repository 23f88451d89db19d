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
    x = layers.activate(layers.normed("stem", images, 32, 3, strides=2))
    taps = []
    for number, (channels, strides) in enumerate(_BLOCKS, 1):
        x = layers.activate(layers.normed_depthwise(f"block_{number}_depthwise", x, strides))
        x = layers.activate(layers.normed(f"block_{number}_pointwise", x, channels))
        if number in _TAPS:
            taps.append(x)
    return taps
