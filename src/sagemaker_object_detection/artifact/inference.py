"""What an image is answered with, and the handler that makes SageMaker's TensorFlow Serving container answer so.

A copy of this file, with the text of images/walk.py in it (handler.py), lies in every model directory as
`code/inference.py`, where that container imports it: it needs the standard library alone, of any Python from 3.8 on,
and neither the network nor anything else of this package. `serve` answers with the same functions.

The container calls `input_handler` with a request, posts what it returns to TensorFlow Serving, and calls
`output_handler` with the answer; whatever these raise it answers with status 500 and {"error": the exception's text}.

A request is one image file, or JSON in a form that TensorFlow Serving's clients send
(tensorflow.org/tfx/serving/api_rest): `instances` are answered with `predictions`, and `inputs` with `outputs`.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
from typing import Any, List, Mapping, NamedTuple, Sequence  # noqa: UP035 (Python 3.8)

from sagemaker_object_detection.images.walk import ImageError, measure

log = logging.getLogger(__name__)

CONTENT_TYPES = ("application/x-image", "image/jpeg", "image/png")
"""What a request is best sent as. Other types that say little or nothing of the body are accepted too."""
MAX_IMAGES = 32
"""Of one JSON request: SageMaker gives the whole request 60 seconds."""
SIGNATURE = "encoded_images"
"""Of the SavedModel: file contents in, detections out."""
LABELS_FILE = "labels.json"
INFO_FILE = "model_info.json"
AUTO = "auto"
"""In place of a score threshold: those of the model, one for each class."""
_CONFIDENT = 0.5
"""The threshold of a class for which the model has none."""
_SHOWN = 300
_STRIPPED = 2000
"""Bytes of an image file, among which there are all kinds unless somebody has taken some out."""
_JSON = "application/json"
_DECIMALS = 6
_MAX_DIGITS = 9
"""Of n_predictions. Python refuses to read numbers of thousands of digits."""
_BASE64 = bytes.maketrans(b"-_", b"+/")
_MAX_COMMAS = 1000
"""Of a JSON body. Images of `MAX_IMAGES` have a few, pixels millions, which would take seconds to read."""

IMAGE, INSTANCES, INPUTS = "image", "instances", "inputs"
"""The forms of a request: one image file, and JSON with the key of that name."""
_UNTYPED = ("", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded")
"""No Content-Type, those that clients and S3 have by default, and curl's. The body is looked at."""
_JSON_FORM = '{"instances": [{"b64": "..."}]}'
_FILE = f"send the bytes of one JPEG or PNG file with Content-Type {CONTENT_TYPES[0]}"
_EITHER = f"{_FILE}, or its base64 text as {_JSON_FORM} with Content-Type {_JSON}"
_BINARY = "send the bytes of the file (curl --data-binary @photo.jpg)"
_KNOWN_TYPES = {
    "application/jsonlines": f"send one image for each request, or all of them in one JSON object {_JSON_FORM}",
    "application/x-npy": "arrays are not read: " + _EITHER,
    "application/x-npz": "arrays are not read: " + _EITHER,
    "application/x-protobuf": "protocol buffers are not read: " + _EITHER,
    "application/x-recordio-protobuf": "RecordIO is not read: " + _EITHER,
    "application/x-recordio": "RecordIO is not read: " + _EITHER,
    "application/x-tfexample": "TFRecord files and their examples are not read: " + _EITHER,
    "multipart/form-data": f"forms are not read: {_FILE} as the whole body (curl --data-binary @photo.jpg)",
    "text/csv": "rows of numbers are not read: " + _EITHER,
}
"""Media types that other containers take, and what to do instead."""
_KNOWN_TYPES["application/jsonl"] = _KNOWN_TYPES["application/x-ndjson"] = _KNOWN_TYPES["application/jsonlines"]
for _name in ("application/protobuf", "application/vnd.google.protobuf"):
    _KNOWN_TYPES[_name] = _KNOWN_TYPES["application/x-protobuf"]
