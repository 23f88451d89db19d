"""The server as a process, asked by an HTTP client: every Accept form, every error, many at once, and its end."""

import base64
import http.client
import io
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from constant_model import LABELS, save_model
from PIL import Image
from servers import LONG, Server, serving, started
from shared import fake_driver

pytestmark = pytest.mark.slow
JPEG = {"Content-Type": "image/jpeg"}
PNG = {"Content-Type": "image/png"}


def picture(red: int, width: int, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 40), (red, 7, 9)).save(file, form, **options)
    return file.getvalue()


def answer(red: int, width: int) -> dict[str, object]:
    score = round(red / 255, 6)
    return {
        "normalized_boxes": [[0.0, 0.0, width / 1000, 1.0], [0.0, 0.0, 1.0, 1.0]],
        "classes": [0, 1],
        "scores": [pytest.approx(score, abs=2e-6), pytest.approx(score / 2, abs=2e-6)],
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    with serving(model, SAGEMAKER_MAX_PAYLOAD_IN_MB="1") as running:
        yield running


def invoke(server: Server, body: bytes, **headers: str) -> requests.Response:
    return requests.post(f"{server.address}/invocations", body, headers={**PNG, **headers}, timeout=60)


def error(response: requests.Response, status: int) -> str:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    (text,) = response.json().values()
    assert list(response.json()) == ["error"]
    return text


def test_ping_is_answered(server: Server) -> None:
    response = requests.get(f"{server.address}/ping", timeout=60)
    assert (response.status_code, response.json()) == (200, {"status": "healthy"})


@pytest.mark.parametrize("content_type", ["application/x-image", "image/jpeg", "image/png", "Image/PNG; q=1"])
def test_every_kind_of_image_is_answered(server: Server, content_type: str) -> None:
    for form in ("PNG", "JPEG"):
        response = invoke(server, picture(250, 60, form), **{"Content-Type": content_type})
        assert response.status_code == 200
        assert response.json()["normalized_boxes"] == [[0, 0, 0.06, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "Application/JSON", "text/html, application/json"])
def test_json_is_the_answer_without_labels(server: Server, accept: str | None) -> None:
    response = invoke(server, picture(51, 200), Accept=accept)  # None: requests leaves its own out
    assert response.json() == answer(51, 200)


def test_verbose_adds_labels_and_what_the_model_says(server: Server) -> None:
    content = invoke(server, picture(51, 200), Accept="application/json;verbose").json()
    outputs = content.pop("tensorflow_model_output")
    assert content == {**answer(51, 200), "labels": LABELS}
    assert outputs["num_detections"] == 2.0
    assert outputs["detection_classes"] == [1.0, 2.0]  # as the SavedModel counts
    assert outputs["detection_boxes"] == [[0, 0, 1, 0.2], [0, 0, 1, 1]]  # ymin xmin ymax xmax
    assert len(outputs["detection_multiclass_scores"][0]) == 3


@pytest.mark.parametrize("accept", ["application/json;n_predictions=1", "application/json; verbose; n_predictions=1"])
def test_fewer_predictions(server: Server, accept: str) -> None:
    content = invoke(server, picture(51, 200), Accept=accept).json()
    assert (len(content["scores"]), content["classes"], len(content["normalized_boxes"])) == (1, [0], 1)
    if "verbose" in accept:
        assert len(content["tensorflow_model_output"]["detection_scores"]) == 2
    more = invoke(server, picture(51, 200), Accept=accept.replace("=1", "=500")).json()
    assert len(more["scores"]) == 2


def test_a_photograph_is_turned_as_its_exif_orientation_says(server: Server) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = invoke(server, picture(51, 200, "JPEG", exif=exif), **JPEG).json()
    assert content["normalized_boxes"][0] == [0, 0, 0.04, 1]  # 40 wide, once it stands


@pytest.mark.parametrize(
    ("headers", "body", "status", "sentence"),
    [
        (
            {"Content-Type": "application/json"},
            b"{}",
            400,
            "the body's JSON has no keys; expected one key with the images",
        ),
        ({"Content-Type": None}, b"x", 415, "Content-Type: got ''; expected"),
        ({"Accept": "text/html"}, picture(1, 2), 406, "Accept: got 'text/html'; expected application/json, with"),
        (
            {"Accept": "application/json;n_predictions=0"},
            picture(1, 2),
            400,
            "Accept: n_predictions: got '0'; expected",
        ),
        ({"Accept": "application/json;n_predictions=" + "9" * 5000}, picture(1, 2), 400, "Accept: n_predictions: got"),
        ({}, b"", 400, "the body is empty; expected one JPEG or PNG file"),
        ({}, b"GIF89a and so on", 400, "the body is a GIF image. Expected a JPEG or PNG image: convert it, as"),
        ({}, b"hello", 400, "the body is text that begins 'hello'. Expected a JPEG or PNG image"),
        ({}, picture(1, 200)[:60], 400, "the image cannot be decoded: it is cut short or damaged; send the whole file"),
        ({}, bytes(2**20 + 1), 413, "more than 1 MB are not accepted: shrink the image"),
    ],
)
def test_what_cannot_be_answered_is_told(
    server: Server, headers: dict[str, str], body: bytes, status: int, sentence: str
) -> None:
    assert error(invoke(server, body, **headers), status).startswith(sentence)
    assert invoke(server, picture(51, 200)).json() == answer(51, 200)


def b64(image: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(image).decode()}


def test_json_as_tensorflow_serving_clients_send_it(server: Server) -> None:
    images = [(number * 7, 20 + number) for number in range(12)]
    answers: list[Any] = [answer(*image) for image in images]
    instances: Any = {"instances": [{"image_bytes": b64(picture(*image))} for image in images]}
    response = requests.post(f"{server.address}/invocations", json=instances, timeout=60)
    assert (response.status_code, response.json()) == (200, {"predictions": answers})
    inputs: Any = {"signature_name": "serving_default", "inputs": [b64(picture(*image)) for image in images]}
    headers = {"Accept": "application/json;verbose;n_predictions=1"}
    content = requests.post(f"{server.address}/invocations", json=inputs, headers=headers, timeout=60).json()["outputs"]
    assert content["normalized_boxes"] == [each["normalized_boxes"][:1] for each in answers]
    assert content["labels"] == [LABELS] * 12


def test_an_image_file_without_a_type_is_answered(server: Server) -> None:
    for kind in (None, "application/octet-stream", "application/x-www-form-urlencoded"):
        assert invoke(server, picture(51, 200), **{"Content-Type": kind}).json() == answer(51, 200)


def test_an_image_of_several_that_cannot_be_answered_is_named(server: Server) -> None:
    bomb = bytearray(picture(1, 2))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    good = b64(picture(51, 200))
    for bad, status, sentence in (
        (picture(1, 200)[:60], 400, "instances[1]: the image cannot be decoded: it is cut short or damaged"),
        (b"GIF89a", 400, "instances[1] is a GIF image. Expected a JPEG or PNG image: convert it, as"),
        (bytes(bomb), 413, "instances[1] has too many pixels (60000 x 60000"),
    ):
        body = json.dumps({"instances": [good, b64(bad), good]}).encode()
        assert error(invoke(server, body, **{"Content-Type": "application/json"}), status).startswith(sentence)
    assert invoke(server, picture(51, 200)).json() == answer(51, 200)


def test_pixels_as_numbers_do_not_stop_the_others(server: Server) -> None:
    pixels = json.dumps({"instances": [[[[7] * 3] * 300] * 300]}).encode()
    assert 200_000 < len(pixels) < 2**20
    with ThreadPoolExecutor(8) as clients:
        refused = clients.map(lambda _: invoke(server, pixels, **{"Content-Type": "application/json"}), range(32))
        assert requests.get(f"{server.address}/ping", timeout=2).status_code == 200
        for response in refused:
            assert error(response, 400).startswith("the body is JSON with more than 1000 values: pixels as numbers")


def test_an_image_that_would_fill_the_memory_is_refused_before_it_is_decoded(server: Server) -> None:
    bomb = bytearray(picture(1, 2))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    assert error(invoke(server, bytes(bomb)), 413).startswith("the body has too many pixels (60000 x 60000")


def test_other_addresses_and_methods(server: Server) -> None:
    assert error(requests.get(f"{server.address}/", timeout=60), 404).startswith("Not Found: GET /; expected GET /ping")
    assert error(requests.get(f"{server.address}/invocations", timeout=60), 405).startswith("Method Not Allowed: GET")


def test_batch_transform_learns_how_to_ask(server: Server) -> None:
    content = requests.get(f"{server.address}/execution-parameters", timeout=60).json()
    assert content == {"MaxConcurrentTransforms": 100, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 1}


def test_a_client_that_leaves_does_no_harm(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 60) as leaving:
        leaving.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nx"
        )
    with socket.create_connection(("127.0.0.1", server.port), 60) as babbling:
        babbling.sendall(b"\x00\xff not HTTP at all\r\n\r\n")
        assert babbling.recv(100).startswith(b"HTTP/1.1 400")
    assert invoke(server, picture(51, 200)).json() == answer(51, 200)


