"""Reads the header of a PNG file (ISO/IEC 15948) without decompressing anything.

Pillow reads every chunk before the pixels, and refuses files that every decoder takes: those with a damaged comment,
or with one of more than a megabyte, as image editors write them.
"""

import zlib
from dataclasses import dataclass
from typing import BinaryIO

# Colour type -> bit depths.
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE = 3
_MAX_EXIF_BYTES = 2**16
_MAX_CHUNKS = 10_000


@dataclass(frozen=True)
class PngHeader:
    """width, height: in pixels, 1 or more. exif: of the eXIf chunk, where there is one before the pixels."""

    width: int
    height: int
    exif: bytes | None


def read_png_header(file: BinaryIO) -> PngHeader:
    """Reads up to the first pixels.

    Args:
        file: at its beginning, where the signature is.

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
    if depth not in _DEPTHS.get(colours, ()) or compression or filters or interlacing > 1:
        raise ValueError("pixels of an unknown kind")
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise ValueError("no pixels")
    exif, has_palette = None, False
    for _ in range(_MAX_CHUNKS):
        length, kind = _begin_chunk(file)
        if kind == b"IDAT":
            if colours == _PALETTE and not has_palette:
                raise ValueError("no palette")
            return PngHeader(width, height, exif)
        if kind == b"PLTE":
            has_palette = True
        elif not kind[0] & 0x20:  # a chunk that no decoder may skip
            raise ValueError("a chunk out of place")
        if kind == b"eXIf" and length <= _MAX_EXIF_BYTES:
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
