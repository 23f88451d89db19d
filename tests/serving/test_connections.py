"""Connections that keep the server waiting, too many of them, and the end: no TensorFlow is needed."""

import errno
import http.client
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from test_server import picture

from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.serving import connections as module
from sagemaker_object_detection.serving import server as server_module
from sagemaker_object_detection.serving.app import Service
from sagemaker_object_detection.serving.connections import Connections
from sagemaker_object_detection.serving.model import Model
from sagemaker_object_detection.serving.server import _listening, _Server

LONG = 20.0
"""Seconds to wait for what comes at once, before a test fails."""
SOON = 0.05
BEGUN = b"POST /invocations HTTP/1.1\r\nHost: a\r\n"


class Running:
    """A server in a thread."""

    def __init__(self, service: Service, most: int, listener: socket.socket, keep_alive: float) -> None:
        self.stop = StopSignal()
        options: Any = {"lifespan": "off", "log_config": None, "access_log": False, "timeout_keep_alive": keep_alive}
        config = uvicorn.Config(service.app(), **options)
        self.port = listener.getsockname()[1]
        self._server = _Server(config, service, Connections(most), self.stop)
        self.thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.stop._since = time.monotonic()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), LONG)

    def ping(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        connection.request("GET", "/ping")
        with connection.getresponse() as response:
            return response.status

    def invoke(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        connection.request("POST", "/invocations", picture(1, 2), {"Content-Type": "image/png"})
        return connection


class Held:
    """A queue whose images are never answered."""

    healthy = True

    def __init__(self) -> None:
        self.put_so_far = threading.Semaphore(0)

    def put(self, *_: object) -> "Future[object]":
        self.put_so_far.release()
        return Future()

    def stop_within(self, seconds: float) -> None:
        pass


@contextmanager
def running(
    most: int = 100, most_requests: int = 100, listener: socket.socket | None = None, keep_alive: float = LONG
) -> Iterator[Running]:
    model = Model(lambda images: [], labels=Labels((1,), ("cat",)))
    queue: Any = Held()
    service = Service(max_payload=10_000_000, transforms=4, most_requests=most_requests, queue=queue, model=model)
    server = Running(service, most, listener or _listening(0), keep_alive)
    try:
        yield server
    finally:
        server.end()
        server.thread.join(LONG)
        assert not server.thread.is_alive()


@pytest.fixture(autouse=True)
def refuse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REFUSING_SECONDS", 0.0)


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    received = b""
    try:
        while block := connection.recv(2**16):
            received += block
    except ConnectionResetError:
        pass
    return received


def refusal(received: bytes) -> tuple[int, str]:
    head, body = received.split(b"\r\n\r\n")
    assert b"\r\ncontent-type: application/json\r\n" in head.lower()
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize("first", [b"G", BEGUN])
def test_headers_that_do_not_end_are_not_waited_for(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", SOON)
    with running() as server, server.connect() as slow:
        slow.sendall(first)
        assert refusal(rest_of(slow)) == (408, "the request's headers did not arrive within 0 seconds")
        assert server.ping() == 200


def test_headers_that_drip_have_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.2)
    with running() as server, server.connect() as slow:
        slow.settimeout(0.01)
        slow.sendall(BEGUN + b"x: ")
        began, received = time.monotonic(), b""
        while not received and time.monotonic() - began < LONG:
            slow.sendall(b"x")
            try:
                received = slow.recv(2**16)
            except TimeoutError:
                continue
        assert refusal(received)[0] == 408


def test_a_connection_without_a_request_is_closed() -> None:
    with running(keep_alive=SOON) as server, server.connect() as idle:
        assert rest_of(idle) == b""


def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNREAD_SECONDS", SOON)
    listener = _listening(0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with running(listener=listener) as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        lost = threading.Event()
        original = module.Connection.connection_lost

        def note(self: Any, error: Exception | None) -> None:
            original(self, error)
            lost.set()

        monkeypatch.setattr(module.Connection, "connection_lost", note)
        deaf.settimeout(0.01)
        asking = b"GET /execution-parameters HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
        try:
            while not lost.is_set():  # until the answers fill every buffer on the way
                try:
                    deaf.sendall(asking)
                except TimeoutError:
                    continue
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert lost.wait(LONG)
        assert server.ping() == 200


def test_what_is_not_http_is_told_as_json() -> None:
    with running() as server, server.connect() as babbling:
        babbling.sendall(b"\x00\xff not HTTP at all\r\n\r\n")
        status, sentence = refusal(rest_of(babbling))
        assert (status, sentence[:25]) == (400, "the request is not HTTP/1")


CHUNKED = BEGUN + b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "sent",
    [CHUNKED + b"\r\n" + b"1\r\na\r\n" * (2 * module.MAX_CHUNKS), CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n"],
    ids=["crumbs", "two lengths"],
)
def test_bodies_of_crumbs_or_two_lengths_are_refused(sent: bytes) -> None:
    with running() as server, server.connect() as hostile:
        hostile.sendall(sent)
        status, sentence = refusal(rest_of(hostile))
        assert (status, "Content-Length and Transfer-Encoding, or more than 1024 chunks" in sentence) == (400, True)
        assert server.ping() == 200


def test_a_body_may_come_in_chunks_of_a_kilobyte() -> None:
    body = picture(1, 2).ljust(3 * 2**20, b"\0")
    with running() as server, server.connect() as client:
        parts = (body[start : start + 1024] for start in range(0, len(body), 1024))
        chunks = b"".join(b"400\r\n%b\r\n" % part for part in parts)
        client.sendall(CHUNKED + b"Content-Type: image/png\r\n\r\n" + chunks + b"0\r\n\r\n")
        queue: Any = server._server._service.queue
        assert queue.put_so_far.acquire(timeout=LONG)


@pytest.mark.parametrize("sent", [b"", b"G", BEGUN + b"Content-Length: 9\r\n\r\nx"])
def test_the_one_that_waits_longest_for_its_client_makes_room(sent: bytes) -> None:
    with running(most=3) as server:
        waiting = [server.connect() for _ in range(3)]
        for connection in waiting:
            connection.sendall(sent)
        asking = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
        asking.request("GET", "/ping")
        assert asking.getresponse().read() == b'{"status":"healthy"}'
        assert rest_of(waiting[0]) == b""
        assert server.ping() == 200
        assert rest_of(waiting[1]) == b""
        asking.request("GET", "/ping")  # it waits for less time than the third
        assert asking.getresponse().status == 200
        asking.close()
        for connection in waiting:
            connection.close()


def test_requests_beyond_the_room_are_refused_and_pings_are_answered() -> None:
    with running(most=3, most_requests=2) as server:
        under_way = [server.invoke() for _ in range(2)]
        queue: Any = server._server._service.queue
        for _ in under_way:
            assert queue.put_so_far.acquire(timeout=LONG)
        refused = server.invoke().getresponse()
        assert refused.status == 503
        assert json.loads(refused.read()) == {"error": "busy: 2 requests are under way; try again later"}
        assert server.ping() == 200
        server.end()
        for connection in under_way:
            response = connection.getresponse()
            assert (response.status, response.headers["content-type"]) == (503, "application/json")
            assert json.loads(response.read()) == {"error": "the server is stopping; try again"}


class Full(socket.socket):
    """Has no file descriptor for the first connections."""

    refusals = 5

    def accept(self) -> tuple[socket.socket, Any]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_without_a_file_descriptor_connections_wait_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.001)
    with caplog.at_level(logging.INFO), running(listener=Full(fileno=_listening(0).detach())) as server:
        assert server.ping() == 200
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == [
        "New connections wait, because none can be accepted: Too many open files "
        "(raise the limit of open files, ulimit -n)."
    ]


@pytest.mark.parametrize(("hard", "most"), [(2**20, 2048), (1024, 768), (100, 50)])
def test_connections_leave_files_for_all_else(hard: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[object] = []
    resource = SimpleNamespace(
        RLIMIT_NOFILE=7, getrlimit=lambda _: (64, hard), setrlimit=lambda which, pair: limits.append((which, pair))
    )
    monkeypatch.setattr(module, "resource", resource)
    assert module.most_connections() == most
    assert limits == [(7, (hard, hard))]
