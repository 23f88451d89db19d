"""What the conversion program does around its work: it prints, and turns errors into exit codes."""

import os
import sys
from collections.abc import Callable

from sagemaker_object_detection.errors import AlgorithmError, JobError
from sagemaker_object_detection.job.failure import exit_code, failure_text
from sagemaker_object_detection.job.stop import StoppedError

INTERRUPTED, BROKEN_PIPE = 130, 141


def guarded(run: Callable[[], str]) -> int:
    """Prints what `run` returns; an error's sentences go to stderr. Returns the exit code: 0 done, 2 the user can fix
    it, 3 the machine is at fault, 130 a signal came.

    A fault of ours is raised as it is.
    """
    try:
        print(run(), flush=True)
    except (KeyboardInterrupt, StoppedError):
        return INTERRUPTED
    except (
        BrokenPipeError
    ):  # the reader of a pipe has had enough; Python would complain again when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        code = exit_code(error)
        if code == AlgorithmError.exit_code:
            raise
        print(
            f"{type(error).__name__}: {error}" if isinstance(error, JobError) else failure_text(error), file=sys.stderr
        )
        return code
    return 0
