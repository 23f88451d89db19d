"""An exported model, loaded to answer images."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from sagemaker_object_detection.artifact.export import SAVED_MODEL
from sagemaker_object_detection.artifact.inference import SIGNATURE
from sagemaker_object_detection.artifact.model_info import FILE_NAME, ModelInfo, read_model_info
from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.serving.queue import DamagedImageError

_FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
_OUTPUTS = (
    "detection_boxes",
    "detection_scores",
    "detection_classes",
    "num_detections",
    "detection_multiclass_scores",
)
_EXPECTED = "expected the SavedModel that a training job wrote: copy the model directory again"
_MAX_REASON = 200


class Predictor:
    """An artifact, loaded. Raises UserError where folder `model` holds none."""

    def __init__(self, model: Path) -> None:
        info = read_model_info(model)
        self.labels = info.labels
        self._module, self._detect = _load(model / SAVED_MODEL, info)

    def __call__(self, images: Sequence[bytes]) -> list[dict[str, Any]]:
        """The SavedModel's outputs for each image, as `artifact.inference.respond` takes them.

        Args:
            images: the contents of JPEG or PNG files, one at least. Any number is one batch.

        Raises:
            DamagedImageError: one of them cannot be decoded.
        """
        try:
            outputs = self._detect(tf.constant(list(images)))
        except tf.errors.InvalidArgumentError as error:
            raise DamagedImageError(first_line(error)) from error
        columns = {name: value.numpy().tolist() for name, value in outputs.items()}
        return [{name: column[row] for name, column in columns.items()} for row in range(len(images))]


def _load(folder: Path, info: ModelInfo) -> tuple[Any, Any]:
    """The SavedModel, which lives no longer than the first of these, and its signature."""
    for name in _FILES:
        if not os.path.isfile(folder / name):
            raise UserError(f"{folder}: holds no file {name}; {_EXPECTED}")
    try:
        module = tf.saved_model.load(str(folder))
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # a damaged graph makes TensorFlow stumble anywhere
        raise UserError(f"{folder}: cannot be loaded ({first_line(error)[:_MAX_REASON]}); {_EXPECTED}") from error
    signature = module.signatures.get(SIGNATURE) if hasattr(module, "signatures") else None
    if signature is None:
        raise UserError(f"{folder}: has no signature {SIGNATURE}; {_EXPECTED}")
    missing = [name for name in _OUTPUTS if name not in signature.structured_outputs]
    if missing:
        raise UserError(f"{folder}: its signature {SIGNATURE} has no output {', '.join(missing)}; {_EXPECTED}")
    columns = signature.structured_outputs["detection_multiclass_scores"].shape[-1]
    background, classes = int(info.base.family.background_column), len(info.labels)
    if columns not in (None, background + classes):
        raise UserError(
            f"{folder}: tells {columns - background} classes apart, but {FILE_NAME} names {classes}; expected the "
            "files of one model: copy the model directory again"
        )
    return module, signature
