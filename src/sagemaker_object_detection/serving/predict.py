"""Runs an exported model on image files."""

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.dataset.images import Header, UnusableImageError, read_header, unreadable
from sagemaker_object_detection.dataset.preprocess import decode
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.report.drawing import Mark, colour_of, draw
from sagemaker_object_detection.serving.predictor import DamagedImageError, Predictor
from sagemaker_object_detection.serving.response import Response, response

_PICTURES = (".png", ".jpg", ".jpeg")
_MAX_NAME = 255
"""Bytes of a file's name, on the usual file systems."""


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
            contents = path.read_bytes()
            (outputs,) = predictor([contents])
        except OSError as error:
            raise UserError(f"image {str(path)!r} {unreadable(error)}") from error
        except DamagedImageError as error:
            raise UserError(f"image {str(path)!r}: cannot be decoded: cut short or damaged; replace it") from error
        answer = response(outputs, predictor.labels)
        drawing = None
        if drawings is not None:
            drawing = drawings if single else drawings / _drawing_name(number, path.stem)
            pixels = decode(tf.constant(contents), tf.constant(header.orientation)).numpy()
            with _writing(drawing):
                draw(Image.fromarray(pixels), _marks(answer, min_score)).save(drawing)
        yield json.dumps({"image": str(path), **asdict(answer), **({"drawing": str(drawing)} if drawing else {})})


def _marks(answer: Response, min_score: float) -> list[Mark]:
    """What was found with this score at least; the best, which an answer begins with, last: it lies on top."""
    found = zip(answer.normalized_boxes, answer.classes, answer.scores, strict=True)
    return [
        Mark((xmin, ymin, xmax, ymax), f"{answer.labels[index]} {score:.2f}", colour_of(index))
        for (xmin, ymin, xmax, ymax), index, score in reversed(list(found))
        if score >= min_score
    ]


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
