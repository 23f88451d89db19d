"""SageMaker's hosting contract over HTTP: /ping, /invocations and, for batch transform, /execution-parameters; of a
multi-model endpoint /models and /models/NAME/invoke.

Every answer is JSON; what cannot be answered is {"error": a sentence} with the status that says whose fault it was.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sagemaker_object_detection.artifact import inference
from sagemaker_object_detection.artifact.inference import (
    IMAGE,
    RequestError,
    check_threshold,
    parse_accept,
    parse_json,
    read_request,
)
from sagemaker_object_detection.images.headers import TOO_LARGE, UnusableImageError, header_of
from sagemaker_object_detection.sentences import printable
from sagemaker_object_detection.serving.body import Bodies, Body, beyond
from sagemaker_object_detection.serving.model import Model
from sagemaker_object_detection.serving.models import Models
from sagemaker_object_detection.serving.queue import BatchQueue, Outputs

log = logging.getLogger(__name__)

_REFUSED_A_SECOND = 2**24
"""Bytes of all bodies together that are read though they are refused: those of others come first."""
_HELD_UP = 5.0
"""Seconds that one such body is held up at most."""
BODY_SECONDS = 60.0
"""How long a body may take to arrive: SageMaker gives the whole request no longer."""
RETRY_SECONDS = "1"
_MAX_LOAD_BYTES = 2**16
"""Of the body that asks for a model to be loaded."""
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


@dataclass
class Service:
    """What the requests see."""

    max_payload: int
    """Bytes of the largest body."""
    transforms: int
    """How many requests batch transform should have open at a time."""
    most_requests: int = 1000
    """For an answer of the model, at a time."""
    queue: BatchQueue = field(default_factory=BatchQueue)
    model: Model | None = None
    """None until it is loaded, and where there are `models`."""
    models: Models | None = None
    """Of a multi-model endpoint."""
    bodies: Bodies = field(default_factory=Bodies)
    """Of the requests under way."""
    under_way: int = 0
    """Requests whose bodies are there."""
    refused: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whose turn it is to have more of a refused body read."""

    def app(self) -> Starlette:
        routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/ping", self._ping),
            ("GET", "/execution-parameters", self._execution_parameters),
        ]
        if self.models is None:
            routes.append(("POST", "/invocations", self._invocations))
        else:
            routes += [
                ("GET", "/models", partial(self._list, self.models)),
                ("POST", "/models", partial(self._load, self.models)),
                ("GET", "/models/{name}", partial(self._describe, self.models)),
                ("DELETE", "/models/{name}", partial(self._unload, self.models)),
                ("POST", "/models/{name}/invoke", partial(self._invoke, self.models)),
            ]
        refused = partial(_refused, "POST /models/NAME/invoke" if self.models else "POST /invocations")
        handlers: dict[Any, Any] = {
            RequestError: refused,
            HTTPException: refused,
            ClientDisconnect: _gone,
            Exception: _failed,
        }
        stoppable = [Route(path, partial(_stoppable, answer), methods=[method]) for method, path, answer in routes]
        app = Starlette(routes=stoppable, exception_handlers=handlers)
        app.router.redirect_slashes = False  # its answer would have no body
        return app

    def stop_within(self, seconds: float) -> None:
        """Requests that are not answered by then are refused (503)."""
        self.queue.stop_within(seconds)
        if self.model is not None:
            self.model.stop_within(seconds)
        if self.models is not None:
            self.models.stop_within(seconds)

    def close(self, seconds: float) -> bool:
        """Ends everything; False where something is still computed or loaded after so many seconds."""
        if self.model is not None:
            self.model.close()
        loaded = self.models is None or self.models.close()
        return self.queue.close(seconds) and loaded

    async def _ping(self, request: Request) -> Response:
        if self.model is None and (self.models is None or self.models.load_model is None):
            raise RequestError(503, "the model is not loaded yet")
        if not self.queue.healthy:
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

    async def _list(self, models: Models, request: Request) -> Response:
        return JSONResponse(models.page(request.query_params.get("next_page_token", "")))

    async def _load(self, models: Models, request: Request) -> Response:
        body = Body(self.bodies, request.headers.get("content-length", ""), _MAX_LOAD_BYTES)
        try:
            await self._read(request, body)
            content = parse_json(body.take(), _TO_LOAD)
        finally:
            body.drop()
        if not (isinstance(content, dict) and content.keys() >= {"model_name", "url"}):
            raise RequestError(400, f"the body: expected {_TO_LOAD}")
        await models.load(content["model_name"], content["url"])
        return JSONResponse({"modelName": content["model_name"], "modelUrl": content["url"]})

    async def _describe(self, models: Models, request: Request) -> Response:
        return JSONResponse(models.describe(request.path_params["name"]))

    async def _unload(self, models: Models, request: Request) -> Response:
        await models.unload(request.path_params["name"])
        return JSONResponse({"status": "unloaded"})

    async def _invoke(self, models: Models, request: Request) -> Response:
        return await self._answered(request, lambda: models.use(request.path_params["name"]))

    async def _invocations(self, request: Request) -> Response:
        return await self._answered(request, lambda: nullcontext(self.model))

    async def _answered(self, request: Request, use: Callable[[], AbstractContextManager[Model | None]]) -> Response:
        encoding = request.headers.get("content-encoding", "identity").strip()
        body = Body(self.bodies, request.headers.get("content-length", ""), self.max_payload)
        by_model = False
        with suppress(RequestError), use() as model:
            by_model = model is not None and model.handler is None  # what a script takes is its own affair
        try:
            await self._read(request, body, judge=by_model)
            if encoding.lower() != "identity":
                raise RequestError(
                    415, f"Content-Encoding: got {encoding[:80]!r}; expected none: send the body uncompressed"
                )
            if self.under_way >= self.most_requests:
                raise RequestError(503, f"busy: {self.most_requests} requests are under way; try again later")
            self.under_way += 1
            try:
                with use() as model:
                    if model is not None and model.handler is not None:
                        return await self._by_script(request, body, model)
                    return await self._by_model(request, body, model)
            finally:
                self.under_way -= 1
        finally:
            body.drop()

    async def _read(self, request: Request, body: Body, judge: bool = False) -> None:
        """Reads the body, which is read to its end also where it is refused: else many a client would never see why.

        Args:
            judge: it may be an image, of which no more is kept than what shows that it is refused.
        """
        left = _HELD_UP
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for block in request.stream():
                    body.add(block)
                    if judge and body.is_due:
                        await _in_thread(body.judge)
                    if body.refusal is not None:
                        pause = min(len(block) / _REFUSED_A_SECOND, left)
                        left -= pause
                        async with self.refused:
                            await asyncio.sleep(pause)
        except TimeoutError:
            late = RequestError(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds")
            raise body.refusal or late from None
        if body.refusal is not None:
            raise body.refusal

    async def _by_model(self, request: Request, body: Body, model: Model | None) -> Response:
        accept = parse_accept(", ".join(request.headers.getlist("accept")))
        asked, pixels = await _in_thread(_read_images, body.take(), request.headers.get("content-type"))
        if model is None:
            raise RequestError(503, "the model is not loaded yet")
        check_threshold(accept, model.thresholds)
        waiting: list[asyncio.Future[Outputs]] = []
        try:
            for image, size in zip(asked.images, pixels, strict=True):
                waiting.append(asyncio.wrap_future(self.queue.put(model.detect, image, size)))
            outputs = await asyncio.gather(*waiting, return_exceptions=True)
        finally:
            for future in waiting:
                future.cancel()
        rows: list[Outputs] = []
        for index, output in enumerate(outputs):
            if isinstance(output, RequestError) and asked.form != IMAGE:
                raise RequestError(output.status, f"{asked.place(index)}: {output}") from output
            if isinstance(output, BaseException):
                raise output
            rows.append(output)
        answer = partial(inference.answer, rows, model.labels.names, accept, asked.form, model.thresholds)
        if asked.form == IMAGE:
            return JSONResponse(answer())
        return await _in_thread(lambda: JSONResponse(answer()))  # of many images it takes its time

    async def _by_script(self, request: Request, body: Body, model: Model) -> Response:
        assert model.handler is not None
        headers, length = request.headers, len(body)
        attributes = headers.get(_ATTRIBUTES)
        told = dict(re.findall(r"(tfs-[a-z-]+)=([^,]+)", attributes or ""))
        name = request.path_params.get("name") or told.get("tfs-model-name")
        fields = {
            "model_name": name,
            "model_version": told.get("tfs-model-version"),
            "method": told.get("tfs-method"),
            "grpc_port": None,
            "channel": None,
            "custom_attributes": attributes,
            "request_content_type": headers.get("content-type") or "application/json",
            "accept_header": headers.get("accept") or "application/json",
            "content_length": length,
        }
        future = model.handler.call(body.take(), fields, quote(name or "model", safe=""))
        content, media_type = await asyncio.wrap_future(future)
        return Response(content, headers={"Content-Type": media_type})


_TO_LOAD = '{"model_name": "a name", "url": "the path of a model\'s folder"}'
_T = TypeVar("_T")
_HEADERS = ThreadPoolExecutor(1, thread_name_prefix="headers")


async def _stoppable(answer: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    try:
        return await answer(request)
    except asyncio.CancelledError:  # by the server, as its last seconds begin
        raise RequestError(503, "the server is stopping; try again") from None


async def _in_thread(call: Callable[..., _T], *arguments: Any) -> _T:
    """In a thread, because reading can take long and every other request would wait; in one, to take turns."""
    return await asyncio.get_running_loop().run_in_executor(_HEADERS, call, *arguments)


def _read_images(contents: bytes, content_type: str | None) -> tuple[inference.Request, list[int]]:
    """The images of a body, and how many pixels each has."""
    asked = read_request(contents, content_type)
    pixels = []
    for index, image in enumerate(asked.images):
        try:
            header = header_of(image)
        except UnusableImageError as error:
            raise beyond(error.kind == TOO_LARGE, f"{asked.place(index)} {error}") from error
        pixels.append(header.height * header.width)
    return asked, pixels


async def _refused(expected: str, request: Request, error: Exception) -> Response:
    if isinstance(error, RequestError):
        status, sentence = error.status, str(error)
    else:
        assert isinstance(error, HTTPException)
        status = error.status_code
        asked = f"{printable(request.method)} {printable(request.url.path)}"
        sentence = f"{error.detail}: {asked}; expected GET /ping or {expected}"
    if status != 503 or request.url.path != "/ping":  # pings come every few seconds while the model loads
        log.info("%s %s: %d: %s", request.method, request.url.path, status, sentence)
    headers = {"Retry-After": RETRY_SECONDS} if status == 503 else None
    return JSONResponse({"error": sentence}, status, headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises the error again behind this answer, and uvicorn logs it.
    return JSONResponse({"error": f"a fault of the server: {type(error).__name__}"}, 500)
