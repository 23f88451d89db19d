"""The process in which a user's script runs, by the rules of aws/sagemaker-tensorflow-serving-container
(python_service.py): `handler(data, context)`, or `input_handler` before and `output_handler` after TensorFlow Serving.
"""

import importlib.util
import inspect
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

POST_SECONDS = 60.0
"""How long the local TensorFlow Serving interface may take to answer."""

_MAX_TRACE = 20_000
"""Characters of it: a script may put a whole request into its error, and every request is logged."""


class Context(NamedTuple):
    """What a script is told of a request: the container's fields, by its names."""

    model_name: str | None
    model_version: str | None
    method: str | None
    rest_uri: str
    """Of this server's own predict interface, on this machine."""
    grpc_port: str | None
    """None, and so is `channel`: there is no gRPC interface."""
    channel: Any
    custom_attributes: str | None
    request_content_type: str
    accept_header: str
    content_length: int | None

    @property
    def grpc_uri(self) -> None:
        """As the container's guide calls it."""
        return None


@dataclass(frozen=True)
class Failure:
    """A script's error. sentence: continues "inference.py ..."; trace: for the log."""

    sentence: str
    trace: str


def work(connection: Connection, path: str, functions: Sequence[str], libraries: Sequence[str]) -> None:
    """Imports the script, says None or a Failure, and then answers one request after the other until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends this process when it has answered
    os.setpgrp()  # and all that the script starts, with it
    os.environ["NO_PROXY"] = ",".join(filter(None, ("127.0.0.1", os.environ.get("NO_PROXY"))))
    sys.path[:0] = libraries
    handler: Callable[[Any, Context], Any] | None = None
    try:
        handler = _handler(path, functions)
        connection.send(None)
    except BaseException as error:  # a script may do anything, as sys.exit
        connection.send(Failure(f"cannot be imported ({_said(error)})", _trace()))
    pid = os.getpid()
    while handler is not None:
        try:
            body, fields = connection.recv()
        except EOFError:
            return
        answer = _answer(handler, functions, body, fields)
        if os.getpid() != pid:  # of a fork that the script has made: a second answer would be the next request's
            os._exit(0)
        connection.send(answer)


def _handler(path: str, functions: Sequence[str]) -> Callable[[Any, Context], Any]:
    specification = importlib.util.spec_from_file_location("inference", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["inference"] = module
    specification.loader.exec_module(module)
    found = [getattr(module, name) for name in functions]
    for name, function in zip(functions, found, strict=True):
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise TypeError(f"{name} is {type(function).__name__ if not callable(function) else 'async'}; expected def")
    if len(found) == 1:
        handler: Callable[[Any, Context], Any] = found[0]
        return handler
    before, after = found
    import requests

    def both(data: Any, context: Context) -> Any:
        response = requests.post(context.rest_uri, data=before(data, context), timeout=POST_SECONDS)
        return after(response, context)

    return both


def _answer(
    handler: Callable[[Any, Context], Any], functions: Sequence[str], body: bytes, fields: Mapping[str, Any]
) -> tuple[bytes, str] | Failure:
    called = " and ".join(functions)
    try:
        answer = handler(io.BytesIO(body), Context(**fields))
    except BaseException as error:
        return Failure(f"failed on this request ({_said(error)})", _trace())
    if isinstance(answer, tuple | list) and len(answer) == 2 and isinstance(answer[1], str):
        content, kind = answer
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogatepass")
        if isinstance(content, bytes | bytearray):
            if kind.isascii() and kind.isprintable():
                return bytes(content), kind
            return Failure(f"returned the media type {kind[:80]!r}; expected printable ASCII", "")
    kinds = (
        f"({', '.join(type(part).__name__ for part in answer)})" if isinstance(answer, tuple) else type(answer).__name__
    )
    return Failure(f"returned {kinds}; expected of {called} (text or bytes, its media type)", "")


def _trace() -> str:
    return traceback.format_exc()[-_MAX_TRACE:]


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
