"""What requests meet that a process shows only for a moment: no model yet, a full memory, a body that does not come."""

import asyncio
import json
import zlib
from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from test_server import picture

from sagemaker_object_detection.artifact.inference import RequestError
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.serving import app as module
from sagemaker_object_detection.serving import body as body_module
from sagemaker_object_detection.serving.app import Service
from sagemaker_object_detection.serving.body import Body
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


def service(max_payload=1000, handler: Any = None, **queue):
    """With a model where there is a queue or a script's handler for it."""
    if not queue and handler is None:
        return Service(max_payload, transforms=4)
    model = Model(lambda images: [], labels=Labels((1,), ("cat",)), handler=handler)
    held: Any = SimpleNamespace(**queue)
    return Service(max_payload, transforms=4, queue=held, model=model)


def test_before_the_model_is_loaded_nothing_is_healthy_and_images_are_to_come_again():
    loading = service()
    assert ask(loading, "GET", "/ping") == (503, {"error": "the model is not loaded yet"})
    assert ask(loading, "POST", "/invocations", [picture(1, 2)]) == (503, {"error": "the model is not loaded yet"})
    assert ask(loading, "GET", "/execution-parameters")[0] == 200
    assert loading.bodies.held == 0


def test_a_model_that_hangs_is_not_healthy():
    hung = service(healthy=False)
    assert ask(hung, "GET", "/ping") == (503, {"error": "the model does not answer any more"})


def test_a_body_in_many_blocks_is_counted_to_its_end():
    busy = service()
    blocks = [bytes(100)] * 11
    status, content = ask(busy, "POST", "/invocations", blocks)
    assert (status, content["error"]) == (413, "more than 0.000953674 MB are not accepted: shrink the image")
    assert busy.bodies.held == 0


def test_a_body_that_is_announced_as_too_large_holds_nothing_while_it_comes():
    busy = service()
    body = Body(busy.bodies, "1001", 1000)
    body.add(bytes(900))
    assert busy.bodies.held == 0
    assert body.refusal.status == 413


@pytest.mark.parametrize(("size", "status"), [(1000, None), (1001, 413)])
@pytest.mark.parametrize("announced", ["", "1000"])
def test_a_body_may_have_the_largest_size(announced, size, status):
    body = Body(service().bodies, announced, 1000)
    body.add(bytes(900))
    body.add(bytes(size - 900))
    assert (body.refusal and body.refusal.status) == status


def test_a_body_that_grows_beyond_what_it_said_takes_the_difference(monkeypatch):
    monkeypatch.setattr(body_module, "MAX_HELD_BYTES", 1000)
    busy = service()
    body = Body(busy.bodies, "600", 1000)
    body.add(bytes(700))
    assert (body.refusal, busy.bodies.held) == (None, 700)


def test_room_is_taken_for_the_whole_body_when_it_begins(monkeypatch):
    monkeypatch.setattr(body_module, "MAX_HELD_BYTES", 1000)
    busy = service()
    first, second = Body(busy.bodies, "600", 1000), Body(busy.bodies, "600", 1000)
    assert busy.bodies.held == 600  # the second does not keep the first from its end
    first.add(bytes(600))
    second.add(bytes(100))
    assert (first.refusal, second.refusal.status) == (None, 503)
    assert first.take() == bytes(600)
    first.drop()
    assert busy.bodies.held == 0


FILL = b"\xff\xd8" + b"\xff" * 2**18
"""The beginning of a JPEG of far too many fill bytes."""


def chunky_png(count: int) -> bytes:
    image = picture(1, 2)
    chunk = b"prVt"
    return image[:33] + (bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4, "big")) * count + image[33:]


def test_a_bomb_is_refused_by_its_beginning_and_not_kept():
    busy = service(2**24)
    body = Body(busy.bodies, str(2**23), 2**24)
    body.add(FILL[:-9])
    body.add(FILL[-9:])
    assert body.is_due
    body.judge()
    assert (body.refusal.status, busy.bodies.held, len(body)) == (400, 0, 0)
    assert str(body.refusal).startswith("the body has more than 4096 segments and fill bytes")


