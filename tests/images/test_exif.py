"""The orientation that an exported model reads by itself, held against Pillow's and against damaged data."""

import io
import random
import zlib
from typing import Literal

import pytest
import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.images.exif import exif_orientation
from sagemaker_object_detection.images.headers import header_of

compiled = tf.function(exif_orientation, autograph=False, input_signature=[tf.TensorSpec([], tf.string)])


def encoded(form: str, exif: bytes | None, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 8), "white").save(file, form, **({} if exif is None else {"exif": exif}), **options)
    return file.getvalue()


def tiff(orientation: int, *, big: bool, kind: int = 3, count: int = 1, tag: int = 0x0112, before: int = 2) -> bytes:
    """EXIF data with some fields before the orientation's."""
    order: Literal["big", "little"] = "big" if big else "little"

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, order)

    field = number(tag, 2) + number(kind, 2) + number(count, 4)
    field += (number(orientation, {1: 1, 3: 2, 4: 4}.get(kind, 2)) + bytes(4))[:4]
    others = b"".join(number(0x0100 + i, 2) + number(4, 2) + number(1, 4) + number(7, 4) for i in range(before))
    start = (b"MM" if big else b"II") + number(42, 2) + number(8, 4)
    return b"Exif\0\0" + start + number(before + 1, 2) + others + field + number(0, 4)


def ours(contents: bytes) -> int:
    return int(compiled(tf.constant(contents)))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("big", [True, False])
def test_every_orientation_is_read(form, big, tmp_path):
    for orientation in range(1, 9):
        contents = encoded(form, tiff(orientation, big=big))
        (tmp_path / "image").write_bytes(contents)
        assert ours(contents) == header_of((tmp_path / "image").read_bytes()).orientation == orientation


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_what_says_nothing_is_1(form, tmp_path):
    cases = {
        "no EXIF data": None,
        "0": tiff(0, big=True),
        "9": tiff(9, big=False),
        "another field": tiff(6, big=True, tag=0x0113),
        "no field": tiff(6, big=True)[:14] + b"\0\0",
        "text": tiff(6, big=True, kind=2),
        "a byte": tiff(6, big=True, kind=1),
        "only the beginning": tiff(6, big=True)[:12],
        "no byte order": tiff(6, big=True).replace(b"MM", b"XX"),
    }
    for name, exif in cases.items():
        contents = encoded(form, exif)
        (tmp_path / "image").write_bytes(contents)
        assert ours(contents) == header_of((tmp_path / "image").read_bytes()).orientation == 1, name


def test_a_long_number_is_read_too(tmp_path):
    for big in (True, False):
        contents = encoded("JPEG", tiff(6, big=big, kind=4))
        (tmp_path / "image").write_bytes(contents)
        assert ours(contents) == header_of((tmp_path / "image").read_bytes()).orientation == 6


def test_segments_before_and_fill_bytes_do_not_hide_it():
    contents = encoded("JPEG", tiff(8, big=True), icc_profile=bytes(70_000))
    app1 = contents.index(b"\xff\xe1")
    comment = b"\xff\xfe\x00\x08Exif\0\0" + b"\xff\xe1\x00\x0chttp://ns\0"
    assert ours(contents[:app1] + comment + b"\xff\xff" + contents[app1:]) == 8


def test_a_png_has_it_before_its_pixels(tmp_path):
    contents = encoded("PNG", tiff(3, big=False))
    start = contents.index(b"eXIf") - 4
    length = 12 + int.from_bytes(contents[start : start + 4], "big")
    chunk, end = contents[start : start + length], contents.index(b"IEND") - 4
    assert ours(contents) == 3
    late = contents[:start] + contents[start + length : end] + chunk + contents[end:]
    (tmp_path / "image").write_bytes(late)
    assert ours(late) == header_of((tmp_path / "image").read_bytes()).orientation == 1


def test_pixels_that_look_like_exif_data_are_not_searched():
    contents = encoded("JPEG", None)
    scan = contents.index(b"\xff\xda")
    app1 = encoded("JPEG", tiff(6, big=True))
    app1 = app1[app1.index(b"\xff\xe1") :]
    assert ours(contents[: scan + 14] + app1) == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_damaged_files_end_and_give_an_orientation(form):
    whole, chance = encoded(form, tiff(6, big=True)), random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole[: chance.randrange(len(whole) + 1)])
        for _ in range(chance.randrange(6)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.choice([0, 255, chance.randrange(256)])
        assert 1 <= ours(bytes(damaged)) <= 8
    for contents in (b"", b"\xff", b"\xff\xd8", b"\xff\xd8" + b"\xff" * 5000, b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        assert ours(contents) == 1


def xmp(orientation: object, form: str = 'tiff:Orientation="{}"') -> bytes:
    said = form.format(orientation)
    inside = f"><{said[1:]}</rdf:Description>" if said.startswith("<") else f" {said}/>"
    return (
        '<?xpacket begin="\ufeff"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{inside}</rdf:RDF></x:xmpmeta>'
    ).encode()


def with_xmp(form: str, packet: bytes, exif: bytes | None = None) -> bytes:
    if form == "JPEG":
        return encoded("JPEG", exif, xmp=packet)
    whole = encoded("PNG", exif)
    content = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + packet
    chunk = (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
    return whole[:33] + chunk + whole[33:]


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_orientation_in_xmp_counts_where_exif_says_none(form):
    for orientation in range(1, 9):
        contents = with_xmp(form, xmp(orientation))
        header = header_of(contents)
        assert ours(contents) == header.orientation == orientation
        assert header.from_xmp == (orientation > 1)
    other = tiff(6, big=True, tag=0x0113)
    for exif, expected in ((tiff(3, big=True), 3), (tiff(1, big=False), 1), (other, 6), (tiff(0, big=True), 6)):
        contents = with_xmp(form, xmp(6), exif)
        assert ours(contents) == header_of(contents).orientation == expected
        assert header_of(contents).from_xmp == (expected == 6)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (xmp(8, "tiff:Orientation = '{}'"), 8),
        (xmp(5, "<tiff:Orientation>{}</tiff:Orientation>"), 5),
        (xmp(5, "<tiff:Orientation>\n {} </tiff:Orientation>"), 5),
        (b"\xff\xfe\xe9\n" + xmp(6) + b"\xe9", 6),  # no UTF-8
        (xmp(9), 1),
        (xmp(0), 1),
        (xmp(66), 1),
        (xmp("Rotate 90 CW"), 1),
        (xmp(6, 'exif:Orientation="{}"'), 1),
        (xmp(3) + xmp(6), 3),
        (b"", 1),
        (b"\0" * 60_000, 1),
    ],
)
def test_xmp_is_read_in_every_form_and_minds_no_other_text(form, packet, expected):
    contents = with_xmp(form, packet)
    assert ours(contents) == header_of(contents).orientation == expected


def test_compressed_or_endless_xmp_in_a_png_says_nothing():
    contents = with_xmp("PNG", xmp(6) + b" " * 2**16)
    assert ours(contents) == header_of(contents).orientation == 1
    flagged = with_xmp("PNG", xmp(6)).replace(b"xmp\0\0", b"xmp\0\1")
    assert ours(flagged) == header_of(flagged).orientation == 1
