"""What a file is that is no image: every row by an example, most of them made by the program that writes such files."""

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from made_channels import picture
from PIL import Image

from sagemaker_object_detection.images.headers import UnusableImageError, header_of
from sagemaker_object_detection.images.signatures import START, kind_of

PICTURE = picture(12, 8)


def saved(form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PICTURE.save(stream, form, **options)
    return stream.getvalue()


JPEG, PNG = saved("JPEG"), saved("PNG")


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.png", PNG)
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    return stream.getvalue()


def array(save: Callable[..., None]) -> bytes:
    stream = io.BytesIO()
    save(stream, np.asarray(PICTURE))
    return stream.getvalue()


def media(brand: bytes) -> bytes:
    return b"\x00\x00\x00\x20ftyp" + brand + bytes(20)


S3_ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>No</Message></Error>'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
HTML = b"\n<!doctype HTML>\n<html><body>404</body></html>"
ENTRY = json.dumps({"image": "a.png"}).encode()
FILES = {
    "a GIF image": [saved("GIF")],
    "a WebP image": [saved("WEBP"), saved("WEBP", lossless=True)],
    "a BMP image": [saved("BMP")],
    "a TIFF image": [saved("TIFF"), b"II+\0" + bytes(12)],
    "an AVIF image": [saved("AVIF"), media(b"avis")],
    "a HEIC image": [media(b"heic"), media(b"mif1"), media(b"hevc")],
    "an MP4 or QuickTime video": [media(b"isom"), media(b"qt  "), media(b"mp42")],
    "a JPEG XL image": [b"\xff\x0a" + bytes(9), b"\x00\x00\x00\x0cJXL \r\n\x87\n"],
    "a JPEG 2000 image": [saved("JPEG2000")],
    "an icon (ICO)": [saved("ICO", sizes=[(8, 8)])],
    "a PNM image": [saved("PPM")],
    "compressed with gzip": [gzip.compress(PNG)],
    "compressed with bzip2, xz or zstd": [bz2.compress(PNG), lzma.compress(PNG)],
    "a zip archive": [zipped(), array(np.savez)],
    "a tar archive": [tarred()],
    "a NumPy array": [array(np.save)],
    "a PDF file": [saved("PDF")],
    "a pickled Python object": [pickle.dumps({})],
    "a JSON file": [b'{"images": []}', b"[]", b'\xef\xbb\xbf{\n  "a": 1}', b'["a"]'],
    "a JSON Lines file": [ENTRY + b"\n" + ENTRY + b"\n"],
    "an image as base64 text": [
        base64.b64encode(JPEG),
        base64.b64encode(PNG),
        b'"' + base64.b64encode(PNG) + b'"',
        b"data:image/png;base64," + base64.b64encode(PNG),
    ],
    "an image as Python writes bytes": [repr(PNG).encode(), repr(JPEG).encode()],
    "an image that was copied as if it were text": [
        PNG.decode("utf-8", "replace").encode(),
        JPEG.decode("utf-8", "replace").encode(),
        PNG.decode("latin-1").encode(),
        JPEG.decode("latin-1").encode(),
        PNG.replace(b"\r\n", b"\n"),
        PNG.replace(b"\n", b"\r\n"),
        PNG.decode("ascii", "replace").encode("ascii", "replace"),
    ],
    "S3's error message AccessDenied, not the file itself": [S3_ERROR % b"AccessDenied"],
    "S3's error message NoSuchKey, not the file itself": [b"<Error><Code>NoSuchKey</Code></Error>"],
    "a web page": [HTML, b"<html>"],
    "an SVG image": [b"<svg xmlns='...'/>", b"<?xml version='1.0'?>\n<svg/>"],
    "an XML file": [b"<?xml version='1.0'?><annotation/>", b"<annotation>\n"],
    "a Git LFS pointer, not the file itself": [LFS],
    "a .DS_Store file of macOS": [b"\x00\x00\x00\x01Bud1" + bytes(30)],
    "what macOS keeps beside a file (._NAME), not the file itself": [b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"],
    "full of zero bytes": [bytes(7), bytes(9000)],
    "cut short after a few bytes": [JPEG[:1], JPEG[:2], PNG[:1], PNG[:5], PNG[:7]],
    "a form of several parts": [b'--1f\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + PNG],
    "text that begins 'hello'": [b"hello", b"\n hello \n"],
    "not an image of a known format": [b"\x07\x81\x82\x83\xc0", bytes(9) + b"\x81\x90"],
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_image_is_called_what_it_is(name: str) -> None:
    for contents in FILES[name]:
        with pytest.raises(UnusableImageError) as caught:
            header_of(contents)
        assert str(caught.value).startswith(f"is {name}. Expected a JPEG or PNG image: "), contents[:20]
        assert caught.value.kind == "images of other formats"


def test_the_sentence_says_what_to_do() -> None:
    with pytest.raises(UnusableImageError, match=r'^is a Git LFS pointer, .* image: fetch it with "git lfs pull".$'):
        header_of(LFS)
    with pytest.raises(UnusableImageError, match=r'convert it, as "magick mogrify -format png FILE" does.$'):
        header_of(saved("WEBP"))


def test_records_of_tensorflow_are_recognised(tmp_path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        writer.write(PNG)
    contents = (tmp_path / "a").read_bytes()
    assert kind_of(contents)[0] == "a TFRecord file"
    assert kind_of(contents[:11] + b"\x00" + contents[12:])[0] != "a TFRecord file"


def test_every_beginning_has_a_name_and_images_keep_theirs() -> None:
    assert kind_of(JPEG)[0] == "JPEG"
    assert kind_of(PNG)[0] == "PNG"
    chance = np.random.default_rng(0)
    for size in (1, 2, 13, START, 2 * START):
        for _ in range(50):
            name, remedy = kind_of(chance.bytes(size))
            assert name
            assert remedy


def test_text_is_shown_short_and_in_one_line() -> None:
    assert kind_of(b"one\ntwo\x1b[31m" + b"x" * 5000)[0] == f"text that begins 'one\\ntwo\\x1b[31m{'x' * 28}'"


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_of_12_bits_is_called_so(mode: str) -> None:
    contents = bytearray(saved("JPEG") if mode == "RGB" else _grey())
    contents[contents.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnusableImageError, match=r"^is a JPEG of 12 bits a sample. Expected 8: convert it.$"):
        header_of(bytes(contents))


def _grey() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG")
    return stream.getvalue()
