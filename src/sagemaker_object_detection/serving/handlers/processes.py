"""The processes in which a user's script answers requests: one that hangs or dies takes no other with it."""

import contextlib
import logging
import math
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sagemaker_object_detection.artifact.inference import RequestError
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving.handlers.child import Failure, work
from sagemaker_object_detection.serving.handlers.rest import RestInterface
from sagemaker_object_detection.serving.handlers.script import Script
from sagemaker_object_detection.serving.queue import MAX_WAITING, PATIENCE

log = logging.getLogger(__name__)

_START_SECONDS = 120.0
"""For the script's imports: an endpoint has four minutes to become healthy."""
_INSTALL_SECONDS = 120
ANSWER_SECONDS = PATIENCE
"""From the arrival of a request to its answer, after which the process that has it is ended."""
RESTART_SECONDS = 5.0
"""How long a request waits while every process is started again, which takes as long as the script's imports."""
_LOOK_SECONDS = 0.25
"""Between two looks whether the server is to stop."""


class UserHandler:
    """Answers requests with a user's script.

    Args:
        script: whose handler functions are called.
        rest: the model, as the script asks it; closed with this.
        count: of processes.
        work: makes an empty folder of a name, for packages that the script asks for.

    Raises:
        UserError: the script or its packages cannot be imported.
    """

    def __init__(self, script: Script, rest: RestInterface, count: int, work: Callable[[str], Path]) -> None:
        self._script, self._rest = script, rest
        self._libraries = [str(script.path.parent), *_packages(script, work)]
        self._idle: queue.SimpleQueue[_Process | None] = queue.SimpleQueue()
        """None once all is closed."""
        self._count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="handler")
        self._waiting = 0
        self._starting = 0
        """Processes that are started again."""
        self._end = math.inf
        self._lock = threading.Lock()
        self._closed = False
        self._processes: set[_Process] = set()
        try:
            for process in [self._started() for _ in range(count)]:
                if failure := process.imported():
                    log.error("%s %s\n%s", script.path, failure.sentence, failure.trace)
                    raise UserError(
                        f"{script.path} {failure.sentence}; correct it, put packages that it lacks into "
                        f"{script.libraries}, or deploy without entry_point"
                    )
                self._idle.put(process)
        except BaseException:
            self.close()
            raise
        functions = " and ".join(script.functions)
        log.info("%s answers requests (%s), in %d processes, without gRPC.", script.path, functions, count)

    def call(self, body: bytes, fields: dict[str, Any], model: str) -> "Future[tuple[bytes, str]]":
        """The script's answer and its media type; the future raises RequestError where there is none.

        Args:
            fields: of `child.Context`, but for `rest_uri`.
            model: what the request calls the model.

        Raises:
            RequestError: 503: too much waits already.
        """
        with self._lock:
            if self._waiting >= MAX_WAITING or self._closed:
                raise RequestError(503, f"busy: {MAX_WAITING} requests wait already; try again later")
            self._waiting += 1
        uri = f"{self._rest.address}/v1/models/{model}:{fields['method'] or 'predict'}"
        return self._threads.submit(self._answer, body, {**fields, "rest_uri": uri}, time.monotonic())

    def stop_within(self, seconds: float) -> None:
        """Requests that are not answered by then are refused (503)."""
        self._end = time.monotonic() + seconds

    def close(self) -> None:
        """Ends the processes, whatever they do."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        for _ in range(self._count):
            self._idle.put(None)
        self._rest.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _started(self) -> "_Process":
        process = _Process(self._script, self._libraries)
        with self._lock:
            self._processes.add(process)
            if self._closed:
                process.kill()
        return process

    def _answer(self, body: bytes, fields: dict[str, Any], since: float) -> tuple[bytes, str]:
        try:
            if time.monotonic() > since + PATIENCE:
                raise RequestError(503, f"busy: the request waited for more than {PATIENCE:.0f} seconds; try again")
            process = self._taken(since)
            answer = self._asked(process, body, fields, since + ANSWER_SECONDS)
        finally:
            with self._lock:
                self._waiting -= 1
        if isinstance(answer, Failure):
            log.error("%s %s\n%s", self._script.path, answer.sentence, answer.trace)
            if time.monotonic() > self._end:
                raise _stopping()
            raise RequestError(500, f"{self._script.path.name} {answer.sentence}")
        return answer

    def _taken(self, since: float) -> "_Process":
        while True:
            try:
                process = self._idle.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                patience = RESTART_SECONDS if self._starting == self._count else PATIENCE
                if time.monotonic() > since + patience:
                    raise RequestError(503, f"{self._script.path.name} is being started again; try again") from None
            else:
                if process is None:
                    raise _stopping()
                return process

    def _asked(
        self, process: "_Process", body: bytes, fields: dict[str, Any], deadline: float
    ) -> tuple[bytes, str] | Failure:
        """The answer of a process, which is idle again then, or has been ended and replaced."""
        try:
            process.send(body, fields)
            while not process.has_said(_LOOK_SECONDS):
                if time.monotonic() > self._end:
                    raise _stopping()
                if time.monotonic() > deadline:
                    name = self._script.path.name
                    raise RequestError(
                        504, f"{name} did not answer within {ANSWER_SECONDS:.0f} seconds; its process was ended"
                    )
            answer = process.said(deadline - time.monotonic())
        except (EOFError, OSError):
            answer = None
        except RequestError as error:
            log.error("%s: %s", self._script.path, error)
            self._replace(process)
            raise
        if answer is None:
            if self._closed or time.monotonic() > self._end:
                raise _stopping()
            self._replace(process)
            return Failure("ended its process while it answered this request, or wrote into its pipe", "")
        self._idle.put(process)
        return answer

    def _replace(self, process: "_Process") -> None:
        process.kill()
        with self._lock:
            self._processes.discard(process)
            self._starting += 1
        if not self._closed:
            threading.Thread(target=self._restart, name="restart", daemon=True).start()

    def _restart(self) -> None:
        """While a process imports the script the others answer. If it cannot, its first request is told."""
        process = self._started()
        process.imported()
        with self._lock:
            self._starting -= 1
        self._idle.put(process)


def _stopping() -> RequestError:
    return RequestError(503, "the server is stopping; try again")


class _Process:
    """One process, and the pipe to it."""

    def __init__(self, script: Script, libraries: list[str]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy TensorFlow's locks as they are
        self._pipe: Connection
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(theirs, str(script.path), script.functions, libraries), name="handler", daemon=True
        )
        self._process.start()
        theirs.close()  # so that the pipe ends with the process
        self._imported = False
        self._failure: Failure | None = None

    def imported(self) -> Failure | None:
        """Waits for the script's import, once."""
        if not self._imported:
            try:
                if self._pipe.poll(_START_SECONDS):
                    self._failure = self._received((Failure, type(None)), _START_SECONDS)
                else:
                    self._failure = Failure(f"was not imported within {_START_SECONDS:.0f} seconds", "")
            except (EOFError, OSError):
                self._failure = Failure("ended its process while it was imported, or wrote into its pipe", "")
            self._imported = True
        return self._failure

    def send(self, body: bytes, fields: dict[str, Any]) -> None:
        if failure := self.imported():
            raise RequestError(500, failure.sentence)
        self._pipe.send((body, fields))

    def has_said(self, seconds: float) -> bool:
        return self._pipe.poll(seconds)

    def said(self, seconds: float) -> tuple[bytes, str] | Failure:
        """Raises EOFError where the process ends within so many seconds, or is ended then."""
        answer: tuple[bytes, str] | Failure = self._received((Failure, tuple), seconds)
        return answer

    def _received(self, kinds: tuple[type, ...], seconds: float) -> Any:
        """What comes by the pipe. A script may write anything into it, as the end of a file that it has closed before:
        that is an EOFError, as is half a message, whose process is ended after so many seconds."""
        end = threading.Timer(max(0.0, seconds), self.kill)
        end.daemon = True
        end.start()
        try:
            received = self._pipe.recv()
        except Exception as error:  # unpickling may raise any
            raise EOFError from error
        finally:
            end.cancel()
        if type(received) not in kinds or (type(received) is tuple and [*map(type, received)] != [bytes, str]):
            raise EOFError
        return received

    def kill(self) -> None:
        """Ends it, and what the script has started."""
        pid = self._process.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):  # gone, or not yet the leader of its group
                os.killpg(pid, signal.SIGKILL)
        self._process.kill()


def _packages(script: Script, work: Callable[[str], Path]) -> list[str]:
    """Folders of packages that only the script sees: its own `lib`, or else what its requirements.txt asks for, as the
    TensorFlow Serving container has it."""
    if script.libraries.is_dir():
        if script.requirements.is_file():
            log.warning("%s is not installed: %s is there, and used", script.requirements, script.libraries)
        return [str(script.libraries)]
    if not script.requirements.is_file():
        return []
    log.info("Installing %s for the script alone.", script.requirements)
    folder = str(work("packages"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--target", folder, "--requirement", str(script.requirements)]
    try:
        done = subprocess.run(
            command, cwd=script.path.parent, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
        said = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]
    except subprocess.TimeoutExpired:
        said = f"not done within {_INSTALL_SECONDS} seconds"
    if said:
        raise UserError(
            f"{script.requirements}: cannot be installed ({said[:300]}); expected packages that pip can reach: put "
            f"them into {script.libraries} (pip install --target), which needs no network"
        )
    return [folder]
