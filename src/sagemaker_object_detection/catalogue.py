"""The base models, as a table of data: what each is called, and the numbers it was built and trained with.

An input size of an architecture is a row of `CATALOGUE`. One for which nobody published weights starts from those of
another size: `_MOBILENET_V2.at(512, 5, weights=...)`.

It imports nothing, so that hyperparameters can be validated against it before any framework is loaded.
Values: the published pipeline configurations of the TensorFlow 2 Detection Model Zoo, 2020-07-11.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal


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
class PublishedWeights:
    """What was trained on COCO and published. It fits every input size of its architecture."""

    hub_handle: str
    tarball: str
    """Name of the archive in the zoo, without its ending."""
    input_size: int
    """What they were trained at."""
    jumpstart_id: str
    """What SageMaker JumpStart calls the model: the built-in algorithm's spelling."""

    @property
    def archive(self) -> str:
        """Address of the archive in the zoo: tf2_detection_zoo.md of tensorflow/models has this one for each model."""
        return f"http://download.tensorflow.org/models/object_detection/tf2/20200711/{self.tarball}.tar.gz"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What decides the variables' names and shapes; each input size of it is a base model of its own."""

    stem: str
    """How the names of its base models begin; no other architecture's begin so."""
    family: Family
    backbone: str
    """Name of the backbone in `models/detector.py`."""
    pyramid_depth: int
    head_layers: int
    """Convolutions in a prediction tower, each `pyramid_depth` wide."""
    bifpn_repeats: int = 0
    """How often the bidirectional pyramid is repeated; 0 for a plain feature pyramid."""
    parameters: float
    """Millions of values, with 90 classes."""

    levels: ClassVar[tuple[int, ...]] = (3, 4, 5, 6, 7)
    """Pyramid levels; level l has stride 2 ** l."""

    def at(self, input_size: int, epochs: int, weights: PublishedWeights, model_id: str = "") -> "BaseModel":
        """The base model of an input size.

        Args:
            epochs: of a job that does not say how many.
            weights: what it starts from: those of another input size, if nobody published any for this one.
            model_id: the built-in algorithm's spelling; empty if that does not have this model.
        """
        name = f"{self.stem}_{input_size}x{input_size}"
        own = {"model_id": model_id or name, "name": name, "input_size": input_size}
        return BaseModel(**(vars(self) | own | {"default_epochs": epochs, "weights": weights}))


@dataclass(frozen=True, kw_only=True)
class BaseModel(Architecture):
    """One base model."""

    model_id: str
    """The built-in algorithm's spelling; the name, if that does not have this model."""
    name: str
    """The short name: the one logs, errors and artifacts use."""
    input_size: int
    """Side of the square network input, pixels."""
    default_epochs: int
    weights: PublishedWeights

    @property
    def is_published(self) -> bool:
        """Whether its weights were trained at its own input size."""
        return self.weights.input_size == self.input_size


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


_RESNET50 = Architecture(
    stem="ssd_resnet50_v1_fpn",
    family=_RESNET_V1_FPN,
    backbone="resnet50",
    pyramid_depth=256,
    head_layers=4,
    parameters=32.9,
)
_RESNET101 = replace(_RESNET50, stem="ssd_resnet101_v1_fpn", backbone="resnet101", parameters=52.0)
_RESNET152 = replace(_RESNET50, stem="ssd_resnet152_v1_fpn", backbone="resnet152", parameters=67.7)
_MOBILENET_V1 = replace(
    _RESNET50, stem="ssd_mobilenet_v1_fpn", family=_MOBILENET_V1_FPN, backbone="mobilenet_v1", parameters=12.1
)
_MOBILENET_V2 = Architecture(
    stem="ssd_mobilenet_v2_fpnlite",
    family=_MOBILENET_V2_FPNLITE,
    backbone="mobilenet_v2",
    pyramid_depth=128,
    head_layers=4,
    parameters=2.7,
)


