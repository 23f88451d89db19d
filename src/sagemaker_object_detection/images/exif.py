"""The orientation of an encoded image, in TensorFlow ops, so that an exported model turns photographs by itself. EXIF
data says it, or else XMP data.

Offsets are int64, from the beginning of the file. Bytes past its end are 0, and data that is damaged says orientation
1: no decoder minds it. Pillow, which reads headers before a training, sees the same (tests/images/test_exif.py).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sagemaker_object_detection.images.headers import MAX_XMP_BYTES, XMP_CHUNK, XMP_ORIENTATION

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_APP1, _START_OF_SCAN, _END_OF_IMAGE = 0xE1, 0xDA, 0xD9
_XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
_NOWHERE = -1
"""As the place of EXIF or XMP data: this part of the file has none. As the place of the next part: there is none."""
_ORIENTATION = 0x0112
_SIZES = {3: 2, 4: 4}
"""Bytes of a TIFF field's value, by its type: SHORT, which cameras write, and LONG."""
_MAX_PARTS = 4096
"""A file may hold millions of empty ones; cameras write some dozens, and large colour profiles some hundreds."""
_MAX_FIELDS = 1024
"""A camera writes some dozens; a damaged file may claim 65535."""


class _File(NamedTuple):
    contents: tf.Tensor
    """uint8 [length + 1]: the last byte, 0, stands for all past the end."""
    length: tf.Tensor

    def bytes_at(self, offset: tf.Tensor, count: int) -> tf.Tensor:
        """So many bytes from offsets [...] on, int64 [..., count]."""
        places = tf.clip_by_value(offset[..., tf.newaxis] + tf.range(count, dtype=tf.int64), 0, self.length)
        return tf.cast(tf.gather(self.contents, places), tf.int64)


def _number(digits: tf.Tensor, little_endian: tf.Tensor | bool = False) -> tf.Tensor:
    """The unsigned numbers that bytes [..., size] are, int64 [...]."""
    rising = [256**power for power in range(digits.shape[-1])]
    values = tf.where(little_endian, tf.constant(rising, tf.int64), tf.constant(rising[::-1], tf.int64))
    return tf.reduce_sum(digits * values, axis=-1)


def _is(digits: tf.Tensor, text: bytes) -> tf.Tensor:
    return tf.reduce_all(digits == list(text))


class _Places(NamedTuple):
    """Offsets, scalar int64."""

    tiff: tf.Tensor
    """Where EXIF data begins."""
    xmp: tf.Tensor
    xmp_length: tf.Tensor
    next_part: tf.Tensor


_Look = Callable[[_File, tf.Tensor], _Places]
"""What the part of a file at an offset holds, and where the next one is."""


def exif_orientation(contents: tf.Tensor) -> tf.Tensor:
    """EXIF orientation of a JPEG or PNG, 1 (none, or none that can be read) to 8: scalar string -> scalar int32.

    In a JPEG it is in the first APP1 segment that begins with "Exif" (EXIF 2.32, 4.7.2), in a PNG in the chunk eXIf
    before its pixels. Where that says none, tiff:Orientation of the file's XMP data counts, as it does for Pillow.
    """
    data = tf.io.decode_raw(contents, tf.uint8)
    file = _File(tf.pad(data, [[0, 1]]), tf.size(data, tf.int64))
    start = tf.constant(0, tf.int64)
    signature = file.bytes_at(start, len(_PNG))
    nowhere = tf.constant(_NOWHERE, tf.int64)
    found = tf.case(
        [
            (_is(signature[: len(_JPEG)], _JPEG), lambda: _find(file, start, _segment)),
            (_is(signature, _PNG), lambda: _find(file, start + len(_PNG), _chunk)),
        ],
        default=lambda: _Places(nowhere, nowhere, nowhere, nowhere),
    )
    none = tf.constant(0)
    by_exif = tf.cond(found.tiff < 0, lambda: none, lambda: _orientation(file, found.tiff))
    unsaid = (by_exif == 0) & (found.xmp >= 0)
    by_xmp = tf.cond(unsaid, lambda: _xmp_orientation(contents, file, found), lambda: none)
    return tf.maximum(tf.where(by_exif > 0, by_exif, by_xmp), 1)