_NUMBERS = rb"\s*[-+]?[\d.][\d.eE+-]*"
_KNOWN_BODIES = (
    (rb"\s*(?i:data):[\w.+/;=-]*,", "a data URI", _EITHER),
    (rb"\s*[\"']?(/9j/|iVBORw0KGgo)", "base64 text", _EITHER),
    (rb"b['\"]", "the text of Python's bytes", _EITHER + ": use .decode(), not str()"),
    (rb"\s*[\"']?s3://", "an address in S3", "nothing is fetched: " + _FILE),
    (rb"\s*[\"']?https?://", "a web address", "nothing is fetched: " + _FILE),
    (rb"\s*[\[{]", "JSON", f"send it as {_JSON_FORM} with Content-Type {_JSON}"),
    (rb"\x1f\x8b", "gzip", f"compressed bodies are not read: {_EITHER}, without Content-Encoding"),
    (rb"PK\x03\x04", "a zip archive", "archives are not read: " + _FILE),
    (rb"\x89PNG\x1a", "a PNG file without its line breaks, which curl -d leaves out", _BINARY),
    (rb"[^\r\n/\\]{1,200}\.(?i:jpe?g|png)\s*$", "the name of a file", _BINARY),
    (rb"\x93NUMPY", "a NumPy array", _KNOWN_TYPES["application/x-npy"]),
    (rb"\x0a\x23\xd7\xce", "a RecordIO file", _KNOWN_TYPES["application/x-recordio"]),
    (rb"--[^\r\n]{1,200}\r?\n(?i:content-disposition):", "a multipart form", _KNOWN_TYPES["multipart/form-data"]),
    (_NUMBERS + rb"([,;\t ]" + _NUMBERS + rb")+", "a row of numbers", _KNOWN_TYPES["text/csv"]),
    (rb"[\w.%-]{1,200}=", "a form", _KNOWN_TYPES["multipart/form-data"]),
)
"""How bodies begin that are no image file, what they are, and what to do instead."""


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
    threshold: float | str | None = None
    """Only detections with this score at least, or with that of their class (AUTO); None for all."""


_EVERYTHING = Accept()


def parse_accept(header: str | None) -> Accept:
    """The Accept header: `application/json`, with `;verbose`, `;n_predictions=k` and `;threshold=t` in any order and
    any case.

    Raises:
        RequestError: it takes no JSON (406), or n_predictions is not a whole number from 1 on, or threshold is neither
            a number from 0 to 1 nor auto (400).
    """
    offers = [offer for offer in (header or _JSON).split(",") if offer.strip()]
    for place, offer in enumerate(offers or [_JSON]):
        media_type, *parameters = (part.strip() for part in offer.lower().split(";"))
        if media_type in (_JSON, "application/*", "*/*"):
            rest = offers[place + 1 : place + 2]
            if rest and "=" in offer and "/" not in rest[0]:
                got = f"{offer},{rest[0]}"[:_SHOWN]
                raise RequestError(400, f"Accept: got {got!r}; expected no comma, which begins another type: write 0.5")
            return _accepted(parameters)
    raise RequestError(
        406,
        f"Accept: got {(header or '')[:_SHOWN]!r}; expected {_JSON}, with any of ;verbose, ;n_predictions=k and "
        ";threshold=t or none: the answer is JSON",
    )


def _accepted(parameters: Sequence[str]) -> Accept:
    accept = Accept()
    for parameter in parameters:
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name == "verbose" and value in ("", "true", "1"):
            accept = accept._replace(verbose=True)
        elif name == "n_predictions":
            if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS and int(value) > 0):
                raise RequestError(
                    400, f"Accept: n_predictions: got {value[:_SHOWN]!r}; expected a whole number from 1 on"
                )
            accept = accept._replace(n_predictions=int(value))
        elif name == "threshold":
            accept = accept._replace(threshold=_threshold(value))
    return accept


def _threshold(value: str) -> float | str:
    if value == AUTO:
        return AUTO
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        expected = f"a number from 0 to 1, or {AUTO} for the model's own"
        raise RequestError(400, f"Accept: threshold: got {value[:_SHOWN]!r}; expected {expected}")
    return number


def class_thresholds(info: Mapping[str, Any], labels: Sequence[str]) -> list[float] | None:
    """The score threshold of each class, of the content of model_info.json; None where the model has none.

    A class has the one with the best F1 at IoU 0.5 on the validation images of the job, or else 0.5.
    """
    found = info.get("score_thresholds")
    return None if found is None else [float(found.get(name, _CONFIDENT)) for name in labels]


def _cuts(accept: Accept, thresholds: Sequence[float] | None, classes: int) -> Sequence[float]:
    """The least score of each class that is asked for."""
    check_threshold(accept, thresholds)
    if accept.threshold == AUTO:
        return thresholds or ()
    return [float(accept.threshold or 0.0)] * classes


