"""From the bytes of an image file to its pixels, in TensorFlow ops: one decoder for checks, training and serving."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.images.headers import (
    DAMAGED,
    SAMPLE_BITS,
    Header,
    UnusableImageError,
    check_effort,
    undecodable,
    unreadable,
    without_room,
)
from sagemaker_object_detection.images.signatures import PNG_SIGNATURE
from sagemaker_object_detection.job.memory import room_to_compute
from sagemaker_object_detection.job.stop import NEVER, StopSignal

logger = logging.getLogger(__name__)

SHARE = 3 / 4
"""Of the memory that TensorFlow may fill: how much of it images fill that are checked at a time. Its allocator keeps
what it has taken, in blocks of the sizes that were asked for first."""
SLOW_SECONDS = 10.0
"""An image that takes longer to decode is named while it does."""
MAX_HALVINGS = 3
"""How often libjpeg can halve both sides of an image while it decodes, at a fraction of the cost."""
MIN_SPAN = 16
"""Levels of 256: an image whose channels all span fewer is all but of one colour."""
DARK = 3
"""Bits that an image uses less than others, from which on it is dark: an eighth of the levels is left."""
_BIT_DEPTH_AT = 24
"""Where a PNG file has its bits per sample (ISO/IEC 15948, 11.2.2)."""


def decode_stored(contents: tf.Tensor, halvings: int = 0, sample_bits: int = SAMPLE_BITS) -> tf.Tensor:
    """Decode a JPEG or PNG as its pixels are stored, ignoring EXIF.

    Grey, palette and CMYK images become RGB. What is transparent is seen on white, as a browser's page shows it: the
    colours that a file has there are hidden, and arbitrary. Colour profiles and gamma are ignored.

    Args:
        contents: scalar string, the bytes of the file.
        halvings: how often both sides of a JPEG are halved, up to MAX_HALVINGS; pixels are averaged. A PNG stays whole.
        sample_bits: how many of the 16 bits of a sample the data uses, from 8 to 16, where a PNG has so many: the upper
            8 of these are kept, and larger samples are 255. Cameras of 10 to 14 bits leave the others 0.

    Returns:
        uint8 [H, W, 3]; halved sides are rounded up.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are damaged or of another format.
    """
    return tf.cond(
        _is_png(contents), lambda: _decode_png(contents, sample_bits), lambda: _decode_plain(contents, halvings)
    )


def decode(
    contents: tf.Tensor,
    orientation: tf.Tensor,
    halvings: tf.Tensor | None = None,
    sample_bits: int = SAMPLE_BITS,
) -> tf.Tensor:
    """As `decode_stored`, but upright: uint8 [H, W, 3], H and W as displayed.

    Args:
        orientation: scalar integer, EXIF orientation to apply, 1 (none) to 8.
        halvings: scalar int32.
    """
    if halvings is None:
        return apply_orientation(decode_stored(contents, sample_bits=sample_bits), orientation)
    branches = [partial(_decode_plain, contents, number) for number in range(MAX_HALVINGS + 1)]
    image = tf.cond(
        _is_png(contents), lambda: _decode_png(contents, sample_bits), lambda: tf.switch_case(halvings, branches)
    )
    return apply_orientation(image, orientation)


def _is_png(contents: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(contents, 0, len(PNG_SIGNATURE)) == PNG_SIGNATURE


def _decode_plain(contents: tf.Tensor | bytes, halvings: int = 0) -> tf.Tensor:
    """A JPEG, or a PNG of 8 bits that is opaque; of another PNG alpha is left out, and samples keep their high byte."""
    # The JPEG op recognises PNG by its signature. Its default, faster DCT differs from other decoders by a few levels.
    return tf.io.decode_jpeg(contents, channels=3, ratio=2**halvings, dct_method="INTEGER_ACCURATE")


def _decode_png(contents: tf.Tensor, sample_bits: int) -> tf.Tensor:
    depth = tf.cast(tf.io.decode_raw(tf.strings.substr(contents, _BIT_DEPTH_AT, 1), tf.uint8)[0], tf.int32)
    layers = tf.cond(
        depth == 16,
        lambda: _upper_bits(tf.io.decode_png(contents, channels=4, dtype=tf.uint16), sample_bits),
        lambda: tf.io.decode_png(contents, channels=4),
    )
    # Where a file of fewer bits than 8 has no transparency, TensorFlow writes their largest number as alpha.
    opaque = tf.cast(tf.minimum(tf.bitwise.left_shift(1, depth) - 1, 255), tf.uint8)
    return tf.cond(tf.reduce_all(layers[..., 3] == opaque), lambda: layers[..., :3], lambda: _on_white(layers))


def _upper_bits(samples: tf.Tensor, sample_bits: int) -> tf.Tensor:
    """Colours of so many bits, and alpha of 16, in 8: uint16 [H, W, 4] to uint8 [H, W, 4]."""
    colours = tf.minimum(tf.bitwise.right_shift(samples[..., :3], tf.constant(sample_bits - 8, tf.uint16)), 255)
    alpha = tf.bitwise.right_shift(samples[..., 3:], tf.constant(8, tf.uint16))
    return tf.concat([tf.cast(colours, tf.uint8), tf.cast(alpha, tf.uint8)], axis=-1)


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """Colours and alpha, not premultiplied, uint8 [H, W, 4], composited over white: uint8 [H, W, 3]."""
    # In integers, to the nearest level: (x + 128) * 257 / 2^16 is x / 255 rounded, for every x up to 255 * 255.
    alpha, eight = tf.cast(image[..., 3:], tf.uint16), tf.constant(8, tf.uint16)
    scaled = tf.cast(image[..., :3], tf.uint16) * alpha + ((255 - alpha) * 255 + 128)
    return tf.cast(tf.bitwise.right_shift(scaled + tf.bitwise.right_shift(scaled, eight), eight), tf.uint8)


def apply_orientation(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn stored pixels [H, W, 3] upright.

    EXIF orientations 5 to 8 swap the axes, then 2, 3, 6, 7 mirror left and right, and 3, 4, 7, 8 mirror top and bottom
    (EXIF 2.32, tag 0x0112).
    """

    def one_of(*orientations: int) -> tf.Tensor:
        return tf.reduce_any(tf.equal(tf.cast(orientation, tf.int32), orientations))

    def swapped() -> tf.Tensor:
        # tf.transpose of integers makes TensorFlow log an error about oneDNN at the start of every job, on most CPUs.
        height, width = tf.unstack(tf.shape(image)[:2])
        places = tf.range(width)[:, tf.newaxis] + tf.range(height) * width
        return tf.gather(tf.reshape(image, [-1, 3]), places)

    image = tf.cond(one_of(5, 6, 7, 8), swapped, lambda: image)
    image = tf.cond(one_of(2, 3, 6, 7), lambda: tf.reverse(image, [1]), lambda: image)
    image = tf.cond(one_of(3, 4, 7, 8), lambda: tf.reverse(image, [0]), lambda: image)
    return tf.ensure_shape(image, [None, None, 3])