@pytest.mark.parametrize("announced", ["", str(2**23)])
def test_an_image_is_judged_again_when_there_is_twice_as_much(announced):
    body = Body(service().bodies, announced, 2**24)
    due = []
    for _ in range(16):
        body.add(bytes(2**16))
        due.append(body.is_due)
        if body.is_due:
            body.judge()
    assert [number for number, said in enumerate(due, 1) if said] == [4, 8, 16]
    assert body.refusal is None  # what it is, is told when all of it is there


@pytest.mark.parametrize(("size", "status"), [(300_000, 400), (2**21, None), (None, None)])
def test_chunks_are_judged_by_the_size_of_the_whole_file(size, status):
    body = Body(service().bodies, str(size or ""), 2**24)
    body.add(chunky_png(5000).ljust(2**18, b"\0"))
    body.judge()
    assert (body.refusal and body.refusal.status) == status


def test_the_answer_to_a_bomb_is_the_same_early_and_late():
    early = ask(service(2**24, put=None), "POST", "/invocations", [FILL, bytes(99)])
    late = ask(service(2**24), "POST", "/invocations", [FILL, bytes(99)])  # there is no model, which may be a script
    assert early == late
    assert early[0] == 400


def test_what_a_script_takes_is_not_judged():
    answer: Future[tuple[bytes, str]] = Future()
    answer.set_result((b"{}", "application/json"))
    taken = []

    def call(body, *_):
        taken.append(body)
        return answer

    assert ask(service(2**24, SimpleNamespace(call=call)), "POST", "/invocations", [FILL, FILL]) == (200, {})
    assert taken == [FILL * 2]


def test_refused_bodies_are_read_in_turn_at_a_bounded_rate(monkeypatch):
    under_way, most, seconds = 0, 0, 0.0

    async def sleep(length):
        nonlocal under_way, most, seconds
        under_way += 1
        most, seconds = max(most, under_way), seconds + length
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=0)
        under_way -= 1

    class Blocks:
        async def stream(self):
            for _ in range(8):
                yield bytes(2**20)

    async def read(refusing):
        with pytest.raises(RequestError, match="not accepted"):
            await refusing._read(Blocks(), Body(refusing.bodies, "", 1000))

    async def read_two():
        refusing = service()
        await asyncio.gather(read(refusing), read(refusing))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(read_two())
    assert (most, seconds) == (1, 2 * 8 * 2**20 / module._REFUSED_A_SECOND)


def test_a_refusal_is_told_though_the_rest_does_not_come(monkeypatch):
    monkeypatch.setattr(module, "BODY_SECONDS", 0.01)
    assert ask(service(), "POST", "/invocations", [bytes(1001)], ends=False)[0] == 413


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


def test_a_path_is_escaped_and_cut_in_the_answer():
    _, content = ask(service(), "GET", "/\u202e\x1b" + "a" * 60_000)
    assert content["error"].startswith(r"Not Found: GET /\u202e\x1ba")
    assert len(content["error"]) < 400


@pytest.mark.parametrize("path", ["/ping/", "/invocations/", "/other"])
def test_a_path_that_is_none_is_answered_in_json(path):
    status, content = ask(service(), "GET", path)
    assert (status, content["error"]) == (
        404,
        f"Not Found: GET {path}; expected GET /ping or POST /invocations",
    )


def test_bodies_beyond_the_memory_are_turned_away(monkeypatch):
    monkeypatch.setattr(body_module, "MAX_HELD_BYTES", 500)
    busy = service()
    busy.bodies.held = 450
    status, content = ask(busy, "POST", "/invocations", [bytes(40), bytes(40), bytes(5)])
    assert status == 503
    assert content["error"].startswith("busy: the images under way fill the memory")
    assert busy.bodies.held == 450


def test_a_body_that_does_not_come_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(module, "BODY_SECONDS", 0.01)
    slow = service()
    assert ask(slow, "POST", "/invocations", [b"x"], ends=False) == (
        408,
        {"error": "the body did not arrive within 0 seconds"},
    )
    assert slow.bodies.held == 0


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
    assert broken.bodies.held == 0
