"""Requests for detections with something wrong, and the two that answer them: `serve` and the handler of TensorFlow
Serving's container. Images are decoded; only the network is not there."""

import asyncio
import base64
import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from damaged_files import Random, bytes_change, garbage, image, some
from damaged_json import TEXTS, json_file
from fuzzed_job import ACCEPTED, REFUSED_REQUEST, Job, dumped
from long_images import long_image

_BODY, _HEADERS = "input/body", "input/headers.json"
MAX_ANSWER = 4096
"""Bytes of a refusal."""
_OUTPUTS = {
    "detection_boxes": [[0.0, 0.0, 1.0, 1.0]],
    "detection_scores": [0.5],
    "detection_classes": [1.0],
    "num_detections": 1.0,
    "detection_multiclass_scores": [[0.5, 0.5]],
}
_TYPES = (
    *("application/x-image", "image/jpeg", "image/png", "application/json", "", "application/octet-stream"),
    *("text/csv", "multipart/form-data; boundary=a", "application/x-npy", "a/b", "IMAGE/PNG;q=1"),
)
_ACCEPTS = (
    *("application/json", "application/json;verbose", "application/json;n_predictions=3", "*/*", "", "image/png"),
    *("application/json;n_predictions=-1", "application/json;n_predictions=" + "9" * 5000, "," * 5000, ";" * 5000),
)


def requests(rng: Random, done: list[str]) -> Job:
    headers = {"content-type": rng.choice(_TYPES[:2]), "accept": _ACCEPTS[0]}
    contents = long_image(rng, done)[0] if rng.random() < 0.3 else image(rng, done)
    if rng.random() < 0.3:
        changed = bytearray(contents)
        some(rng, [bytes_change], changed, done)
        contents = bytes(changed)
    body: bytes = contents
    dice = rng.random()
    if dice < 0.4:
        headers["content-type"] = "application/json"
        text = base64.b64encode(contents).decode()
        value = rng.choice(({"b64": text}, text, {"image_bytes": {"b64": text}}))
        form = rng.choice(("instances", "instances", "inputs"))
        job: Job = {_BODY: dumped({form: [value] * rng.choice((1, 1, 2, 33)), "signature_name": "serving_default"})}
        if rng.random() < 0.7:
            json_file(rng, job, _BODY, done)
        changed_body = job[_BODY]
        assert isinstance(changed_body, bytes)
        body = changed_body
    elif dice < 0.5:
        body = garbage(rng, done)
    if rng.random() < 0.3:
        name = rng.choice(("content-type", "accept", "content-length", "content-encoding", "x-amzn-sagemaker-a"))
        headers[name] = rng.choice({"content-type": _TYPES, "accept": _ACCEPTS}.get(name, TEXTS))
        if rng.random() < 0.3:
            headers[name] = rng.choice(TEXTS)
        done.append(f"{name}: {headers[name]!r}"[:60])
    return {_BODY: body, _HEADERS: dumped(headers)}


@functools.cache
def _decoder() -> Any:
    """Decodes as an exported model does, which is a graph."""
    import tensorflow as tf

    from sagemaker_object_detection.images.decoding import decode
    from sagemaker_object_detection.images.exif import exif_orientation

    return tf.function(
        lambda contents: decode(contents, exif_orientation(contents)), input_signature=[tf.TensorSpec([], tf.string)]
    )


def _detect(images: Sequence[bytes]) -> list[dict[str, Any]]:
    import tensorflow as tf

    from sagemaker_object_detection.serving.queue import DamagedImageError

    for contents in images:
        try:
            _decoder()(tf.constant(contents))
        except tf.errors.InvalidArgumentError as error:
            raise DamagedImageError(str(error)) from error
    return [_OUTPUTS] * len(images)


@functools.cache
def _service() -> Any:
    from sagemaker_object_detection.dataset.annotations import Labels
    from sagemaker_object_detection.serving.app import Service
    from sagemaker_object_detection.serving.model import Model

    return Service(max_payload=6 * 2**20, transforms=1, model=Model(_detect, Labels((1,), ("cat",))))


def _read(root: Path) -> tuple[bytes, dict[str, str]]:
    return (root / _BODY).read_bytes(), json.loads((root / _HEADERS).read_bytes())


def _answer(root: Path) -> tuple[int, bytes]:
    """Status and body of the answer."""
    body, headers = _read(root)
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/invocations", "raw_path": b"/invocations"}
    service = _service()
    asyncio.run(service.app()(scope | {"query_string": b"", "headers": pairs}, receive, send))
    assert (service.bodies.held, service.under_way) == (0, 0), "the request is answered, and its room still taken"
    return sent[0]["status"], sent[1]["body"]


def serve(root: Path) -> int:
    status, body = _answer(root)
    content = json.loads(body)
    if status == 200:
        return ACCEPTED
    assert status in range(400, 500), f"status {status}: {content}"
    assert list(content) == ["error"], content
    assert len(body) <= MAX_ANSWER, f"an answer of {len(body)} bytes"
    return REFUSED_REQUEST


def handle(root: Path) -> int:
    """What the handler takes must be within the limits of `serve`: behind it nothing else looks."""
    from sagemaker_object_detection.artifact.inference import RequestError, input_handler

    body, headers = _read(root)
    context = SimpleNamespace(request_content_type=headers["content-type"], accept_header=headers["accept"])
    sentence = ""
    try:
        input_handler(io.BytesIO(body), context)
    except RequestError as error:
        sentence = str(error)
    assert len(sentence) <= MAX_ANSWER, f"a sentence of {len(sentence)} characters"
    if sentence:
        return REFUSED_REQUEST
    # How long a body may be is the container's affair.
    fits = len(body) <= _service().max_payload
    if fits and "content-encoding" not in headers and "content-length" not in headers:
        status, answer = _answer(root)
        assert status != 413, f"the handler takes what serve refuses: {answer[:200]!r}"
    return ACCEPTED
