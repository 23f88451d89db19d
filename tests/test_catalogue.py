"""The catalogue's names and numbers are those of the published models, written down here once more."""

from dataclasses import fields

import pytest

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import (
    CATALOGUE,
    DEFAULT_MODEL,
    BaseModel,
    Family,
    Initializer,
    find,
    next_smaller,
)

NORMAL, TRUNCATED, SCALED = (
    Initializer("normal", 0.01),
    Initializer("truncated_normal", 0.03),
    Initializer("variance_scaling", 2.0),
)
CODE = (10.0, 10.0, 5.0, 5.0)
FAMILIES = ("resnet_v1_fpn", "mobilenet_v1_fpn", "mobilenet_v2_fpnlite", "efficientdet")
# By field, in the order of FAMILIES.
FAMILY_VALUES: dict[str, tuple[object, object, object, object]] = {
    "pixel_scaling": ("mean_subtracted", "symmetric", "symmetric", "standardized"),
    "keep_aspect_ratio": (False, False, False, True),
    "augmentation": ("crop", "crop", "crop", "scale_and_crop"),
    "activation": ("relu6", "relu6", "relu6", "swish"),
    "separable": (False, False, True, True),
    "shared_tower": (False, False, True, False),
    "bias_before_norm": (False, False, False, True),
    "batch_norm_momentum": (0.997, 0.997, 0.997, 0.99),
    "batch_norm_epsilon": (1e-3, 1e-3, 1e-3, 1e-3),
    "backbone_l2": (2e-4, 2e-5, 2e-5, 5e-6),
    "l2": (2e-4, 2e-5, 2e-5, 2e-5),
    "backbone_initializer": (TRUNCATED, NORMAL, NORMAL, SCALED),
    "pyramid_initializer": (TRUNCATED, NORMAL, NORMAL, TRUNCATED),
    "head_initializer": (NORMAL, NORMAL, NORMAL, NORMAL),
    "scales_per_octave": (2, 2, 2, 3),
    "aspect_ratios": ((1.0, 2.0, 0.5), (1.0, 2.0, 0.5), (1.0, 2.0, 0.5), (1.0, 2.0, 0.5)),
    "anchor_scale": (4.0, 4.0, 4.0, 4.0),
    "box_code_scale": (CODE, CODE, CODE, (1.0, 1.0, 1.0, 1.0)),
    "background_column": (True, True, True, False),
    "focal_alpha": (0.25, 0.25, 0.25, 0.25),
    "focal_gamma": (2.0, 2.0, 2.0, 1.5),
    "nms_iou": (0.6, 0.6, 0.6, 0.5),
}
# By name: family, backbone, input size, pyramid depth, head layers, BiFPN repeats, default epochs.
MODELS: dict[str, tuple[str, str, int, int, int, int, int]] = {
    "ssd_resnet50_v1_fpn_640x640": ("resnet_v1_fpn", "resnet50", 640, 256, 4, 0, 5),
    "ssd_resnet50_v1_fpn_1024x1024": ("resnet_v1_fpn", "resnet50", 1024, 256, 4, 0, 1),
    "ssd_resnet101_v1_fpn_640x640": ("resnet_v1_fpn", "resnet101", 640, 256, 4, 0, 5),
    "ssd_resnet101_v1_fpn_1024x1024": ("resnet_v1_fpn", "resnet101", 1024, 256, 4, 0, 1),
    "ssd_resnet152_v1_fpn_640x640": ("resnet_v1_fpn", "resnet152", 640, 256, 4, 0, 5),
    "ssd_resnet152_v1_fpn_1024x1024": ("resnet_v1_fpn", "resnet152", 1024, 256, 4, 0, 1),
    "ssd_mobilenet_v1_fpn_640x640": ("mobilenet_v1_fpn", "mobilenet_v1", 640, 256, 4, 0, 5),
    "ssd_mobilenet_v2_fpnlite_320x320": ("mobilenet_v2_fpnlite", "mobilenet_v2", 320, 128, 4, 0, 5),
    "ssd_mobilenet_v2_fpnlite_640x640": ("mobilenet_v2_fpnlite", "mobilenet_v2", 640, 128, 4, 0, 5),
    "ssd_efficientdet_d0_512x512": ("efficientdet", "efficientnet_b0", 512, 64, 3, 3, 5),
    "ssd_efficientdet_d1_640x640": ("efficientdet", "efficientnet_b1", 640, 88, 3, 4, 5),
    "ssd_efficientdet_d2_768x768": ("efficientdet", "efficientnet_b2", 768, 112, 3, 5, 1),
    "ssd_efficientdet_d3_896x896": ("efficientdet", "efficientnet_b3", 896, 160, 4, 6, 1),
}
# Of the same models in the same order: the handle on TensorFlow Hub, and the archive of the zoo.
PUBLISHED: tuple[tuple[str, str], ...] = (
    ("retinanet/resnet50_v1_fpn_640x640/1", "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8"),
    ("retinanet/resnet50_v1_fpn_1024x1024/1", "ssd_resnet50_v1_fpn_1024x1024_coco17_tpu-8"),
    ("retinanet/resnet101_v1_fpn_640x640/1", "ssd_resnet101_v1_fpn_640x640_coco17_tpu-8"),
    ("retinanet/resnet101_v1_fpn_1024x1024/1", "ssd_resnet101_v1_fpn_1024x1024_coco17_tpu-8"),
    ("retinanet/resnet152_v1_fpn_640x640/1", "ssd_resnet152_v1_fpn_640x640_coco17_tpu-8"),
    ("retinanet/resnet152_v1_fpn_1024x1024/1", "ssd_resnet152_v1_fpn_1024x1024_coco17_tpu-8"),
    ("ssd_mobilenet_v1/fpn_640x640/1", "ssd_mobilenet_v1_fpn_640x640_coco17_tpu-8"),
    ("ssd_mobilenet_v2/fpnlite_320x320/1", "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"),
    ("ssd_mobilenet_v2/fpnlite_640x640/1", "ssd_mobilenet_v2_fpnlite_640x640_coco17_tpu-8"),
    ("efficientdet/d0/1", "efficientdet_d0_coco17_tpu-32"),
    ("efficientdet/d1/1", "efficientdet_d1_coco17_tpu-32"),
    ("efficientdet/d2/1", "efficientdet_d2_coco17_tpu-32"),
    ("efficientdet/d3/1", "efficientdet_d3_coco17_tpu-32"),
)
# The built-in algorithm's spelling.
MODEL_IDS = {
    "ssd_resnet50_v1_fpn_640x640": "tensorflow-od1-ssd-resnet50-v1-fpn-640x640-coco17-tpu-8",
    "ssd_resnet50_v1_fpn_1024x1024": "tensorflow-od1-ssd-resnet50-v1-fpn-1024x1024-coco17-tpu-8",
    "ssd_resnet101_v1_fpn_640x640": "tensorflow-od1-ssd-resnet101-v1-fpn-640x640-coco17-tpu-8",
    "ssd_resnet101_v1_fpn_1024x1024": "tensorflow-od1-ssd-resnet101-v1-fpn-1024x1024-coco17-tpu-8",
    "ssd_resnet152_v1_fpn_640x640": "tensorflow-od1-ssd-resnet152-v1-fpn-640x640-coco17-tpu-8",
    "ssd_resnet152_v1_fpn_1024x1024": "tensorflow-od1-ssd-resnet152-v1-fpn-1024x1024-coco17-tpu-8",
    "ssd_mobilenet_v1_fpn_640x640": "tensorflow-od1-ssd-mobilenet-v1-fpn-640x640-coco17-tpu-8",
    "ssd_mobilenet_v2_fpnlite_320x320": "tensorflow-od1-ssd-mobilenet-v2-fpnlite-320x320-coco17-tpu-8",
    "ssd_mobilenet_v2_fpnlite_640x640": "tensorflow-od1-ssd-mobilenet-v2-fpnlite-640x640-coco17-tpu-8",
    "ssd_efficientdet_d0_512x512": "tensorflow-od1-ssd-efficientdet-d0-512x512-coco17-tpu-8",
    "ssd_efficientdet_d1_640x640": "tensorflow-od1-ssd-efficientdet-d1-640x640-coco17-tpu-8",
    "ssd_efficientdet_d2_768x768": "tensorflow-od1-ssd-efficientdet-d2-768x768-coco17-tpu-8",
    "ssd_efficientdet_d3_896x896": "tensorflow-od1-ssd-efficientdet-d3-896x896-coco17-tpu-32",
}


