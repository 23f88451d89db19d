"""Image files: what their headers say, without TensorFlow, and whether they decode, with the decoder training uses."""

import io
import logging
import os
import posixpath
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

from sagemaker_object_detection.dataset.png_header import read_png_header
from sagemaker_object_detection.files.regular import open_regular
from sagemaker_object_detection.job.stop import NEVER, StopSignal

logger = logging.getLogger(__name__)

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

_T = TypeVar("_T")
_R = TypeVar("_R")


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


def read_header(path: Path) -> Header:
    """Size and orientation of a JPEG or PNG, from its first kilobytes.

    Raises:
        UnusableImageError: missing, unreadable, empty, of another format, damaged, or larger than MAX_PIXELS or
            MAX_SIDE.
    """
    with _without_pillow_warnings():
        return _read_header(path)


def header_of(contents: bytes) -> Header:
    """`read_header` of an image that has been read; not by several threads at a time."""
    with _without_pillow_warnings():
        return _header_of(io.BytesIO(contents))


def _read_header(path: Path) -> Header:
    try:
        with open_regular(path) as file:
            return _header_of(file)
    except FileNotFoundError as error:
        raise UnusableImageError("missing images", "does not exist.", error) from None
    except OSError as error:
        raise unreadable(error) from None


def _header_of(file: BinaryIO) -> Header:
    file_size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(32)
    if not start:
        raise UnusableImageError("empty image files", "is an empty file. Upload it again.")
    name = _format_name(start)
    if name not in ("JPEG", "PNG"):
        raise UnusableImageError("images of other formats", f"is {name}. Expected a JPEG or PNG image: convert it.")
    file.seek(0)
    try:
        width, height, exif = _size_and_exif(file, name)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the file's
            raise
        raise UnusableImageError(
            "damaged images", f"is a damaged {name} file: its header cannot be read. Replace it."
        ) from error
    except Image.DecompressionBombError:
        raise _too_large(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)}") from None
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height} = {width * height}")
    if max(width, height) > MAX_SIDE:
        raise UnusableImageError(
            TOO_LARGE,
            f"is {width} wide and {height} high; at most {MAX_SIDE} pixels on a side are accepted. Shrink it.",
        )
    return Header(height, width, _orientation(exif), file_size)


def _size_and_exif(file: BinaryIO, name: str) -> tuple[int, int, bytes | None]:
    """Width, height and EXIF data of a JPEG or PNG file."""
    if name == "PNG":
        header = read_png_header(file)
        return header.width, header.height, header.exif
    with Image.open(file, formats=("JPEG",)) as image:
        return *image.size, image.info.get("exif")


def unreadable(error: OSError) -> UnusableImageError:
    """A file that is there and cannot be read, as a sentence."""
    return UnusableImageError(
        "unreadable images", f"cannot be read ({error.strerror}). Expected a JPEG or PNG file that may be read.", error
    )


def _too_large(pixels: str) -> UnusableImageError:
    return UnusableImageError(
        TOO_LARGE, f"has too many pixels ({pixels}); at most {MAX_PIXELS} are accepted. Shrink it."
    )


@contextmanager
def _without_pillow_warnings() -> Iterator[None]:
    """Without Pillow's warnings, of large images and damaged EXIF: ours are sentences. By one thread at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _format_name(start: bytes) -> str:
    names = (name for offset, signature, name in _SIGNATURES if start[offset : offset + len(signature)] == signature)
    return next(names, "not an image of a known format")


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


def path_problem(folder: Path, file_name: str) -> str | None:
    """Why this file_name may not be used below the images folder, or None. Nothing outside the channel is ever opened.

    Args:
        folder: the images folder of the channel.
    """
    if not file_name or any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in file_name):
        return "is not the name of a file. Expected a path below images/."
    if posixpath.isabs(file_name):
        return "is an absolute path. Expected a path below images/."
    if ".." in file_name.split("/"):
        return 'contains "..". Expected a path below images/.'
    channel = os.path.realpath(folder.parent)
    target = os.path.realpath(folder / file_name)
    if os.path.commonpath([channel, target]) != channel:
        return "is a link that leaves the channel. Put the file itself into images/."
    return None


def missing_image_hint(folder: Path, file_name: str, present: Callable[[], dict[str, str]]) -> str:
    """Where the file may be instead. present: lower-case name -> name of what the images folder holds."""
    if os.path.isfile(folder.parent / file_name):  # False where pathlib raises
        return "It lies in the channel's folder: file_name is relative to images/, so put it there or shorten the name."
    plain = posixpath.basename(file_name.replace("\\", "/"))
    similar = present().get(plain.lower())
    if similar is not None and similar != file_name:
        return f"There is {similar!r}: write file_name exactly so."
    return "Add the file or remove its entry."


def read_headers(paths: Sequence[Path]) -> list[Header | UnusableImageError]:
    """`read_header` of every path, in parallel: reading from network storage is mostly waiting."""

    def examine(path: Path) -> Header | UnusableImageError:
        try:
            return _read_header(path)
        except UnusableImageError as error:
            return error

    with _without_pillow_warnings():
        return _parallel(examine, paths, min(_MAX_WORKERS, 4 * (os.cpu_count() or 1)))


def check_decoding(
    paths: Sequence[Path],
    headers: Sequence[Header],
    stop: StopSignal = NEVER,
    keep: Callable[[Path, Any], None] = lambda path, image: None,
) -> list[UnusableImageError | None]:
    """Decode every file once, as training will, on all cores. TensorFlow is imported here.

    Args:
        keep: is handed the pixels of every good image that no EXIF orientation turns, uint8 [H, W, 3], by all threads.

    Returns:
        per path, what is wrong with it, or None.

    Raises:
        StoppedError: `stop` was requested.
    """
    if not paths:
        return []
    import tensorflow as tf

    from sagemaker_object_detection.dataset.preprocess import decode_stored

    def examine(index: int) -> UnusableImageError | None:
        stop.check()
        try:
            contents = paths[index].read_bytes()
            with tf.device("CPU:0"):
                image = decode_stored(tf.constant(contents))
        except OSError as error:
            return unreadable(error)
        except (tf.errors.OpError, ValueError):
            return UnusableImageError(
                "damaged images", "cannot be decoded: the file is cut short or damaged. Replace it."
            )
        if tuple(image.shape[:2]) != headers[index].stored:
            return UnusableImageError("damaged images", "decodes to another size than its header says. Replace it.")
        if headers[index].orientation == 1:
            keep(paths[index], image)
        return None

    return _parallel(examine, range(len(paths)), os.cpu_count() or 1)


def _parallel(function: Callable[[_T], _R], items: Sequence[_T], workers: int) -> list[_R]:
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))
