"""What the header of an image file says: its size and orientation, or why it cannot be used. Without TensorFlow."""

import io
import os
import threading
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from sagemaker_object_detection.files.regular import open_regular

MAX_PIXELS = 2**26
"""Larger images are refused: a small file can claim any size ("decompression bomb"). At BYTES_PER_PIXEL the largest
takes 1.7 GB, on every core at once, and no training instance of SageMaker has less than 2 GB for each of its cores. The
largest full-frame cameras make 61 million pixels."""
BYTES_PER_PIXEL = 26
"""Measured, what a pixel takes on its way to the network's input at most (a photograph that has to be turned); it is 9
where it is only decoded (a progressive JPEG)."""
MAX_SIDE = 10**6
"""What libpng takes, and so TensorFlow."""

TOO_LARGE = "too large images"
"""What kind of problem an image beyond these limits is."""
MISSING = "missing images"
_EXIF_ORIENTATION = 0x0112
_MAX_WORKERS = 32
# First bytes of what people put into a folder of images; offset, bytes, name.
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC image"),
    (0, b"\x00\x00\x00\x0cjP", "a JPEG 2000 image"),
    (0, b"%PDF", "a PDF file"),
    (0, b"<svg", "an SVG image"),
    (0, b"<?xml", "an XML file"),
    (0, b"<!DOCTYPE html", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the image itself"),
)

_ONE_AT_A_TIME = threading.Lock()
"""Python's filter of warnings is the process's."""
# Colour type -> bit depths.
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_PALETTE = 3
_MAX_PNG_EXIF_BYTES = 2**16
_MAX_PNG_CHUNKS = 10_000


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
    start = file.read(32)
    if not start:
        raise UnusableImageError("empty image files", "is an empty file. Upload it again.")
    names = (name for offset, signature, name in _SIGNATURES if start[offset : offset + len(signature)] == signature)
    name = next(names, "not an image of a known format")
    if name not in ("JPEG", "PNG"):
        raise UnusableImageError("images of other formats", f"is {name}. Expected a JPEG or PNG image: convert it.")
    file.seek(0)
    try:
        if name == "PNG":
            width, height, exif = _png_size_and_exif(file)
        else:
            with Image.open(file, formats=("JPEG",)) as image:
                width, height, exif = *image.size, image.info.get("exif")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the file's
            raise
        text = f"is a damaged {name} file: its header cannot be read. Replace it."
        raise UnusableImageError("damaged images", text) from error
    except Image.DecompressionBombError:
        raise _too_large(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)}") from None
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height} = {width * height}")
    if max(width, height) > MAX_SIDE:
        text = f"is {width} wide and {height} high; at most {MAX_SIDE} pixels on a side are accepted. Shrink it."
        raise UnusableImageError(TOO_LARGE, text)
    return Header(height, width, _orientation(exif), file_size)


def _png_size_and_exif(file: BinaryIO) -> tuple[int, int, bytes | None]:
    """Width, height and EXIF data of a PNG file (ISO/IEC 15948), from all that stands before its pixels.

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
    exif, has_palette = None, False
    for _ in range(_MAX_PNG_CHUNKS):
        length, kind = _begin_chunk(file)
        if kind == b"IDAT":
            if colours == _PNG_PALETTE and not has_palette:
                raise ValueError("no palette")
            return width, height, exif
        if kind == b"PLTE":
            has_palette = True
        elif not kind[0] & 0x20:  # a chunk that no decoder may skip
            raise ValueError("a chunk out of place")
        if kind == b"eXIf" and length <= _MAX_PNG_EXIF_BYTES:
            exif = file.read(length)
            length = 0
        file.seek(length + 4, 1)
    raise ValueError("no pixels after ten thousand chunks")


def _begin_chunk(file: BinaryIO) -> tuple[int, bytes]:
    """Length and kind."""
    start = file.read(8)
    if len(start) < 8:
        raise ValueError("it ends before its pixels")
    return int.from_bytes(start[:4], "big"), start[4:]


def unreadable(error: OSError) -> UnusableImageError:
    """A file that is there and cannot be read, as a sentence."""
    return UnusableImageError(
        "unreadable images", f"cannot be read ({error.strerror}). Expected a JPEG or PNG file that may be read.", error
    )


def _too_large(pixels: str) -> UnusableImageError:
    text = f"has too many pixels ({pixels}); at most {MAX_PIXELS} are accepted. Shrink it."
    return UnusableImageError(TOO_LARGE, text)


def _orientation(exif: bytes | None) -> int:
    if not exif:
        return 1
    tags = Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(_EXIF_ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds for damaged EXIF, which no decoder minds
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


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
