"""The hyperparameters, one row each: all that is particular to one of them is written down here and nowhere else."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal, ParamSpec

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.hyperparameters.kinds import (
    AUTO,
    Choice,
    Flag,
    Integer,
    Kind,
    ModelName,
    Number,
    Text,
    Value,
)

_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True)
class TunableRange:
    """What a tuning job may try of a number, in its own words. The legal range is the kind's."""

    low: str
    high: str
    scaling: str
    """Auto, Linear, Logarithmic or ReverseLogarithmic."""


Tunable = TunableRange | tuple[str, ...]
"""What a tuning job may try: numbers, or words."""


@dataclass(frozen=True)
class UsedWhen:
    """Another row, and the values of it with which a row has any effect."""

    name: str
    values: tuple[Value, ...]
    otherwise: Value = None
    """What is in force with the others; None if nothing asks."""

    def __str__(self) -> str:
        return f"{self.name} is {' or '.join(map(str, self.values))}"


Resume = Literal["same", "kept", "compared", "free"]
"""What a job that resumes from a checkpoint may have of a row.

same: what the job before it had.
kept: the same; and what was left to Auto stays what it came to then.
compared: anything, because what it comes to is compared itself, such as the starting weights or the data.
free: anything.
"""


@dataclass(frozen=True)
class Row:
    """One hyperparameter.

    `default` is the text that means the same as leaving it out; where there is none the value is None, what that
    means is decided later, and `default_help` says how. `tunable` is what is recommended to a tuning job, `built_in`
    what the built-in algorithm's page recommends.
    """

    kind: Kind
    about: str
    """What it means, without what `help` adds."""
    default: str | None = None
    default_help: str = ""
    used_when: UsedWhen | None = None
    tunable: Tunable | None = None
    built_in: Tunable | None = None
    aliases: tuple[str, ...] = ()
    extension: bool = False
    """Not one of the built-in algorithm's."""
    on_resume: Resume | None = None
    """None: "kept" if Auto is the default, else "same"."""
    before: str | None = None
    """Text of what was in force before there was this row, or its Auto: a checkpoint of that time goes on with it."""
    by_recipe: tuple[str, str] | None = None
    """What Auto comes to with the recipe fine-tuning, and with the recipe plain; None if `training/recipe.py` decides
    by more than that."""
    name: str = ""
    """The attribute's, which `ROWS` fills in."""

    @property
    def help(self) -> str:
        """What it means, in whole sentences."""
        if self.by_recipe is None:
            return self.about
        fine_tuning, plain = self.by_recipe
        return f"{self.about} Auto: {fine_tuning} with the recipe fine-tuning, else {plain}."

    @property
    def resume(self) -> Resume:
        return self.on_resume or ("kept" if self.default == AUTO else "same")

    @property
    def default_value(self) -> Value:
        return None if self.default is None else self.kind.parse(self.default)

    @property
    def shown_default(self) -> str:
        return self.default_help if self.default is None else self.default


def _rows_of(make: Callable[_Arguments, Row]) -> Callable[_Arguments, Any]:
    """Row's arguments, to write a row as the attribute of a dataclass."""
    return lambda *values, **named: field(metadata={"row": make(*values, **named)})


row, extension = _rows_of(Row), _rows_of(partial(Row, extension=True))
MAX_DETECTIONS = 1000
"""What suppressing, matching and an answer of megabytes still bear."""
FINE_TUNING, PLAIN = "fine-tuning", "plain"
"""Recipes."""
_UNIT = Number(0.0, 1.0)
_FLAG = Flag()
_AUTO_FLAG = Flag(auto=True)
_BETAS = TunableRange("1e-6", "0.999", "ReverseLogarithmic")
_FROM_ZERO = TunableRange("0.0", "0.999", "Linear")
_OPTIMIZERS = ("adam", "sgd", "nesterov", "rmsprop", "adagrad", "adadelta")
BBOX_FORMATS = tuple(
    f"{order}{unit}"
    for unit in ("", "_normalized", "_percent", "_thousandths")
    for order in ("xyxy", "xywh", "cxcywh", "yxyx", "xxyy")
)
"""What `bbox_format` may be: orders and units of `dataset/conventions.py`."""
_EARLY_STOPPING = UsedWhen("early_stopping", (True,))