def _efficientdet(version: int, depth: int, head_layers: int, parameters: float) -> Architecture:
    return Architecture(
        stem=f"ssd_efficientdet_d{version}",
        family=_EFFICIENTDET,
        backbone=f"efficientnet_b{version}",
        pyramid_depth=depth,
        head_layers=head_layers,
        bifpn_repeats=version + 3,
        parameters=parameters,
    )


_D0, _D1 = _efficientdet(0, 64, 3, parameters=5.6), _efficientdet(1, 88, 3, parameters=8.4)
_D2, _D3 = _efficientdet(2, 112, 3, parameters=10.1), _efficientdet(3, 160, 4, parameters=14.3)


def _published(
    architecture: Architecture, size: int, epochs: int, handle: str, *, tarball: str = "", cores: int = 8
) -> BaseModel:
    """A model of the zoo and of the built-in algorithm.

    Args:
        handle: on TensorFlow Hub, without the address of the publisher.
        tarball: where it is not called as most are.
        cores: of the TPU it was trained on, as the built-in's id has it.
    """
    name = f"{architecture.stem}_{size}x{size}"
    model_id = f"tensorflow-od1-{name.replace('_', '-')}-coco17-tpu-{cores}"
    weights = PublishedWeights(
        hub_handle=f"https://tfhub.dev/tensorflow/{handle}",
        tarball=tarball or f"{name}_coco17_tpu-8",
        input_size=size,
        jumpstart_id=model_id,
    )
    return architecture.at(size, epochs, weights, model_id)


CATALOGUE: tuple[BaseModel, ...] = (
    _published(_RESNET50, 640, 5, "retinanet/resnet50_v1_fpn_640x640/1"),
    _published(_RESNET50, 1024, 1, "retinanet/resnet50_v1_fpn_1024x1024/1"),
    _published(_RESNET101, 640, 5, "retinanet/resnet101_v1_fpn_640x640/1"),
    _published(_RESNET101, 1024, 1, "retinanet/resnet101_v1_fpn_1024x1024/1"),
    _published(_RESNET152, 640, 5, "retinanet/resnet152_v1_fpn_640x640/1"),
    _published(_RESNET152, 1024, 1, "retinanet/resnet152_v1_fpn_1024x1024/1"),
    _published(_MOBILENET_V1, 640, 5, "ssd_mobilenet_v1/fpn_640x640/1"),
    _published(_MOBILENET_V2, 320, 5, "ssd_mobilenet_v2/fpnlite_320x320/1"),
    _published(_MOBILENET_V2, 640, 5, "ssd_mobilenet_v2/fpnlite_640x640/1"),
    _published(_D0, 512, 5, "efficientdet/d0/1", tarball="efficientdet_d0_coco17_tpu-32"),
    _published(_D1, 640, 5, "efficientdet/d1/1", tarball="efficientdet_d1_coco17_tpu-32"),
    _published(_D2, 768, 1, "efficientdet/d2/1", tarball="efficientdet_d2_coco17_tpu-32"),
    _published(_D3, 896, 1, "efficientdet/d3/1", tarball="efficientdet_d3_coco17_tpu-32", cores=32),
)


def find(name: str) -> BaseModel | None:
    """The base model with this id or short name, or None."""
    return next((base for base in CATALOGUE if name in (base.model_id, base.name)), None)


DEFAULT_MODEL = next(base for base in CATALOGUE if base.name == "ssd_mobilenet_v2_fpnlite_320x320")


def next_smaller(base: BaseModel) -> BaseModel | None:
    """The model to try where this one needs too much memory in training; None below the smallest.

    It is the next one of those that treat images alike, by input size and then by parameters; below the smallest of
    these, the smallest of all.
    """
    alike = [other for other in CATALOGUE if other.family.keep_aspect_ratio == base.family.keep_aspect_ratio]
    smallest = min(CATALOGUE, key=_size)
    smaller = [other for other in (*alike, smallest) if _size(other) < _size(base)]
    return max(smaller, key=_size, default=None)


def _size(base: BaseModel) -> tuple[int, float]:
    return base.input_size, base.parameters
