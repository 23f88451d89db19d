"""The server process: it listens at once, loads the model beside that, and ends well on SIGTERM.

SageMaker asks for connections within 250 ms, and for a healthy /ping within four minutes of the start; it kills the
process 30 seconds after SIGTERM.
"""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import uvicorn

from sagemaker_object_detection.artifact.model_info import ModelInfo
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.serving.app import Service
from sagemaker_object_detection.serving.connections import (
    KEEP_ALIVE_SECONDS,
    Connection,
    Connections,
    most_connections,
)
from sagemaker_object_detection.serving.model import Loader
from sagemaker_object_detection.serving.models import Models
from sagemaker_object_detection.serving.published import find_model
from sagemaker_object_detection.serving.queue import BatchQueue
from sagemaker_object_detection.serving.settings import (
    LARGEST_PAYLOAD_IN_MB,
    MODEL_ID,
    ONE_PROCESS,
    WORKERS,
    name_idle,
    read_settings,
)

log = logging.getLogger(__name__)

ANSWERING_SECONDS = 15.0
"""After SIGTERM: what still waits then is refused."""
REFUSING_SECONDS = 18.0
"""After SIGTERM: what a model, a script or a slow body has not let go of by then is refused without waiting."""
SHUTDOWN_SECONDS = 22
CLOSING_SECONDS = 3.0
_BACKLOG = 2048


def serve(model: Path, port: int | None) -> None:
    """Serves the model in folder `model` until SIGTERM or SIGINT; requests under way are answered first.

    Args:
        port: None for what the environment says, else 8080; 0 for a free one, which the log names.

    Raises:
        UserError: the folder holds no model, a setting is wrong, or the port is taken.
    """
    settings = read_settings(os.environ)
    logging.getLogger("sagemaker_object_detection").setLevel(settings.log_level)
    # Says at once that there is no model, before TensorFlow is imported.
    if not settings.multi_model and isinstance(find_model(model), ModelInfo):
        name_idle(os.environ, (MODEL_ID,), "the model says itself what it is")
    payload, most = settings.max_payload_in_mb, most_connections()
    service = Service(
        max_payload=payload * 2**20,
        transforms=max(1, LARGEST_PAYLOAD_IN_MB // payload),
        most_requests=3 * most // 4,  # the others are for pings
        queue=BatchQueue(),
        models=Models(settings.max_models) if settings.multi_model else None,
    )
    with StopSignal() as stop, _listening(settings.port if port is None else port) as listener:
        config = uvicorn.Config(
            service.app(),
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        server = _Server(config, service, Connections(most), stop)
        failures: list[BaseException] = []

        def load() -> None:
            started = time.monotonic()
            try:
                loader = Loader(service.queue, os.environ, settings.workers)
                if service.models is not None:
                    service.models.load_model = loader.load
                else:
                    service.model = loader.load(model)
                    if service.model.handler is None:
                        name_idle(os.environ, WORKERS, "no script answers, and " + ONE_PROCESS)
                log.info("Ready after %.1f seconds, on %s.", time.monotonic() - started, loader.device)
            except BaseException as error:  # told by the main thread
                failures.append(error)
                server.should_exit = True

        told = "models are loaded as they are asked for" if settings.multi_model else f"loading {model}"
        log.info("Listening on port %d; %s.", listener.getsockname()[1], told)
        threading.Thread(target=load, name="loader", daemon=True).start()
        server.run(sockets=[listener])
        closed = service.close(CLOSING_SECONDS)
        if failures:
            raise failures[0]
        log.info("Stopped." if closed else "Stopped, while an image was still being computed.")


class _Server(uvicorn.Server):
    """Ends when `stop` says so, which listens since the process began. uvicorn's own handlers come later, and a signal
    just before them would be lost."""

    def __init__(self, config: uvicorn.Config, service: Service, connections: Connections, stop: StopSignal) -> None:
        super().__init__(config)
        self._service = service
        self._connections = connections
        self._stop = stop

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        self.servers = []  # asyncio's, which accept in another way
        for listener in sockets or ():
            listener.setblocking(False)
            self._connections.listen(listener, lambda: Connection(self._connections, self.config, self.server_state))
        self.started = True

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        for listener in sockets or ():
            self._connections.close(listener)
        asyncio.get_running_loop().call_later(REFUSING_SECONDS, self._refuse)
        await super().shutdown(list(sockets or ()))

    def _refuse(self) -> None:
        for task in self.server_state.tasks:
            task.cancel()

    async def on_tick(self, counter: int) -> bool:
        """Asked ten times a second, until it says that the server is to end."""
        if self._stop.requested:
            self.should_exit = True
            self._service.stop_within(ANSWERING_SECONDS)
        return await super().on_tick(counter)


def _listening(port: int) -> socket.socket:
    try:
        listener = socket.create_server(("", port), backlog=_BACKLOG)
    except OSError as error:
        raise UserError(
            f"port {port}: cannot be listened on ({os.strerror(error.errno or 0)}); stop what listens there, or choose "
            "another with --port"
        ) from error
    # Made of its number, a socket knows its protocol. Only then does asyncio send small answers at once, instead of
    # 40 ms later (Nagle's algorithm).
    return socket.socket(fileno=listener.detach())
