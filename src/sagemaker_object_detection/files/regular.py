"""Opening what is to be a file: a pipe, a socket or a device would be waited for without end, and is refused."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class SpecialFileError(OSError):
    """What is there is neither a file nor a folder. `strerror` says what it is, as for every OSError."""

    def __init__(self, path: Path, mode: int) -> None:
        kind = "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
        super().__init__(errno.EINVAL, f"Is a {kind}", str(path))


class TooLargeFileError(OSError):
    """The file is larger than whoever wants to read it takes. `strerror` says by how much."""

    def __init__(self, path: Path, size: int, limit: int) -> None:
        super().__init__(errno.EFBIG, f"Has {size} bytes, and at most {limit} are read", str(path))


def is_folder(path: Path) -> bool:
    """True for a folder, False for a file.

    Raises:
        SpecialFileError: it is neither.
        OSError: nothing is there, or it may not be looked at.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise SpecialFileError(path, mode)
    return stat.S_ISDIR(mode)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        SpecialFileError: it is a pipe, a socket or a device.
        OSError: nothing is there, it is a folder, or it cannot be read.
    """
    is_folder(path)  # opening a folder says so itself
    return path.open("rb")


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """All of a file. Raises what `open_regular` raises, and a TooLargeFileError if it has more than `limit` bytes."""
    with open_regular(path) as file:
        if limit is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size
        if size <= limit:
            contents = file.read(limit + 1)  # it may grow, and those below /proc say that they are empty
            size = max(size, len(contents))
        if size > limit:
            raise TooLargeFileError(path, size, limit)
        return contents
