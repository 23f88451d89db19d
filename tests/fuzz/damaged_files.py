"""Damage that any file can suffer, and images of odd kinds. Drawn from a `random.Random`."""

import io
import random
import string
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from fuzzed_job import Content, Folder, Link, Pipe, encoded
from PIL import Image

Random = random.Random


def some(rng: Random, changes: Sequence[Callable[[Random, Any], str]], target: Any, done: list[str]) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        done.append(rng.choice(changes)(rng, target))


def bytes_change(rng: Random, content: bytearray) -> str:
    """Damage that any file can suffer."""
    what = rng.choice(("flip", "flip", "flip", "cut", "insert", "repeat", "append", "zero"))
    place = rng.randrange(len(content) + 1)
    if what == "flip":
        for _ in range(rng.choice((1, 1, 2, 8))):
            if content:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif what == "cut":
        del content[place:]
    elif what == "insert":
        content[place:place] = rng.randbytes(rng.choice((1, 4, 100)))
    elif what == "repeat":
        content[place:place] = content[max(0, place - rng.choice((1, 16, 300))) : place]
    elif what == "append":
        content += rng.choice((b"\x00" * 100, rng.randbytes(100), b"\n{}", bytes(content)))
    else:
        content[place : place + rng.choice((1, 4, 64))] = bytes(rng.choice((1, 4, 64)))
    return f"{what} near byte {place}"


def garbage(rng: Random, done: list[str]) -> bytes:
    size = rng.choice((0, 1, 10, 1_000, 50_000))
    what = rng.choice(("bytes", "text", "zeros", "brackets", "magic"))
    done.append(f"{size} of {what}")
    if what == "bytes":
        return rng.randbytes(size)
    if what == "text":
        return "".join(rng.choices(string.printable, k=size)).encode()
    if what == "zeros":
        return bytes(size)
    if what == "brackets":
        return "".join(rng.choices('[]{}",:1', k=size)).encode()
    magic = rng.choice((b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b\x08", b"PK\x03\x04", b"GIF89a", b"RIFF"))
    return magic + rng.randbytes(size)


def special(rng: Random) -> Content:
    """What may lie where a file is expected."""
    return rng.choice(
        (
            Pipe(),
            Folder(),
            b"",
            Link("/dev/zero"),
            Link("/nonexistent"),
            Link("."),
            Link("/etc/passwd"),
            Link("/dev/tty"),
        )
    )


def _png(width: int, height: int, depth: int, colours: int, pixels: bytes, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(pixels, 1)) + end


def image(rng: Random, done: list[str]) -> bytes:
    """An image file of an odd kind; of 32 x 24 pixels, as the annotations say, where it is one at all."""
    coarse = Image.frombytes("RGB", (4, 4), rng.randbytes(48)).resize((32, 24))
    kind = rng.choice(
        (
            "png16",
            "palette",
            "la",
            "cmyk",
            "apng",
            "progressive",
            "zip",
            "bomb",
            "format",
            "exif",
            "mpo",
            "header",
            "text",
            "parts",
        )
    )
    done.append(kind)
    jpeg = encoded(coarse, format="JPEG")
    if kind == "png16":
        colours, channels = rng.choice(((0, 1), (2, 3), (4, 2), (6, 4)))
        row = b"\x00" + rng.randbytes(2 * channels * 32)
        return _png(32, 24, 16, colours, row * 24)
    if kind == "palette":
        return encoded(coarse.quantize(8), format="PNG", transparency=rng.choice((0, bytes(8))))
    if kind == "la":
        return encoded(coarse.convert("LA"), format="PNG")
    if kind == "cmyk":
        return encoded(coarse.convert("CMYK"), format="JPEG")
    if kind == "apng":
        return encoded(coarse, format="PNG", save_all=True, append_images=[coarse.rotate(180)])
    if kind == "progressive":
        return encoded(coarse, format="JPEG", progressive=True, subsampling=0)
    if kind == "zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("evil", "evil")
        return rng.choice((jpeg, encoded(coarse, format="PNG"))) + archive.getvalue()
    if kind == "bomb":
        width, height = rng.choice(((60_000, 60_000), (2**31 - 1, 1), (1, 2_000_000), (9_000, 9_000), (0, 0), (32, 25)))
        return _png(width, height, rng.choice((1, 8, 16)), 0, bytes(10_000))
    if kind == "format":
        return encoded(coarse, format=rng.choice(("GIF", "BMP", "WEBP", "TIFF", "PPM", "ICO")))
    if kind == "exif":
        exif = b"Exif\x00\x00" + rng.choice((b"II*\x00", b"MM\x00*")) + rng.randbytes(rng.choice((0, 4, 60)))
        return encoded(coarse, format="JPEG", exif=exif)
    if kind == "mpo":
        return encoded(coarse, format="MPO", save_all=True, append_images=[coarse.resize((8, 8))])
    if kind == "text":
        compressed = zlib.compress(bytes(3_000_000), 1)
        data = rng.choice((b"zTXtx\x00\x00", b"iTXtx\x00\x01\x00\x00\x00", b"iCCPx\x00\x00")) + compressed
        extra = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
        return _png(32, 24, 8, 2, (b"\x00" + rng.randbytes(96)) * 24, extra)
    if kind == "parts":  # so many that they would hold a decoder, or a reader of headers
        count, progressive = rng.choice((10, 5000)), encoded(coarse, format="JPEG", progressive=True)
        scan, chunk = progressive[progressive.rindex(b"\xff\xda") : -2], struct.pack(">I4sI", 0, b"abCd", 0)
        return rng.choice(
            (
                progressive[:-2] + scan * count + progressive[-2:],
                jpeg[:2] + rng.choice((b"\xff", b"\xff\x01", b"\xff\xe5\0\2")) * count + jpeg[2:],
                _png(32, 24, 8, 2, (b"\x00" + rng.randbytes(96)) * 24, chunk * count),
            )
        )
    marker = jpeg.index(b"\xff\xc0")
    header = bytearray(jpeg)
    for _ in range(rng.choice((1, 2))):
        header[marker + rng.randrange(1, 19)] = rng.randrange(256)
    return bytes(header)
