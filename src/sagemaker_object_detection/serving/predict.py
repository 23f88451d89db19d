"""Runs an exported model on image files."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.artifact.export import SAVED_MODEL
from sagemaker_object_detection.artifact.model_info import read_model_info
from sagemaker_object_detection.dataset.images import Header, UnusableImageError, read_header
from sagemaker_object_detection.dataset.preprocess import decode
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving.drawing import draw
from sagemaker_object_detection.serving.response import Response, response


class Predictor:
    """An artifact, loaded. Raises UserError where folder `model` holds none."""

    def __init__(self, model: Path) -> None:
        self._labels = read_model_info(model).labels
        self._module = tf.saved_model.load(str(model / SAVED_MODEL))
        self._detect = self._module.signatures["serving_default"]

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


def predict_files(model: Path, images: Iterable[Path], drawings: Path | None, min_score: float) -> Iterator[str]:
    """One JSON line per image, as it is answered; `drawings` is a folder for copies with the boxes drawn.

    Images are turned as their EXIF orientation says, and so are boxes and drawings. A drawing's name begins with the
    position of its image, because images of different folders may have the same name.

    Raises:
        UserError: the folder is no model, or a file is no image that can be decoded; nothing is answered then.
    """
    paths = list(images)
    headers = [_header(path) for path in paths]
    predictor = Predictor(model)
    if drawings is not None:
        drawings.mkdir(parents=True, exist_ok=True)
    for number, (path, header) in enumerate(zip(paths, headers, strict=True)):
        try:
            pixels = decode(tf.constant(path.read_bytes()), tf.constant(header.orientation)).numpy()
        except tf.errors.OpError as error:
            raise UserError(f"image {str(path)!r}: cannot be decoded: cut short or damaged; replace it") from error
        answer = predictor(pixels)
        drawing = None
        if drawings is not None:
            drawing = drawings / f"{number}-{path.stem}.png"
            draw(Image.fromarray(pixels), answer, min_score).save(drawing)
        yield json.dumps({"image": str(path), **asdict(answer), **({"drawing": str(drawing)} if drawing else {})})


def _header(path: Path) -> Header:
    try:
        return read_header(path)
    except UnusableImageError as error:
        raise UserError(f"image {str(path)!r} {error}") from error
