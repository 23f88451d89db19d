"""Feature pyramid network (Lin et al., 2017) of the separable "lite" kind, levels 3 to 7."""

from typing import Any

from keras import layers as keras_layers
from keras import ops

from sagemaker_object_detection.models.layers import LayerFactory


def feature_pyramid(layers: LayerFactory, taps: list[Any]) -> list[Any]:
    """Builds the graph from the maps C3, C4, C5 to the maps P3 to P7, each `family.pyramid_depth` deep.

    1. P5 is a 1x1 convolution of C5, and nothing more.
    2. P4 and P3 add a 1x1 convolution of their own map to the next coarser *smoothed* level, enlarged by repeating
       pixels, and smooth the sum.
    3. P6 and P7 are strided convolutions of P5 and P6, normalised and activated once.
    """
    depth = layers.family.pyramid_depth
    c3, c4, c5 = taps

    def lateral(level: int, tap: Any) -> Any:
        return layers.convolution(f"lateral_{level}", depth, 1, use_bias=True)(tap)

    def separable(name: str, x: Any, strides: int = 1) -> Any:
        x = layers.separable_convolution(name, depth, strides)(x)
        return ops.relu6(layers.batch_norm(f"{name}_norm")(x))

    def enlarge(x: Any) -> Any:
        return keras_layers.UpSampling2D(2, interpolation="nearest", dtype=layers.dtype)(x)

    p5 = lateral(5, c5)
    p4 = separable("smooth_4", enlarge(p5) + lateral(4, c4))
    p3 = separable("smooth_3", enlarge(p4) + lateral(3, c3))
    p6 = separable("coarse_6", p5, strides=2)
    p7 = separable("coarse_7", p6, strides=2)
    return [p3, p4, p5, p6, p7]