def found(name: str) -> BaseModel:
    base = find(name)
    assert base is not None
    return base


OTHER_SIZE = found("ssd_mobilenet_v2_fpnlite_640x640").at(512, 5, found("ssd_mobilenet_v2_fpnlite_640x640").weights)
"""What a row would be for which nobody published weights."""
ROWS = list(dict.fromkeys([*CATALOGUE, OTHER_SIZE]))


@pytest.mark.parametrize("field", [field.name for field in fields(Family) if field.name != "name"])
def test_family_values_are_the_published_ones(field: str) -> None:
    families = {base.family.name: base.family for base in CATALOGUE}
    assert tuple(getattr(families[name], field) for name in FAMILIES) == FAMILY_VALUES[field]


@pytest.mark.parametrize("name", MODELS)
def test_model_values_are_the_published_ones(name: str) -> None:
    base = found(name)
    built = (base.pyramid_depth, base.head_layers, base.bifpn_repeats)
    assert (base.family.name, base.backbone, base.input_size, *built, base.default_epochs) == MODELS[name]
    assert base.levels == (3, 4, 5, 6, 7)
    assert base.is_published


def test_models_are_called_as_they_were_published() -> None:
    published = [found(name) for name in MODELS]
    assert {base.name: base.model_id for base in published} == MODEL_IDS
    expected = [(f"https://tfhub.dev/tensorflow/{handle}", archive) for handle, archive in PUBLISHED]
    assert [(base.weights.hub_handle, base.weights.tarball) for base in published] == expected


