"""Two base models of a few small layers, for tests of what does not depend on the network. Only tests know them.

Everything is real but the size: normalization, separable heads, five levels, and in the padded one a bidirectional
pyramid and drop-connect. A job on one of them takes seconds, most of which are imports.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import PublishedWeights

_DEFAULT = catalogue.DEFAULT_MODEL
_EFFICIENTDET = next(base for base in catalogue.CATALOGUE if base.bifpn_repeats)

TINY = replace(
    _DEFAULT,
    model_id="tiny",
    name="tiny_64x64",
    weights=PublishedWeights("https://tfhub.dev/tests/tiny/1", "tiny_tests", 64, "tests-tiny"),
    default_epochs=2,
    input_size=64,
    backbone="tiny",
    pyramid_depth=24,
    head_layers=1,
)
TINY_PADDED = replace(
    TINY,
    model_id="tiny-padded",
    name="tiny_padded_128x128",
    weights=PublishedWeights("https://tfhub.dev/tests/tiny_padded/1", "tiny_padded_tests", 128, "tests-tiny-padded"),
    input_size=128,
    family=_EFFICIENTDET.family,
    backbone="tiny_noisy",
    pyramid_depth=40,
    bifpn_repeats=1,
)


def add_to_catalogue(replace: Callable[[object, str, object], None] = setattr) -> None:
    """Adds both rows. replace: monkeypatch's, where the process goes on to other tests."""
    replace(catalogue, "CATALOGUE", (*catalogue.CATALOGUE, TINY, TINY_PADDED))


def add_backbones() -> None:
    """Lets `build_detector` build them: what no test of the real models can notice."""
    from sagemaker_object_detection.models.detector import BACKBONES

    BACKBONES["tiny"] = _backbone
    BACKBONES["tiny_noisy"] = _noisy_backbone


def add_telltales(replace: Callable[[dict[Any, Any], str, object], None] = dict.__setitem__) -> None:
    """Lets weights in the Model Garden's form be recognised as theirs. replace: as above."""
    from sagemaker_object_detection.weights.recognition import TELLTALES

    for base, kernels in ((TINY, 6), (TINY_PADDED, 10)):
        replace(TELLTALES, base.backbone, ((1, 1, base.pyramid_depth, base.pyramid_depth), kernels))


def _backbone(layers: Any, images: Any) -> list[Any]:
    return _maps(layers, images, drop_rate=None)


def _noisy_backbone(layers: Any, images: Any) -> list[Any]:
    return _maps(layers, images, drop_rate=0.2)


def _maps(layers: Any, x: Any, drop_rate: float | None) -> list[Any]:
    """Images [B, S, S, 3] -> C3 to C5, by a strided convolution for each level, and one that is added where there is
    drop-connect."""
    maps = []
    for level, channels in enumerate((8, 8, 16, 16, 32), 1):
        x = layers.convolution(f"level_{level}", channels, 3, strides=2)(x)
        x = layers.activate(layers.batch_norm(f"level_{level}_norm")(x))
        if drop_rate is not None and level >= 3:
            added = layers.normed_depthwise(f"level_{level}_add", x)
            x = x + layers.drop_connect(f"level_{level}_drop", drop_rate)(added)
        maps.append(x)
    return maps[2:]
