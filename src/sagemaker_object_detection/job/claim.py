"""One job on one root: the claim of the process that runs it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.paths import ROOT_VARIABLE, Paths


class RootError(UserError):
    """There is no job below the root, or another process runs it: nothing may be written there, not even why."""


@contextmanager
def claimed(paths: Paths) -> Iterator[None]:
    """The root, for this process alone until the end of the block, or of the process. The folder itself is locked: no
    file is left, and a root that is read-only can be locked too. On several hosts each has a root of its own.

    Raises:
        RootError: there is no such folder, or no job in it, or another process has it.
    """
    advice = "expected the folder of a job: name it with --root or $" + ROOT_VARIABLE
    try:
        folder = os.open(paths.root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RootError(f"{paths.root}: cannot be opened ({error.strerror}); {advice}") from None
    try:
        if not os.path.lexists(paths.root / "input"):
            raise RootError(f"{paths.root}: holds no input/, where a job's configuration and data lie; {advice}")
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RootError(
                f"{paths.root}: another process runs a job there, and both would write the same model and checkpoints; "
                "wait until it has ended, or give this job a root of its own"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(folder)
