"""What a file is, by how it begins: for a sentence on one that is no image. Without TensorFlow.

Only JPEG and PNG are taken. The exported model decodes with the operations of every TensorFlow Serving, which know
neither WebP nor TIFF and misread BMP of few colours: a format that training took would be refused by an endpoint.
"""

import re

from sagemaker_object_detection.sentences import shown

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG, PNG, JSON = "JPEG", "PNG", "a JSON file"
UNKNOWN, TEXT = "not an image of a known format", "text that begins"
START = 4096
"""Bytes from a file's beginning that `kind_of` asks for."""

_CONVERT = 'convert it, as "magick mogrify -format png FILE" does'
_UNPACK = "unpack it"
_FRAMES = 'take images out of it, as "ffmpeg -i FILE %06d.png" does'
_AGAIN = "upload it again"
_DECODE = "write the bytes that it stands for"
_OTHERWISE = "convert it"
_SHOWN = 40
# Pattern of a file's first bytes, name, and what to do where an image was expected. The first that matches counts.
_KINDS = tuple(
    (re.compile(pattern, re.DOTALL), name, remedy)
    for pattern, name, remedy in (
        (rb"\xff\xd8\xff", JPEG, ""),
        (rb"\x89PNG\r\n\x1a\n", PNG, ""),
        (rb"\xff\Z|\xff\xd8\Z|\x89(P(N(G(\r(\n\x1a?)?)?)?)?)?\Z", "cut short after a few bytes", _AGAIN),
        (rb"\x00+\Z", "full of zero bytes", _AGAIN),
        (
            # Decoded as UTF-8 with what is none replaced, read as Latin-1, or with line ends changed.
            rb"(\xef\xbf\xbd){2}|\xc3\xbf\xc3\x98|(\xef\xbf\xbd|\xc2\x89|\?)PNG|\x89PNG[\r\n]",
            "an image that was copied as if it were text",
            "copy it again, as bytes",
        ),
        (rb"GIF8[79]a", "a GIF image", _CONVERT),
        (rb"RIFF.{4}WEBP", "a WebP image", _CONVERT),
        (rb"RIFF.{4}AVI ", "an AVI video", _FRAMES),
        (rb".{4}ftypavi[fs]", "an AVIF image", _CONVERT),
        (rb".{4}ftyp(hei|hev|mif1|msf1)", "a HEIC image", _CONVERT),
        (rb".{4}ftypcrx ", "a raw photograph", _CONVERT),
        (rb".{4}ftyp", "an MP4 or QuickTime video", _FRAMES),
        (rb"\x1aE\xdf\xa3", "a WebM or Matroska video", _FRAMES),
        (rb"\xff\n|\x00{3}\x0cJXL ", "a JPEG XL image", _CONVERT),
        (rb"\x00{3}\x0cjP|\xff\x4f\xff\x51", "a JPEG 2000 image", _CONVERT),
        (rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+", "a TIFF image", _CONVERT),
        (rb"BM.{4}\x00{4}", "a BMP image", _CONVERT),
        (rb"\x00\x00\x01\x00.\x00?", "an icon (ICO)", _CONVERT),
        (rb"P[1-6][\s#]", "a PNM image", _CONVERT),
        (rb"qoif", "a QOI image", _CONVERT),
        (rb"8BPS", "a Photoshop file", _CONVERT),
        (rb"\x76\x2f\x31\x01", "an OpenEXR image", _CONVERT),
        (rb".{128}DICM", "a DICOM file", _OTHERWISE),
        (rb"%PDF", "a PDF file", _OTHERWISE),
        (rb"\x1f\x8b", "compressed with gzip", _UNPACK),
        (rb"BZh|\xfd7zXZ\x00|\x28\xb5\x2f\xfd", "compressed with bzip2, xz or zstd", _UNPACK),
        (rb"PK(\x03\x04|\x05\x06)", "a zip archive", _UNPACK),
        (rb"Rar!|7z\xbc\xaf", "a RAR or 7z archive", _UNPACK),
        (rb".{257}ustar", "a tar archive", _UNPACK),
        (rb"\x93NUMPY", "a NumPy array", _OTHERWISE),
        (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _OTHERWISE),
        (rb"PAR1", "a Parquet file", _OTHERWISE),
        (rb"\n\x23\xd7\xce", "a RecordIO file", "take the images out of it"),
        (rb"\x80[\x02-\x05]", "a pickled Python object", _OTHERWISE),
        (rb"\x00{3}\x01Bud1", "a .DS_Store file of macOS", "remove it and its entry"),
        (rb"\x00\x05\x16[\x00\x07]", "what macOS keeps beside a file (._NAME), not the file itself", "remove it"),
        (rb"version https://git-lfs", "a Git LFS pointer, not the file itself", 'fetch it with "git lfs pull"'),
        (
            rb"(?i)\s*(<\?xml[^>]*>\s*)?<Error>\s*<Code>",
            "S3's error message{code}, not the file itself",
            "download it again, with the permission to read it",
        ),
        (rb"(?i)\s*(<!--.*?-->\s*)?(<!doctype html|<html|<head)", "a web page", _AGAIN),
        (rb"(?i)\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg", "an SVG image", _CONVERT),
        (rb"\s*<\?xml|\s*<[A-Za-z]+>", "an XML file", _AGAIN),
        (rb"--[^\r\n]+\r\nContent-", "a form of several parts", "send the file's bytes alone"),
        (
            rb"\s*[\"']?(data:image/|/9j/|iVBORw0KGgo|R0lGOD|UklGR)",
            "an image as base64 text",
            _DECODE,
        ),
        (rb"b['\"]\\x", "an image as Python writes bytes", _DECODE),
        (rb"\s*\{[^\n]*\}\r?\n\s*[\{\[]", "a JSON Lines file", _OTHERWISE),
        (rb"\s*[\[{]\s*[\"\]}\[{\dtfn-]", JSON, _OTHERWISE),
    )
)
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z]{1,40})</Code>")


def kind_of(start: bytes) -> tuple[str, str]:
    """What a file is and what to do where an image was expected, from its first `START` bytes, which are not empty.

    Returns:
        JPEG, PNG, or a name as in "is a zip archive"; and a remedy as in "unpack it".
    """
    start = start[:START].removeprefix(b"\xef\xbb\xbf")
    for pattern, name, remedy in _KINDS:
        if pattern.match(start):
            code = _ERROR_CODE.search(start)
            return name.format(code=f" {code[1].decode()}" if code else ""), remedy
    if _is_tfrecord(start):
        return "a TFRecord file", "take the images out of it"
    text = start.decode("utf-8", "ignore")
    if len(text.encode()) > len(start) - 4 and "\0" not in text and text.strip():
        return f"{TEXT} {shown(text.strip()[:_SHOWN])}", _AGAIN
    return UNKNOWN, _OTHERWISE


def other_than_json(start: bytes) -> tuple[str, str] | None:
    """As `kind_of`, of a file that should be JSON; None where it is, or may be meant to be."""
    name, remedy = kind_of(start or b"\0")
    if name in (JSON, UNKNOWN) or name.startswith(TEXT):
        return None
    return {JPEG: ("a JPEG image", _AGAIN), PNG: ("a PNG image", _AGAIN)}.get(name, (name, remedy))


def _is_tfrecord(start: bytes) -> bool:
    """A record begins with its length and the masked CRC-32C of that (TensorFlow, core/lib/io/record_writer.h)."""
    crc = 0xFFFFFFFF
    for byte in start[:8]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return len(start) >= 12 and int.from_bytes(start[8:12], "little") == masked
