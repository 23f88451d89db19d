"""Connections: how many a server has at a time, and how long each may keep it waiting.

uvicorn knows one deadline, that of a connection between two requests. Here every wait for a client has one, and when
there is no room for another connection, the one that has waited the longest for its client makes room: whoever opens
connections without using them meets only others who do.
"""

import asyncio
import errno
import json
import logging
import os
import resource
import socket
import time
from collections.abc import Callable

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 2048
"""Each may hold some 300 kB of what a client has sent and nobody has read yet."""
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 seconds for which SageMaker's side keeps a connection, so that it is never the one surprised."""
HEAD_SECONDS = 10.0
"""From the first byte of a request to the end of its headers."""
UNREAD_SECONDS = 60.0
"""How long an answer may wait for the client to read it."""
MAX_CHUNKS = 1024
"""Of a chunked body, and one more for each KB. Each keeps the loop busy, however small it is: four clients that sent
one byte in each made others wait for twenty seconds."""
_KEPT_FILES = 256
"""For everything else that the process opens."""
_ACCEPTED_AT_ONCE = 64
_RETRY_SECONDS = 1.0
_SECONDS_BETWEEN_WARNINGS = 60.0


def most_connections() -> int:
    """Raises the limit of open files as far as the system lets this process, and says how many connections that is."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(MAX_CONNECTIONS, max(most - _KEPT_FILES, most // 2))


class Connections:
    """The connections of a server.

    Args:
        most: how many there may be at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Connection, None] = {}
        """For the client, for the longest time first."""
        self._busy: set[Connection] = set()
        """A request is there as a whole, and not answered yet."""
        self._accepting: set[asyncio.Task[None]] = set()
        self._warned = -_SECONDS_BETWEEN_WARNINGS

    def listen(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Accepts connections from now on, in the loop that runs."""
        asyncio.get_running_loop().add_reader(listener, self._accept, listener, protocol)

    def close(self, listener: socket.socket) -> None:
        """Accepts none any more."""
        if listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(listener)

    def wait(self, connection: "Connection") -> None:
        """From now on the connection waits for its client."""
        self._busy.discard(connection)
        self._waiting.pop(connection, None)
        self._waiting[connection] = None
        if len(self._waiting) + len(self._busy) > self._most:
            oldest = next(iter(self._waiting))
            self.forget(oldest)
            oldest.transport.abort()

    def work(self, connection: "Connection") -> None:
        """From now on the client waits."""
        self._waiting.pop(connection, None)
        self._busy.add(connection)

    def forget(self, connection: "Connection") -> None:
        self._waiting.pop(connection, None)
        self._busy.discard(connection)

    # asyncio's own accepting (Python 3.11) tells of every connection that finds no file descriptor with a traceback,
    # and tries again for each of them: thousands of tracebacks a second.
    def _accept(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._warn(error)
                self.close(listener)
                loop.call_later(_RETRY_SECONDS, self._try_again, listener, protocol)
                return
            accepted.setblocking(False)
            task = loop.create_task(self._take(accepted, protocol))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    async def _take(self, accepted: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, accepted)
        except OSError:  # the client has left
            accepted.close()

    def _try_again(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        if listener.fileno() >= 0:
            self.listen(listener, protocol)

    def _warn(self, error: OSError) -> None:
        if time.monotonic() - self._warned >= _SECONDS_BETWEEN_WARNINGS:
            self._warned = time.monotonic()
            advice = " (raise the limit of open files, ulimit -n)" if error.errno == errno.EMFILE else ""
            reason = os.strerror(error.errno or 0)
            log.warning("New connections wait, because none can be accepted: %s%s.", reason, advice)


class _Reader(h11.Connection):
    """What a client sends. No body may come in crumbs, and none may have two lengths, of which a proxy in front may
    have taken the other one."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER)
        self._chunks = self._bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            if {name for name, _ in event.headers} >= {b"content-length", b"transfer-encoding"}:
                raise h11.RemoteProtocolError("two lengths")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > MAX_CHUNKS + self._bytes // 1024:
                raise h11.RemoteProtocolError("too many chunks")
        return event


class _Deadline:
    """Counts from when it is set first, until it is lifted."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float, otherwise: Callable[[], None]) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, otherwise)

    def lift(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(H11Protocol):
    """A connection, by uvicorn, with a deadline for all that it waits for."""

    def __init__(self, connections: Connections, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self.conn = _Reader()
        self._connections = connections
        self._head, self._unread = _Deadline(self.loop), _Deadline(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._connections.wait(self)
        # uvicorn has this after an answer alone.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._head.lift()
        self._unread.lift()
        self._connections.forget(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answering:
            self._head.lift()
            if not self.cycle.more_body:
                self._connections.work(self)
        else:
            self._head.set(HEAD_SECONDS, self._refuse_head)

    def on_response_complete(self) -> None:
        self._connections.wait(self)
        super().on_response_complete()  # which may find that the next request is there already
        if self.transport.is_closing():
            self._unread.set(UNREAD_SECONDS, self.transport.abort)
        elif self._answering and not self.cycle.more_body:
            self._connections.work(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.set(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.lift()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()  # closed, it would stay until its last answer is read

    def send_400_response(self, msg: str) -> None:
        self._refuse(
            400,
            "the request is not HTTP/1.1 that can be read, or its headers have more than 16 kB, or its body has both "
            f"Content-Length and Transfer-Encoding, or more than {MAX_CHUNKS} chunks and one for each KB",
        )

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse_head(self) -> None:
        self._refuse(408, f"the request's headers did not arrive within {HEAD_SECONDS:.0f} seconds")

    def _refuse(self, status: int, sentence: str) -> None:
        """Answers what has not become a request, and closes."""
        body = json.dumps({"error": sentence}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        events = (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self.transport.close()
        self._unread.set(UNREAD_SECONDS, self.transport.abort)
