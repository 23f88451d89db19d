"""Reads the images of a data set as pixels, of which `images/decoded.py` keeps as many as memory has room for."""

import logging
import os

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.images.decoded import (
    ANY_SHAPE,
    KEPT_SIDES,
    DecodedImages,
    as_list,
    halved,
    may_be_halved,
)
from sagemaker_object_detection.images.decoding import MAX_HALVINGS, decode
from sagemaker_object_detection.images.headers import BYTES_PER_PIXEL, COEFFICIENT_BYTES
from sagemaker_object_detection.job.memory import room_to_compute

log = logging.getLogger(__name__)

SHARE = 1 / 2
"""Of the memory that TensorFlow may fill: how much of it the images fill that are read at a time. The network has the
rest."""


class ImageReader:
    """Callable in a graph: index int64 [] -> uint8 [H, W, 3], upright.

    Args:
        dataset: N images.
        input_size: of the network that is to be trained. A file called .jpg or .jpeg is decoded at 1/2, 1/4 or 1/8 of
            its size where both sides keep at least KEPT_SIDES times as many pixels. None: all at their full size.
    """

    def __init__(self, dataset: Dataset, input_size: int | None = None) -> None:
        files = dataset.files
        halvings = np.zeros(len(files), np.int32)
        if input_size is not None:
            jpeg = np.array([may_be_halved(file) for file in files])
            for number in range(1, MAX_HALVINGS + 1):
                halvings[jpeg & (dataset.sizes.min(axis=1) >= 2**number * KEPT_SIDES * input_size)] = number
        in_bytes = 3 * halved(dataset.sizes, halvings[:, np.newaxis]).astype(np.int64).prod(axis=1)
        self._bytes = _decoding_bytes(dataset.sizes, halvings)
        self._sample_bits = dataset.sample_bits
        self._decoded = dataset.decoded or DecodedImages(0)
        paths = [dataset.images / file for file in files]
        keys, kept = self._decoded.reserve(paths, halvings.tolist(), in_bytes.tolist())
        self.kept = int(kept.sum())
        """How many of the images are or will be kept."""
        self.kept_bytes = int(in_bytes[kept].sum())
        with tf.device("CPU:0"):
            self._folder = tf.constant(os.fspath(dataset.images))
            self._files = tf.constant(files)
            self._orientations = tf.constant(dataset.orientations)
            self._full_sizes = tf.constant(dataset.sizes)
            self._halvings = tf.constant(halvings)
            self._keys = tf.constant(keys)
            self._kept = tf.constant(kept)

    def at_once(self) -> int:
        """How many images may be read at a time: as there are cores, or fewer where memory has no room for the largest
        so often."""
        cores, room, needed = len(os.sched_getaffinity(0)), room_to_compute(), int(self._bytes.max())
        fewer = max(1, int(SHARE * room) // needed)
        if fewer < cores:
            log.warning(
                "Images are read %d at a time, not %d, which is slower: of the %.0f MB of memory for all that is "
                "computed the largest may take %.0f MB.",
                fewer,
                cores,
                room / 1e6,
                needed / 1e6,
            )
        return min(fewer, cores)

    def __call__(self, index: tf.Tensor) -> tf.Tensor:
        """What goes wrong here is a tf.errors.OpError in the middle of training: `readable` names the file."""
        if not self.kept:
            return self._decode(index)
        found = self._decoded.table.lookup(self._keys[index])
        image = tf.cond(
            tf.raw_ops.TensorListLength(input_handle=found) > 0,
            lambda: tf.raw_ops.TensorListGetItem(
                input_handle=found, index=0, element_shape=ANY_SHAPE, element_dtype=tf.uint8
            ),
            lambda: self._decode_and_keep(index),
        )
        return tf.ensure_shape(image, [None, None, 3])

    def _decode_and_keep(self, index: tf.Tensor) -> tf.Tensor:
        image = self._decode(index)

        def keep() -> tf.Tensor:
            with tf.control_dependencies([self._decoded.table.insert(self._keys[index], as_list(image))]):
                return tf.identity(image)

        # A PNG that is called .jpg takes more room than was counted on.
        as_counted = tf.reduce_all(tf.shape(image)[:2] == halved(self._full_sizes[index], self._halvings[index]))
        return tf.cond(self._kept[index] & as_counted, keep, lambda: image)

    def _decode(self, index: tf.Tensor) -> tf.Tensor:
        path = tf.strings.join([self._folder, self._files[index]], separator="/")
        contents = tf.io.read_file(path)
        halvings = tf.where(tf.io.is_jpeg(contents), self._halvings[index], 0)
        image = decode(contents, self._orientations[index], halvings, self._sample_bits)
        # The boxes are for the image that was checked. Another one in its place would be trained on without a word.
        expected = halved(self._full_sizes[index], halvings)
        same = tf.debugging.assert_equal(tf.shape(image)[:2], expected, "not the image that was checked")
        with tf.control_dependencies([same]):
            return tf.identity(image)


def _decoding_bytes(sizes: np.ndarray, halvings: np.ndarray) -> np.ndarray:
    """What each image takes on its way to the network's input at most: int64 [N], for int32 [N, 2] and [N]."""
    stored, decoded = (sides.astype(np.int64).prod(axis=1) for sides in (sizes, halved(sizes, halvings[:, np.newaxis])))
    needed: np.ndarray = np.maximum(BYTES_PER_PIXEL * decoded, COEFFICIENT_BYTES * stored).astype(np.int64)
    return needed