def check_threshold(accept: Accept, thresholds: Sequence[float] | None) -> None:
    """Raises RequestError (400) where the model's own thresholds are asked for and it has none."""
    if accept.threshold == AUTO and thresholds is None:
        raise RequestError(
            400,
            "Accept: threshold: got 'auto', but the model has no score thresholds: its job validated nothing, or was "
            "of an earlier version. Give a number from 0 to 1",
        )


class Request(NamedTuple):
    """The images that a request asks for, one at least."""

    images: List[bytes]  # noqa: UP006
    """As the request has them: `check_image` looks at them, or `serve` does."""
    form: str
    """IMAGE, INSTANCES or INPUTS."""

    def place(self, index: int) -> str:
        """What an error calls an image of the request."""
        return "the body" if self.form == IMAGE else f"{self.form}[{index}]"


def check_content_type(header: str | None, contents: bytes = b"") -> str:
    """The media type, without parameters. Raises RequestError (415) where a body of that type is no image and no JSON.

    Args:
        contents: of the body, of which the sentence may know what it is.
    """
    media_type = _media_type(header)
    if media_type in (CONTENT_TYPES[0], _JSON) or media_type.startswith("image/"):
        return media_type
    if media_type in _UNTYPED and (is_image(contents) or media_type.endswith("/octet-stream")):
        return media_type
    expected = f"expected {' or '.join(CONTENT_TYPES)}, and as the body one JPEG or PNG file, or {_JSON}"
    if media_type in _KNOWN_TYPES:
        expected = _KNOWN_TYPES[media_type]
    elif known := _known_body(contents):
        expected += f"; the body is {known[0]}: {known[1]}"
    raise RequestError(415, f"Content-Type: got {(header or '')[:_SHOWN]!r}; {expected}")


def _media_type(header: str | None) -> str:
    return (header or "").split(";")[0].strip().lower()


def read_request(contents: bytes, content_type: str | None) -> Request:
    """The images of a body. They are not looked at.

    Raises:
        RequestError: a body of that Content-Type is not read (415), or it holds no images, or more than MAX_IMAGES, in
            none of the forms that are (400).
    """
    media_type = check_content_type(content_type, contents)
    if not contents:
        raise RequestError(400, "the body is empty; expected one JPEG or PNG file")
    if media_type == _JSON:
        return _read_json(contents)
    if not is_image(contents) and (known := _known_body(contents)):
        raise RequestError(400, f"the body is {known[0]}, not an image file: {known[1]}")
    if len(contents) > _STRIPPED and not any(byte in contents for byte in (b"\n", b"\r", b"\0")):
        raise RequestError(
            400, f"the body is an image file without its line breaks, which curl -d leaves out: {_BINARY}"
        )
    return Request([contents], IMAGE)


def is_image(contents: bytes) -> bool:
    """Whether a file begins as a JPEG or a PNG does."""
    return contents.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


def _known_body(contents: bytes) -> tuple[str, str] | None:
    """What a body is that is no image file, and what to do instead; None where it is not known."""
    begin = contents[:1024]
    return next(((what, advice) for pattern, what, advice in _KNOWN_BODIES if re.match(pattern, begin)), None)


def _read_json(contents: bytes) -> Request:
    if is_image(contents):
        raise RequestError(400, f"Content-Type: got {_JSON!r}, but the body is an image file: {_FILE}")
    if contents.count(b",") > _MAX_COMMAS:
        raise RequestError(
            400,
            f"the body is JSON with more than {_MAX_COMMAS} values: pixels as numbers are not read: {_EITHER}",
        )
    content = parse_json(contents)
    if not isinstance(content, dict):
        raise RequestError(400, f"the body is JSON, but {_kind(content)}; expected an object: send it as {_JSON_FORM}")
    forms = [form for form in (INSTANCES, INPUTS) if form in content]
    if len(forms) != 1:
        has = "both instances and inputs" if forms else _keys(content)
        raise RequestError(400, f"the body's JSON has {has}; expected one key with the images: send it as {_JSON_FORM}")
    (form,) = forms
    others = {key: value for key, value in content.items() if key != form}
    signature = others.pop("signature_name", SIGNATURE)
    if signature not in (SIGNATURE, "serving_default", ""):
        raise RequestError(
            400, f"signature_name: got {_shown(signature)}; expected {SIGNATURE}, serving_default, or leave it out"
        )
    if others:
        raise RequestError(
            400, f"the body's JSON has {_keys(others)} beside {form}; expected signature_name or nothing: leave it out"
        )
    values, named = content[form], ""
    if form == INPUTS and isinstance(values, dict) and "b64" not in values and len(values) == 1:
        (named,) = values  # {"inputs": {"image_bytes": [...]}}
        values = values[named]
    if form == INPUTS and isinstance(values, dict):
        values = [values]
    if not isinstance(values, list) or not values:
        what = "an empty list" if values == [] else _kind(values)
        raise RequestError(400, f"{form}: got {what}; expected a list of images: send the body as {_JSON_FORM}")
    if len(values) > MAX_IMAGES:
        raise RequestError(
            400, f"{form}: got {len(values)} images; at most {MAX_IMAGES} are answered at a time: send fewer"
        )
    return Request([_image_of(value, f"{form}[{index}]") for index, value in enumerate(values)], form)


