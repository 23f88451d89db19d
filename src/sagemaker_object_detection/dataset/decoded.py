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
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.images import BYTES_PER_PIXEL
from sagemaker_object_detection.dataset.preprocess import MAX_HALVINGS, decode
from sagemaker_object_detection.job.memory import available_memory

SHARE = 1 / 4
"""Of the memory that is free when a job's data is loaded: how much of it pixels may fill."""
KEPT_SIDES = 2
"""Training images are not decoded smaller than so many times the network's input: a random crop of one still has a
pixel for each of the input's."""
_OVERHEAD = 2048
"""Bytes that an image takes beside its pixels; measured 1.3 kB for small ones."""
_ANY_SHAPE = [-1, -1, 3]


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
                tf.int64, tf.variant, default_value=_as_list(), experimental_is_anonymous=True
            )

    def keep(self, path: Path, image: tf.Tensor) -> None:
        """Keeps an image of full size where it fits, unless some model would be trained on it at a smaller one."""
        smallest = min(base.input_size for base in catalogue.CATALOGUE)
        if _may_be_halved(path.name) and min(image.shape[:2]) >= 2 * KEPT_SIDES * smallest:
            return
        key = _key(path, 0)
        if self._reserve(key, int(np.prod(image.shape))):
            with tf.device("CPU:0"):
                self.table.insert(tf.constant(key, tf.int64), _as_list(image))

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


class ImageReader:
    """Callable in a graph: index int64 [] -> uint8 [H, W, 3], upright.

    Args:
        dataset: N images.
        input_size: of the network that is to be trained. A file called .jpg or .jpeg is decoded at 1/2, 1/4 or 1/8 of
            its size where both sides keep at least KEPT_SIDES times as many pixels. None: all at their full size.
    """

    def __init__(self, dataset: Dataset, input_size: int | None = None) -> None:
        halvings = np.zeros(len(dataset.file_names), np.int32)
        if input_size is not None:
            jpeg = np.array([_may_be_halved(name) for name in dataset.file_names])
            for number in range(1, MAX_HALVINGS + 1):
                halvings[jpeg & (dataset.sizes.min(axis=1) >= 2**number * KEPT_SIDES * input_size)] = number
        sizes = _halved(dataset.sizes, halvings[:, np.newaxis])
        in_bytes = 3 * sizes.astype(np.int64).prod(axis=1)
        self._decoded = dataset.decoded or DecodedImages(0)
        paths = [dataset.images / name for name in dataset.file_names]
        keys, kept = self._decoded.reserve(paths, halvings.tolist(), in_bytes.tolist())
        self.kept = int(kept.sum())
        """How many of the images are or will be kept."""
        self.kept_bytes = int(in_bytes[kept].sum())
        with tf.device("CPU:0"):
            self._folder = tf.constant(os.fspath(dataset.images))
            self._file_names = tf.constant(dataset.file_names)
            self._orientations = tf.constant(dataset.orientations)
            self._full_sizes = tf.constant(dataset.sizes)
            self._halvings = tf.constant(halvings)
            self._sizes = tf.constant(sizes)
            self._keys = tf.constant(keys)
            self._kept = tf.constant(kept)

    def __call__(self, index: tf.Tensor) -> tf.Tensor:
        """What goes wrong here is a tf.errors.OpError in the middle of training: `readable` names the file."""
        if not self.kept:
            return self._decode(index)
        found = self._decoded.table.lookup(self._keys[index])
        image = tf.cond(
            tf.raw_ops.TensorListLength(input_handle=found) > 0,
            lambda: tf.raw_ops.TensorListGetItem(
                input_handle=found, index=0, element_shape=_ANY_SHAPE, element_dtype=tf.uint8
            ),
            lambda: self._decode_and_keep(index),
        )
        return tf.ensure_shape(image, [None, None, 3])

    def _decode_and_keep(self, index: tf.Tensor) -> tf.Tensor:
        image = self._decode(index)

        def keep() -> tf.Tensor:
            with tf.control_dependencies([self._decoded.table.insert(self._keys[index], _as_list(image))]):
                return tf.identity(image)

        # A PNG that is called .jpg takes more room than was counted on.
        as_counted = tf.reduce_all(tf.shape(image)[:2] == self._sizes[index])
        return tf.cond(self._kept[index] & as_counted, keep, lambda: image)

    def _decode(self, index: tf.Tensor) -> tf.Tensor:
        path = tf.strings.join([self._folder, self._file_names[index]], separator="/")
        contents = tf.io.read_file(path)
        halvings = tf.where(tf.io.is_jpeg(contents), self._halvings[index], 0)
        image = decode(contents, self._orientations[index], halvings)
        # The boxes are for the image that was checked. Another one in its place would be trained on without a word.
        expected = _halved(self._full_sizes[index], halvings)
        same = tf.debugging.assert_equal(tf.shape(image)[:2], expected, "not the image that was checked")
        with tf.control_dependencies([same]):
            return tf.identity(image)


def _as_list(*images: tf.Tensor) -> tf.Tensor:
    """A TensorFlow list of images, scalar variant."""
    found = tf.raw_ops.EmptyTensorList(element_shape=_ANY_SHAPE, max_num_elements=-1, element_dtype=tf.uint8)
    for image in images:
        found = tf.raw_ops.TensorListPushBack(input_handle=found, tensor=image)
    return found


def room_for_pixels(largest: int) -> int:
    """Bytes that pixels may fill.

    Args:
        largest: pixels of the largest image; decoding several like it at once must fit beside what is kept.
    """
    available = available_memory()
    return max(0, min(int(SHARE * available), available - (os.cpu_count() or 1) * BYTES_PER_PIXEL * largest))


def _may_be_halved(file_name: str) -> bool:
    """By name, so that it is known before how much room an image takes; a PNG that is called so is decoded in full."""
    return file_name.lower().endswith((".jpg", ".jpeg"))


def _key(path: Path, halvings: int) -> int:
    """Of 64 bits, as the table has them."""
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8, salt=bytes([halvings])).digest()
    return int.from_bytes(digest, "little", signed=True)


def _halved(sides: Any, halvings: Any) -> Any:
    """Sides of images, divided by two so many times and rounded up."""
    return -(-sides // 2**halvings)
