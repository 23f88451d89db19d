"""Which errors of the operating system are the machine's fault, and not that of a path somebody gave."""

import errno
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager

from sagemaker_object_detection.errors import UserError

PLATFORM_ERRNOS = {
    errno.ENOSPC: "the disk is full: give the job a larger volume (volume_size)",
    errno.EDQUOT: "the disk quota is used up: give the job a larger volume (volume_size)",
    errno.EROFS: "the file system is read-only: mount it writable",
    errno.EIO: "a device failed: start the job again",
}
"""The machine's faults, and what to do about each."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FAULTS = (*DISK_FULL, errno.EIO)
"""Another name for the file would mend none of these. On a read-only file system it may."""


@contextmanager
def blaming(sentence: Callable[[OSError], str], spared: Container[int | None] = DISK_FAULTS) -> Iterator[None]:
    """Turns an OSError into a UserError with this sentence, unless it is one of those that are `spared`."""
    try:
        yield
    except OSError as error:
        if error.errno in spared:
            raise
        raise UserError(sentence(error)) from error
