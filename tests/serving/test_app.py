"""What requests meet that a process shows only for a moment: no model yet, a full memory, a body that does not come."""

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from test_server import picture

from sagemaker_object_detection.artifact.inference import RequestError
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.serving import app as module
from sagemaker_object_detection.serving.app import Service, _Body
from sagemaker_object_detection.serving.model import Model


def ask(
    service: Service,
    method: str,
    path: str,
    blocks: Sequence[bytes] = (),
    *,
    ends: bool = True,
    headers: Sequence[tuple[bytes, bytes]] = (),
):
    """Status and JSON content of the answer to a request whose body comes in `blocks`, and then never ends or does."""
    sent = []
    waiting = [{"type": "http.request", "body": block, "more_body": True} for block in blocks]
    if ends:
        waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"image/png"), *headers],
    }
    asyncio.run(service.app()(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def service(**queue):
    """With a model where there is a queue for it."""
    if not queue:
        return Service(max_payload=1000, transforms=4)
    model = Model(lambda images: [], labels=Labels((1,), ("cat",)))
    held: Any = SimpleNamespace(**queue)
    return Service(max_payload=1000, transforms=4, queue=held, model=model)


def test_before_the_model_is_loaded_nothing_is_healthy_and_images_are_to_come_again():
    loading = service()
    assert ask(loading, "GET", "/ping") == (503, {"error": "the model is not loaded yet"})
    assert ask(loading, "POST", "/invocations", [picture(1, 2)]) == (503, {"error": "the model is not loaded yet"})
    assert ask(loading, "GET", "/execution-parameters")[0] == 200
    assert loading.held == 0


def test_a_model_that_hangs_is_not_healthy():
    hung = service(healthy=False)
    assert ask(hung, "GET", "/ping") == (503, {"error": "the model does not answer any more"})


def test_a_body_in_many_blocks_is_counted_to_its_end():
    busy = service()
    blocks = [bytes(100)] * 11
    status, content = ask(busy, "POST", "/invocations", blocks)
    assert (status, content["error"]) == (413, "more than 0.000953674 MB are not accepted: shrink the image")
    assert busy.held == 0


def test_a_body_that_is_announced_as_too_large_holds_nothing_while_it_comes():
    busy = service()
    body = _Body(busy, "1001", 1000)
    body.add(bytes(900))
    assert busy.held == 0
    assert body.refusal.status == 413


@pytest.mark.parametrize(("size", "status"), [(1000, None), (1001, 413)])
@pytest.mark.parametrize("announced", ["", "1000"])
def test_a_body_may_have_the_largest_size(announced, size, status):
    body = _Body(service(), announced, 1000)
    body.add(bytes(900))
    body.add(bytes(size - 900))
    assert (body.refusal and body.refusal.status) == status


def test_a_body_that_grows_beyond_what_it_said_takes_the_difference(monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 1000)
    busy = service()
    body = _Body(busy, "600", 1000)
    body.add(bytes(700))
    assert (body.refusal, busy.held) == (None, 700)


def test_room_is_taken_for_the_whole_body_when_it_begins(monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 1000)
    busy = service()
    first, second = _Body(busy, "600", 1000), _Body(busy, "600", 1000)
    assert busy.held == 600  # the second does not keep the first from its end
    first.add(bytes(600))
    second.add(bytes(100))
    assert (first.refusal, second.refusal.status) == (None, 503)
    assert first.take() == bytes(600)
    first.drop()
    assert busy.held == 0


def test_accept_headers_are_one_list():
    loading = service()
    headers = [(b"accept", b"text/html"), (b"accept", b"application/json;n_predictions=0")]
    status, content = ask(loading, "POST", "/invocations", [picture(1, 2)], headers=headers)
    assert (status, content["error"][:36]) == (400, "Accept: n_predictions: got '0'; expe")


def test_a_compressed_body_is_told_as_one():
    status, content = ask(service(), "POST", "/invocations", [b"\x1f\x8b"], headers=[(b"content-encoding", b"gzip")])
    assert (status, content["error"]) == (
        415,
        "Content-Encoding: got 'gzip'; expected none: send the body uncompressed",
    )


@pytest.mark.parametrize("path", ["/ping/", "/invocations/", "/other"])
def test_a_path_that_is_none_is_answered_in_json(path):
    status, content = ask(service(), "GET", path)
    assert (status, content["error"]) == (
        404,
        f"Not Found: GET {path}; expected GET /ping or POST /invocations",
    )


def test_bodies_beyond_the_memory_are_turned_away(monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 500)
    busy = service()
    busy.held = 450
    status, content = ask(busy, "POST", "/invocations", [bytes(40), bytes(40), bytes(5)])
    assert status == 503
    assert content["error"].startswith("busy: the images under way fill the memory")
    assert busy.held == 450


def test_a_body_that_does_not_come_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(module, "BODY_SECONDS", 0.01)
    slow = service()
    assert ask(slow, "POST", "/invocations", [b"x"], ends=False) == (
        408,
        {"error": "the body did not arrive within 0 seconds"},
    )
    assert slow.held == 0


@pytest.mark.parametrize(("status", "seconds"), [(503, "1"), (413, None), (500, None)])
def test_busy_answers_carry_retry_after(status, seconds):
    request = Request({"type": "http", "method": "POST", "path": "/invocations", "headers": []})
    answer = asyncio.run(module._refused("POST /invocations", request, RequestError(status, "no")))
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, seconds)


def test_the_queue_is_told_how_many_pixels_an_image_has():
    told = []

    def put(_, contents, pixels):
        told.append((contents, pixels))
        raise RequestError(503, "busy")

    image = picture(1, 20)
    assert ask(service(put=put), "POST", "/invocations", [image])[0] == 503
    assert told == [(image, 20 * 40)]


def test_a_fault_of_the_server_is_json_too(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    broken = service(put=fail)
    with pytest.raises(ZeroDivisionError):  # raised again for the log
        ask(broken, "POST", "/invocations", [picture(1, 2)])
    assert broken.held == 0
