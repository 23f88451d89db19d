"""`model_info.json`: what a model is, how it was made and how good it was. Written last, it marks a whole model."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from sagemaker_object_detection import __version__, catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError

FILE_NAME = "model_info.json"
FORMAT = 1
"""Raised when a reader of the old files would misread the new ones."""


@dataclass(frozen=True)
class ModelInfo:
    """What incremental training and serving need to know of an artifact."""

    base: BaseModel
    labels: Labels


def model_info(
    base: BaseModel,
    labels: Labels,
    *,
    hyperparameters: Mapping[str, object],
    fingerprints: Mapping[str, str],
    epoch: int | None,
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """The content of the file.

    Args:
        base, labels: what the model is.
        hyperparameters: resolved, as the job ran with them.
        fingerprints: of each data set the job read, by channel.
        epoch: whose weights these are, 0-based; None for a first epoch that a stop cut short.
        metrics: of those weights, by the keys of `job.metrics`; empty where nothing was validated.
    """
    return {
        "format": FORMAT,
        "base_model": base.name,
        "base_model_id": base.model_id,
        "input_size": base.input_size,
        "labels": list(labels.names),
        "category_ids": list(labels.ids),
        "hyperparameters": dict(hyperparameters),
        "data_fingerprints": dict(fingerprints),
        "epoch": epoch,
        "metrics": dict(metrics),
        "versions": {
            "sagemaker-object-detection": __version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def read_model_info(model: Path) -> ModelInfo:
    """Reads the file of the model in folder `model`.

    Raises:
        UserError: no such file (half a model, or none), or not one this version can read.
    """
    path = model / FILE_NAME
    if not path.is_file():
        raise UserError(f"{model}: holds no {FILE_NAME}; expected the model directory that a training job wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        base = catalogue.find(content["base_model"])
        labels = Labels(ids=tuple(content["category_ids"]), names=tuple(content["labels"]))
        written = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: describes no model ({error!r}); train again or restore the file") from error
    if base is None or written != FORMAT:
        raise UserError(
            f"{path}: describes a model {content['base_model']!r} in format {written!r}; expected format {FORMAT} "
            f"and one of {', '.join(known.name for known in catalogue.CATALOGUE)}; use the version that wrote it, "
            f"{content.get('versions', {}).get('sagemaker-object-detection', 'unknown')}"
        )
    return ModelInfo(base, labels)
