"""How a job ends badly: whom to blame, the exit code, and the file SageMaker shows as the FailureReason."""

import errno
import logging
import os
import traceback
from pathlib import Path

from sagemaker_object_detection.errors import (
    AlgorithmError,
    JobError,
    PlatformError,
    ScriptError,
    UserError,
    first_line,
)
from sagemaker_object_detection.files.disk import PLATFORM_ERRNOS
from sagemaker_object_detection.files.whole import whole_file
from sagemaker_object_detection.sentences import as_lines

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 1024 - 64
"""SageMaker shows 1024 characters, of which its own prefix takes some."""
_MAX_CAUSE = 400
_MAX_CAUSE_LINES = 8
_FRAMES = 3


def exit_code(error: BaseException) -> int:
    """1: a fault of this container; 2: the user can fix it; 3: the machine or the platform is at fault.

    A script of the job's own chooses for itself.
    """
    return error.exit_code if isinstance(error, ScriptError) else _blame(error).exit_code


def write_failure(file: Path, error: BaseException) -> None:
    """Write the file that SageMaker reads, whole or not at all. That it cannot be written is logged and hides nothing.

    A script of the job's own may have written the file itself: then it knows best.
    """
    if isinstance(error, ScriptError) and file.exists():
        return
    write_message(file, failure_text(error))


def write_message(file: Path, text: str) -> None:
    """As `write_failure`, of a text."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as unfinished:
            unfinished.write_bytes(text.encode(errors="replace"))
    except OSError as obstacle:
        logger.warning("cannot write %s: %s", file, obstacle.strerror)


def failure_text(error: BaseException) -> str:
    """Whose fault and the cause in one line, then what to do, then at most a short trace: `MAX_CHARACTERS` in all.

    Of a script of the job's own nobody here knows whose fault it was: its text begins with the cause.
    """
    if isinstance(error, ScriptError):
        cause = [_cut(line, _MAX_CAUSE) for line in error.cause[:_MAX_CAUSE_LINES]]
        return _cut("\n".join([*cause, str(error), *error.trace]), MAX_CHARACTERS)
    blame = _blame(error)
    if isinstance(error, JobError):
        text = _problems(error, MAX_CHARACTERS - len(f"{blame.__name__}: "))
    else:
        text = _cut(f"{type(error).__name__}: {first_line(error)}", _MAX_CAUSE)
    if blame is PlatformError and (advice := _advice(error)):
        text = f"{advice}\n{text}"
    if blame is AlgorithmError:
        text += f"\nThis is a fault of the container: please report it with the log.\n{_trace(error)}"
    return _cut(as_lines(f"{blame.__name__}: {text}".rstrip()), MAX_CHARACTERS)


def _blame(error: BaseException) -> type[JobError]:
    for kind in (UserError, PlatformError, AlgorithmError):
        if isinstance(error, kind):
            return kind
    return PlatformError if _advice(error) else AlgorithmError


_OUT_OF_MEMORY = "OOM when allocating"
"""How TensorFlow says it."""


def _advice(error: BaseException) -> str | None:
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY in str(error):
        return "the machine's memory is full: choose an instance type with more"
    # What Python's tempfile says where every folder it knows is read-only.
    if isinstance(error, FileNotFoundError) and "No usable temporary directory" in str(error):
        return "no folder for temporary files can be written to: mount one, as docker run does with --tmpfs /tmp"
    if isinstance(error, OSError) and error.errno is not None:
        return PLATFORM_ERRNOS.get(error.errno)
    if os.strerror(errno.ENOSPC) in str(error):  # how TensorFlow's own ResourceExhaustedError tells of a full disk
        return PLATFORM_ERRNOS[errno.ENOSPC]
    return None


def _problems(error: JobError, limit: int) -> str:
    """The problems of an error, as many as fit, the first one first: it is what SageMaker's console shows."""
    total = len(error.problems)
    if total == 1:
        return str(error)
    lines = [f"{number} of {total}: {problem}" for number, problem in enumerate(error.problems, 1)]
    if len("\n".join(lines)) <= limit:
        return "\n".join(lines)
    rest = error.rest or "The log lists them all."
    room = limit - len(f"\n... and {total} more. {rest}")
    shown = [_cut(lines[0], room)]
    for line in lines[1:]:
        if len("\n".join([*shown, line])) > room:
            break
        shown.append(line)
    return "\n".join([*shown, f"... and {total - len(shown)} more. {rest}"])


def _trace(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return "\n".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(frames))


def _cut(text: str, limit: int) -> str:
    ending = "... (the rest is in the log)"
    return text if len(text) <= limit else text[: limit - len(ending)] + ending
