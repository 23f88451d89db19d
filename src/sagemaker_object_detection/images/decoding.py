"""From the bytes of an image file to its pixels, in TensorFlow ops: one decoder for checks, training and serving."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import tensorflow as tf

from sagemaker_object_detection.images.headers import Header, UnusableImageError, unreadable
from sagemaker_object_detection.job.stop import NEVER, StopSignal

MAX_HALVINGS = 3
"""How often libjpeg can halve both sides of an image while it decodes, at a fraction of the cost."""


def decode_stored(contents: tf.Tensor, halvings: int = 0) -> tf.Tensor:
    """Decode a JPEG or PNG as its pixels are stored, ignoring EXIF.

    Grey, palette and CMYK images become RGB, alpha is left out, 16-bit samples keep their high byte.

    Args:
        contents: scalar string, the bytes of the file.
        halvings: how often both sides of a JPEG are halved, up to MAX_HALVINGS; pixels are averaged. A PNG stays whole.

    Returns:
        uint8 [H, W, 3]; halved sides are rounded up.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are damaged or of another format.
    """
    # The JPEG op recognises PNG by its signature. Its default, faster DCT differs from other decoders by a few levels.
    return tf.io.decode_jpeg(contents, channels=3, ratio=2**halvings, dct_method="INTEGER_ACCURATE")


def decode(contents: tf.Tensor, orientation: tf.Tensor, halvings: tf.Tensor | None = None) -> tf.Tensor:
    """As `decode_stored`, but upright: uint8 [H, W, 3], H and W as displayed.

    Args:
        orientation: scalar integer, EXIF orientation to apply, 1 (none) to 8.
        halvings: scalar int32.
    """
    if halvings is None:
        return apply_orientation(decode_stored(contents), orientation)
    branches = [partial(decode_stored, contents, number) for number in range(MAX_HALVINGS + 1)]
    return apply_orientation(tf.switch_case(halvings, branches), orientation)


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


def check_decoding(
    paths: Sequence[Path],
    headers: Sequence[Header],
    stop: StopSignal = NEVER,
    keep: Callable[[Path, tf.Tensor], None] = lambda path, image: None,
    see: Callable[[int, bytes, tf.Tensor], None] = lambda index, contents, image: None,
) -> list[UnusableImageError | None]:
    """Decode every file once, as training will, on all cores: what is wrong with each, or None.

    Args:
        keep: is handed the pixels of every good image that no EXIF orientation turns, uint8 [H, W, 3], by all threads.

        see: is handed the number of every good image, the bytes of its file, and its pixels as stored, likewise.

    Raises:
        StoppedError: `stop` was requested.
    """

    def examine(index: int) -> UnusableImageError | None:
        stop.check()
        try:
            contents = paths[index].read_bytes()
            with tf.device("CPU:0"):
                image = decode_stored(tf.constant(contents))
        except OSError as error:
            return unreadable(error)
        except (tf.errors.OpError, ValueError):
            text = "cannot be decoded: the file is cut short or damaged. Replace it."
            return UnusableImageError("damaged images", text)
        if tuple(image.shape[:2]) != headers[index].stored:
            return UnusableImageError("damaged images", "decodes to another size than its header says. Replace it.")
        see(index, contents, image)
        if headers[index].orientation == 1:
            keep(paths[index], image)
        return None

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(examine, range(len(paths))))
