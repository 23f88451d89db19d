"""The EXIF orientation of an encoded image, in TensorFlow ops, so that an exported model turns photographs by itself.

Offsets are int64, from the beginning of the file. Bytes past its end are 0, and data that is damaged says orientation
1: no decoder minds it. Pillow, which reads headers before a training, sees the same (tests/images/test_exif.py).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_APP1, _START_OF_SCAN, _END_OF_IMAGE = 0xE1, 0xDA, 0xD9
_NOWHERE = -1
"""As the place of EXIF data: this part of the file has none. As the place of the next part: there is none."""
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


def exif_orientation(contents: tf.Tensor) -> tf.Tensor:
    """EXIF orientation of a JPEG or PNG, 1 (none, or none that can be read) to 8: scalar string -> scalar int32.

    In a JPEG it is in the first APP1 segment that begins with "Exif" (EXIF 2.32, 4.7.2), in a PNG in the chunk eXIf
    before its pixels.
    """
    data = tf.io.decode_raw(contents, tf.uint8)
    file = _File(tf.pad(data, [[0, 1]]), tf.size(data, tf.int64))
    start = tf.constant(0, tf.int64)
    signature = file.bytes_at(start, len(_PNG))
    tiff = tf.case(
        [
            (_is(signature[: len(_JPEG)], _JPEG), lambda: _find(file, start, _segment)),
            (_is(signature, _PNG), lambda: _find(file, start + len(_PNG), _chunk)),
        ],
        default=lambda: tf.constant(_NOWHERE, tf.int64),
    )
    return tf.cond(tiff < 0, lambda: tf.constant(1), lambda: _orientation(file, tiff))


def _find(file: _File, first: tf.Tensor, look: Callable[[_File, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]) -> tf.Tensor:
    """Where EXIF data begins, from the parts of a file, of which the first is at `first`.

    `look` says of the part at an offset where EXIF data begins in it, and where the next part is.
    """

    def unfinished(tiff: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
        return (tiff < 0) & (part >= 0) & (part < file.length)

    start = tf.constant(_NOWHERE, tf.int64), first
    tiff, _ = tf.while_loop(unfinished, lambda _, part: look(file, part), start, maximum_iterations=_MAX_PARTS)
    return tiff


def _segment(file: _File, part: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A segment of a JPEG: FF, a marker, and unless that stands alone its length and content (ITU-T T.81, B.1.1)."""
    start = file.bytes_at(part, 10)
    marker = start[1]
    stands_alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
    last = (start[0] != 0xFF) | (marker == _START_OF_SCAN) | (marker == _END_OF_IMAGE)
    following = tf.where(stands_alone, part + 2, part + 2 + tf.maximum(_number(start[2:4]), 2))
    following = tf.where(marker == 0xFF, part + 1, following)  # any number of FF may stand before a marker
    found = (marker == _APP1) & _is(start[4:], b"Exif\0\0")
    return _place(part + 10, found & ~last), _place(following, ~last)


def _chunk(file: _File, part: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A chunk of a PNG before its pixels: length, four letters, content and a checksum (PNG 3, 5.3)."""
    start = file.bytes_at(part, 8)
    following = part + 12 + _number(start[:4])
    return _place(part + 8, _is(start[4:], b"eXIf")), _place(following, ~_is(start[4:], b"IDAT"))


def _place(offset: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    return tf.where(there, offset, tf.constant(_NOWHERE, tf.int64))


def _orientation(file: _File, tiff: tf.Tensor) -> tf.Tensor:
    """From the first directory of a TIFF structure (TIFF 6.0, section 2): offsets in it count from its beginning."""
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
    return tf.where(sound, tf.cast(value, tf.int32), 1)
