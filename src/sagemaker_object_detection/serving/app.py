"""SageMaker's hosting contract over HTTP: /ping, /invocations and, for batch transform, /execution-parameters.

Every answer is JSON; what cannot be answered is {"error": a sentence} with the status that says whose fault it was.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sagemaker_object_detection.artifact.inference import RequestError, check_content_type, parse_accept, respond
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.images.headers import TOO_LARGE, Header, UnusableImageError, header_of
from sagemaker_object_detection.serving.queue import BatchQueue

log = logging.getLogger(__name__)

MAX_HELD_BYTES = 2**29
"""Of all bodies that are being read or wait. Beyond it requests are turned away: a full memory would end them all."""
BODY_SECONDS = 60.0
"""How long a body may take to arrive: SageMaker gives the whole request no longer."""
RETRY_SECONDS = "1"


@dataclass(frozen=True)
class Model:
    """A model that has answered an image."""

    queue: BatchQueue
    labels: Labels


@dataclass
class Service:
    """What the requests see. `model` is None until it is loaded."""

    max_payload: int
    """Bytes of the largest body."""
    transforms: int
    """How many requests batch transform should have open at a time."""
    model: Model | None = None
    held: int = 0
    """Bytes of the bodies of the requests under way, as far as they are announced or there."""

    def app(self) -> Starlette:
        routes = [
            Route("/ping", self._ping),
            Route("/invocations", self._invocations, methods=["POST"]),
            Route("/execution-parameters", self._execution_parameters),
        ]
        handlers = {RequestError: _refused, HTTPException: _refused, ClientDisconnect: _gone, Exception: _failed}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _ping(self, request: Request) -> Response:
        if self.model is None:
            raise RequestError(503, "the model is not loaded yet")
        if not self.model.queue.healthy:
            raise RequestError(503, "the model does not answer any more")
        return JSONResponse({"status": "healthy"})

    async def _execution_parameters(self, request: Request) -> Response:
        return JSONResponse(
            {
                "MaxConcurrentTransforms": self.transforms,
                "BatchStrategy": "SINGLE_RECORD",
                "MaxPayloadInMB": self.max_payload // 2**20,
            }
        )

    async def _invocations(self, request: Request) -> Response:
        body = _Body(self, request.headers.get("content-length", ""))
        try:
            contents = await _read(request, body)
            check_content_type(request.headers.get("content-type"))
            accept = parse_accept(", ".join(request.headers.getlist("accept")))
            if not contents:
                raise RequestError(400, "the body is empty; expected one JPEG or PNG file")
            # In a thread, because a header can be long and every other request would wait; in one, as Pillow asks.
            header = await asyncio.get_running_loop().run_in_executor(_HEADERS, _header, contents)
            if self.model is None:
                raise RequestError(503, "the model is not loaded yet")
            outputs = await asyncio.wrap_future(self.model.queue.put(contents, header.height * header.width))
            return JSONResponse(respond(outputs, self.model.labels.names, accept))
        finally:
            body.drop()


_HEADERS = ThreadPoolExecutor(1, thread_name_prefix="headers")


class _Body:
    """A body as it arrives. What it holds, or says that it will, is counted in `service.held` until it is dropped."""

    def __init__(self, service: Service, length: str) -> None:
        self._service = service
        self._contents = bytearray()
        self._counted = 0
        self.refusal: RequestError | None = None
        if length.isascii() and length.isdigit() and len(length) < 16:
            self._count(int(length))

    def add(self, block: bytes) -> None:
        """A body that is refused is not kept."""
        if self.refusal is None:
            self._contents += block
            self._count(max(self._counted, len(self._contents)))

    def take(self) -> bytes:
        """The whole; it stays counted."""
        contents = bytes(self._contents)
        self._contents.clear()
        return contents

    def drop(self) -> None:
        self._service.held -= self._counted
        self._counted = 0
        self._contents.clear()

    def _count(self, size: int) -> None:
        if size > self._service.max_payload:
            limit = self._service.max_payload / 2**20
            self.refusal = RequestError(413, f"more than {limit:g} MB are not accepted: shrink the image")
        elif self._service.held + size - self._counted > MAX_HELD_BYTES:
            self.refusal = RequestError(503, "busy: the images under way fill the memory that is set aside; try again")
        else:
            self._service.held += size - self._counted
            self._counted = size
            return
        self.drop()


async def _read(request: Request, body: _Body) -> bytes:
    """The body, which is read to its end also where it is refused: else many a client would never see why."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for block in request.stream():
                body.add(block)
    except TimeoutError:
        raise RequestError(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
    if body.refusal is not None:
        raise body.refusal
    return body.take()


def _header(contents: bytes) -> Header:
    try:
        return header_of(contents)
    except UnusableImageError as error:
        raise RequestError(413 if error.kind == TOO_LARGE else 400, f"the body {error}") from error


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestError):
        status, sentence = error.status, str(error)
    else:
        assert isinstance(error, HTTPException)
        status = error.status_code
        sentence = f"{error.detail}: {request.method} {request.url.path}; expected GET /ping or POST /invocations"
    if status != 503 or request.url.path != "/ping":  # pings come every few seconds while the model loads
        log.info("%s %s: %d: %s", request.method, request.url.path, status, sentence)
    headers = {"Retry-After": RETRY_SECONDS} if status == 503 else None
    return JSONResponse({"error": sentence}, status, headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises the error again behind this answer, and uvicorn logs it.
    return JSONResponse({"error": f"a fault of the server: {type(error).__name__}"}, 500)
