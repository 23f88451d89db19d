"""What the conversion program does around its work: it prints, and turns errors into exit codes."""

import io
import os
import sys
from collections.abc import Callable

from sagemaker_object_detection.errors import AlgorithmError, JobError
from sagemaker_object_detection.job.failure import exit_code, failure_text
from sagemaker_object_detection.job.stop import StoppedError

INTERRUPTED = 130


def guarded(run: Callable[[], str]) -> int:
    """Prints what `run` returns; an error's sentences go to stderr. Returns the exit code: 0 done, 2 the user can fix
    it, 3 the machine is at fault, 130 a signal came.

    What is done stays done: that nobody can read what was said of it changes nothing. A fault of ours is raised as it
    is.
    """
    try:
        said = run()
    except (KeyboardInterrupt, StoppedError):
        return INTERRUPTED
    except Exception as error:
        code = exit_code(error)
        if code == AlgorithmError.exit_code:
            raise
        print(
            f"{type(error).__name__}: {error}" if isinstance(error, JobError) else failure_text(error), file=sys.stderr
        )
        return code
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of classes that the terminal has no letters for
    try:
        print(said, flush=True)
    except OSError:  # a pipe whose reader has had enough, a full disk; Python would complain again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
