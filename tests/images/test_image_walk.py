"""Files that would hold a decoder for long, or a reader of headers: refused by one walk, wherever images are read. Real
files with large parts pass."""

import io
import json
import os
import random
import runpy
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from shared import shared

from sagemaker_object_detection.artifact.handler import handler_source
from sagemaker_object_detection.images import decoding
from sagemaker_object_detection.images.decoding import check_decoding
from sagemaker_object_detection.images.headers import Header, UnusableImageError, header_of, read_headers
from sagemaker_object_detection.images.walk import MAX_PARTS, MAX_SCANS, ImageError, measure


def saved(form: str, width: int = 24, height: int = 16, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 50).convert("RGB").convert(mode).save(file, form, **options)
    return file.getvalue()


def begun_with(parts: bytes, contents: bytes) -> bytes:
    """A JPEG with more behind its first marker."""
    return contents[:2] + parts + contents[2:]


def with_scans(contents: bytes, count: int, between: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan is there so many times more."""
    last = contents[contents.rindex(b"\xff\xda") : -2]
    return contents[:-2] + (between + last) * count + contents[-2:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def with_chunks(chunks: bytes, *, late: bool = False) -> bytes:
    contents = saved("PNG")
    place = len(contents) - 12 if late else 33
    return contents[:place] + chunks + contents[place:]


def of_size(contents: bytes, height: int, width: int) -> bytes:
    """A JPEG that claims another size."""
    place = max(contents.find(b"\xff\xc0"), contents.find(b"\xff\xc2")) + 5
    return contents[:place] + struct.pack(">HH", height, width) + contents[place + 4 :]


JPEG = saved("JPEG")
PROGRESSIVE = saved("JPEG", progressive=True)
FIRST_SCAN = PROGRESSIVE[PROGRESSIVE.index(b"\xff\xda") :][:9]
"""Marker, length, number of layers, and of each its name and tables."""
HUGE_JPEG = of_size(JPEG, 13_000, 13_000)
TEXT = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(7_900_000), 9))
BEFORE = f"has more than {MAX_PARTS} segments and fill bytes before its pixels"
SLOW = {
    "scans": (
        with_scans(PROGRESSIVE, 20_000),
        f"has more than {MAX_SCANS} scans; a progressive JPEG of 24 x 16 pixels",
    ),
    "scans of many pixels": (
        with_scans(of_size(PROGRESSIVE, 4096, 4096), 60),
        "has more than 64 scans; a progressive JPEG of 4096 x 4096 pixels",
    ),
    "scans between garbage": (with_scans(PROGRESSIVE, 300, b"\0\xff\0ab\xff\xff"), f"has more than {MAX_SCANS} scans"),
    "scans behind a marker that a restart skips": (
        with_scans(PROGRESSIVE, 300, b"\xff\x02\xff\xff"),
        f"has more than {MAX_SCANS} scans",
    ),
    "scans behind a marker in a scan header": (
        with_scans(PROGRESSIVE.replace(FIRST_SCAN, FIRST_SCAN[:5] + b"\xff\xe1\xff\xff"), 300),
        f"has more than {MAX_SCANS} scans",
    ),
    "tables between scans": (
        with_scans(PROGRESSIVE, 2, b"\xff\xdd\0\4\0\0" * 3000),
        f"has more than {MAX_PARTS} segments between its pixels",
    ),
    "fill bytes": (begun_with(b"\xff" * 5_000_000, JPEG), BEFORE),
    "fill bytes before a size": (begun_with(b"\xff" * 4100, HUGE_JPEG), BEFORE),
    "empty segments": (begun_with(b"\xff\xe5\0\2" * 500_000, JPEG), BEFORE),
    "segments of no length": (begun_with(b"\xff\xe5\0\0" * 5000, JPEG), BEFORE),
    "markers alone": (begun_with(b"\xff\x01" * 5000, JPEG), BEFORE),
    "chunks": (with_chunks(chunk(b"abCd", b"") * 100_000), "has more than 5269 chunks"),
    "chunks of no pixels": (with_chunks(chunk(b"IDAT", b"") * 100_000), "has more than 5269 chunks"),
    "compressed texts": (with_chunks(TEXT * 100), "has too many compressed texts beside its pixels"),
    "compressed texts behind the pixels": (with_chunks(TEXT * 100, late=True), "has too many compressed texts"),
}
HUGE = {
    "JPEG": HUGE_JPEG,
    "JPEG with fill bytes": begun_with(b"\xff" * 4000, HUGE_JPEG),
    "PNG": saved("PNG", 9000, 9000, "1"),
}
UNKNOWN = {
    "no segments": b"\xff\xd8\xff\xd9",
    "cut before the size": JPEG[: JPEG.index(b"\xff\xc0") + 6],
    "garbage before the size": begun_with(b"\xff\xfe\0\2junk", HUGE_JPEG),
    "no scan": JPEG[: JPEG.index(b"\xff\xda")] + b"\xff\xd9",
    "no frame header": JPEG.replace(b"\xff\xc0", b"\xff\xe9"),
    "no height": of_size(JPEG, 0, 24),
    "a PNG's signature alone": saved("PNG")[:8],
    "a damaged PNG header": saved("PNG").replace(b"IHDR\0\0\0", b"IHDR\0\0\1"),
}


@pytest.fixture(scope="module")
def handler(tmp_path_factory) -> Callable[[bytes], str]:
    """What the handler for TensorFlow Serving says of a body: its status and sentence; "" if it takes it."""
    path = tmp_path_factory.mktemp("model") / "inference.py"
    path.write_bytes(handler_source())
    names = runpy.run_path(str(path))

    def say(contents: bytes) -> str:
        context = SimpleNamespace(accept_header=None, request_content_type="image/jpeg")
        try:
            request = json.loads(names["input_handler"](io.BytesIO(contents), context))
        except names["RequestError"] as error:
            return f"{error.status} {error}"
        assert len(request["instances"]) == 1
        return ""

    return say


@pytest.mark.parametrize("name", SLOW)
def test_what_would_hold_a_decoder_is_refused_everywhere(name, handler, tmp_path):
    contents, sentence = SLOW[name]
    path = tmp_path / "image"
    path.write_bytes(contents)
    with pytest.raises(UnusableImageError) as served:
        header_of(contents)
    assert str(served.value).startswith(sentence)
    assert served.value.kind == "images that take too long to decode"
    assert handler(contents) == f"400 the body {served.value}"
    checked: object
    (checked,) = read_headers([path])
    if isinstance(checked, Header):
        (checked,) = check_decoding([path], [checked])
    assert isinstance(checked, UnusableImageError)
    assert (str(checked), checked.kind) == (str(served.value), served.value.kind)


@pytest.mark.parametrize("name", HUGE)
def test_too_many_pixels_are_found_behind_whatever_stands_before_them(name, handler):
    with pytest.raises(UnusableImageError, match=r"^has too many pixels") as served:
        header_of(HUGE[name])
    assert served.value.kind == "too large images"
    assert handler(HUGE[name]) == f"413 the body {served.value}"


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_image_whose_size_cannot_be_found_is_refused(name, handler):
    with pytest.raises(UnusableImageError, match=r"^is a damaged (JPEG|PNG) file: its header cannot be read"):
        header_of(UNKNOWN[name])
    said = handler(UNKNOWN[name])
    assert said == "400 the body cannot be decoded: it is cut short or damaged; send the whole file"


def innocents() -> Iterator[tuple[str, bytes]]:
    profile = np.random.default_rng(0).bytes(2_000_000)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera" * 7000
    for progressive in (False, True):
        for subsampling in (0, 1, 2):
            for mode in ("L", "RGB", "CMYK"):
                options = {"progressive": progressive, "subsampling": subsampling}
                yield f"{mode} {options}", saved("JPEG", 301, 203, mode, **options)
    yield "a large profile", saved("JPEG", icc_profile=profile, exif=exif, comment=b"a" * 60_000)
    yield "a profile in a PNG", saved("PNG", icc_profile=profile[:900_000], exif=exif)
    yield "restart markers", saved("JPEG", 640, 480, restart_marker_blocks=1)
    yield "restart markers of a progressive image", saved("JPEG", 640, 480, restart_marker_rows=1, progressive=True)
    yield "optimised", saved("JPEG", 640, 480, optimize=True, quality=100)
    yield "fill bytes", JPEG.replace(b"\xff\xdb", b"\xff" * 100 + b"\xff\xdb")
    extended = b"http://ns.adobe.com/xmp/extension/\0" + profile[:60_000]
    yield "a depth map", begun_with((b"\xff\xe1" + struct.pack(">H", len(extended) + 2) + extended) * 300, JPEG)
    yield "bytes behind the end", JPEG + SLOW["scans"][0] + profile
    frames = io.BytesIO()
    picture = Image.effect_noise((64, 48), 50).convert("RGB")
    picture.save(frames, "MPO", save_all=True, append_images=[picture] * 3)
    yield "several pictures (MPO)", frames.getvalue()
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"a PNG {mode}", saved("PNG", 301, 203, mode)
    yield "uncompressed text", with_chunks(chunk(b"tEXt", b"a\0" + b"b" * 5_000_000))
    yield "compressed text", with_chunks(chunk(b"zTXt", b"a\0\0" + zlib.compress(b"some words")) * 1000)
    pixels = saved("PNG", 200, 100)
    content = pixels[41:-16]
    assert content.count(b"IDAT") == 0
    cut = b"".join(chunk(b"IDAT", content[place : place + 16]) for place in range(0, len(content), 16))
    yield "pixels in small chunks", pixels[:33] + cut + pixels[-12:]


def test_real_files_with_large_parts_pass(handler):
    for name, contents in innocents():
        header = header_of(contents)
        with Image.open(io.BytesIO(contents)) as image:
            assert (header.width, header.height) == image.size, name
        assert measure(contents) == image.size, name
        assert not handler(contents), name
        assert tf.io.decode_image(contents, expand_animations=False).shape[:2] == header.stored, name


def test_photographs_of_data_sets_pass():
    paths = [path for path in sorted(shared("datasets").rglob("*")) if path.suffix in (".jpg", ".jpeg", ".png")]
    assert paths
    for path in paths:
        with Image.open(path) as image:
            assert measure(path.read_bytes()) == image.size, path


def test_damaged_files_end_in_a_size_or_a_sentence():
    chance = random.Random(0)
    wholes = [JPEG, PROGRESSIVE, saved("PNG"), saved("JPEG", restart_marker_blocks=1)]
    ends = {"size": 0, "refused": 0, "unknown": 0}
    for _ in range(2000):
        damaged = bytearray(chance.choice(wholes))
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(2, len(damaged))
            damaged[place : place + chance.randrange(3)] = chance.choice(
                [b"", b"\xff", b"\xff\xda", b"\0\0", bytes([chance.randrange(256)]), b"\xff\xff" * 3000]
            )
        try:
            ends["size"] += len(measure(bytes(damaged))) == 2
        except ImageError:
            ends["refused"] += 1
        except ValueError:
            ends["unknown"] += 1
    assert all(ends.values()), ends


def test_an_image_that_takes_long_is_named_while_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "slow.jpg"
    path.write_bytes(JPEG)
    named, said = threading.Event(), []
    monkeypatch.setattr(decoding, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(decoding.logger, "warning", lambda words, *values: (said.append(words % values), named.set()))
    examined = decoding._examined

    def slowly(*arguments):
        assert named.wait(60)
        return examined(*arguments)

    monkeypatch.setattr(decoding, "_examined", slowly)
    (pixels,) = check_decoding([path], [header_of(JPEG)])
    assert isinstance(pixels, decoding.Pixels)
    assert said[0].startswith(f"image {str(path)!r} takes longer than 0.01 seconds to decode")


def test_a_file_that_is_another_since_its_header_was_read_is_said_not_waited_for(tmp_path: Path) -> None:
    longer, pipe, gone = (tmp_path / name for name in ("longer.jpg", "pipe.jpg", "gone.jpg"))
    longer.write_bytes(JPEG + b"more")
    os.mkfifo(pipe)
    found = check_decoding([longer, pipe, gone], [header_of(JPEG)] * 3)
    for problem, said in zip(found, (f"Has {len(JPEG) + 4} bytes", "Is a pipe", "No such file"), strict=True):
        assert f"cannot be read ({said}" in str(problem)