@dataclass(frozen=True)
class Pixels:
    """What the pixels of a good image are like.

    span: how many levels the channel spans that varies most, of the samples as they are stored; of 8 bits at least as
    far as that is less than MIN_SPAN. sample_bits: how many
    bits the largest sample takes, at least 8; None for an image of 8 bits. see_through: not all of it is opaque.
    """

    span: int
    sample_bits: int | None = None
    see_through: bool = False

    def fits(self, sample_bits: int) -> bool:
        """Whether the samples of an image of 16 bits use about so many: no more, and not so few that it is dark."""
        bits = self.sample_bits or sample_bits
        return sample_bits - DARK < bits <= sample_bits

    def is_flat(self, sample_bits: int) -> bool:
        """Whether there is all but nothing to see, where 16 bits are decoded with so many in use."""
        return self.span >> (sample_bits - 8 if self.sample_bits is not None else 0) < MIN_SPAN


def check_decoding(
    paths: Sequence[Path],
    headers: Sequence[Header],
    stop: StopSignal = NEVER,
    keep: Callable[[Path, tf.Tensor], None] = lambda path, image: None,
    see: Callable[[int, bytes, np.ndarray], None] = lambda index, contents, image: None,
    kept: int = 0,
) -> list[UnusableImageError | Pixels]:
    """Decode every file once, as training will: what its pixels are like, or what is wrong with it. As many at a time
    as there are cores, and as memory has room for.

    Args:
        keep: is handed the pixels of every good image that no EXIF orientation turns, uint8 [H, W, 3], by all threads;
            not of images of 16 bits, whose pixels depend on what the others use.
        see: is handed the number of every good image, the bytes of its file, and its pixels as stored, uint8 [H, W, 3],
            which are gone when it returns, likewise.
        kept: bytes of the free memory that are left to `keep`.

    Raises:
        StoppedError: `stop` was requested.
    """

    room = _Room(int(SHARE * (room_to_compute() - kept)))

    def examined(index: int) -> UnusableImageError | Pixels:
        header = headers[index]
        # What is too much by the estimate, and what in fact was, is tried alone.
        for size in sorted({min(header.decoding_bytes, room.size), room.size}):
            with room.taken(size), suppress(MemoryError, tf.errors.ResourceExhaustedError):
                return decoded(index, header)
        return without_room(header.width, header.height, header.decoding_bytes)

    def decoded(index: int, header: Header) -> UnusableImageError | Pixels:
        stop.check()
        try:
            contents = read_regular(paths[index], header.file_size)  # what it was when its header was read
            check_effort(contents)
            with slow.at_work(paths[index]), tf.device("CPU:0"):
                image, pixels = _examined(contents, header)
        except UnusableImageError as error:
            return error
        except OSError as error:
            return unreadable(error)
        except tf.errors.ResourceExhaustedError:
            raise
        except (tf.errors.OpError, ValueError):
            return undecodable()
        stored = _view(image)
        if stored.shape[:2] != header.stored:
            return UnusableImageError(DAMAGED, "decodes to another size than its header says. Replace it.")
        see(index, contents, stored if stored.dtype == np.uint8 else (stored[..., :3] >> 8).astype(np.uint8))
        if header.orientation == 1 and pixels.sample_bits is None:
            keep(paths[index], image)
        return pixels

    with _SlowImages() as slow, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(examined, range(len(paths))))


