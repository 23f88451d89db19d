"""SIGTERM as a flag with a deadline: a stop, the end of the paid time and a spot interruption all begin with it."""

import math
import signal
import time
from types import FrameType
from typing import Any

GRACE_SECONDS = 120.0
"""SageMaker sends SIGKILL this long after SIGTERM."""


class StoppedError(Exception):
    """The job was told to stop before there was anything to save."""


class StopSignal:
    """Turns SIGTERM and SIGINT into `requested` while it is entered, in the main thread; restores the handlers after.

    Signals after the first change nothing: the deadline stays that of the first. Entered inside of another one, it
    begins with what that one has seen. One that is never entered is never requested (`NEVER`).
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        return self._since is not None

    @property
    def seconds_left(self) -> float:
        """Seconds until the process is killed, never negative; infinite while no stop is requested."""
        return math.inf if self._since is None else max(0.0, self._since + GRACE_SECONDS - time.monotonic())

    def check(self) -> None:
        """Raises StoppedError if a stop is requested: for what comes before there is anything to save."""
        if self.requested:
            raise StoppedError

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = self._previous[number] = signal.signal(number, self._request)
            outer = getattr(previous, "__self__", None)
            if isinstance(outer, StopSignal) and outer._since is not None:
                self._since = outer._since
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _request(self, number: int, frame: FrameType | None) -> None:
        # No logging here: a handler may interrupt the very write that holds the stream's lock.
        if self._since is None:
            self._since = time.monotonic()


NEVER = StopSignal()
"""For what no signal ends."""
