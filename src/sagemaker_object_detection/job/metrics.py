"""The metric table, and the log lines SageMaker reads metrics from.

The lines are those of the built-in algorithm (amazon-sagemaker-examples#3852), and the loss regexes its published
ones. Values are fixed-point, because the regexes would cut "1.2e-05" to 1.2, and nothing else in the log may
contain "loss=".
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric: its name in SageMaker, and how the log shows it."""

    name: str
    text: str
    """What stands before "=" in the log."""
    direction: Literal["Minimize", "Maximize"]
    meaning: str
    line: int
    """Which line of an epoch has it: 0 is the training's, those of a validation are counted from 1."""

    @property
    def key(self) -> str:
        """What the program calls it."""
        return self.name.partition(":")[2]

    @property
    def regex(self) -> str:
        """That of the training's line ends with any character, as the built-in algorithm's does."""
        return rf"{self.text}=([0-9\.]+)" + ("." if self.line == 0 else "")


METRICS = (
    Metric(
        "train:loss",
        "loss",
        "Minimize",
        "Mean of an epoch's training losses: localization, classification and L2 regularization.",
        line=0,
    ),
    Metric(
        "validation:localization_loss",
        "Val_localization",
        "Minimize",
        "How far predicted boxes are from those of the validation images.",
        line=1,
    ),
    Metric(
        "validation:classification_loss",
        "Val_classification",
        "Minimize",
        "How far predicted scores are from the classes of the validation images, as focal loss counts it.",
        line=1,
    ),
    Metric("validation:mAP", "Val_mAP", "Maximize", "COCO's mean average precision, over IoU 0.5 to 0.95.", line=2),
    Metric("validation:mAP_50", "Val_mAP_50", "Maximize", "COCO's mean average precision at IoU 0.5.", line=2),
)

_BY_KEY = {metric.key: metric for metric in METRICS}
_METRIC_LINE = re.compile(
    r"\[Epoch \d+\], (Speed: [\d.]+ samples/sec, loss=[\d.]+\.|Val_\w+=[\d.]+(, Val_\w+=[\d.]+)*)"
)
_LIKE_A_METRIC = re.compile("|".join(f"{re.escape(metric.text)}=" for metric in METRICS))
VALIDATION_KEYS = tuple(metric.key for metric in METRICS if metric.line > 0)
"""Of the metrics that a validation has."""


def objective_key(name: str) -> str | None:
    """The key of the metric that a tuning job calls `name`, in any case, or None."""
    wanted = name.strip().lower()
    for metric in METRICS:
        # The built-in algorithm's example notebook calls them train_loss, val_localization_loss and so on.
        in_notebook = metric.name.replace("validation:", "val_").replace("train:", "train_")
        if wanted in (known.lower() for known in (metric.key, metric.name, metric.text, in_notebook)):
            return metric.key
    return None


def without_metrics(text: str) -> str:
    """A line of the log that is no metric line, such that no metric is read from it: a class or a file may be called
    "loss=0.1". A metric line stays as it is."""
    if _METRIC_LINE.fullmatch(text):
        return text
    return _LIKE_A_METRIC.sub(lambda found: f"{found[0][:-1]}:", text)


def training_line(epoch: int, samples_per_second: float, loss: float) -> str:
    """The line of a finished training epoch, counted from 0. Its last dot keeps the regex from eating a digit.

    Raises:
        ValueError: the loss is not finite or negative.
    """
    return f"[Epoch {epoch}], Speed: {samples_per_second:.3f} samples/sec, {_rendered('loss', loss)}."


def validation_lines(epoch: int, values: Mapping[str, float]) -> list[str]:
    """The lines of a validation, values by metric key; a metric that has no value is left out.

    Raises:
        ValueError: a value is not finite or negative, or not one of a validation.
    """
    if strangers := values.keys() - {*VALIDATION_KEYS}:
        raise ValueError(f"not metrics of a validation: {sorted(strangers)}")
    lines: dict[int, list[str]] = {}
    for metric in METRICS:
        if metric.key in values:
            lines.setdefault(metric.line, []).append(_rendered(metric.key, values[metric.key]))
    return [f"[Epoch {epoch}], {', '.join(lines[line])}" for line in sorted(lines)]


def _rendered(key: str, value: float) -> str:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{key} is {value}: the metric regexes read finite numbers from 0 only")
    return f"{_BY_KEY[key].text}={value + 0.0:.6f}"  # + 0.0: a negative zero would be shown with its sign