def parse_json(contents: bytes, form: str = _JSON_FORM) -> Any:
    """The value of a body. Raises RequestError (400) where it is no JSON, or gives a key twice.

    Args:
        form: what was expected.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise RequestError(400, f"the body's JSON gives a key twice in one object ({_keys(dict(pairs))})")
        return dict(pairs)

    try:
        return json.loads(contents, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise RequestError(
                400, f"the body is several JSON values: {_KNOWN_TYPES['application/jsonlines']}"
            ) from None
        raise RequestError(
            400, f"the body is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); send {form}"
        ) from None
    except (ValueError, RecursionError):  # no UTF-8, numbers of thousands of digits, brackets without end
        raise RequestError(400, f"the body is JSON that cannot be read; send {form}") from None


def _image_of(value: Any, place: str) -> bytes:
    """The file that an entry of a JSON request stands for: {"b64": text}, or that under any one name."""
    expected = 'expected {"b64": the base64 text of one JPEG or PNG file}'
    if isinstance(value, dict) and "b64" not in value and len(value) == 1:
        (value,) = value.values()
    if isinstance(value, list):
        raise RequestError(400, f"{place}: got a list: pixels as numbers are not read; {expected}")
    if isinstance(value, dict) and len(value) > 1:
        raise RequestError(400, f"{place}: got an object with {_keys(value)}; {expected} and nothing beside it")
    text = value.get("b64") if isinstance(value, dict) else value
    if not isinstance(text, str):
        got = _kind(text) if isinstance(value, dict) and "b64" in value else _kind(value)
        raise RequestError(400, f"{place}: got {got}; {expected}")
    if not isinstance(value, dict):
        known = _known_body(text[:1024].encode("utf-8", "replace"))
        raise RequestError(400, f"{place}: got {known[0] if known else 'text'}; {expected}")
    if text[:5].lower() == "data:" and ";base64," in text[:_SHOWN].lower():
        text = text[text.index(",") + 1 :]
    # As TensorFlow Serving does: without line breaks, and with or without the padding.
    try:
        packed = text.encode("ascii").translate(_BASE64, b" \t\n\r\f\v").rstrip(b"=")
        contents = base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (ValueError, binascii.Error):
        known = _known_body(text[:1024].encode("utf-8", "replace"))
        what = f"it is {known[0]}" if known and "base64" not in known[0] else "it has other characters or was cut short"
        raise RequestError(400, f"{place}: its b64 is no base64 text ({what}); {expected}") from None
    if not contents:
        raise RequestError(400, f"{place}: its b64 is empty; {expected}")
    return contents


def _kind(value: Any) -> str:
    kinds = ((dict, "an object"), (list, "a list"), (str, "text"), (bool, "a truth value"), (type(None), "null"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "a number")


def _shown(value: Any) -> str:
    return repr(value)[:80]


def _keys(content: Mapping[str, Any]) -> str:
    names = [_shown(name) for name in list(content)[:5]]
    return f"the keys {', '.join(names)}{' and others' if len(content) > 5 else ''}" if names else "no keys"


def answer(
    outputs: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    accept: Accept = _EVERYTHING,
    form: str = IMAGE,
    thresholds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """The answer to a request, of what `respond` says of each of its images.

    Args:
        outputs: for each image, as `respond` takes them.
        form: of the request.
        thresholds: of each class, as `class_thresholds` gives them.
    """
    answers = [respond(image, labels, accept, thresholds) for image in outputs]
    if form == INSTANCES:
        return {"predictions": answers}
    if form == INPUTS:
        return {"outputs": {name: [each[name] for each in answers] for name in answers[0]}}
    return answers[0]


def respond(
    outputs: Mapping[str, Any],
    labels: Sequence[str],
    accept: Accept = _EVERYTHING,
    thresholds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """The answer for one image, as the built-in algorithm words it.

    Args:
        outputs: of the SavedModel for this image, by name, as numbers and nested lists; boxes ymin xmin ymax xmax,
            classes from 1 on.
        labels: the classes' names, in the model's order.
        thresholds: theirs, where `accept` asks for the model's own.

    Returns:
        normalized_boxes: [xmin, ymin, xmax, ymax] from the top left corner, in [0, 1], best first. The developer guide
            prints another order, (xmin, xmax, ymin, ymax); what the built-in really sends is this one
            (aws/amazon-sagemaker-examples#3852).
        classes: 0-based indices into `labels`. scores: falling.
        labels, tensorflow_model_output: only where `accept` is verbose; the outputs of all detections, however many
            are asked for.
    """
    count = int(outputs["num_detections"])
    classes = [int(index) - 1 for index in outputs["detection_classes"][:count]]
    boxes, scores = outputs["detection_boxes"], outputs["detection_scores"]
    kept = list(range(count))
    if accept.threshold is not None:
        cuts = _cuts(accept, thresholds, len(labels))
        kept = [place for place in kept if scores[place] >= cuts[classes[place]]]
    kept = kept[: accept.n_predictions]
    answer = {
        "normalized_boxes": _rounded([[boxes[place][side] for side in (1, 0, 3, 2)] for place in kept]),
        "classes": [classes[place] for place in kept],
        "scores": _rounded([scores[place] for place in kept]),
    }
    if accept.verbose:
        answer["labels"] = list(labels)
        answer["tensorflow_model_output"] = {name: _rounded(outputs[name]) for name in sorted(outputs)}
    return answer


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(float(value), _DECIMALS)


def _check_image(contents: bytes, place: str) -> None:
    """Raises RequestError where the file is no JPEG or PNG (400), has no size that can be found (400), more pixels than
    the memory has room for (413), or parts that would hold a decoder for long (400). `serve` says more of what it
    is."""
    if not is_image(contents):
        raise RequestError(400, f"{place} is no JPEG or PNG file: send one, or convert the image")
    try:
        measure(contents)
    except ImageError as error:
        raise RequestError(413 if error.too_large else 400, f"{place} {error}") from None
    except ValueError:
        raise RequestError(400, f"{place} cannot be decoded: it is cut short or damaged; send the whole file") from None


def input_handler(data: Any, context: Any) -> str:
    """The request to TensorFlow Serving's REST interface, for the body in the stream `data`."""
    parse_accept(context.accept_header)
    request = read_request(data.read(), context.request_content_type)
    for index, image in enumerate(request.images):
        _check_image(image, request.place(index))
    images = [{"b64": base64.b64encode(image).decode("ascii")} for image in request.images]
    return json.dumps({"signature_name": SIGNATURE, INPUTS if request.form == INPUTS else INSTANCES: images})


def output_handler(response: Any, context: Any) -> tuple[bytes, str]:
    """The answer's body and media type, from what TensorFlow Serving said."""
    if response.status_code != 200:
        said = response.content.decode("utf-8", "replace")
        log.warning("TensorFlow Serving answers with status %d: %s", response.status_code, said)
        if response.status_code != 400:
            raise RequestError(500, f"TensorFlow Serving answers with status {response.status_code}: {said[:_SHOWN]}")
        raise RequestError(400, "the image cannot be decoded: it is cut short or damaged; send the whole file")
    content = json.loads(response.content.decode("utf-8"))
    if "outputs" in content:  # as it answers `inputs`: every output's values for all images
        columns = content["outputs"]
        form, count = INPUTS, len(columns["num_detections"])
        rows = [{name: column[row] for name, column in columns.items()} for row in range(count)]
    else:
        form = INSTANCES if _media_type(context.request_content_type) == _JSON else IMAGE
        rows = content["predictions"]
    model = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    labels = _read_object(model, LABELS_FILE)["labels"]
    accept = parse_accept(context.accept_header)
    thresholds = class_thresholds(_read_object(model, INFO_FILE), labels) if accept.threshold == AUTO else None
    return json.dumps(answer(rows, labels, accept, form, thresholds)).encode("utf-8"), _JSON


def _read_object(model: str, name: str) -> Any:
    with open(os.path.join(model, name), encoding="utf-8") as file:
        return json.load(file)
