"""What the header of an image file says: its size and orientation, or why it cannot be used. Without TensorFlow."""

import io
import os
import re
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sagemaker_object_detection.files.regular import open_regular
from sagemaker_object_detection.images.signatures import JPEG, PNG, START, kind_of
from sagemaker_object_detection.images.walk import (
    START_OF_SCAN,
    Frame,
    ImageError,
    check_size,
    chunks,
    is_frame,
    measure,
    read_frame,
    segments,
)
from sagemaker_object_detection.job.memory import room_to_compute

BYTES_PER_PIXEL = 29.5
"""Measured, what a pixel takes on its way to the network's input at most (a transparent image, or one of 16 bits a
sample); it is 23 for a photograph that has to be turned, and 16 for one that has not."""
DECODED_BYTES_PER_PIXEL = 11.5
"""Likewise, where an opaque image of 8 bits is only decoded: 11.2 of a progressive JPEG in CMYK, whose coefficients are
kept, 9.4 in colours and 3.4 of a baseline JPEG."""
COEFFICIENT_BYTES = 8.5
"""Likewise, of a pixel that is stored, where a progressive JPEG is decoded at an eighth of its size."""

SAMPLE_BITS = 16
"""Of the samples of a PNG of 16 bits, as long as it is not known how many of them the data uses."""
DAMAGED, EMPTY, OTHER_FORMAT = "damaged images", "empty image files", "images of other formats"
TOO_LARGE, TOO_LONG = "too large images", "images that take too long to decode"
"""What kind of problem an image beyond the limits of images/walk.py is."""
NO_ROOM = "images that memory has no room for"
MISSING = "missing images"
UNREADABLE = "unreadable images"
UNUSABLE = frozenset((DAMAGED, EMPTY, MISSING, OTHER_FORMAT, TOO_LARGE, TOO_LONG))
"""Kinds of problems of files that stay as they are, however often one tries: not UNREADABLE or NO_ROOM."""
_MAX_WORKERS = 32
_APP1 = 0xE1
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""How the content of a JPEG's segment APP1 begins."""
_EXIF_ORIENTATION = 0x0112
_FIELD_BITS = {3: 16, 4: 32}
"""Of a TIFF field's value, by its type: SHORT, which cameras write, and LONG."""
MAX_FIELDS = 1024
"""A camera writes some dozens; a damaged file may claim 65535."""
# Colour type -> bit depths.
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_PALETTE = 3
_PNG_WITH_ALPHA = (4, 6)
_MAX_PNG_EXIF_BYTES = 2**16
MAX_XMP_BYTES = 2**16
"""A JPEG's segment holds no more. Longer ones in a PNG are not looked at."""
XMP_CHUNK = b"XML:com.adobe.xmp\0\0"
"""How XMP data begins in a PNG's chunk iTXt that is not compressed (XMP specification, part 3)."""
XMP_ORIENTATION = r"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]"""
"""As an attribute or as an element; in what Python's regular expressions and TensorFlow's have in common."""
_XMP_ORIENTATION = re.compile(XMP_ORIENTATION.encode())