def _find(file: _File, first: tf.Tensor, look: _Look) -> _Places:
    """The first EXIF data and the last XMP data of the parts of a file, of which the first is at `first`."""

    def unfinished(found: _Places) -> tf.Tensor:
        return (found.next_part >= 0) & (found.next_part < file.length)

    def further(found: _Places) -> tuple[_Places]:
        here = look(file, found.next_part)
        return (
            _Places(
                tiff=tf.where(found.tiff < 0, here.tiff, found.tiff),
                xmp=tf.where(here.xmp < 0, found.xmp, here.xmp),
                xmp_length=tf.where(here.xmp < 0, found.xmp_length, here.xmp_length),
                next_part=here.next_part,
            ),
        )

    nowhere = tf.constant(_NOWHERE, tf.int64)
    start = (_Places(nowhere, nowhere, nowhere, first),)
    (found,) = tf.while_loop(unfinished, further, start, maximum_iterations=_MAX_PARTS)
    return _Places(*found)


def _segment(file: _File, part: tf.Tensor) -> _Places:
    """A segment of a JPEG: FF, a marker, and unless that stands alone its length and content (ITU-T T.81, B.1.1)."""
    start = file.bytes_at(part, 4 + len(_XMP_SEGMENT))
    marker, content = start[1], start[4:]
    stands_alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
    last = (start[0] != 0xFF) | (marker == _START_OF_SCAN) | (marker == _END_OF_IMAGE)
    length = tf.maximum(_number(start[2:4]), 2)
    following = tf.where(stands_alone, part + 2, part + 2 + length)
    following = tf.where(marker == 0xFF, part + 1, following)  # any number of FF may stand before a marker
    is_app1 = (marker == _APP1) & ~last
    has_xmp = is_app1 & _is(content, _XMP_SEGMENT)
    skipped = len(_XMP_SEGMENT)
    return _Places(
        tiff=_place(part + 10, is_app1 & _is(content[:6], b"Exif\0\0")),
        xmp=_place(part + 4 + skipped, has_xmp),
        xmp_length=length - 2 - skipped,
        next_part=_place(following, ~last),
    )


def _chunk(file: _File, part: tf.Tensor) -> _Places:
    """A chunk of a PNG before its pixels: length, four letters, content and a checksum (PNG 3, 5.3)."""
    start = file.bytes_at(part, 8 + len(XMP_CHUNK))
    length, kind, content = _number(start[:4]), start[4:8], start[8:]
    has_xmp = _is(kind, b"iTXt") & _is(content, XMP_CHUNK) & (length <= MAX_XMP_BYTES)
    return _Places(
        tiff=_place(part + 8, _is(kind, b"eXIf")),
        xmp=_place(part + 8, has_xmp),
        xmp_length=length,
        next_part=_place(part + 12 + length, ~_is(kind, b"IDAT")),
    )


def _place(offset: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    return tf.where(there, offset, tf.constant(_NOWHERE, tf.int64))


def _xmp_orientation(contents: tf.Tensor, file: _File, found: _Places) -> tf.Tensor:
    """From the text of XMP data, scalar int32; 0 where it says none."""
    start = tf.minimum(found.xmp, file.length)
    text = tf.strings.substr(contents, start, tf.maximum(found.xmp_length, 0))
    # Any bytes, since text of another encoding may stand beside it; a text that does not match stays as it is.
    value = tf.strings.regex_replace(text, rf"(?s)^\C*?{XMP_ORIENTATION}\C*$", r"\1")
    said = tf.strings.regex_full_match(value, "[1-8]")
    return tf.cond(said, lambda: tf.strings.to_number(value, tf.int32), lambda: tf.constant(0))


def _orientation(file: _File, tiff: tf.Tensor) -> tf.Tensor:
    """From the first directory of a TIFF structure (TIFF 6.0, section 2): offsets in it count from its beginning. 0
    where it says none."""
    start = file.bytes_at(tiff, 8)
    little = _is(start[:2], b"II")
    directory = tiff + _number(start[4:], little)
    count = tf.minimum(_number(file.bytes_at(directory, 2), little), _MAX_FIELDS)
    fields = directory + 2 + 12 * tf.range(count)
    named = tf.boolean_mask(fields, _number(file.bytes_at(fields, 2), little) == _ORIENTATION)
    # Where there is none: past the end, where all is 0.
    field = file.bytes_at(tf.concat([[file.length], named], axis=0)[-1], 12)
    kind = _number(field[2:4], little)
    value = tf.zeros([], tf.int64)
    for code, size in _SIZES.items():
        value = tf.where(kind == code, _number(field[8 : 8 + size], little), value)
    sound = (little | _is(start[:2], b"MM")) & (_number(field[4:8], little) == 1) & (value >= 1) & (value <= 8)
    return tf.where(sound, tf.cast(value, tf.int32), 0)
