"""Unpacks a .tar.gz from anywhere: every entry is looked at before the first is written."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.disk import DISK_FULL
from sagemaker_object_detection.sentences import printable, shown
from sagemaker_object_detection.weights import bounds

_HEADER_BYTES = 64 * 2**20
"""All headers of an archive together, and what follows its end."""
_BLOCK = 2**16


def check_is_archive(archive: Path, origin: str) -> None:
    """Reads no further than the first entry. Raises a UserError where the file is no .tar.gz or cannot be read."""
    with _opened(archive, origin, _HEADER_BYTES):
        pass


def unpack(archive: Path, origin: str, target: Path) -> None:
    """Reads all of an archive, and then unpacks it into the folder `target`.

    Args:
        origin: begins the sentences of errors.

    Raises, before anything is written:
        UserError: it is no .tar.gz, it is damaged or cut short, it holds links, devices or entries outside its own
            folder, or more than weights can be. Its cause is an EOFError if the archive ends early.
        NoRoomError: the disk has no room for it.
    """
    name = printable(archive.name)
    tally = bounds.Tally(f"{origin}: {name}")
    with _opened(archive, origin, _HEADER_BYTES) as (opened, stream):
        for member in opened:
            if refusal := _refusal(member):
                raise UserError(
                    f"{origin}: {name} holds {shown(member.name)}, which {refusal}; expected plain files and "
                    "folders below the archive's own folder: pack the model again"
                )
            tally.add(member.size)
        while stream.read(_BLOCK):  # to the end, where the checksum is
            pass
    tally.check_room(target)
    try:
        with _opened(archive, origin, bounds.MAX_BYTES + _HEADER_BYTES) as (opened, _):
            opened.extractall(target, filter="data")
    except OSError as error:
        raise bounds.NoRoomError(
            f"{origin}: the disk is full while unpacking {name} below {target.parent}; give the job a larger volume"
        ) from error


def _refusal(member: tarfile.TarInfo) -> str | None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return "lies outside the archive's own folder"
    if member.issym() or member.islnk():
        return "is a link"
    if not (member.isfile() or member.isdir()):
        return "is neither a file nor a folder"
    return None


class _Decompressed(gzip.GzipFile):
    """Hands out no more than `budget` bytes; seeking is free. tarfile itself reads headers of any size into memory."""

    def __init__(self, archive: Path, budget: int) -> None:
        super().__init__(archive, "rb")
        self._budget = budget

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > self._budget:
            raise ValueError("its headers have no end")
        data = super().read(size)
        self._budget -= len(data)
        return data


@contextmanager
def _opened(archive: Path, origin: str, budget: int) -> Iterator[tuple[tarfile.TarFile, _Decompressed]]:
    """An archive, and what is wrong with it as a UserError; only a full disk stays an OSError."""
    try:
        with _Decompressed(archive, budget) as stream, _first_header(stream) as opened:
            yield opened, stream
    except (tarfile.TarError, EOFError, zlib.error, ValueError, RecursionError, OSError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "it is damaged"
        raise UserError(
            f"{origin}: {printable(archive.name)} cannot be unpacked ({printable(reason)}); expected a whole .tar.gz "
            "archive: copy it again"
        ) from error


def _first_header(stream: _Decompressed) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r:")
    except (tarfile.ReadError, gzip.BadGzipFile):
        raise ValueError("it is no .tar.gz archive") from None
