"""stdin, stdout and stderr, whatever became of them: a job whose log is not read any more goes on."""

import logging
import os
import sys
from contextlib import suppress
from typing import TextIO


def open_standard_streams() -> None:
    """Opens those of stdin, stdout and stderr that are closed, as pipes whose other end is closed: else the next files
    would get their numbers, and with them whatever is printed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            reader, writer = os.pipe()
            os.dup2(writer, number)
            for end in {reader, writer} - {number}:
                os.close(end)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes a log. That it has no reader any more is said once on stderr, and ends nothing."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        if not isinstance(error, BlockingIOError):  # which passes
            write_nowhere(self.stream.fileno())
        if not self._told:
            self._told = True
            with suppress(OSError):
                text = f"WARNING: The log cannot be written ({error.strerror}): the work goes on, and lines are lost."
                print(text, file=sys.stderr, flush=True)


def write_nowhere(number: int) -> None:
    """What is written to a file descriptor from now on goes to /dev/null."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
