"""Unpacks a .tar.gz from anywhere: every entry is looked at before the first is written."""

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.disk import DISK_FULL
from sagemaker_object_detection.files.tar import MAX_RECORDS, Decompressed, members, open_tar_gz
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
        for member in members(opened):
            if refusal := _refusal(member):
                raise UserError(
                    f"{origin}: {name} holds {shown(member.name)}, which {refusal}; expected plain files and "
                    "folders below the archive's own folder: pack the model again"
                )
            tally.add(member.size)
            if len(opened.pax_headers) > MAX_RECORDS:  # each of the files that follow gets a copy of them all
                raise UserError(f"{origin}: {name} has more than {MAX_RECORDS} records for all files: pack it again")
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


@contextmanager
def _opened(archive: Path, origin: str, budget: int) -> Iterator[tuple[tarfile.TarFile, Decompressed]]:
    """An archive, and what is wrong with it as a UserError; only a full disk stays an OSError."""
    try:
        with open_tar_gz(archive, budget) as opened:
            yield opened
    except (tarfile.TarError, EOFError, zlib.error, ValueError, RecursionError, OSError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "it is damaged"
        raise UserError(
            f"{origin}: {printable(archive.name)} cannot be unpacked ({printable(reason)}); expected a whole .tar.gz "
            "archive: copy it again"
        ) from error
