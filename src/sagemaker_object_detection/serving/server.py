"""The server process: it listens at once, loads the model beside that, and ends well on SIGTERM.

SageMaker asks for connections within 250 ms, and for a healthy /ping within four minutes of the start; it kills the
process 30 seconds after SIGTERM.
"""

import io
import logging
import os
import resource
import socket
import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import uvicorn
from PIL import Image

from sagemaker_object_detection.artifact.model_info import read_model_info
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.serving.app import Model, Service
from sagemaker_object_detection.serving.queue import BatchQueue

log = logging.getLogger(__name__)

PORT = 8080
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
"""Set where several containers share an endpoint."""
PAYLOAD_VARIABLE = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
"""Set by batch transform, where the user has chosen it; 0 stands for no limit."""
MAX_PAYLOAD_IN_MB = 25
"""The largest body of SageMaker's own endpoints."""
LARGEST_PAYLOAD_IN_MB = 100
"""Of any transform job, times the requests that are open at once."""
ANSWERING_SECONDS = 15.0
"""After SIGTERM: what still waits then is refused."""
SHUTDOWN_SECONDS = 22
CLOSING_SECONDS = 3.0
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 seconds for which SageMaker's side keeps a connection, so that it is never the one surprised."""
_BACKLOG = 2048
_GPU_BATCH = 8


def serve(model: Path, port: int | None) -> None:
    """Serves the model in folder `model` until SIGTERM or SIGINT; requests under way are answered first.

    Args:
        port: None for what the environment says, else 8080; 0 for a free one, which the log names.

    Raises:
        UserError: the folder holds no model, a setting is wrong, or the port is taken.
    """
    if port is None:
        port = _whole_number(PORT_VARIABLE, PORT, 65535)
    payload = _whole_number(PAYLOAD_VARIABLE, MAX_PAYLOAD_IN_MB, LARGEST_PAYLOAD_IN_MB)
    payload = payload or LARGEST_PAYLOAD_IN_MB
    read_model_info(model)  # says at once that there is no model, before TensorFlow is imported
    service = Service(max_payload=payload * 2**20, transforms=max(1, LARGEST_PAYLOAD_IN_MB // payload))
    # As many connections as the system lets this process have: 1024 files, as many start with, are soon used up.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with StopSignal() as stop, _listening(port) as listener:
        config = uvicorn.Config(
            service.app(),
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            backlog=_BACKLOG,
        )
        server = _Server(config, service, stop)
        failures: list[BaseException] = []

        def load() -> None:
            started = time.monotonic()
            try:
                service.model, device = _load(model)
                log.info("Ready after %.1f seconds, on %s.", time.monotonic() - started, device)
            except BaseException as error:  # told by the main thread
                failures.append(error)
                server.should_exit = True

        log.info("Listening on port %d; loading %s.", listener.getsockname()[1], model)
        threading.Thread(target=load, name="loader", daemon=True).start()
        server.run(sockets=[listener])
        if failures:
            raise failures[0]
        closed = service.model is None or service.model.queue.close(CLOSING_SECONDS)
        log.info("Stopped." if closed else "Stopped, while an image was still being computed.")
        if not closed:  # at its end Python would wait for TensorFlow, and SageMaker for neither
            sys.stdout.flush()
            os._exit(0)


class _Server(uvicorn.Server):
    """Ends when `stop` says so, which listens since the process began. uvicorn's own handlers come later, and a signal
    just before them would be lost."""

    def __init__(self, config: uvicorn.Config, service: Service, stop: StopSignal) -> None:
        super().__init__(config)
        self._service = service
        self._stop = stop

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def on_tick(self, counter: int) -> bool:
        """Asked ten times a second, until it says that the server is to end."""
        if self._stop.requested:
            self.should_exit = True
            if self._service.model is not None:
                self._service.model.queue.stop_within(ANSWERING_SECONDS)
        return await super().on_tick(counter)


def _load(folder: Path) -> tuple[Model, str]:
    """The model, once it has answered an image, as the first answer takes seconds; and for the log, on what."""
    from sagemaker_object_detection.devices.prepare import prepare_to_answer
    from sagemaker_object_detection.serving.predictor import Predictor

    on_gpu = prepare_to_answer()
    batch_size = _GPU_BATCH if on_gpu else min(os.cpu_count() or 1, _GPU_BATCH)
    predictor = Predictor(folder)
    # A GPU chooses its algorithms for every size of a batch on its own.
    image = io.BytesIO()
    Image.new("RGB", (64, 64)).save(image, "PNG")
    for size in range(batch_size, 0, -1) if on_gpu else {1, batch_size}:
        predictor([image.getvalue()] * size)
    device = f"{'a GPU' if on_gpu else 'the CPU'}, up to {batch_size} images at a time"
    return Model(BatchQueue(predictor, batch_size), predictor.labels), device


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


def _whole_number(name: str, default: int, largest: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= largest):
        raise UserError(f"{name}: got {text!r} in the environment; expected a whole number from 0 to {largest}")
    return int(text)
