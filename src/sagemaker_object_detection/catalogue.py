"""The base models, as a table of data: what each is called, and the numbers it was built and trained with.

It imports nothing, so that hyperparameters can be validated against it before any framework is loaded.
Values: the published pipeline configurations of the TensorFlow 2 Detection Model Zoo, 2020-07-11.
"""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Initializer:
    """How kernels are drawn; `scale` is the standard deviation, or the scale of variance scaling by the fan out."""

    kind: Literal["normal", "truncated_normal", "variance_scaling"]
    scale: float


@dataclass(frozen=True)
class Family:
    """What the models of one family share."""

    name: str
    pixel_scaling: Literal["symmetric", "mean_subtracted", "standardized"]
    """What pixels of 0..255 become in the network input: `images/network_input.py`."""
    keep_aspect_ratio: bool
    """Whether images are fitted into the square input and padded at the bottom or right, instead of stretched."""
    augmentation: Literal["crop", "scale_and_crop"]
    """What follows a mirror image half the time: `dataset/augment.py`."""
    activation: Literal["relu6", "swish"]
    separable: bool
    """Whether the convolutions of pyramid and heads are separable."""
    shared_tower: bool
    """Whether one prediction tower feeds both predictors, instead of one each."""
    bias_before_norm: bool
    """Whether the convolutions of pyramid and heads that a batch normalisation follows have a bias all the same."""
    batch_norm_momentum: float
    batch_norm_epsilon: float
    backbone_l2: float
    """The regularisation term is the sum of `l2 * sum(w ** 2)` over every regularised variable."""
    l2: float
    """The coefficient in pyramid and heads."""
    backbone_initializer: Initializer
    pyramid_initializer: Initializer
    head_initializer: Initializer
    scales_per_octave: int
    aspect_ratios: tuple[float, ...]
    anchor_scale: float
    """Side of the smallest anchor of a level, in strides of that level."""
    box_code_scale: tuple[float, float, float, float]
    """Multipliers of the encoded (ty, tx, th, tw)."""
    background_column: bool
    """Whether class logits carry a first column for the background, which no target ever sets."""
    focal_alpha: float
    focal_gamma: float
    nms_iou: float
    """Detections that overlap a better one of their class by more than this are dropped."""


@dataclass(frozen=True)
class BaseModel:
    """One published base model."""

    model_id: str
    """The built-in algorithm's spelling."""
    name: str
    """The short name: the one logs, errors and artifacts use."""
    hub_handle: str
    tarball: str
    default_epochs: int
    input_size: int
    """Side of the square network input, pixels."""
    family: Family
    backbone: str
    """Name of the backbone in `models/detector.py`."""
    pyramid_depth: int
    head_layers: int
    """Convolutions in a prediction tower, each `pyramid_depth` wide."""
    bifpn_repeats: int = 0
    """How often the bidirectional pyramid is repeated; 0 for a plain feature pyramid."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Pyramid levels; level l has stride 2 ** l."""
        return (3, 4, 5, 6, 7)

    @property
    def architecture(self) -> tuple[object, ...]:
        """What decides the variables' names and shapes: equal for models that differ in the input size alone."""
        return (self.family.name, self.backbone, self.pyramid_depth, self.head_layers, self.bifpn_repeats)


_NORMAL = Initializer("normal", 0.01)
_TRUNCATED = Initializer("truncated_normal", 0.03)

_MOBILENET_V2_FPNLITE = Family(
    name="mobilenet_v2_fpnlite",
    pixel_scaling="symmetric",
    keep_aspect_ratio=False,
    augmentation="crop",
    activation="relu6",
    separable=True,
    shared_tower=True,
    bias_before_norm=False,
    batch_norm_momentum=0.997,
    batch_norm_epsilon=1e-3,
    backbone_l2=2e-5,
    l2=2e-5,
    backbone_initializer=_NORMAL,
    pyramid_initializer=_NORMAL,
    head_initializer=_NORMAL,
    scales_per_octave=2,
    aspect_ratios=(1.0, 2.0, 0.5),
    anchor_scale=4.0,
    box_code_scale=(10.0, 10.0, 5.0, 5.0),
    background_column=True,
    focal_alpha=0.25,
    focal_gamma=2.0,
    nms_iou=0.6,
)
_MOBILENET_V1_FPN = replace(_MOBILENET_V2_FPNLITE, name="mobilenet_v1_fpn", separable=False, shared_tower=False)
_RESNET_V1_FPN = replace(
    _MOBILENET_V1_FPN,
    name="resnet_v1_fpn",
    pixel_scaling="mean_subtracted",
    backbone_l2=2e-4,
    l2=2e-4,
    backbone_initializer=_TRUNCATED,
    pyramid_initializer=_TRUNCATED,
)
_EFFICIENTDET = replace(
    _MOBILENET_V2_FPNLITE,
    name="efficientdet",
    pixel_scaling="standardized",
    keep_aspect_ratio=True,
    augmentation="scale_and_crop",
    activation="swish",
    shared_tower=False,
    bias_before_norm=True,
    batch_norm_momentum=0.99,
    backbone_l2=5e-6,
    backbone_initializer=Initializer("variance_scaling", 2.0),
    pyramid_initializer=_TRUNCATED,
    scales_per_octave=3,
    # The published configurations say so, unlike those in the reference's repository.
    box_code_scale=(1.0, 1.0, 1.0, 1.0),
    background_column=False,
    focal_gamma=1.5,
    nms_iou=0.5,
)


