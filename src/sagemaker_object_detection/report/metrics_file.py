"""`metrics.json`: the figures of every epoch and of the saved weights, for programs to read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagemaker_object_detection.files.whole import whole_file
from sagemaker_object_detection.step.readings import PARTS
from sagemaker_object_detection.training.progress import Epoch

FILE_NAME = "metrics.json"


def epoch_figures(epoch: Epoch) -> dict[str, Any]:
    """One epoch as it stands in the file; `validation` is absent where there is no validation set."""
    figures: dict[str, Any] = {
        "epoch": epoch.number,
        "loss": epoch.loss,
        "samples_per_second": epoch.samples_per_second,
    }
    if epoch.regularization is not None:
        figures["regularization"] = epoch.regularization
        figures["gradients"] = dict(zip(PARTS, epoch.gradients, strict=True))
    if epoch.movement:
        figures["movement"] = dict(zip(PARTS, epoch.movement, strict=True))
    evaluation = epoch.validation
    if evaluation is not None:
        figures["validation"] = {**evaluation.metrics, "total_loss": evaluation.total_loss}
        figures["coco"] = dict(evaluation.coco.overall)
        figures["per_class"] = {name: dict(values) for name, values in evaluation.coco.per_class.items()}
        figures["images_with_a_confident_detection"] = evaluation.confident_images
        figures["dead_channels"] = evaluation.dead_channels
        figures["spread"] = evaluation.spread
    return figures


def write_metrics(
    epochs: Sequence[Epoch], saved: Epoch | None, folder: Path, score_thresholds: Mapping[str, float] | None = None
) -> Path:
    """Writes the file into `folder`, whole or not at all; `saved` is the epoch whose weights the model has, and
    `score_thresholds` are suggested for them, by class name; None where they are not known."""
    content: dict[str, Any] = {"saved_epoch": saved.number if saved else None}
    if score_thresholds is not None:
        content["score_thresholds"] = dict(score_thresholds)
    content["epochs"] = [epoch_figures(epoch) for epoch in epochs]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path
