"""What an image is answered with, and the handler that makes SageMaker's TensorFlow Serving container answer so.

A copy of this file lies in every model directory as `code/inference.py`, where that container imports it: it needs the
standard library alone, of any Python from 3.8 on, and neither the network nor anything else of this package. `serve`
answers with the same functions.

The container calls `input_handler` with a request, posts what it returns to TensorFlow Serving, and calls
`output_handler` with the answer; whatever these raise it answers with status 500 and {"error": the exception's text}.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from typing import Any, Mapping, NamedTuple, Sequence  # noqa: UP035 (Python 3.8)

log = logging.getLogger(__name__)

CONTENT_TYPES = ("application/x-image", "image/jpeg", "image/png")
SIGNATURE = "encoded_images"
"""Of the SavedModel: file contents in, detections out."""
LABELS_FILE = "labels.json"
MAX_PIXELS = 2**26
"""Of an image, as everywhere in this package (images/headers.py)."""
_MAX_SEGMENTS = 4096
_SHOWN = 300
_JSON = "application/json"
_DECIMALS = 6
_MAX_DIGITS = 9
"""Of n_predictions. Python refuses to read numbers of thousands of digits."""


class RequestError(Exception):
    """A request that cannot be answered, as a sentence. status: the HTTP status that says so."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Accept(NamedTuple):
    """What the Accept header asks for."""

    verbose: bool = False
    """Also the labels, and the model's outputs as they are."""
    n_predictions: int | None = None
    """At most so many detections, the best ones; None for all."""


_EVERYTHING = Accept()


def parse_accept(header: str | None) -> Accept:
    """The Accept header: `application/json`, with `;verbose` and `;n_predictions=k` in any order and any case.

    Raises:
        RequestError: it takes no JSON (406), or n_predictions is not a whole number from 1 on (400).
    """
    offers = [offer for offer in (header or _JSON).split(",") if offer.strip()]
    for offer in offers or [_JSON]:
        media_type, *parameters = (part.strip() for part in offer.lower().split(";"))
        if media_type in (_JSON, "application/*", "*/*"):
            return _accepted(parameters)
    raise RequestError(
        406,
        f"Accept: got {header!r}; expected {_JSON} with ;verbose, ;n_predictions=k, both or none: the answer is JSON",
    )


def _accepted(parameters: Sequence[str]) -> Accept:
    accept = Accept()
    for parameter in parameters:
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name == "verbose" and value in ("", "true", "1"):
            accept = accept._replace(verbose=True)
        elif name == "n_predictions":
            if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS and int(value) > 0):
                raise RequestError(400, f"Accept: n_predictions: got {value!r}; expected a whole number from 1 on")
            accept = accept._replace(n_predictions=int(value))
    return accept


def check_content_type(header: str | None) -> None:
    """Raises RequestError (415) unless the Content-Type header says that the body is one image."""
    media_type = (header or "").split(";")[0].strip().lower()
    if media_type not in (*CONTENT_TYPES, "image/jpg"):
        raise RequestError(
            415,
            "Content-Type: got {!r}; expected {}, and as the body one JPEG or PNG file".format(
                header or "", " or ".join(CONTENT_TYPES)
            ),
        )


def respond(outputs: Mapping[str, Any], labels: Sequence[str], accept: Accept = _EVERYTHING) -> dict[str, Any]:
    """The answer for one image, as the built-in algorithm words it.

    Args:
        outputs: of the SavedModel for this image, by name, as numbers and nested lists; boxes ymin xmin ymax xmax,
            classes from 1 on.
        labels: the classes' names, in the model's order.

    Returns:
        normalized_boxes: [xmin, ymin, xmax, ymax] from the top left corner, in [0, 1], best first. The developer guide
            prints another order, (xmin, xmax, ymin, ymax); what the built-in really sends is this one
            (aws/amazon-sagemaker-examples#3852).
        classes: 0-based indices into `labels`. scores: falling.
        labels, tensorflow_model_output: only where `accept` is verbose; the outputs of all detections, however many
            are asked for.
    """
    count = int(outputs["num_detections"])
    if accept.n_predictions is not None:
        count = min(count, accept.n_predictions)
    boxes = outputs["detection_boxes"][:count]
    answer = {
        "normalized_boxes": _rounded([[xmin, ymin, xmax, ymax] for ymin, xmin, ymax, xmax in boxes]),
        "classes": [int(index) - 1 for index in outputs["detection_classes"][:count]],
        "scores": _rounded(outputs["detection_scores"][:count]),
    }
    if accept.verbose:
        answer["labels"] = list(labels)
        answer["tensorflow_model_output"] = {name: _rounded(outputs[name]) for name in sorted(outputs)}
    return answer


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(float(value), _DECIMALS)


def _check_image(contents: bytes) -> None:
    """Raises RequestError where the file is no JPEG or PNG (400), or claims more pixels than the memory has room for
    (413). `serve` says more of what it is."""
    if not contents:
        raise RequestError(400, "the body is empty; expected one JPEG or PNG file")
    if contents.startswith(b"\x89PNG\r\n\x1a\n"):
        height, width = int.from_bytes(contents[20:24], "big"), int.from_bytes(contents[16:20], "big")
    elif contents.startswith(b"\xff\xd8\xff"):
        height, width = _jpeg_size(contents)
    else:
        raise RequestError(400, "the body is no JPEG or PNG file: convert the image")
    if height * width > MAX_PIXELS:
        raise RequestError(
            413, f"the body has too many pixels ({width} x {height}); at most {MAX_PIXELS} are accepted. Shrink it."
        )


def _jpeg_size(contents: bytes) -> tuple[int, int]:
    """Height and width from the frame header (ITU-T T.81, B.2.2); 0, 0 where there is none that can be found."""
    place = 2
    for _ in range(_MAX_SEGMENTS):
        start = contents[place : place + 9]
        if len(start) < 9 or start[0] != 0xFF:
            break
        marker = start[1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(start[5:7], "big"), int.from_bytes(start[7:9], "big")
        if marker == 0xFF:  # any number of these may stand before a marker
            place += 1
        else:
            place += 2 + int.from_bytes(start[2:4], "big")
    return 0, 0


def input_handler(data: Any, context: Any) -> str:
    """The request to TensorFlow Serving's REST interface, for the image in the stream `data`."""
    check_content_type(context.request_content_type)
    parse_accept(context.accept_header)
    image = data.read()
    _check_image(image)
    instance = {"b64": base64.b64encode(image).decode("ascii")}
    return json.dumps({"signature_name": SIGNATURE, "instances": [instance]})


def output_handler(response: Any, context: Any) -> tuple[bytes, str]:
    """The answer's body and media type, from what TensorFlow Serving said."""
    if response.status_code != 200:
        said = response.content.decode("utf-8", "replace")
        log.warning("TensorFlow Serving answers with status %d: %s", response.status_code, said)
        if response.status_code != 400:
            raise RequestError(500, f"TensorFlow Serving answers with status {response.status_code}: {said[:_SHOWN]}")
        raise RequestError(400, "the image cannot be decoded: it is cut short or damaged; send the whole file")
    outputs = json.loads(response.content.decode("utf-8"))["predictions"][0]
    model = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(model, LABELS_FILE), encoding="utf-8") as file:
        labels = json.load(file)["labels"]
    return json.dumps(respond(outputs, labels, parse_accept(context.accept_header))).encode("utf-8"), _JSON