class _Room:
    """Memory for what is decoded at a time, in bytes. What would be too much together waits for its turn."""

    def __init__(self, size: int) -> None:
        self.size = max(1, size)
        self._left = self.size
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: size <= self._left)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


class _SlowImages:
    """Names each file that a decoder is at work on for longer than SLOW_SECONDS, by a thread of its own: nothing ends a
    decoder, and should the job be killed meanwhile, its log says why. A stop ends the process (`StopSignal`)."""

    def __init__(self) -> None:
        self._begun: dict[Path, float] = {}
        self._over = threading.Event()

    def __enter__(self) -> "_SlowImages":
        threading.Thread(target=self._watch, name="slow-images", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    @contextmanager
    def at_work(self, path: Path) -> Iterator[None]:
        self._begun[path] = time.monotonic()
        try:
            yield
        finally:
            self._begun.pop(path, None)

    def _watch(self) -> None:
        named: set[Path] = set()
        while not self._over.wait(SLOW_SECONDS / 10):
            late = time.monotonic() - SLOW_SECONDS
            for path, since in list(self._begun.items()):
                if since <= late and path not in named:
                    named.add(path)
                    logger.warning(
                        "image %r takes longer than %g seconds to decode, and is not done yet. If the job gets no "
                        "further, save it smaller, or anew as a baseline JPEG.",
                        str(path),
                        SLOW_SECONDS,
                    )


def examine(contents: bytes, header: Header) -> Pixels:
    """What the pixels of a file that decodes are like."""
    with tf.device("CPU:0"):
        return _examined(contents, header)[1]


def _examined(encoded: bytes, header: Header) -> tuple[tf.Tensor, Pixels]:
    """Pixels as `decode_stored` has them, and what they are like; of 16 bits the samples, [H, W, 4]."""
    if header.deep:
        samples = tf.io.decode_png(encoded, channels=4, dtype=tf.uint16)
        stored = _view(samples)
        bits = max(8, int(stored[..., :3].max()).bit_length())
        return samples, Pixels(_span(stored[..., :3]), bits, bool(stored[..., 3].min() < 2**16 - 1))
    if header.has_transparency:
        layers = tf.io.decode_png(encoded, channels=4)
        see_through = bool(_view(layers)[..., 3].min() < 255)
        image = _on_white(layers) if see_through else layers[..., :3]
        return image, Pixels(_span(_view(image)), see_through=see_through)
    image = _decode_plain(encoded)
    return image, Pixels(_span(_view(image)))


def _view(image: tf.Tensor) -> np.ndarray:
    """Without a copy; the tensor must outlive it."""
    return np.asarray(memoryview(image))


def _span(image: np.ndarray) -> int:
    """How many levels the channel spans that varies most, [H, W, C]. Of 8 bits no more than MIN_SPAN of them are looked
    for: a few places tell of nearly every image, in microseconds, that it is not flat."""
    count = image.shape[-1]
    if image.dtype == np.uint8:
        for places in (8, 64):
            rows, columns = (max(1, side // places) for side in image.shape[:2])
            few = image[::rows, ::columns].tobytes()  # which costs half of what NumPy takes for so little
            for channel in range(count):
                values = few[channel::count]
                if (span := max(values) - min(values)) >= MIN_SPAN:
                    return span
    channels = np.ascontiguousarray(image.reshape(-1, count).T)
    return int((channels.max(axis=1) - channels.min(axis=1)).max())
