"""Runs an exported model on image files."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.artifact.inference import AUTO, Accept, respond
from sagemaker_object_detection.devices.prepare import prepare_to_answer
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.images.decoding import decode, examine
from sagemaker_object_detection.images.headers import (
    Header,
    UnusableImageError,
    check_effort,
    read_headers,
    undecodable,
    unreadable,
    without_room,
)
from sagemaker_object_detection.report.drawing import Mark, colour_of, draw
from sagemaker_object_detection.sentences import shortlist
from sagemaker_object_detection.serving.coco_results import array_lines, coco_results, image_ids
from sagemaker_object_detection.serving.image_files import ImageFile, find_images
from sagemaker_object_detection.serving.predictor import Predictor
from sagemaker_object_detection.serving.published import find_model
from sagemaker_object_detection.serving.queue import DamagedImageError, NoRoomError
from sagemaker_object_detection.serving.whole_files import whole_file, writing

log = logging.getLogger(__name__)

_PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_MAX_NAME = 255
"""Bytes of a file's name, on the usual file systems."""
_MAX_LISTED = 20


def predict_files(
    model: Path,
    images: Iterable[Path],
    drawings: Path | None,
    min_score: float,
    *,
    threshold: float | str | None = None,
    format: str = "jsonl",
    annotations: Path | None = None,
    failed: Callable[[str], None] = log.warning,
) -> Iterator[str]:
    """The lines that answer images, one after the other as they are answered.

    An image that cannot be answered ends nothing: its line says why, and COCO results leave it out.

    Images are turned as their EXIF orientation says, and so are boxes and drawings. They are answered one at a time, in
    the memory of the largest: on two cores, batches of two to sixteen photographs took no less time for each (SSD
    MobileNet V2 320), and most took more.

    Args:
        images: files, and folders of them.
        drawings: a folder for copies with the boxes drawn whose score is at least `min_score`, or with a single image
            the file to draw. A drawing's name begins with the position of its image, because images of different
            folders may have the same name.
        threshold: leaves out detections whose score is lower; AUTO for the model's own of each class; None for none.
        format: "jsonl" for a JSON object in each line, or "coco" for one JSON array of COCO results.
        annotations: for "coco", says the ids of the images: see `image_ids`.
        failed: is handed a sentence for each image that cannot be answered, as soon as that is known.

    Raises:
        UserError: the folder is no model, or none of the files is an image, or `drawings` cannot be written, or images
            have no ids. Nothing is answered then, unless only the disk can tell.
    """
    if annotations is not None and format != "coco":
        raise UserError(
            f"--annotations: got {str(annotations)!r} without --format coco; it says the ids of images, which no other "
            "format has: add --format coco or leave it out"
        )
    files = find_images(list(images))
    headers = _headers(files)
    ids = image_ids(files, annotations) if format == "coco" else []
    targets = _drawing_paths(drawings, files)
    find_model(model)  # before what takes longer
    predictor = Predictor(model, by_network=not prepare_to_answer())
    if drawings is not None:
        with writing("--draw", drawings):
            (drawings.parent if targets == [drawings] else drawings).mkdir(parents=True, exist_ok=True)
    if threshold == AUTO and predictor.thresholds is None:
        raise UserError(
            f"--threshold: got {AUTO}, but the model has no score thresholds: its job validated nothing, or was of an "
            "earlier version. Give a number from 0 to 1"
        )
    answers = _answers(
        predictor, files, headers, targets, min_score, Accept(threshold=threshold), failed, named=targets == [drawings]
    )
    if format == "coco":
        yield from array_lines(
            result
            for answer, image_id, header in zip(answers, ids, headers, strict=True)
            if isinstance(answer, dict) and isinstance(header, Header)
            for result in coco_results(answer, image_id, header.turned, predictor.labels.ids)
        )
        return
    for answer, file, target in zip(answers, files, targets, strict=True):
        image = {"image": str(file.path)}
        if isinstance(answer, UnusableImageError):
            yield json.dumps({**image, "error": _sentence(file, answer)})
        else:
            drawing = {"drawing": str(target)} if target is not None else {}
            yield json.dumps({**image, **answer, "labels": predictor.labels.names, **drawing})


def _sentence(file: ImageFile, error: UnusableImageError) -> str:
    return f"image {str(file.path)!r} {error}"


