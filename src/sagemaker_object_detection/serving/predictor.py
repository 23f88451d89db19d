"""A model, loaded to answer images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.artifact.export import SAVED_MODEL, ServingModel
from sagemaker_object_detection.artifact.inference import SIGNATURE
from sagemaker_object_detection.artifact.model_info import FILE_NAME, ModelInfo, read_model_info
from sagemaker_object_detection.artifact.network_file import read_network
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.images.headers import SAMPLE_BITS
from sagemaker_object_detection.models.postprocess import MAX_DETECTIONS
from sagemaker_object_detection.sentences import printable
from sagemaker_object_detection.serving.published import find_model, load_published
from sagemaker_object_detection.serving.queue import DamagedImageError, NoRoomError, Outputs
from sagemaker_object_detection.weights.checkpoint_index import judge_checkpoint

_VARIABLES = "variables/variables"
_FILES = ("saved_model.pb", f"{_VARIABLES}.index", f"{_VARIABLES}.data-00000-of-00001")
_OUTPUTS = (
    "detection_boxes",
    "detection_scores",
    "detection_classes",
    "num_detections",
    "detection_multiclass_scores",
)
_EXPECTED = "expected the SavedModel that a training job wrote: copy the model directory again"
_MAX_REASON = 200
_PIXELS = "serving_default"
"""The signature that takes images as the reference exporter does."""


class Predictor:
    """A job's model or a published one, loaded. Raises UserError where folder `model` holds none.

    Args:
        by_network: whether ONNX Runtime computes the network where the model has a file for it: on a CPU.
    """

    def __init__(self, model: Path, *, by_network: bool = False) -> None:
        found = find_model(model)
        self.labels: Labels
        self.thresholds: tuple[float, ...] | None = None
        self.sample_bits = SAMPLE_BITS
        if not isinstance(found, ModelInfo):
            weights = found.fetch()
            assert weights is not None
            if weights.artifact is None:
                module, self.labels = load_published(weights)
                self._module, self._detect, self._detect_pixels = module, module.detect_encoded, module.detect
                return
            model, found = weights.artifact, read_model_info(weights.artifact)
        self.labels, self.sample_bits, self.thresholds = found.labels, found.sample_bits, found.thresholds
        if by_network and (network := read_network(model, found)) is not None:
            module = ServingModel(network, found.max_detections or MAX_DETECTIONS, found.sample_bits)
            self._module, self._detect, self._detect_pixels = module, module.detect_encoded, module.detect
            return
        self._module, self._detect = _load(model / SAVED_MODEL, found)
        self._detect_pixels = self._module.signatures.get(_PIXELS)

    def __call__(self, images: Sequence[bytes]) -> list[Outputs]:
        """The model's outputs for each image, as `artifact.inference.respond` takes them.

        Args:
            images: the contents of JPEG or PNG files, one at least. Any number is one batch.

        Raises:
            DamagedImageError: one of them cannot be decoded.
            NoRoomError: memory has no room for all of them.
        """
        try:
            outputs = self._detect(tf.constant(list(images)))
        except tf.errors.InvalidArgumentError as error:
            raise DamagedImageError(first_line(error)) from error
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise NoRoomError(first_line(error)) from error
        return _rows(outputs, len(images))

    def pixels(self, images: Sequence[np.ndarray]) -> list[Outputs]:
        """The same and the raw outputs for images that are decoded: uint8 [height, width, 3], as displayed.

        Raises:
            DamagedImageError: the model takes no pixels.
        """
        if self._detect_pixels is None:
            raise DamagedImageError(f"the model has no signature {_PIXELS}")
        return [_rows(self._detect_pixels(input_tensor=tf.constant(image[None])), 1)[0] for image in images]


def _rows(outputs: Mapping[str, tf.Tensor], count: int) -> list[Outputs]:
    columns = {name: value.numpy().tolist() for name, value in outputs.items()}
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


def _load(folder: Path, info: ModelInfo) -> tuple[Any, Any]:
    """The SavedModel, which lives no longer than the first of these, and its signature."""
    for name in _FILES:
        if not os.path.isfile(folder / name):
            raise UserError(f"{folder}: holds no file {name}; {_EXPECTED}")
    try:
        judge_checkpoint(folder / _VARIABLES)
        module = tf.saved_model.load(str(folder))
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # a damaged graph makes TensorFlow stumble anywhere
        raise UserError(
            f"{folder}: cannot be loaded ({printable(first_line(error), _MAX_REASON)}); {_EXPECTED}"
        ) from error
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
