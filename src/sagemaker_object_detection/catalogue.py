"""The base models, as a table of data: what each is called, and the numbers its family was trained with.

It imports nothing, so that hyperparameters can be validated against it before any framework is loaded.
Values: the published pipeline configurations of the TensorFlow 2 Detection Model Zoo, 2020-07-11.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What the models of one family share. A new architecture is a row like this plus its layers in `models/`."""

    name: str
    pixel_multiplier: tuple[float, float, float]
    """Network input = pixel * multiplier + offset per channel (R, G, B), for pixels in 0..255."""
    pixel_offset: tuple[float, float, float]
    pyramid_depth: int
    head_layers: int
    """Convolutions in the prediction tower, each `pyramid_depth` wide."""
    batch_norm_momentum: float
    batch_norm_epsilon: float
    l2: float
    """The regularisation term is `l2 * sum(w ** 2)` over every regularised kernel."""
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

    @property
    def levels(self) -> tuple[int, ...]:
        """Pyramid levels; level l has stride 2 ** l."""
        return (3, 4, 5, 6, 7)


_MOBILENET_V2_FPNLITE = Family(
    name="mobilenet_v2_fpnlite",
    pixel_multiplier=(2 / 255, 2 / 255, 2 / 255),
    pixel_offset=(-1.0, -1.0, -1.0),
    pyramid_depth=128,
    head_layers=4,
    batch_norm_momentum=0.997,
    batch_norm_epsilon=1e-3,
    l2=2e-5,
    scales_per_octave=2,
    aspect_ratios=(1.0, 2.0, 0.5),
    anchor_scale=4.0,
    box_code_scale=(10.0, 10.0, 5.0, 5.0),
    background_column=True,
    focal_alpha=0.25,
    focal_gamma=2.0,
    nms_iou=0.6,
)

CATALOGUE: tuple[BaseModel, ...] = tuple(
    BaseModel(
        model_id=f"tensorflow-od1-ssd-mobilenet-v2-fpnlite-{size}x{size}-coco17-tpu-8",
        name=f"ssd_mobilenet_v2_fpnlite_{size}x{size}",
        hub_handle=f"https://tfhub.dev/tensorflow/ssd_mobilenet_v2/fpnlite_{size}x{size}/1",
        tarball=f"ssd_mobilenet_v2_fpnlite_{size}x{size}_coco17_tpu-8",
        default_epochs=5,
        input_size=size,
        family=_MOBILENET_V2_FPNLITE,
    )
    for size in (320, 640)
)

DEFAULT_MODEL = CATALOGUE[0]


def find(name: str) -> BaseModel | None:
    """The base model with this id or short name, or None."""
    return next((base for base in CATALOGUE if name in (base.model_id, base.name)), None)
