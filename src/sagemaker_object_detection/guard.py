"""Around every command: what ends it becomes an exit code, and a sentence for whoever started it.

And around what a job can do without: a failure there costs one line of the log.
"""

import atexit
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from sagemaker_object_detection.errors import AlgorithmError, JobError, first_line
from sagemaker_object_detection.job.failure import exit_code, failure_text
from sagemaker_object_detection.job.stop import StoppedError
from sagemaker_object_detection.job.streams import write_nowhere
from sagemaker_object_detection.sentences import as_lines

log = logging.getLogger(__name__)

BROKEN_PIPE, INTERRUPTED = 141, 130
"""What a shell reports of a process that SIGPIPE or SIGINT ended."""
_SHOWN = 300
"""Characters of an error in a warning."""


def tell_on_stderr(error: Exception) -> None:
    """The sentences of an error; of a fault of ours, also where it happened."""
    if exit_code(error) == AlgorithmError.exit_code:
        traceback.print_exception(error)
    text = f"{type(error).__name__}: {error}" if isinstance(error, JobError) else failure_text(error)
    print(as_lines(text), file=sys.stderr)


def run_guarded(
    run: Callable[[], int | None], tell: Callable[[Exception], None] = tell_on_stderr, *, prints: bool = True
) -> int:
    """Runs a command.

    Args:
        run: its work; returns an exit code, None for 0.
        tell: is handed the error that ended it.
        prints: whether its work is what it prints, and of no use without a reader. A log may lose its reader.

    Returns:
        the exit code: what `run` returned, 1 our fault, 2 the user can fix it, 3 the machine's or the platform's fault,
        130 a signal came, 141 nobody reads what it prints.
    """
    try:
        code = int(run() or 0)
        if prints:
            sys.stdout.flush()
        return code
    except BrokenPipeError as error:
        if not prints:  # no reader of ours, but the far end of a connection
            tell(error)
            return exit_code(error)
        # The reader of a pipe, such as `head`, has had enough. Python would complain again when it flushes at its end.
        write_nowhere(sys.stdout.fileno())
        return BROKEN_PIPE
    except (KeyboardInterrupt, StoppedError):
        return INTERRUPTED
    except Exception as error:
        tell(error)
        return exit_code(error)


def leave(code: int) -> NoReturn:
    """Ends the process at once: TensorFlow takes seconds to leave, on a loaded machine many, and Python waits for
    threads whose work nobody waits for any more. What is registered with `atexit` is done, as removing temporary
    folders is."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


@contextmanager
def optional(what: str, consolation: str) -> Iterator[None]:
    """Turns any Exception inside into one warning: `what` could not be written, and `consolation`."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {first_line(error)}".split())[:_SHOWN]
        log.warning("%s could not be written (%s): %s.", what, reason, consolation)
