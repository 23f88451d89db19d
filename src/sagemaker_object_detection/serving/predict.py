"""Runs an exported model on image files."""

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.artifact.export import SAVED_MODEL
from sagemaker_object_detection.artifact.model_info import FILE_NAME, ModelInfo, read_model_info
from sagemaker_object_detection.dataset.images import Header, UnusableImageError, read_header, unreadable
from sagemaker_object_detection.dataset.preprocess import decode
from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.serving.drawing import draw
from sagemaker_object_detection.serving.response import Response, response

_FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
_SIGNATURE = "serving_default"
_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections", "raw_detection_scores")
_EXPECTED = "expected the SavedModel that a training job wrote: copy the model directory again"
_MAX_REASON = 200
_PICTURES = (".png", ".jpg", ".jpeg")
_MAX_NAME = 255
"""Bytes of a file's name, on the usual file systems."""


class Predictor:
    """An artifact, loaded. Raises UserError where folder `model` holds none."""

    def __init__(self, model: Path) -> None:
        info = read_model_info(model)
        self._labels = info.labels
        self._module = _load(model / SAVED_MODEL)
        self._detect = _signature(self._module, model / SAVED_MODEL, info)

    def __call__(self, image: np.ndarray) -> Response:
        """Detections in one RGB image, uint8 [height, width, 3], best first."""
        outputs = {name: value[0].numpy() for name, value in self._detect(tf.constant(image[None])).items()}
        count = int(outputs["num_detections"])
        return response(
            outputs["detection_boxes"][:count],
            outputs["detection_scores"][:count],
            outputs["detection_classes"][:count] - 1,
            self._labels,
        )


def _load(folder: Path) -> Any:
    for name in _FILES:
        if not os.path.isfile(folder / name):
            raise UserError(f"{folder}: holds no file {name}; {_EXPECTED}")
    try:
        return tf.saved_model.load(str(folder))
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # a damaged graph makes TensorFlow stumble anywhere
        raise UserError(f"{folder}: cannot be loaded ({first_line(error)[:_MAX_REASON]}); {_EXPECTED}") from error


def _signature(module: Any, folder: Path, info: ModelInfo) -> Any:
    signature = module.signatures.get(_SIGNATURE) if hasattr(module, "signatures") else None
    if signature is None:
        raise UserError(f"{folder}: has no signature {_SIGNATURE}; {_EXPECTED}")
    missing = [name for name in _OUTPUTS if name not in signature.structured_outputs]
    if missing:
        raise UserError(f"{folder}: its signature {_SIGNATURE} has no output {', '.join(missing)}; {_EXPECTED}")
    columns = signature.structured_outputs["raw_detection_scores"].shape[-1]
    background, classes = int(info.base.family.background_column), len(info.labels)
    if columns not in (None, background + classes):
        raise UserError(
            f"{folder}: tells {columns - background} classes apart, but {FILE_NAME} names {classes}; expected the "
            "files of one model: copy the model directory again"
        )
    return signature


def predict_files(model: Path, images: Iterable[Path], drawings: Path | None, min_score: float) -> Iterator[str]:
    """One JSON line per image, as it is answered; `drawings` is a folder for copies with the boxes drawn, or with a
    single image the file to draw.

    Images are turned as their EXIF orientation says, and so are boxes and drawings. A drawing's name begins with the
    position of its image, because images of different folders may have the same name.

    Raises:
        UserError: the folder is no model, or a file is no image that can be decoded, or `drawings` cannot be written.
            Nothing is answered then, unless only the decoder or the disk can tell.
    """
    paths = list(images)
    headers = [_header(path) for path in paths]
    predictor = Predictor(model)
    single = drawings is not None and len(paths) == 1 and drawings.suffix.lower() in _PICTURES
    if drawings is not None:
        with _writing(drawings):
            (drawings.parent if single else drawings).mkdir(parents=True, exist_ok=True)
    for number, (path, header) in enumerate(zip(paths, headers, strict=True)):
        try:
            pixels = decode(tf.constant(path.read_bytes()), tf.constant(header.orientation)).numpy()
        except OSError as error:
            raise UserError(f"image {str(path)!r} {unreadable(error)}") from error
        except tf.errors.OpError as error:
            raise UserError(f"image {str(path)!r}: cannot be decoded: cut short or damaged; replace it") from error
        answer = predictor(pixels)
        drawing = None
        if drawings is not None:
            drawing = drawings if single else drawings / _drawing_name(number, path.stem)
            with _writing(drawing):
                draw(Image.fromarray(pixels), answer, min_score).save(drawing)
        yield json.dumps({"image": str(path), **asdict(answer), **({"drawing": str(drawing)} if drawing else {})})


def _drawing_name(number: int, stem: str) -> str:
    """Number and stem, of which as much as a file's name has room for."""
    while len(os.fsencode(f"{number}-{stem}.png")) > _MAX_NAME:
        stem = stem[:-1]
    return f"{number}-{stem}.png"


@contextmanager
def _writing(drawing: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        raise UserError(
            f"--draw: {str(drawing)!r} cannot be written ({error.strerror}); expected a folder that may be written to, "
            "or a path where one can be made"
        ) from error


def _header(path: Path) -> Header:
    try:
        return read_header(path)
    except UnusableImageError as error:
        raise UserError(f"image {str(path)!r} {error}") from error
