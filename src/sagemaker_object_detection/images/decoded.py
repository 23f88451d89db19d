"""Pixels of images, decoded once: as many as memory has room for stay in it, so that no epoch decodes them again.

What is kept changes nothing but the time: what does not fit is decoded again, to the same pixels.
"""

import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.images.headers import BYTES_PER_PIXEL
from sagemaker_object_detection.job.memory import available_memory

SHARE = 1 / 4
"""Of the memory that is free when a job's data is loaded: how much of it pixels may fill."""
KEPT_SIDES = 2
"""Training images are not decoded smaller than so many times the network's input: a random crop of one still has a
pixel for each of the input's."""
_OVERHEAD = 2048
"""Bytes that an image takes beside its pixels; measured 1.3 kB for small ones."""
ANY_SHAPE = [-1, -1, 3]


class DecodedImages:
    """Pixels by file: uint8 [H, W, 3], upright.

    Args:
        memory: bytes they may fill.
    """

    def __init__(self, memory: int) -> None:
        self._room = memory
        self._lock = threading.Lock()
        self._kept: set[int] = set()
        with tf.device("CPU:0"):
            # A list is a scalar that holds tensors without copying them, as the values of a table have to be. A table
            # that is not anonymous would outlive this object.
            self.table = tf.lookup.experimental.MutableHashTable(
                tf.int64, tf.variant, default_value=as_list(), experimental_is_anonymous=True
            )

    def keep(self, path: Path, image: tf.Tensor) -> None:
        """Keeps an image of full size where it fits, unless some model would be trained on it at a smaller one."""
        smallest = min(base.input_size for base in catalogue.CATALOGUE)
        if may_be_halved(path.name) and min(image.shape[:2]) >= 2 * KEPT_SIDES * smallest:
            return
        key = _key(path, 0)
        if self._reserve(key, int(np.prod(image.shape))):
            with tf.device("CPU:0"):
                self.table.insert(tf.constant(key, tf.int64), as_list(image))

    def reserve(
        self, paths: Sequence[Path], halvings: Sequence[int], sizes: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keys of images, int64 [N], and whether each of them is or may be kept, bool [N]; sizes in bytes."""
        keys = [_key(path, number) for path, number in zip(paths, halvings, strict=True)]
        kept = [self._reserve(key, size) for key, size in zip(keys, sizes, strict=True)]
        return np.array(keys, np.int64), np.array(kept, bool)

    def _reserve(self, key: int, size: int) -> bool:
        with self._lock:
            if key not in self._kept and size + _OVERHEAD <= self._room:
                self._kept.add(key)
                self._room -= size + _OVERHEAD
            return key in self._kept


def as_list(*images: tf.Tensor) -> tf.Tensor:
    """A TensorFlow list of images, scalar variant."""
    found = tf.raw_ops.EmptyTensorList(element_shape=ANY_SHAPE, max_num_elements=-1, element_dtype=tf.uint8)
    for image in images:
        found = tf.raw_ops.TensorListPushBack(input_handle=found, tensor=image)
    return found


def room_for_pixels(largest: int) -> int:
    """Bytes that pixels may fill.

    Args:
        largest: pixels of the largest image; decoding several like it at once must fit beside what is kept.
    """
    available = available_memory()
    return max(0, min(int(SHARE * available), available - int((os.cpu_count() or 1) * BYTES_PER_PIXEL * largest)))


def may_be_halved(file_name: str) -> bool:
    """By name, so that it is known before how much room an image takes; a PNG that is called so is decoded in full."""
    return file_name.lower().endswith((".jpg", ".jpeg"))


def _key(path: Path, halvings: int) -> int:
    """Of 64 bits, as the table has them."""
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8, salt=bytes([halvings])).digest()
    return int.from_bytes(digest, "little", signed=True)


def halved(sides: Any, halvings: Any) -> Any:
    """Sides of images, divided by two so many times and rounded up."""
    return -(-sides // 2**halvings)
