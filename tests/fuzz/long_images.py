"""Image files that are right but for their length: nothing in them is untrue, and there is far too much of it."""

import struct
import zlib
from collections.abc import Callable

from damaged_files import Random
from fuzzed_job import encoded
from PIL import Image

AMOUNTS = (100, 3_000, 20_000, 400_000)
"""How many of them. Those of several bytes each come to 5 MB, more than a request to an endpoint may have."""
SIZES = ((32, 24), (1600, 1200))
"""Width and height."""


def _jpeg(size: tuple[int, int], **options: bool) -> bytes:
    return encoded(Image.new("RGB", size, (90, 120, 30)), format="JPEG", **options)


def _after_start(size: tuple[int, int], more: bytes) -> bytes:
    jpeg = _jpeg(size)
    return jpeg[:2] + more + jpeg[2:]


def _scans(size: tuple[int, int], amount: int) -> bytes:
    """The last scan of a progressive file again and again, each of which is decoded over the whole image."""
    jpeg = _jpeg(size, progressive=True)
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + scan * min(amount, 2**22 // len(scan)) + jpeg[-2:]


def _restarts(size: tuple[int, int], amount: int) -> bytes:
    jpeg = _jpeg(size)
    return jpeg[:-2] + b"\xff\xd0" * amount + jpeg[-2:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(size: tuple[int, int], extra: bytes, piece: int) -> bytes:
    """piece: bytes of each of the chunks that the pixels are in."""
    pixels = zlib.compress((b"\0" + bytes(3 * size[0])) * size[1])
    parts = [_chunk(b"IDAT", pixels[start : start + piece]) for start in range(0, len(pixels), piece)]
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + b"".join(parts) + _chunk(b"IEND", b"")


LONG: dict[str, Callable[[tuple[int, int], int], bytes]] = {
    "fill bytes": lambda size, amount: _after_start(size, b"\xff" * 10 * amount),
    "segments": lambda size, amount: _after_start(size, b"\xff\xe5\0\2" * amount),
    "comments": lambda size, amount: _after_start(size, (b"\xff\xfe\xff\xff" + bytes(65533)) * (amount // 6_000 + 1)),
    "scans": _scans,
    "restart markers": _restarts,
    "chunks": lambda size, amount: _png(size, _chunk(b"prVt", b"") * amount, 2**16),
    "chunks of pixels": lambda size, amount: _png(size, b"", 1),
    "bytes after the end": lambda size, amount: _jpeg(size) + b"\xff" * 10 * amount,
}


def long_image(rng: Random, done: list[str]) -> tuple[bytes, tuple[int, int]]:
    """A file, and its width and height."""
    kind, size, amount = rng.choice(list(LONG)), rng.choice(SIZES), rng.choice(AMOUNTS)
    done.append(f"{amount} {kind}, {size[0]} x {size[1]}")
    return LONG[kind](size, amount), size
