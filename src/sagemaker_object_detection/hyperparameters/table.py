"""The hyperparameter table: every name, legal value and default is written down here and nowhere else."""

from dataclasses import dataclass
from typing import Literal

from sagemaker_object_detection import catalogue
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


@dataclass(frozen=True)
class TunableRange:
    """What a tuning job may try of a number, in its own words. The legal range is the kind's."""

    low: str
    high: str
    scaling: Literal["Linear", "Logarithmic", "ReverseLogarithmic"]


Tunable = TunableRange | tuple[str, ...] | None
"""What a tuning job may try: numbers, or words."""


@dataclass(frozen=True)
class UsedWhen:
    """Another row, and the values of it with which a row has any effect."""

    name: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.name} is {' or '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Row:
    """One hyperparameter.

    `default` is the text that means the same as leaving it out; where there is none the value is None, what that
    means is decided later, and `default_help` says how. `tunable` is what is recommended to a tuning job, `built_in`
    what the built-in algorithm's page recommends.
    """

    name: str
    kind: Kind
    help: str
    default: str | None = None
    default_help: str = ""
    used_when: UsedWhen | None = None
    tunable: Tunable = None
    built_in: Tunable = None
    aliases: tuple[str, ...] = ()
    extension: bool = False
    """Not one of the built-in algorithm's."""
    before: str | None = None
    """Text of what was in force before there was this row, or its Auto: a checkpoint of that time goes on with it."""

    @property
    def default_value(self) -> Value:
        return None if self.default is None else self.kind.parse(self.default)

    @property
    def shown_default(self) -> str:
        return self.default_help if self.default is None else self.default


FINE_TUNING, PLAIN = "fine-tuning", "plain"
"""Recipes."""
_UNIT = Number(0.0, 1.0)
_FLAG = Flag()
_AUTO_FLAG = Flag(auto=True)
_BETAS = TunableRange("1e-6", "0.999", "ReverseLogarithmic")
_FROM_ZERO = TunableRange("0.0", "0.999", "Linear")
_OPTIMIZERS = ("adam", "sgd", "nesterov", "rmsprop", "adagrad", "adadelta")
_EARLY_STOPPING = UsedWhen("early_stopping", (True,))


def _with_optimizer(*names: str) -> UsedWhen:
    return UsedWhen("optimizer", names)


ROWS: tuple[Row, ...] = (
    Row(
        "batch_size",
        Integer(1),
        "Images per training step, over all devices together.",
        default="3",
        tunable=TunableRange("2", "16", "Logarithmic"),
        built_in=TunableRange("8", "512", "Logarithmic"),
    ),
    Row(
        "beta_1",
        _UNIT,
        "Decay rate of the first moment estimates.",
        default="0.9",
        used_when=_with_optimizer("adam"),
        tunable=TunableRange("0.8", "0.97", "ReverseLogarithmic"),
        built_in=_BETAS,
    ),
    Row(
        "beta_2",
        _UNIT,
        "Decay rate of the second moment estimates.",
        default="0.999",
        used_when=_with_optimizer("adam"),
        tunable=TunableRange("0.98", "0.9999", "ReverseLogarithmic"),
        built_in=_BETAS,
    ),
    Row(
        "early_stopping",
        _FLAG,
        "Whether to stop when the objective no longer improves.",
        default="False",
    ),
    Row(
        "early_stopping_min_delta",
        _UNIT,
        "The least change of the objective that counts as an improvement.",
        default="0.0",
        used_when=_EARLY_STOPPING,
    ),
    Row(
        "early_stopping_patience",
        Integer(1),
        "Epochs without improvement after which training stops.",
        default="5",
        used_when=_EARLY_STOPPING,
    ),
    Row(
        "epochs",
        Integer(1),
        "Epochs: each goes passes_per_epoch times over the training images, and is followed by a validation.",
        default_help="the base model's: 5 for the smaller, 1 for the larger",
    ),
    Row(
        "epsilon",
        _UNIT,
        "Added to denominators for numerical stability.",
        default="1e-7",
        used_when=_with_optimizer("adam", "rmsprop", "adadelta", "adagrad"),
        tunable=TunableRange("1e-8", "1e-5", "Logarithmic"),
        built_in=TunableRange("1e-8", "1.0", "Logarithmic"),
        aliases=("eps",),
    ),
    Row(
        "initial_accumulator_value",
        _UNIT,
        "Where the accumulators of the squared gradients begin.",
        default="0.1",
        used_when=_with_optimizer("adagrad"),
        built_in=_FROM_ZERO,
    ),
    Row(
        "learning_rate",
        _UNIT,
        "The optimizer's learning rate; with a schedule, its peak.",
        default="0.001",
        tunable=TunableRange("3e-4", "1e-2", "Logarithmic"),
        built_in=TunableRange("1e-6", "0.5", "Logarithmic"),
    ),
    Row(
        "momentum",
        _UNIT,
        "The momentum of gradient descent.",
        default="0.9",
        used_when=_with_optimizer("sgd", "nesterov"),
        built_in=_FROM_ZERO,
    ),
    Row(
        "optimizer",
        Choice(_OPTIMIZERS),
        "The optimizer.",
        default="adam",
        tunable=("adam", "rmsprop"),
        built_in=_OPTIMIZERS,
    ),
    Row(
        "reinitialize_top_layer",
        _AUTO_FLAG,
        "Whether the class prediction layer starts anew. Auto: yes on a published base model, no on a model of this "
        "container; True also allows the classes to change.",
        default="Auto",
    ),
    Row(
        "rho",
        _UNIT,
        "Decay rate of the averaged squared gradients.",
        default="0.95",
        used_when=_with_optimizer("adadelta", "rmsprop"),
    ),
    Row(
        "train_only_on_top_layer",
        _FLAG,
        "Whether only the class prediction layer is trained and everything else stays as it was loaded.",
        default="False",
        built_in=_FLAG.options,
        aliases=("train_only_top_layer",),
    ),
    Row(
        "regularizers_l2",
        _UNIT,
        "Replaces every coefficient of the L2 regularization, coefficient * sum(w^2).",
        default_help="the base model's own",
        tunable=TunableRange("1e-6", "1e-3", "Logarithmic"),
        built_in=_FROM_ZERO,
    ),
    Row(
        "model_id",
        ModelName(),
        "The base model, by its id or short name; with a model channel it may be left out, and must agree if given.",
        default_help=f"{catalogue.DEFAULT_MODEL.name}, or what the model channel holds",
        extension=True,
    ),
    Row(
        "pretrained_weights",
        Text(
            ("auto", "none"),
            "a TensorFlow Hub or Kaggle handle (https://...), s3://bucket/key of a .tar.gz or of a folder, or the path "
            "of either",
        ),
        "Where the weights come from when there is no model channel: a published base model or a model of this "
        "container. auto: from the image, else from TensorFlow Hub; none: random weights.",
        default="auto",
        extension=True,
    ),
    Row(
        "objective",
        Choice(("Auto", "mAP", "localization_loss", "total_loss")),
        "What chooses the best epoch and stops early. Auto: the tuning job's objective inside a tuning job, else mAP.",
        default="Auto",
        extension=True,
    ),
    Row(
        "recipe",
        Choice((AUTO, FINE_TUNING, PLAIN)),
        "What the hyperparameters below come to where they are Auto: fine-tuning for what keeps trained weights, plain "
        "for what the built-in algorithm does. Auto: fine-tuning where trained weights are trained further, plain from "
        "random weights and with train_only_on_top_layer.",
        default=AUTO,
        before=PLAIN,
        extension=True,
    ),
    Row(
        "learning_rate_schedule",
        Choice((AUTO, "constant", "cosine")),
        "cosine: a linear warm-up over the first 5% of the steps, then a cosine to zero. Auto: cosine with the recipe "
        "fine-tuning, else constant.",
        default=AUTO,
        before="constant",
        extension=True,
    ),
    Row(
        "relative_learning_rate",
        Number(0.0, 1.0, auto=True),
        "Bounds the learning rate of every loaded kernel: it is at most this times the root mean square of its "
        "weights; 1 is no bound. Auto: 0.002 with the recipe fine-tuning, else 1.",
        default=AUTO,
        tunable=TunableRange("5e-4", "1e-2", "Logarithmic"),
        before="1.0",
        used_when=UsedWhen("train_only_on_top_layer", (False,)),
        extension=True,
    ),
    Row(
        "passes_per_epoch",
        Integer(1, auto=True),
        "How often an epoch goes over the training images. Auto: with the recipe fine-tuning as often as it takes to "
        "come to some 1000 steps in all epochs together, fewer of more than 8 images, else once.",
        default=AUTO,
        before="1",
        extension=True,
    ),
    Row(
        "augmentation",
        _FLAG,
        "Whether training images are augmented as they were for the base model.",
        default="True",
        extension=True,
    ),
    Row(
        "freeze_batch_norm",
        _AUTO_FLAG,
        "Whether batch normalization keeps its statistics and parameters. Auto: frozen when fine-tuning with few "
        "images per device.",
        default="Auto",
        used_when=UsedWhen("train_only_on_top_layer", (False,)),
        extension=True,
    ),
    Row(
        "bbox_format",
        Choice(("xyxy", "xywh")),
        "How annotations.json writes a box: xyxy for [xmin, ymin, xmax, ymax], xywh for COCO's [x, y, width, height].",
        default="xyxy",
        extension=True,
    ),
    Row(
        "invalid_boxes",
        Choice(("error", "drop")),
        "What happens to boxes that are inverted, empty or reach outside the image by more than a pixel; dropped ones "
        "are counted.",
        default="error",
        extension=True,
    ),
    Row(
        "validation_split_ratio",
        Number(0.0, 0.5),
        "Share of the training images held out when there is no validation channel; 0 trains without validation.",
        default="0.2",
        extension=True,
    ),
    Row(
        "mixed_precision",
        _AUTO_FLAG,
        "Whether layers compute in 16 bits. Auto: where the GPU has fast bfloat16 or float16.",
        default="Auto",
        extension=True,
    ),
    Row(
        "xla",
        _AUTO_FLAG,
        "Whether XLA compiles the training step. Auto: on a GPU, if the job has 5000 steps or more; not measured on "
        "GPUs.",
        default="Auto",
        used_when=UsedWhen("train_only_on_top_layer", (False,)),
        extension=True,
    ),
    Row(
        "seed",
        Integer(0),
        "Decides the order of the images, their augmentation and the initial weights.",
        default="0",
        extension=True,
    ),
)