class UnusableImageError(Exception):
    """An image file that cannot be used. kind: what sort, in the plural; the message continues "image 'a.jpg' ..."."""

    def __init__(self, kind: str, message: str, cause: OSError | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.cause = cause
        """Why the file could not be read, where it could not."""


@dataclass(frozen=True)
class Header:
    """height, width: of the pixels as stored. orientation: EXIF orientation, 1 (none) to 8. file_size: bytes."""

    height: int
    width: int
    orientation: int
    file_size: int
    from_xmp: bool = False
    """Whether the orientation is said in XMP data alone, which not every program reads."""
    deep: bool = False
    """16 bits a sample."""
    has_transparency: bool = False
    """There is an alpha channel, or a colour that stands for transparent; all may be opaque."""

    @property
    def stored(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def decoding_bytes(self) -> int:
        """Of memory, that the check of its pixels takes at most."""
        each = BYTES_PER_PIXEL if self.deep or self.has_transparency else DECODED_BYTES_PER_PIXEL
        return int(each * self.height * self.width) + 2 * self.file_size

    @property
    def answering_bytes(self) -> int:
        """Likewise, on its way to the network's input at its full size."""
        return int(BYTES_PER_PIXEL * self.height * self.width) + 2 * self.file_size

    @property
    def turned(self) -> tuple[int, int]:
        """Height and width once the EXIF orientation is applied."""
        return (self.width, self.height) if self.orientation >= 5 else self.stored


def header_of(contents: bytes) -> Header:
    """Size and orientation of a JPEG or PNG that may be decoded.

    Raises:
        UnusableImageError: empty, of another format, damaged, or beyond the limits of images/walk.py.
    """
    header = _header_of(io.BytesIO(contents))
    check_effort(contents)
    return header


def check_effort(contents: bytes) -> None:
    """Looks through a whole file whose header is good. Raises UnusableImageError where it would hold a decoder for
    long, as in `images.walk.measure`."""
    try:
        measure(contents)
    except ImageError as error:
        raise _beyond(error) from error
    except ValueError as error:
        raise undecodable() from error


def _beyond(error: ImageError) -> UnusableImageError:
    return UnusableImageError(TOO_LARGE if error.too_large else TOO_LONG, str(error))


def _header_of(file: BinaryIO) -> Header:
    file_size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(START)
    if not start:
        raise UnusableImageError(EMPTY, "is an empty file. Upload it again.")
    name, remedy = kind_of(start)
    if name not in (JPEG, PNG):
        raise UnusableImageError(OTHER_FORMAT, f"is {name}. Expected a JPEG or PNG image: {remedy}.")
    file.seek(0)
    try:
        found = _png_header(file, file_size) if name == PNG else _jpeg_header(file)
        check_size(found.width, found.height)
    except ImageError as error:
        raise _beyond(error) from error
    except ValueError as error:
        text = f"is a damaged {name} file: its header cannot be read. Replace it."
        raise UnusableImageError(DAMAGED, text) from error
    by_exif = _exif_orientation(found.exif)
    orientation = by_exif or _xmp_orientation(found.xmp) or 1
    return Header(
        height=found.height,
        width=found.width,
        orientation=orientation,
        file_size=file_size,
        from_xmp=not by_exif and orientation > 1,
        deep=found.deep,
        has_transparency=found.has_transparency,
    )


class _Found(NamedTuple):
    """What stands before the pixels of a file."""

    width: int
    height: int
    exif: bytes | None
    xmp: bytes | None
    deep: bool = False
    has_transparency: bool = False


def _jpeg_header(file: BinaryIO) -> _Found:
    """Of a JPEG file (ITU-T T.81): the first EXIF data and the last XMP data, as the exported model reads them.

    Raises:
        ValueError: no decoder would take it.
    """
    frame: Frame | None = None
    exif, xmp = None, None
    for marker, length in segments(file):
        if is_frame(marker) and frame is None:
            frame = read_frame(file.read(length))
        elif marker == _APP1:
            content = file.read(length)
            if content.startswith(_EXIF):
                exif = content.removeprefix(_EXIF) if exif is None else exif
            elif content.startswith(_XMP):
                xmp = content.removeprefix(_XMP)
    if marker != START_OF_SCAN or frame is None:
        raise ValueError("it ends before its pixels")
    if frame.bits != 8:
        raise UnusableImageError(DAMAGED, f"is a JPEG of {frame.bits} bits a sample. Expected 8: convert it.")
    if frame.layers not in (1, 3, 4):
        raise ValueError("neither grey nor colours nor CMYK")
    return _Found(frame.width, frame.height, exif, xmp)


def _png_header(file: BinaryIO, file_size: int) -> _Found:
    """Of a PNG file (ISO/IEC 15948).

    Pillow reads every chunk before the pixels, and refuses files that every decoder takes: those with a damaged
    comment, or with one of more than a megabyte, as image editors write them.

    Raises:
        ValueError: no decoder would take it.
    """
    parts = chunks(file, file_size)
    kind, length = next(parts, (b"", 0))
    content = file.read(13)
    if (length, kind) != (13, b"IHDR") or file.read(4) != zlib.crc32(kind + content).to_bytes(4, "big"):
        raise ValueError("no header, or a damaged one")
    width, height = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
    depth, colours, compression, filters, interlacing = content[8:]
    if depth not in _PNG_DEPTHS.get(colours, ()) or compression or filters or interlacing > 1:
        raise ValueError("pixels of an unknown kind")
    exif, xmp = None, None
    has_palette, has_transparency = False, colours in _PNG_WITH_ALPHA
    for kind, length in parts:
        if kind == b"IDAT":
            if colours == _PNG_PALETTE and not has_palette:
                raise ValueError("no palette")
            return _Found(width, height, exif, xmp, deep=depth == 16, has_transparency=has_transparency)
        if kind == b"PLTE":
            has_palette = True
        elif not kind[0] & 0x20:  # a chunk that no decoder may skip
            raise ValueError("a chunk out of place")
        has_transparency |= kind == b"tRNS"
        if kind == b"eXIf" and exif is None:
            exif = file.read(min(length, _MAX_PNG_EXIF_BYTES))
        elif kind == b"iTXt" and length <= MAX_XMP_BYTES:
            text = file.read(length)
            xmp = text if text.startswith(XMP_CHUNK) else xmp
    raise ValueError("it ends before its pixels")


def undecodable() -> UnusableImageError:
    """A file whose header is good, but not its pixels, as a sentence."""
    return UnusableImageError(DAMAGED, "cannot be decoded: the file is cut short or damaged. Replace it.")


def without_room(width: int, height: int, needed: int) -> UnusableImageError:
    """A file that this machine cannot decode, as a sentence; bytes."""
    return UnusableImageError(
        NO_ROOM,
        f"is {width} wide and {height} high, and memory has no room to decode it: it may take {needed / 1e6:,.0f} MB, "
        f"of {room_to_compute() / 1e6:,.0f} MB for all that is computed. Shrink it, or use a machine with more memory.",
    )


def unreadable(error: OSError) -> UnusableImageError:
    """A file that is there and cannot be read, as a sentence."""
    return UnusableImageError(
        UNREADABLE, f"cannot be read ({error.strerror}). Expected a JPEG or PNG file that may be read.", error
    )


def _exif_orientation(exif: bytes | None) -> int:
    """From the first directory of a TIFF structure (TIFF 6.0, section 2), as the exported model reads it; 0 where there
    is none that can be read."""
    if not exif or exif[:2] not in (b"II", b"MM"):
        return 0

    def number(place: int, size: int) -> int:
        return int.from_bytes(exif[place : place + size], "little" if exif[:2] == b"II" else "big")

    orientation = 0
    directory = number(4, 4)
    for field in range(min(number(directory, 2), MAX_FIELDS)):
        place = directory + 2 + 12 * field
        if number(place, 2) == _EXIF_ORIENTATION:
            bits = _FIELD_BITS.get(number(place + 2, 2), 0) if number(place + 4, 4) == 1 else 0
            orientation = number(place + 8, bits // 8)
    return orientation if 1 <= orientation <= 8 else 0


def _xmp_orientation(xmp: bytes | None) -> int:
    found = _XMP_ORIENTATION.search(xmp) if xmp else None
    return int(found[1]) if found else 0


def read_headers(paths: Sequence[Path]) -> list[Header | UnusableImageError]:
    """As `header_of`, of every path, in parallel: reading from network storage is mostly waiting. A file may also be
    missing or unreadable. What comes after the first kilobytes is not looked at: `check_effort` does, before a file is
    decoded."""

    def examine(path: Path) -> Header | UnusableImageError:
        try:
            with open_regular(path) as file:
                return _header_of(file)
        except UnusableImageError as error:
            return error
        except FileNotFoundError as error:
            return UnusableImageError(MISSING, "does not exist.", error)
        except OSError as error:
            return unreadable(error)

    workers = min(_MAX_WORKERS, 4 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(examine, paths))
