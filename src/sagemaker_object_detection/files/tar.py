"""Archives from anyone (.tar.gz), of which no header takes more time or memory than it should."""

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sagemaker_object_detection.files.regular import open_regular

_RECORDS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
"""Types of the headers that hold records, a keyword and a value each, of one file or of all that follow."""
MAX_RECORDS = 100


class Decompressed(gzip.GzipFile):
    """Hands out no more than `budget` bytes; seeking is free. tarfile itself reads headers of any size into memory.

    expects_records: whether what is read next are the records of a header. tarfile looks for where they end in a time
    that grows with the square of their size, and takes keywords that reach over many records: what is not in order, it
    does not get to see.
    """

    expects_records = False

    def __init__(self, archive: BinaryIO, budget: int) -> None:
        super().__init__(fileobj=archive, mode="rb")
        self._budget = budget

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > self._budget:
            raise ValueError("its headers have no end")
        data = super().read(size)
        self._budget -= len(data)
        if self.expects_records:
            self.expects_records = False
            _check_records(data)
        return data


def _check_records(data: bytes) -> None:
    """Raises a ValueError where these are not records of "LENGTH KEYWORD=VALUE\\n", with zeros behind."""
    place, count = 0, 0
    while data[place : place + 1].strip(b"\0"):
        length = data[place : place + 8].partition(b" ")[0]
        record = data[place : place + int(length)] if length.isdigit() else b""
        count += 1
        if not record.endswith(b"\n") or b"=" not in record or count > MAX_RECORDS:
            raise ValueError("its headers are damaged")
        place += len(record)


@contextmanager
def open_tar_gz(archive: Path, budget: int) -> Iterator[tuple[tarfile.TarFile, Decompressed]]:
    """An archive, and the stream that it is read from.

    Args:
        budget: bytes that may be read of the stream: of headers, and of files that are unpacked.

    Raises, in the block too:
        ValueError: it is no .tar.gz, or its headers are damaged or have no end.
        OSError, EOFError, zlib.error, tarfile.TarError, RecursionError: it cannot be read, or is damaged.
    """
    with open_regular(archive) as file, Decompressed(file, budget) as stream, _first_header(stream) as opened:
        yield opened, stream


def members(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The entries of an archive. Raises a ValueError before one with a negative size is passed, which leads back: what
    lies before it would be unpacked again and again."""
    for member in opened:
        if member.size < 0:
            raise ValueError("its headers are damaged")
        yield member


def _first_header(stream: Decompressed) -> tarfile.TarFile:
    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
            header = super().frombuf(buf, encoding, errors)
            stream.expects_records = header.type in _RECORDS
            return header

    try:
        return tarfile.open(fileobj=stream, mode="r:", tarinfo=Header)
    except (tarfile.ReadError, gzip.BadGzipFile):
        raise ValueError("it is no .tar.gz archive") from None