@dataclass(frozen=True)
class Hyperparameters:
    """A job's values: an attribute for each row. What None means is said in `default_help`; for flags it is Auto."""

    batch_size: int = row(
        Integer(1),
        "Images per training step, over all devices together.",
        default="3",
        tunable=TunableRange("2", "16", "Logarithmic"),
        built_in=TunableRange("8", "512", "Logarithmic"),
    )
    beta_1: float = row(
        _UNIT,
        "Decay rate of the first moment estimates.",
        default="0.9",
        used_when=UsedWhen("optimizer", ("adam",)),
        tunable=TunableRange("0.8", "0.97", "ReverseLogarithmic"),
        built_in=_BETAS,
    )
    beta_2: float = row(
        _UNIT,
        "Decay rate of the second moment estimates.",
        default="0.999",
        used_when=UsedWhen("optimizer", ("adam",)),
        tunable=TunableRange("0.98", "0.9999", "ReverseLogarithmic"),
        built_in=_BETAS,
    )
    early_stopping: bool = row(
        _FLAG, "Whether to stop when the objective no longer improves.", default="False", on_resume="free"
    )
    early_stopping_min_delta: float = row(
        _UNIT,
        "The least change of the objective that counts as an improvement.",
        default="0.0",
        used_when=_EARLY_STOPPING,
        on_resume="free",
    )
    early_stopping_patience: int = row(
        Integer(1),
        "Epochs without improvement after which training stops.",
        default="5",
        used_when=_EARLY_STOPPING,
        on_resume="free",
    )
    epochs: int | None = row(
        Integer(1),
        "Epochs: each goes passes_per_epoch times over the training images, and is followed by a validation.",
        default_help="the base model's: 5 for the smaller, 1 for the larger",
        on_resume="free",
    )
    epsilon: float = row(
        _UNIT,
        "Added to denominators for numerical stability.",
        default="1e-7",
        used_when=UsedWhen("optimizer", ("adam", "rmsprop", "adadelta", "adagrad")),
        tunable=TunableRange("1e-8", "1e-5", "Logarithmic"),
        built_in=TunableRange("1e-8", "1.0", "Logarithmic"),
        aliases=("eps",),
    )
    initial_accumulator_value: float = row(
        _UNIT,
        "Where the accumulators of the squared gradients begin.",
        default="0.1",
        used_when=UsedWhen("optimizer", ("adagrad",)),
        built_in=_FROM_ZERO,
    )
    learning_rate: float = row(
        _UNIT,
        "The optimizer's learning rate; with a schedule, its peak.",
        default="0.001",
        tunable=TunableRange("3e-4", "1e-2", "Logarithmic"),
        built_in=TunableRange("1e-6", "0.5", "Logarithmic"),
    )
    momentum: float = row(
        _UNIT,
        "The momentum of gradient descent.",
        default="0.9",
        used_when=UsedWhen("optimizer", ("sgd", "nesterov")),
        built_in=_FROM_ZERO,
    )
    optimizer: str = row(
        Choice(_OPTIMIZERS), "The optimizer.", default="adam", tunable=("adam", "rmsprop"), built_in=_OPTIMIZERS
    )
    reinitialize_top_layer: bool | None = row(
        _AUTO_FLAG,
        "Whether the class prediction layer starts anew. Auto: yes on a published base model, no on a model of this "
        "container; True also allows the classes to change.",
        default=AUTO,
        on_resume="same",  # settled before a checkpoint is read
    )
    rho: float = row(
        _UNIT,
        "Decay rate of the averaged squared gradients.",
        default="0.95",
        used_when=UsedWhen("optimizer", ("adadelta", "rmsprop")),
    )
    train_only_on_top_layer: bool = row(
        _FLAG,
        "Whether only the class prediction layer is trained and everything else stays as it was loaded.",
        default="False",
        built_in=_FLAG.options,
        aliases=("train_only_top_layer",),
    )
    regularizers_l2: float | None = row(
        _UNIT,
        "Replaces every coefficient of the L2 regularization, coefficient * sum(w^2).",
        default_help="the base model's own",
        tunable=TunableRange("1e-6", "1e-3", "Logarithmic"),
        built_in=_FROM_ZERO,
    )
    model_id: str | None = extension(
        ModelName(),
        "The base model, by its id or short name; with a model channel it may be left out, and must agree if given.",
        default_help=f"{catalogue.DEFAULT_MODEL.name}, or what the model channel holds",
        on_resume="compared",
    )
    pretrained_weights: str = extension(
        Text(
            ("auto", "none"),
            "a TensorFlow Hub or Kaggle handle (https://...), s3://bucket/key of a .tar.gz or of a folder, or the path "
            "of either",
        ),
        "Where the weights come from when there is no model channel: a published base model or a model of this "
        "container. auto: from the image, else from TensorFlow Hub, the Model Garden's archive or JumpStart's bucket "
        "of the region, whichever has them first; none: random weights.",
        default="auto",
        on_resume="compared",
    )
    objective: str = extension(
        Choice((AUTO, "mAP", "localization_loss", "total_loss")),
        "What chooses the best epoch and stops early. Auto: the tuning job's objective inside a tuning job, else mAP.",
        default=AUTO,
        on_resume="compared",
    )
    recipe: str = extension(
        Choice((AUTO, FINE_TUNING, PLAIN)),
        "What the hyperparameters below come to where they are Auto: fine-tuning for what keeps trained weights, plain "
        "for what the built-in algorithm does. Auto: fine-tuning where trained weights are trained further, plain from "
        "random weights and with train_only_on_top_layer.",
        default=AUTO,
        before=PLAIN,
    )
    learning_rate_schedule: str = extension(
        Choice((AUTO, "constant", "cosine", "trapezoid")),
        "cosine: a linear warm-up over the first 5% of the steps, then a cosine to zero. trapezoid: the same warm-up, "
        "the whole rate, and over the last 10% linearly to zero.",
        default=AUTO,
        by_recipe=("trapezoid", "constant"),
        before="constant",
    )
    relative_learning_rate: float | None = extension(
        Number(0.0, 1.0, auto=True),
        "Bounds the learning rate of every loaded kernel: it is at most this times the root mean square of its "
        "weights; 1 is no bound.",
        default=AUTO,
        by_recipe=("0.002", "1"),  # Adam's steps move a weight by about the learning rate, however small it is
        tunable=TunableRange("5e-4", "1e-2", "Logarithmic"),
        before="1.0",
        used_when=UsedWhen("train_only_on_top_layer", (False,), otherwise=1.0),
    )
    passes_per_epoch: int | None = extension(
        Integer(1, auto=True),
        "How often an epoch goes over the training images. Auto: with the recipe fine-tuning as often as makes twenty "
        "passes in all epochs together, but at least 1000 and at most 2000 steps, fewer of more than 8 images; else "
        "once.",
        default=AUTO,
        before="1",
    )
    augmentation: bool = extension(
        _FLAG, "Whether training images are augmented as they were for the base model.", default="True"
    )
    freeze_batch_norm: bool | None = extension(
        _AUTO_FLAG,
        "Whether batch normalization keeps its statistics and parameters. Auto: frozen when fine-tuning with few "
        "images per device.",
        default=AUTO,
        used_when=UsedWhen("train_only_on_top_layer", (False,), otherwise=True),
    )
    bbox_format: str = extension(
        Choice((AUTO, *BBOX_FORMATS)),
        "How annotations.json writes a box: xyxy for [xmin, ymin, xmax, ymax], xywh for COCO's [x, y, width, height], "
        "cxcywh with the centre, yxyx for TensorFlow's [ymin, xmin, ymax, xmax], xxyy for [xmin, xmax, ymin, ymax], in "
        "pixels; in shares of the image (0 to 1) with _normalized, in percent with _percent, 0 to 1000 with "
        "_thousandths. Auto: xyxy, but the job stops if the boxes look like another.",
        default=AUTO,
        on_resume="compared",
    )
    invalid_boxes: str = extension(
        Choice(("error", "drop", "clip")),
        "What happens to boxes that are inverted, empty or reach outside the image by more than a pixel. drop: they "
        "are left out and counted; clip: if half or more is inside they are clipped and counted, else an error.",
        default="error",
        on_resume="compared",
    )
    invalid_images: str = extension(
        Choice(("error", "drop")),
        "What happens to images whose files are missing, empty, damaged, too large or of another format: drop leaves "
        "them out with their boxes and lists them, up to a tenth of a channel.",
        default="error",
        on_resume="compared",
    )
    max_detections: int | None = extension(
        Integer(1, MAX_DETECTIONS, auto=True),
        "The most detections of an image, in the model's answers and in validation. Auto: the least of 100, 200, 300, "
        "500 and 1000 that is 1.5 times the objects of the fullest image, of training and validation.",
        default=AUTO,
        before="100",
    )
    validation_split_ratio: float = extension(
        Number(0.0, 0.5),
        "Share of the training images held out when there is no validation channel; 0 trains without validation.",
        default="0.2",
        on_resume="compared",
    )
    split_by: str = extension(
        Choice((AUTO, "group", "image")),
        "How images are held out. group: copies of a picture, frames of a video, and images with the same group in "
        "annotations.json stay together; image: each by itself. Auto: group.",
        default=AUTO,
        before="image",
    )
    mixed_precision: bool | None = extension(
        _AUTO_FLAG,
        "Whether layers compute in 16 bits. Auto: where the GPU has fast bfloat16 or float16.",
        default=AUTO,
        on_resume="compared",
    )
    xla: bool | None = extension(
        _AUTO_FLAG,
        "Whether XLA compiles the training step. Auto: on a GPU, if the job has 5000 steps or more; not measured on "
        "GPUs.",
        default=AUTO,
        used_when=UsedWhen("train_only_on_top_layer", (False,), otherwise=False),
        on_resume="free",  # it rounds differently, and no more
    )
    seed: int = extension(
        Integer(0), "Decides the order of the images, their augmentation and the initial weights.", default="0"
    )
    notes: tuple[str, ...] = ()
    """Sentences to log once, about values that were given and have no effect."""

    def for_model(self, base: BaseModel) -> "Hyperparameters":
        """The same, with what was left to the base model filled in."""
        epochs = base.default_epochs if self.epochs is None else self.epochs
        return replace(self, model_id=base.name, epochs=epochs)

    def resolved(self) -> dict[str, Value]:
        """Value by name, as a person would write it: Auto where it is left to the job."""
        auto = {row.name for row in ROWS if row.default == AUTO and getattr(self, row.name) is None}
        return {row.name: AUTO if row.name in auto else getattr(self, row.name) for row in ROWS}

    def effective(self) -> dict[str, Value]:
        """`resolved` without what has no effect beside the others, such as another optimizer's settings."""
        values = self.resolved()
        unused = {row.name for row in ROWS if row.used_when and values[row.used_when.name] not in row.used_when.values}
        return {name: value for name, value in values.items() if name not in unused}


ROWS: tuple[Row, ...] = tuple(
    replace(attribute.metadata["row"], name=attribute.name)
    for attribute in fields(Hyperparameters)
    if "row" in attribute.metadata
)
BY_NAME = {name: row for row in ROWS for name in (row.name, *row.aliases)}
"""The row of each name and of each other name of one."""
