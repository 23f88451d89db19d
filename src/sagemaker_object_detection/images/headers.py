"""What the header of an image file says: its size and orientation, or why it cannot be used. Without TensorFlow."""

import io
import os
import re
import threading
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from sagemaker_object_detection.files.regular import open_regular
from sagemaker_object_detection.images.signatures import JPEG, PNG, START, kind_of

MAX_PIXELS = 2**26
"""Larger images are refused: a small file can claim any size ("decompression bomb"). At BYTES_PER_PIXEL the largest
takes 1.9 GB, on every core at once, and no training instance of SageMaker has less than 2 GB for each of its cores. The
largest full-frame cameras make 61 million pixels."""
BYTES_PER_PIXEL = 28.5
"""Measured, what a pixel takes on its way to the network's input at most (a transparent image, or one of 16 bits a
sample); it is 23 for a photograph that has to be turned, and 6 where a JPEG is only decoded."""
MAX_SIDE = 10**6
"""What libpng takes, and so TensorFlow."""

SAMPLE_BITS = 16
"""Of the samples of a PNG of 16 bits, as long as it is not known how many of them the data uses."""
DAMAGED, EMPTY, OTHER_FORMAT = "damaged images", "empty image files", "images of other formats"
TOO_LARGE = "too large images"
"""What kind of problem an image beyond these limits is."""
MISSING = "missing images"
UNREADABLE = "unreadable images"
UNUSABLE = frozenset((DAMAGED, EMPTY, MISSING, OTHER_FORMAT, TOO_LARGE))
"""Kinds of problems of files that stay as they are, however often one tries: not UNREADABLE, which may pass."""
_EXIF_ORIENTATION = 0x0112
_MAX_WORKERS = 32
_UNUSUAL_BITS = re.compile(r"cannot handle (\d+)-bit layers")
"""As Pillow says it."""
_ONE_AT_A_TIME = threading.Lock()
"""Python's filter of warnings is the process's."""
# Colour type -> bit depths.
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_PALETTE = 3
_PNG_WITH_ALPHA = (4, 6)
_MAX_PNG_EXIF_BYTES = 2**16
_MAX_PNG_CHUNKS = 10_000
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
    def turned(self) -> tuple[int, int]:
        """Height and width once the EXIF orientation is applied."""
        return (self.width, self.height) if self.orientation >= 5 else self.stored


def header_of(contents: bytes) -> Header:
    """Size and orientation of a JPEG or PNG, from its first kilobytes; of one file at a time, whatever threads ask.

    Raises:
        UnusableImageError: empty, of another format, damaged, or larger than MAX_PIXELS or MAX_SIDE.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings(action="ignore"):
        return _header_of(io.BytesIO(contents))


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
        found = _png_header(file) if name == PNG else _jpeg_header(file)
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the file's
            raise
        text = f"is a damaged {name} file: its header cannot be read. Replace it."
        if bits := _UNUSUAL_BITS.search(str(error)):
            text = f"is a JPEG of {bits[1]} bits a sample. Expected 8: convert it."
        raise UnusableImageError(DAMAGED, text) from error
    width, height = found.width, found.height
    if width * height > MAX_PIXELS:
        pixels = f"{width} x {height} = {width * height}"
        text = f"has too many pixels ({pixels}); at most {MAX_PIXELS} are accepted. Shrink it."
        raise UnusableImageError(TOO_LARGE, text)
    if max(width, height) > MAX_SIDE:
        text = f"is {width} wide and {height} high; at most {MAX_SIDE} pixels on a side are accepted. Shrink it."
        raise UnusableImageError(TOO_LARGE, text)
    by_exif = _exif_orientation(found.exif)
    orientation = by_exif or _xmp_orientation(found.xmp) or 1
    return Header(
        height=height,
        width=width,
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
    with JpegImageFile(file) as image:
        return _Found(*image.size, image.info.get("exif"), image.info.get("xmp"))


def _png_header(file: BinaryIO) -> _Found:
    """Of a PNG file (ISO/IEC 15948).

    Pillow reads every chunk before the pixels, and refuses files that every decoder takes: those with a damaged
    comment, or with one of more than a megabyte, as image editors write them.

    Raises:
        ValueError: no decoder would take it.
    """
    file.seek(8)
    length, kind = _begin_chunk(file)
    content = file.read(13)
    if (length, kind) != (13, b"IHDR") or file.read(4) != zlib.crc32(kind + content).to_bytes(4, "big"):
        raise ValueError("no header, or a damaged one")
    width, height = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
    depth, colours, compression, filters, interlacing = content[8:]
    if depth not in _PNG_DEPTHS.get(colours, ()) or compression or filters or interlacing > 1:
        raise ValueError("pixels of an unknown kind")
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise ValueError("no pixels")
    exif, xmp = None, None
    has_palette, has_transparency = False, colours in _PNG_WITH_ALPHA
    for _ in range(_MAX_PNG_CHUNKS):
        length, kind = _begin_chunk(file)
        if kind == b"IDAT":
            if colours == _PNG_PALETTE and not has_palette:
                raise ValueError("no palette")
            return _Found(width, height, exif, xmp, deep=depth == 16, has_transparency=has_transparency)
        if kind == b"PLTE":
            has_palette = True
        elif not kind[0] & 0x20:  # a chunk that no decoder may skip
            raise ValueError("a chunk out of place")
        has_transparency |= kind == b"tRNS"
        if kind == b"eXIf" and length <= _MAX_PNG_EXIF_BYTES:
            exif = file.read(length)
            length = 0
        elif kind == b"iTXt" and length <= MAX_XMP_BYTES:
            text = file.read(length)
            xmp = text if text.startswith(XMP_CHUNK) else xmp
            length = 0
        file.seek(length + 4, 1)
    raise ValueError("no pixels after ten thousand chunks")


def _begin_chunk(file: BinaryIO) -> tuple[int, bytes]:
    """Length and kind."""
    start = file.read(8)
    if len(start) < 8:
        raise ValueError("it ends before its pixels")
    return int.from_bytes(start[:4], "big"), start[4:]


def undecodable() -> UnusableImageError:
    """A file whose header is good, but not its pixels, as a sentence."""
    return UnusableImageError(DAMAGED, "cannot be decoded: the file is cut short or damaged. Replace it.")


def unreadable(error: OSError) -> UnusableImageError:
    """A file that is there and cannot be read, as a sentence."""
    return UnusableImageError(
        UNREADABLE, f"cannot be read ({error.strerror}). Expected a JPEG or PNG file that may be read.", error
    )


def _exif_orientation(exif: bytes | None) -> int:
    """0 where there is none that can be read."""
    if not exif:
        return 0
    tags = Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(_EXIF_ORIENTATION, 0)
    except Exception:  # Pillow raises many kinds for damaged EXIF, which no decoder minds
        return 0
    return value if isinstance(value, int) and 1 <= value <= 8 else 0


def _xmp_orientation(xmp: bytes | None) -> int:
    found = _XMP_ORIENTATION.search(xmp) if xmp else None
    return int(found[1]) if found else 0


def read_headers(paths: Sequence[Path]) -> list[Header | UnusableImageError]:
    """As `header_of`, of every path, in parallel: reading from network storage is mostly waiting. A file may also be
    missing or unreadable."""

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
    # Without Pillow's warnings, of large images and damaged EXIF: ours are sentences.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(examine, paths))