def test_a_small_answer_is_sent_at_once() -> None:
    """Nagle's algorithm would keep the second part of an answer for 40 ms, on every connection that is kept."""
    from sagemaker_object_detection.serving.server import _listening

    with _listening(0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # by which asyncio knows that it may turn it off


def test_a_file_of_a_million_empty_parts_does_not_stop_the_others(server: Server) -> None:
    padded = picture(51, 200) + bytes(900_000)
    filled = picture(51, 200, "JPEG")
    filled = filled[:2] + b"\xff" * 900_000 + filled[2:]
    assert invoke(server, padded).json()["normalized_boxes"] == [[0, 0, 0.2, 1], [0, 0, 1, 1]]
    assert "bytes" in error(invoke(server, filled), 400)
    assert invoke(server, picture(51, 200)).json() == answer(51, 200)


def test_answers_of_many_clients_are_not_mixed_up(server: Server) -> None:
    images = [(number % 256, 20 + number) for number in range(240)]

    def ask(image: tuple[int, int]) -> object:
        return invoke(server, picture(*image)).json()

    with ThreadPoolExecutor(48) as clients:
        answers = list(clients.map(ask, images))
    for image, given in zip(images, answers, strict=True):
        assert given == answer(*image)


def test_clients_that_do_nothing_or_drip_take_no_others_place(model: Path) -> None:
    """Six times as many connections as the server has files for, half of them in the middle of a body."""
    body = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 900000\r\n\r\nx"
    with serving(model, files=200) as server, ExitStack() as attack:
        for number in range(600):
            connection = attack.enter_context(socket.create_connection(("127.0.0.1", server.port), 60))
            if number % 2:
                connection.sendall(body)
        for number in range(20):
            assert invoke(server, picture(51, 100 + number)).json() == answer(51, 100 + number)
            assert requests.get(f"{server.address}/ping", timeout=LONG).status_code == 200
        assert "Traceback" not in "".join(server.lines)


def test_sigterm_answers_the_request_under_way_and_ends_with_0(model: Path) -> None:
    body = picture(51, 200)
    with serving(model) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.putrequest("POST", "/invocations")
        for name, value in {**PNG, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body[:10])
        requests.get(f"{server.address}/ping", timeout=60)  # by then the server has seen the request
        server.process.terminate()
        while True:  # until it listens no longer
            try:
                socket.create_connection(("127.0.0.1", server.port), 60).close()
            except OSError:
                break
        connection.send(body[10:])
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read()) == answer(51, 200)
        connection.close()
        assert server.process.wait(60) == 0
        server.wait_for("^Stopped")


