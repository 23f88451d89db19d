"""`serve` in this process: what the environment sets, and how a request under way at SIGTERM is answered."""

import asyncio
import http.client
import json
import os
import selectors
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import uvicorn
from test_server import picture

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.serving import server
from sagemaker_object_detection.serving.app import Service
from sagemaker_object_detection.serving.model import Model
from sagemaker_object_detection.serving.queue import BatchQueue

OUTPUTS = {
    "num_detections": 1.0,
    "detection_boxes": [[0.1, 0.2, 0.3, 0.4]],
    "detection_scores": [0.9],
    "detection_classes": [1.0],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    info = {"format": 1, "base_model": DEFAULT_MODEL.name, "labels": ["cat"], "category_ids": [1]}
    (tmp_path / "model_info.json").write_text(json.dumps(info))
    return tmp_path


class ListeningError(Exception):
    """Raised in place of listening."""


@pytest.mark.parametrize(
    ("environment", "port", "expected"),
    [
        ({}, None, (8080, 25, 4)),
        ({}, 0, (0, 25, 4)),
        ({"SAGEMAKER_BIND_TO_PORT": "9090"}, None, (9090, 25, 4)),
        ({"SAGEMAKER_BIND_TO_PORT": "9090"}, 8081, (8081, 25, 4)),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": " 6 "}, None, (8080, 6, 16)),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "100"}, None, (8080, 100, 1)),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}, None, (8080, 100, 1)),
    ],
)
def test_port_and_limits_are_those_of_the_environment(
    environment: dict[str, str],
    port: int | None,
    expected: tuple[int, int, int],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The port, the megabytes of a body, and the requests that batch transform opens at a time."""
    found: list[int] = []

    def service(max_payload: int, transforms: int, **others: Any) -> Service:
        found.extend((max_payload // 2**20, transforms))
        return Service(max_payload, transforms, **others)

    def listen(number: int) -> NoReturn:
        found.insert(0, number)
        raise ListeningError

    monkeypatch.setattr(server, "Service", service)
    monkeypatch.setattr(server, "_listening", listen)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    for name in ("SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MAX_PAYLOAD_IN_MB"):
        monkeypatch.setenv(name, environment.get(name, ""))
    with pytest.raises(ListeningError):
        server.serve(model, port)
    assert tuple(found) == expected


class SkippingLoop(asyncio.SelectorEventLoop):
    """While it skips, its clock moves on to the next timer as soon as there is nothing else to do."""

    def __init__(self) -> None:
        self.skips = False
        self._skipped = 0.0
        super().__init__(_SkippingSelector(self))

    def time(self) -> float:
        return super().time() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


class _SkippingSelector(selectors.DefaultSelector):
    def __init__(self, loop: SkippingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not (self._loop.skips and timeout):
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self._loop.skip(timeout)
        return ready


def ask(port: "Future[int]") -> tuple[int, Any]:
    """Asks until the model is loaded: the status and content of the answer."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port.result(60), timeout=60)
        connection.request("POST", "/invocations", picture(51, 200), {"Content-Type": "image/png"})
        response = connection.getresponse()
        content = json.loads(response.read())
        if content != {"error": "the model is not loaded yet"}:
            return response.status, content


def test_request_under_way_at_sigterm_is_answered_16_seconds_later(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of its loop, which skips the seconds it would wait for."""
    port: Future[int] = Future()
    go_on = threading.Event()
    noticed: list[float] = []

    def answer(images: Sequence[bytes]) -> list[dict[str, Any]]:
        os.kill(os.getpid(), signal.SIGTERM)
        assert go_on.wait(60)
        return [OUTPUTS]

    class Queue(BatchQueue):
        def stop_within(self, seconds: float) -> None:
            noticed.append(seconds)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, SkippingLoop)
            loop.skips = True

            def stop_skipping() -> None:
                loop.skips = False
                go_on.set()

            loop.call_later(16.0, stop_skipping)

    listening = server._listening

    def listen(number: int) -> Any:
        listener = listening(number)
        port.set_result(listener.getsockname()[1])
        return listener

    monkeypatch.setattr(server, "_listening", listen)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    monkeypatch.setattr(server, "BatchQueue", Queue)
    loader = SimpleNamespace(load=lambda _: Model(answer, Labels((1,), ("cat",))), device="nothing")
    monkeypatch.setattr(server, "Loader", lambda *_: loader)
    monkeypatch.setattr(uvicorn.Config, "get_loop_factory", lambda _: SkippingLoop)
    monkeypatch.setattr(os, "_exit", lambda _: None)  # where the request is cut off
    with ThreadPoolExecutor(1) as clients:
        try:
            asked = clients.submit(ask, port)
            server.serve(model, 0)
        finally:
            go_on.set()
        assert asked.result(60) == (
            200,
            {"normalized_boxes": [[0.2, 0.1, 0.4, 0.3]], "classes": [0], "scores": [0.9]},
        )
    assert noticed == [15.0]
