"""SIGTERM as a flag with a deadline: a stop, the end of the paid time and a spot interruption all begin with it."""

import math
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

GRACE_SECONDS = 120.0
"""SageMaker sends SIGKILL this long after SIGTERM to a training job."""
SERVER_GRACE_SECONDS = 30.0
"""The same, to a server."""
TERMINATED = 143
"""What a shell reports of a process that SIGTERM ended."""
_LAST_SECONDS = 3.0


class StoppedError(Exception):
    """The job was told to stop before there was anything to save."""


class StopSignal:
    """Turns SIGTERM and SIGINT into `requested` while it is entered, in the main thread; restores the handlers after.

    Signals after the first change nothing: the deadline stays that of the first. Entered inside of another one, it
    sees what that one sees. One that is never entered is never requested (`NEVER`).

    The outermost has a thread that takes the time of the first signal: Python's own handler waits until the main thread
    is back from TensorFlow, perhaps for a whole step or as long as an image takes, while the platform counts.

    Args:
        seconds: from the signal to the end of the process.
        last_resort: whether the thread ends the process shortly before that, and says so.
    """

    def __init__(self, seconds: float = GRACE_SECONDS, *, last_resort: bool = False) -> None:
        self._seconds = seconds
        self._last_resort = last_resort
        self._since: float | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._outer: StopSignal | None = None
        self._wakeup: socket.socket | None = None

    @property
    def requested(self) -> bool:
        return self.seconds_left < math.inf

    @property
    def seconds_left(self) -> float:
        """Seconds until the process is killed, never negative; infinite while no stop is requested."""
        if self._since is None:
            return self._outer.seconds_left if self._outer is not None else math.inf
        return max(0.0, self._since + self._seconds - time.monotonic())

    def check(self) -> None:
        """Raises StoppedError if a stop is requested: for what comes before there is anything to save."""
        if self.requested:
            raise StoppedError

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = self._previous[number] = signal.signal(number, self._request)
            outer = getattr(previous, "__self__", None)
            if isinstance(outer, StopSignal):
                self._outer = outer
        if self._outer is None:
            reader, self._wakeup = socket.socketpair()
            self._wakeup.setblocking(False)
            signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(reader,), name="stop", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            self._wakeup.close()  # which ends the thread
            self._wakeup = None

    def _request(self, number: int, frame: FrameType | None) -> None:
        # No logging here: a handler may interrupt the very write that holds the stream's lock.
        if self._outer is not None:
            self._outer._request(number, frame)
        elif self._since is None:
            self._since = time.monotonic()

    def _watch(self, numbers: socket.socket) -> None:
        with numbers:
            while number := numbers.recv(1):
                if number[0] in self._previous:
                    self._request(number[0], None)
                    if self._last_resort:
                        time.sleep(max(0.0, self.seconds_left - _LAST_SECONDS))
                        self._end()

    def _end(self) -> None:
        passed = self._seconds - _LAST_SECONDS
        text = f"WARNING: {passed:.0f} seconds after the signal the process is still at work, and ends here. "
        with suppress(OSError):
            os.set_blocking(1, False)  # whoever reads may have stopped reading
            os.write(1, f"{text}Files that it had finished are whole.\n".encode())
        os._exit(TERMINATED)


NEVER = StopSignal()
"""For what no signal ends."""
