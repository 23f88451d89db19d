"""Feature pyramid network (Lin et al., 2017), levels 3 to 7, with plain or separable convolutions."""

from typing import Any

from sagemaker_object_detection.models.layers import LayerFactory


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
