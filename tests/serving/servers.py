"""Servers for the tests: the real process, on a free port, gone when a test is over."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import TINY_JOB

LONG = 120.0
"""Seconds to wait for what comes within a few, before a test fails."""


class Server:
    """A process of `serve`, and the lines it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """The first match in a line of the log."""
        with self._said:
            self._said.wait_for(lambda: self._search(pattern) or not self._reader.is_alive(), LONG)
            match = self._search(pattern)
        assert match, f"never said {pattern!r}:\n{''.join(self.lines)}"
        return match

    def _search(self, pattern: str) -> "re.Match[str] | None":
        return next((match for line in self.lines if (match := re.search(pattern, line))), None)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self.wait_for(r"Listening on port (\d+)")[1])

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LONG)


@contextmanager
def started(*arguments: object, files: int | None = None, **environment: str) -> Iterator[Server]:
    """`serve --port 0 ...`, which knows the tiny models too; killed at the end if it still runs.

    Args:
        files: that it may have open; None for as many as this process.
    """
    limited = ["sh", "-c", 'ulimit -n "$0"; exec "$@"', str(files)] if files else []
    process = subprocess.Popen(
        [*limited, sys.executable, TINY_JOB, "serve", "--port", "0", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield Server(process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving(model: Path, *, files: int | None = None, **environment: str) -> Iterator[Server]:
    """A server that is ready."""
    with started("--model", model, files=files, **environment) as server:
        server.wait_for(r"Ready after")
        yield server