def _feature_pyramid_model(architecture: str, hub: str, size: int, epochs: int, **built: object) -> BaseModel:
    name = f"{architecture}_{size}x{size}"
    return BaseModel(
        model_id=f"tensorflow-od1-{name.replace('_', '-')}-coco17-tpu-8",
        name=name,
        hub_handle=f"https://tfhub.dev/tensorflow/{hub}_{size}x{size}/1",
        tarball=f"{name}_coco17_tpu-8",
        default_epochs=epochs,
        input_size=size,
        head_layers=4,
        **built,  # type: ignore[arg-type]
    )


def _resnet(layers: int, size: int, epochs: int) -> BaseModel:
    return _feature_pyramid_model(
        f"ssd_resnet{layers}_v1_fpn",
        f"retinanet/resnet{layers}_v1_fpn",
        size,
        epochs,
        family=_RESNET_V1_FPN,
        backbone=f"resnet{layers}",
        pyramid_depth=256,
    )


def _mobilenet_v2(size: int) -> BaseModel:
    return _feature_pyramid_model(
        "ssd_mobilenet_v2_fpnlite",
        "ssd_mobilenet_v2/fpnlite",
        size,
        epochs=5,
        family=_MOBILENET_V2_FPNLITE,
        backbone="mobilenet_v2",
        pyramid_depth=128,
    )


def _efficientdet(version: int, size: int, epochs: int, depth: int, head_layers: int, cores: int = 8) -> BaseModel:
    name = f"ssd_efficientdet_d{version}_{size}x{size}"
    return BaseModel(
        model_id=f"tensorflow-od1-{name.replace('_', '-')}-coco17-tpu-{cores}",
        name=name,
        hub_handle=f"https://tfhub.dev/tensorflow/efficientdet/d{version}/1",
        tarball=f"efficientdet_d{version}_coco17_tpu-32",
        default_epochs=epochs,
        input_size=size,
        family=_EFFICIENTDET,
        backbone=f"efficientnet_b{version}",
        pyramid_depth=depth,
        head_layers=head_layers,
        bifpn_repeats=version + 3,
    )


CATALOGUE: tuple[BaseModel, ...] = (
    _resnet(50, 640, epochs=5),
    _resnet(50, 1024, epochs=1),
    _resnet(101, 640, epochs=5),
    _resnet(101, 1024, epochs=1),
    _resnet(152, 640, epochs=5),
    _resnet(152, 1024, epochs=1),
    _feature_pyramid_model(
        "ssd_mobilenet_v1_fpn",
        "ssd_mobilenet_v1/fpn",
        size=640,
        epochs=5,
        family=_MOBILENET_V1_FPN,
        backbone="mobilenet_v1",
        pyramid_depth=256,
    ),
    _mobilenet_v2(320),
    _mobilenet_v2(640),
    _efficientdet(0, 512, epochs=5, depth=64, head_layers=3),
    _efficientdet(1, 640, epochs=5, depth=88, head_layers=3),
    _efficientdet(2, 768, epochs=1, depth=112, head_layers=3),
    _efficientdet(3, 896, epochs=1, depth=160, head_layers=4, cores=32),
)


def find(name: str) -> BaseModel | None:
    """The base model with this id or short name, or None."""
    return next((base for base in CATALOGUE if name in (base.model_id, base.name)), None)


DEFAULT_MODEL = next(base for base in CATALOGUE if base.name == "ssd_mobilenet_v2_fpnlite_320x320")

_DOWNWARDS = (
    (
        *(f"ssd_resnet{layers}_v1_fpn_{size}x{size}" for size in (1024, 640) for layers in (152, 101, 50)),
        "ssd_mobilenet_v1_fpn_640x640",
        "ssd_mobilenet_v2_fpnlite_640x640",
        DEFAULT_MODEL.name,
    ),
    (*(base.name for base in reversed(CATALOGUE) if base.family is _EFFICIENTDET), DEFAULT_MODEL.name),
)


def next_smaller(base: BaseModel) -> BaseModel | None:
    """The model to try where this one needs too much memory in training; None below the smallest."""
    for names in _DOWNWARDS:
        if base.name in names[:-1]:
            return find(names[names.index(base.name) + 1])
    return None
