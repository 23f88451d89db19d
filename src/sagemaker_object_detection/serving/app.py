"""SageMaker's hosting contract over HTTP: /ping, /invocations and, for batch transform, /execution-parameters.

Every answer is JSON; what cannot be answered is {"error": a sentence} with the status that says whose fault it was.
"""

import asyncio
import logging
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sagemaker_object_detection.artifact.inference import RequestError, check_content_type, parse_accept, respond
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.dataset.images import TOO_LARGE, Header, UnusableImageError, header_of
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
    """Bytes of the bodies of the requests under way."""

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
        body = bytearray()
        try:
            await self._read(request, body)
            check_content_type(request.headers.get("content-type"))
            accept = parse_accept(request.headers.get("accept"))
            if not body:
                raise RequestError(400, "the body is empty; expected one JPEG or PNG file")
            contents = bytes(body)
            header = _header(contents)
            if self.model is None:
                raise RequestError(503, "the model is not loaded yet")
            outputs = await asyncio.wrap_future(self.model.queue.put(contents, header.height * header.width))
            return JSONResponse(respond(outputs, self.model.labels.names, accept))
        finally:
            self.held -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        """The body, which is read to its end also where it is refused: else many a client would never see why."""
        size, room = 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for block in request.stream():
                    size += len(block)
                    room = room and self.held + len(block) <= MAX_HELD_BYTES
                    if room and size <= self.max_payload:
                        body += block
                        self.held += len(block)
        except TimeoutError:
            raise RequestError(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
        if size > self.max_payload:
            limit = self.max_payload / 2**20
            raise RequestError(413, f"the body has {size} bytes; at most {limit:g} MB are accepted: shrink the image")
        if not room:
            raise RequestError(503, "busy: the images under way fill the memory that is set aside; try again later")


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