def _headers(files: Sequence[ImageFile]) -> list[Header | UnusableImageError]:
    """Raises UserError where none of the files is an image."""
    headers = read_headers([file.path for file in files])
    problems = [
        _sentence(file, header)
        for file, header in zip(files, headers, strict=True)
        if isinstance(header, UnusableImageError)
    ]
    if len(problems) == len(files):
        raise UserError(problems, listed=_MAX_LISTED)
    return headers


def _answers(
    predictor: Predictor,
    files: Sequence[ImageFile],
    headers: Sequence[Header | UnusableImageError],
    drawings: Sequence[Path | None],
    min_score: float,
    accept: Accept,
    failed: Callable[[str], None],
    *,
    named: bool,
) -> Iterator[dict[str, Any] | UnusableImageError]:
    """Of each image what `artifact.inference.respond` says, once it is drawn, or why there is no answer. named: whether
    somebody named the drawing itself, and not a folder for it."""
    highest, drawn = 0.0, drawings[0] is None
    unlike: list[str] = []
    for file, header, drawing in zip(files, headers, drawings, strict=True):
        try:
            if isinstance(header, UnusableImageError):
                raise header
            contents, outputs = _answer(predictor, file, header)
        except UnusableImageError as error:
            failed(_sentence(file, error))
            yield error
            continue
        if header.deep and not examine(contents, header).fits(predictor.sample_bits):
            unlike.append(str(file.path))
        answer = respond(outputs, predictor.labels.names, accept, predictor.thresholds)
        if drawing is not None:
            encoded, orientation = tf.constant(contents), tf.constant(header.orientation)
            pixels = decode(encoded, orientation, sample_bits=predictor.sample_bits).numpy()
            marks = _marks(answer, predictor.labels.names, min_score)
            highest, drawn = max([highest, *answer["scores"]]), drawn or bool(marks)
            picture = draw(Image.fromarray(pixels), marks)
            with whole_file("--draw", drawing, named=named) as unfinished, writing("--draw", drawing):
                picture.save(unfinished, format=_PICTURES[drawing.suffix.lower()])
        yield answer
    if unlike:
        log.warning(
            "%d images of 16 bits a sample (%s) use other bits than the %d of the model's training images: they are "
            "seen dark, or white where they are bright. Scale them as those were.",
            len(unlike),
            shortlist(unlike),
            predictor.sample_bits,
        )
    if not drawn:
        log.warning(
            "--draw: no box is drawn, because no score reaches --min-score %g; the highest is %.3g", min_score, highest
        )


def _answer(predictor: Predictor, file: ImageFile, header: Header) -> tuple[bytes, dict[str, Any]]:
    """The file's contents and the model's outputs. Raises UnusableImageError where there are none."""
    try:
        contents = read_regular(file.path, header.file_size)
        check_effort(contents)
        (outputs,) = predictor([contents])
    except OSError as error:
        raise unreadable(error) from error
    except DamagedImageError as error:
        raise undecodable() from error
    except NoRoomError as error:
        raise without_room(header.width, header.height, header.answering_bytes) from error
    return contents, outputs


def _marks(answer: Mapping[str, Any], labels: Sequence[str], min_score: float) -> list[Mark]:
    """What was found with this score at least; the best, which an answer begins with, last: it lies on top."""
    found = zip(answer["normalized_boxes"], answer["classes"], answer["scores"], strict=True)
    return [
        Mark((xmin, ymin, xmax, ymax), f"{labels[index]} {score:.2f}", colour_of(index))
        for (xmin, ymin, xmax, ymax), index, score in reversed(list(found))
        if score >= min_score
    ]


def _drawing_paths(drawings: Path | None, files: Sequence[ImageFile]) -> Sequence[Path | None]:
    """Where each image is drawn, None for nowhere. A UserError where a drawing would replace an image that is read."""
    if drawings is None:
        return [None] * len(files)
    if len(files) == 1 and drawings.suffix.lower() in _PICTURES:
        paths = [drawings]
    else:
        paths = [drawings / _drawing_name(number, file.path.stem) for number, file in enumerate(files)]
    read = {os.path.realpath(file.path) for file in files}
    if replaced := next((path for path in paths if os.path.realpath(path) in read), None):
        raise UserError(
            f"--draw: {str(replaced)!r} would replace an image that is read; expected another place for the drawings"
        )
    return paths


def _drawing_name(number: int, stem: str) -> str:
    """Number and stem, of which as much as a file's name has room for."""
    while len(os.fsencode(f"{number}-{stem}.png")) > _MAX_NAME:
        stem = stem[:-1]
    return f"{number}-{stem}.png"
