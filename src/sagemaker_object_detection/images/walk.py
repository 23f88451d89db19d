"""One bounded walk through the parts of a JPEG or PNG file, before anything decodes it: its size, and whether it would
hold a decoder for long. A file of some kilobytes may claim any size, and be thousands of scans or compressed comments.

Every step costs the same however long a part is, and the number of steps is bounded. `artifact/handler.py` writes this
text into the handler for TensorFlow Serving: it needs the standard library alone, of any Python from 3.8 on.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import BinaryIO, Iterator, NamedTuple  # noqa: UP035 (Python 3.8)

MAX_PIXELS = 2**26
"""Larger images are refused: a small file can claim any size ("decompression bomb"). At BYTES_PER_PIXEL the largest
takes 2 GB; where memory has no room for one on every core, fewer are decoded at once. The largest full-frame cameras
make 61 million pixels."""
MAX_SIDE = 10**6
"""What libpng takes, and so TensorFlow."""
MAX_PARTS = 4096
"""Segments and fill bytes of a JPEG before its pixels, segments after them, and chunks of a PNG.
Cameras write some dozens, and large colour profiles some hundreds; libjpeg's encoder writes no fill bytes."""
MAX_SCANS = 256
"""Of a JPEG. Encoders write 10 to 20 of a progressive one; 192 would send every coefficient of every layer alone."""
MAX_SCANNED = 2**30
"""Pixels of a JPEG times its scans. A scan of no data takes 0.75 ns a pixel (measured): 1 s together."""
CHUNK_BYTES = 1024
"""Of a PNG for each of its chunks beyond MAX_PARTS. Encoders fill chunks of 4 KB and more with pixels."""
MAX_UNPACKED = 2**28
"""Bytes that a PNG's compressed texts and profiles may unpack to at most, which takes libpng 2 to 3 s (measured)."""
_MAX_UNPACKED_CHUNK = 8_000_000
"""More of one, libpng does not unpack (PNG_USER_CHUNK_MALLOC_MAX)."""
_DEFLATE = 1032
"""Bytes that a byte of Deflate unpacks to at most."""
_COMPRESSED = (b"zTXt", b"iTXt", b"iCCP")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
_ALONE = (0x01, *range(0xD0, 0xD9))
"""Markers that no length follows (ITU-T T.81, B.1.1.3)."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame header."""
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
"""Of what follows the first scan header. Of the others libjpeg skips two bytes, or gives up."""


class ImageError(ValueError):
    """A file that is not decoded, although it may be in order; continues "image 'a.jpg' ..."."""

    too_large = False
    """It has too many pixels, not too many parts."""


class SizeError(ImageError):
    """A file of too many pixels, likewise."""

    too_large = True


class Frame(NamedTuple):
    """Of a JPEG, as its frame header says it. bits: of a sample. layers: 1 grey, 3 colours, 4 CMYK."""

    width: int
    height: int
    bits: int
    layers: int


class Size(NamedTuple):
    """In pixels, as stored."""

    width: int
    height: int


def measure(contents: bytes, file_size: int = 0) -> Size:
    """The size of a JPEG or PNG file that would not hold a decoder for long.

    Args:
        file_size: of the whole file, if that is still to come: the beginning may tell already that it would.

    Raises:
        ImageError: it would.
        ValueError: it has no size that can be found: it is damaged, or of another format.
    """
    file = io.BytesIO(contents)
    if contents.startswith(_SIGNATURE):
        return _measure_png(file, max(len(contents), file_size))
    frame = None
    for marker, length in segments(file):
        place = file.tell() + length
        if marker in _FRAMES and frame is None:
            frame = read_frame(file.read(length))
    if frame is None or marker != START_OF_SCAN:
        raise ValueError("no frame header, or no pixels")
    check_size(frame.width, frame.height)
    _check_scans(contents, place, frame)
    return Size(frame.width, frame.height)


def check_size(width: int, height: int) -> None:
    """Raises ImageError for more than MAX_PIXELS or MAX_SIDE, ValueError for no pixels."""
    if not (width > 0 and height > 0):
        raise ValueError("no pixels")
    if width * height > MAX_PIXELS:
        pixels = f"{width} x {height} = {width * height}"
        raise SizeError(f"has too many pixels ({pixels}); at most {MAX_PIXELS} are accepted. Shrink it.")
    if max(width, height) > MAX_SIDE:
        text = f"is {width} wide and {height} high; at most {MAX_SIDE} pixels on a side are accepted. Shrink it."
        raise SizeError(text)


def segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """The segments of a JPEG up to its first scan header, or its end: marker and bytes of content (ITU-T T.81, B.1.1).

    At each, the file stands at the content, of which any part may be read.

    Raises:
        ImageError: more than MAX_PARTS.
        ValueError: no marker where there has to be one.
    """
    place = 2
    for _ in range(MAX_PARTS):
        file.seek(place)
        start = file.read(4)
        if len(start) < 2 or start[0] != 0xFF:
            raise ValueError("no marker")
        marker = start[1]
        if marker == 0xFF:  # any number of these may stand before a marker
            place += 1
        elif marker in _ALONE:
            place += 2
        else:
            length = max(2, int.from_bytes(start[2:], "big"))
            yield marker, length - 2
            if marker in (START_OF_SCAN, END_OF_IMAGE):
                return
            place += 2 + length
    raise ImageError(f"has more than {MAX_PARTS} segments and fill bytes before its pixels. Save it anew.")


def is_frame(marker: int) -> bool:
    """Whether a frame header follows a marker of a JPEG."""
    return marker in _FRAMES


def read_frame(content: bytes) -> Frame:
    """Of a frame header's content (ITU-T T.81, B.2.2). Raises ValueError where it is cut short."""
    if len(content) < 6:
        raise ValueError("a frame header that is cut short")
    return Frame(
        width=int.from_bytes(content[3:5], "big"),
        height=int.from_bytes(content[1:3], "big"),
        bits=content[0],
        layers=content[5],
    )


def _check_scans(contents: bytes, place: int, frame: Frame) -> None:
    """Raises ImageError for more scans or segments than a decoder is given, from behind the first scan's header on."""
    most = min(MAX_SCANS, MAX_SCANNED // (frame.width * frame.height))
    scans = 1
    for _ in range(MAX_PARTS):
        found = _MARKER.search(contents, place)
        marker = found[0][1] if found else END_OF_IMAGE
        if found is None or marker == END_OF_IMAGE:
            return
        scans += marker == START_OF_SCAN
        if scans > most:
            raise ImageError(
                f"has more than {most} scans; a progressive JPEG of {frame.width} x {frame.height} pixels is accepted "
                "with as many. Save it anew."
            )
        place = found.end() + max(2, int.from_bytes(contents[found.end() : found.end() + 2], "big"))
    raise ImageError(f"has more than {MAX_PARTS} segments between its pixels. Save it anew.")


def chunks(file: BinaryIO, file_size: int) -> Iterator[tuple[bytes, int]]:
    """The chunks of a PNG: kind and bytes of content (ISO/IEC 15948, 5.3), to the end of the file.

    At each, the file stands at the content, of which any part may be read.

    Raises:
        ImageError: more than MAX_PARTS, and one for each CHUNK_BYTES of the file.
    """
    most = MAX_PARTS + file_size // CHUNK_BYTES
    place = len(_SIGNATURE)
    for _ in range(most):
        file.seek(place)
        start = file.read(8)
        if len(start) < 8:
            return
        length = int.from_bytes(start[:4], "big")
        yield start[4:], length
        place += 12 + length
    raise ImageError(f"has more than {most} chunks. Save it anew.")


def _measure_png(file: BinaryIO, file_size: int) -> Size:
    size, unpacked = None, 0
    for kind, length in chunks(file, file_size):
        if size is None:
            content = file.read(13)
            if (kind, length) != (b"IHDR", 13) or file.read(4) != zlib.crc32(kind + content).to_bytes(4, "big"):
                break
            size = Size(int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big"))
            check_size(*size)
        elif kind in _COMPRESSED:
            unpacked += min(_DEFLATE * length, _MAX_UNPACKED_CHUNK)
            if unpacked > MAX_UNPACKED:
                raise ImageError("has too many compressed texts beside its pixels. Save it anew without them.")
        elif kind == b"IEND":
            break
    if size is None:
        raise ValueError("no header, or a damaged one")
    return size