def test_sigterm_while_the_model_loads_ends_with_0(model: Path) -> None:
    with started("--model", model) as server:
        server.wait_for("Listening")
        assert server.stop() == 0


def test_a_gpu_that_tensorflow_does_not_see_is_named_and_the_cpu_answers(model: Path, tmp_path: Path) -> None:
    with serving(model, LD_LIBRARY_PATH=str(fake_driver(tmp_path)), CUDA_VISIBLE_DEVICES="0") as server:
        server.wait_for(
            r"^WARNING: The CPU answers: this machine has a GPU \(Fake H100 \(compute capability 9\.0\)\), but "
            r"TensorFlow \S+, the CPU variant, sees none: "
        )
        server.wait_for("^Ready after .* on the CPU")


def test_no_model_ends_the_server_with_a_sentence(tmp_path: Path) -> None:
    with started("--root", tmp_path) as server:
        assert server.process.wait(120) == 2
        server.wait_for(
            rf"ERROR: {tmp_path}/model: holds no model_info.json; expected the model directory that a train"
        )


def test_a_port_that_is_taken(model: Path, server: Server) -> None:
    with started("--model", model, "--port", server.port) as second:
        assert second.process.wait(120) == 2
        second.wait_for(
            rf"ERROR: port {server.port}: cannot be listened on \(Address already in use\); stop what listens"
        )


@pytest.mark.parametrize(
    ("name", "value", "largest"),
    [("SAGEMAKER_BIND_TO_PORT", "http", 65535), ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "101", 100)],
)
def test_wrong_settings(model: Path, name: str, value: str, largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sagemaker_object_detection.errors import UserError
    from sagemaker_object_detection.serving.server import serve

    monkeypatch.setenv(name, value)
    with pytest.raises(
        UserError, match=rf"^{name}: got '{value}' in the environment; .* whole number from 0 to {largest}"
    ):
        serve(model, None)