@pytest.mark.parametrize("base", ROWS, ids=lambda base: base.name)
def test_every_row_starts_from_weights_of_its_own_architecture(base: BaseModel) -> None:
    (source,) = (other for other in CATALOGUE if other.weights == base.weights and other.is_published)
    assert source.stem == base.stem
    assert base.is_published or base.model_id == base.name  # the built-in algorithm does not have it


def test_a_size_without_published_weights_starts_from_those_of_another() -> None:
    assert not OTHER_SIZE.is_published
    assert (OTHER_SIZE.name, OTHER_SIZE.model_id) == ("ssd_mobilenet_v2_fpnlite_512x512",) * 2
    assert (OTHER_SIZE.input_size, OTHER_SIZE.weights.input_size) == (512, 640)


def test_model_is_found_by_id_and_by_name_alone() -> None:
    for base in CATALOGUE:
        assert find(base.model_id) is find(base.name) is base
    for name in ("", "tiny", DEFAULT_MODEL.name.upper(), DEFAULT_MODEL.weights.hub_handle):
        assert find(name) is None


@pytest.mark.parametrize(
    "names",
    [
        (
            "ssd_resnet152_v1_fpn_1024x1024",
            "ssd_resnet101_v1_fpn_1024x1024",
            "ssd_resnet50_v1_fpn_1024x1024",
            "ssd_resnet152_v1_fpn_640x640",
            "ssd_resnet101_v1_fpn_640x640",
            "ssd_resnet50_v1_fpn_640x640",
            "ssd_mobilenet_v1_fpn_640x640",
            "ssd_mobilenet_v2_fpnlite_640x640",
            "ssd_mobilenet_v2_fpnlite_320x320",
        ),
        (
            "ssd_efficientdet_d3_896x896",
            "ssd_efficientdet_d2_768x768",
            "ssd_efficientdet_d1_640x640",
            "ssd_efficientdet_d0_512x512",
            "ssd_mobilenet_v2_fpnlite_320x320",
        ),
    ],
)
def test_next_smaller_model_leads_to_the_smallest_one(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    published = [base for base in CATALOGUE if base.name in MODELS]
    monkeypatch.setattr(catalogue, "CATALOGUE", published)
    assert [base and base.name for base in (next_smaller(found(name)) for name in names)] == [*names[1:], None]


def test_next_smaller_model_is_less_work_and_the_smallest_is_reached_from_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "CATALOGUE", ROWS)
    assert next_smaller(found("ssd_mobilenet_v2_fpnlite_640x640")) == OTHER_SIZE
    assert next_smaller(OTHER_SIZE) == DEFAULT_MODEL
    for base in ROWS:
        way: list[BaseModel] = [base]
        while (smaller := next_smaller(way[-1])) is not None:
            assert smaller.input_size <= way[-1].input_size
            way.append(smaller)
        assert len(way) <= len(ROWS)
        assert way[-1].input_size == min(row.input_size for row in ROWS)
