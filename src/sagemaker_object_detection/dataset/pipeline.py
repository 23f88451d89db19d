"""Batches of one static shape, from the image files or the pixels that memory keeps of them, while the model works.

Training draws from an endless stream: epoch e of the data is a permutation seeded with (seed, e), and image k of the
stream is augmented with (seed, k). Nothing else is random, so a batch depends on its step number alone: a resumed run
that starts at step s sees what the uninterrupted one would have seen.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.augment import augment as augmented
from sagemaker_object_detection.dataset.reader import ImageReader
from sagemaker_object_detection.images.network_input import to_input_frame, to_network_input, to_pixels

log = logging.getLogger(__name__)

_PREFETCH_BYTES = 256 * 2**20
"""Finished batches wait in at most about this much memory, and as many again are put together; never less than one."""
_COPIERS = 4
"""Batches that are put together at once: one thread copies a few gigabytes a second."""
_FILLER = -1
"""The index of an image that only fills up a batch."""
_REGION = -1
"""The class of ignored regions, while they are moved together with boxes."""
_GREY = 127
"""The level of its pixels, close to the mean that every family's scaling makes 0."""
_as_written = tf.autograph.experimental.do_not_convert
"""There is no Python control flow over tensors here, and rewriting the code would need a writable temporary folder."""


class Batch(NamedTuple):
    """B images of side S with up to G boxes and R ignored regions each. Rows that fill up have box 0, class 0 and
    weight 0. R is 0 exactly if the data set has no ignored region.

    There are two frames. A batch, like anchors, targets and losses, speaks of the network input: [0, 1] spans its S
    pixels, padding included. `Dataset` and `Detections` (models/postprocess.py), and so the COCO figures and every
    answer, speak of the image: [0, 1] spans it without padding. `true_shapes` leads from one to the other; where images
    are stretched they are the same.

    images: [B, S, S, 3]; of training uint8 pixels (`network_input.scaled_images` makes the network input of them), of
    evaluation the network input, float32 and exact. true_shapes: int32 [B, 3], size of each image inside its network
    input, at least 1.
    boxes: float32 [B, G, 4], ymin xmin ymax xmax, normalised to the network input. classes: int64 [B, G], 0-based.
    box_weights: float32 [B, G]. regions: float32 [B, R, 4], as boxes. image_weights: float32 [B], 0 for an image that
    only fills up a batch. indices: int64 [B], which image of the data set; -1 for one that fills up.
    """

    images: tf.Tensor
    true_shapes: tf.Tensor
    boxes: tf.Tensor
    classes: tf.Tensor
    box_weights: tf.Tensor
    regions: tf.Tensor
    image_weights: tf.Tensor
    indices: tf.Tensor

    @property
    def inputs(self) -> "Inputs":
        """What the network sees."""
        return Inputs(self.images, self.true_shapes, self.image_weights, self.indices)

    @property
    def spec(self) -> "Batch":
        """The tf.TensorSpec of every column, for batches like this one with any number of rows of ground truth."""
        any_number: dict[str, list[int | None]] = {"boxes": [None, 4], "classes": [None], "box_weights": [None]}
        if self.regions.shape[1] != 0:
            any_number["regions"] = [None, 4]
        return Batch(
            **{
                name: tf.TensorSpec([column.shape[0], *any_number.get(name, list(column.shape)[1:])], column.dtype)
                for name, column in self._asdict().items()
            }
        )

    def without_padding(self) -> "Batch":
        """With as few rows of ground truth as one of `_row_counts` allows: G is that of the whole data set, but the
        fullest image of most batches has far fewer boxes."""
        rows = _least_rows(tf.cast(self.box_weights, tf.bool))
        columns = {name: getattr(self, name)[:, :rows] for name in ("boxes", "classes", "box_weights")}
        if self.regions.shape[1] != 0:
            columns["regions"] = self.regions[:, : _least_rows(tf.reduce_any(self.regions > 0.0, axis=2))]
        return self._replace(**columns)


class Inputs(NamedTuple):
    """The columns of a `Batch` without its ground truth."""

    images: tf.Tensor
    true_shapes: tf.Tensor
    image_weights: tf.Tensor
    indices: tf.Tensor


def _least_rows(present: tf.Tensor) -> tf.Tensor:
    """The least of `_row_counts` that has room for the rows of the fullest image, which come first: int32 [], for bool
    [B, G], whether there is such a row."""
    counts = tf.constant(_row_counts(present.shape[1]))
    most = tf.reduce_max(tf.math.count_nonzero(present, axis=1, dtype=tf.int32))
    return tf.reduce_min(tf.boolean_mask(counts, counts >= most))


def _row_counts(max_boxes: int) -> list[int]:
    """Rows of ground truth that a batch may have: 1, 2, 3, 4, 6, 8, 12, 16 and so on, up to `max_boxes`.

    So few that a compiler of fixed shapes can compile for each of them, and so many that no more than a third of the
    rows are padding for nothing.
    """
    counts = [count for power in range(max_boxes.bit_length()) for count in (2**power, 3 * 2**power // 2)]
    return sorted({*(count for count in counts if count < max_boxes), max_boxes})


@dataclass(frozen=True)
class Order:
    """Which images each training step takes.

    images: N >= 1; where N < B a batch repeats images. batch_size: B. seed: any integer of up to 63 bits.
    """

    images: int
    batch_size: int
    seed: int

    def batch(self, step: int) -> np.ndarray:
        """Which images the batch of a step holds: int64 [B]."""
        epochs, places = np.divmod(step * self.batch_size + np.arange(self.batch_size), self.images)
        orders = {epoch: self.permutation(tf.constant(epoch)).numpy() for epoch in np.unique(epochs)}
        return np.array([orders[epoch][place] for epoch, place in zip(epochs, places, strict=True)], np.int64)

    def permutation(self, epoch: tf.Tensor) -> tf.Tensor:
        """The order of an epoch of the data: int64 [N].

        Sorting random keys draws every order equally often; `tf.random.experimental.index_shuffle` does not where the
        count is small (four images: some orders came four times as often as others).
        """
        key = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(epoch, tf.int64)])
        keys = tf.random.stateless_uniform([self.images], key, minval=None, maxval=None, dtype=tf.int32)
        return tf.cast(tf.argsort(keys, stable=True), tf.int64)


def training_batches(
    dataset: Dataset,
    base: BaseModel,
    order: Order,
    *,
    augment: bool,
    first_step: int = 0,
    share: tuple[int, int] | None = None,
    parts: int = 1,
) -> tf.data.Dataset:
    """The endless stream of training batches, or of a host's share of each, from step `first_step` on: of `Batch`.

    Args:
        augment: mirror, crop and scale as `augment.py` says; otherwise only the order depends on the seed.
        first_step: batches to leave out, at no cost.
        share: first place in the batch, and the place after the last, of the images that are wanted; places past the
            batch's end are filled up with blank images of weight 0. None for the whole batch.
        parts: into how many elements of equal size each of these batches is divided, one for each of a host's devices.
    """
    count, batch_size = order.images, order.batch_size
    first = first_step * batch_size
    read_columns, at_once = _column_reader(dataset, "training", base.input_size)

    @_as_written
    def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        positions = epoch * count + tf.range(count, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((order.permutation(epoch), positions))

    low, high = share or (0, batch_size)

    @_as_written
    def shared_out(indices: tf.Tensor, positions: tf.Tensor) -> tf.data.Dataset:
        places = tf.range(low, high, dtype=tf.int64)
        kept = tf.minimum(places, batch_size - 1)
        own = tf.where(places < batch_size, tf.gather(indices, kept), _FILLER)
        return tf.data.Dataset.from_tensor_slices((own, tf.gather(positions, kept)))

    @_as_written
    def load(index: tf.Tensor, position: tf.Tensor) -> Batch:
        image, boxes, classes = read_columns(index)
        if augment:
            key = tf.stack([tf.constant(order.seed, tf.int64), position])
            image, boxes, classes = augmented(image, boxes, classes, key, base)
        return _example(*to_pixels(image, base), boxes, classes, index, base, dataset)

    epochs = tf.data.Dataset.range(first // count, np.iinfo(np.int64).max)
    stream = epochs.flat_map(of_epoch).skip(first % count)
    if (low, high) != (0, batch_size):
        stream = stream.batch(batch_size).flat_map(shared_out)

    @_as_written
    def load_or_fill(index: tf.Tensor, position: tf.Tensor) -> Batch:
        filler = partial(_filler, base, dataset, tf.uint8)
        return tf.cond(index == _FILLER, filler, lambda: load(index, position))

    read = load if high <= batch_size else load_or_fill
    return _batched(stream.map(read, num_parallel_calls=at_once, deterministic=True), (high - low) // parts, parts)


def evaluation_batches(dataset: Dataset, base: BaseModel, batch_size: int, name: str = "validation") -> tf.data.Dataset:
    """Every image once, in order, as ceil(N / B) batches of `Batch`; blank images of weight 0 fill up the last.

    Args:
        name: what the data set is called in the log.
    """
    count = len(dataset.file_names)
    read_columns, at_once = _column_reader(dataset, name)

    @_as_written
    def load(index: tf.Tensor) -> Batch:
        image, boxes, classes = read_columns(index)
        return _example(*to_network_input(image, base), boxes, classes, index, base, dataset)

    images = tf.data.Dataset.range(count).map(load, num_parallel_calls=at_once, deterministic=True)
    filler = tf.data.Dataset.from_tensors(_filler(base, dataset, tf.float32))
    filled = images.concatenate(filler.repeat(-count % batch_size))
    return _batched(filled, batch_size)


def _column_reader(
    dataset: Dataset, split: str, input_size: int | None = None
) -> tuple[Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]], int]:
    """Index -> image uint8 [H, W, 3], boxes float32 [n, 4], classes int32 [n] of one image, its ignored regions among
    them with class _REGION. The data set is captured as tensors, so shared by all calls and never part of the graph.
    Also how many images may be read at a time."""
    images = ImageReader(dataset, input_size)
    count, kept, megabytes = len(dataset.file_names), images.kept, images.kept_bytes / 2**20
    rest = "" if kept == count else "; the others are decoded in every epoch"
    log.info("%s: %d of %d images stay decoded in memory (%.0f MB)%s.", split, kept, count, megabytes, rest)
    with tf.device("CPU:0"):
        offsets, boxes, classes = (tf.constant(each) for each in _with_regions(dataset))

    def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        start, stop = offsets[index], offsets[index + 1]
        return images(index), boxes[start:stop], classes[start:stop]

    return read, images.at_once()


def _with_regions(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`offsets`, `boxes` and `classes` of the data set with its ignored regions put among the boxes, as what moves
    boxes moves them too: each image's behind its boxes, with class _REGION."""
    ignored = dataset.ignored
    if ignored is None:
        return dataset.offsets, dataset.boxes, dataset.classes
    images = np.arange(len(dataset.file_names))
    owners = np.concatenate([np.repeat(images, np.diff(each.offsets)) for each in (dataset, ignored)])
    order = np.argsort(owners, kind="stable")
    boxes = np.concatenate([dataset.boxes, ignored.boxes])[order]
    classes = np.concatenate([dataset.classes, np.full(len(ignored.boxes), _REGION, np.int32)])[order]
    return dataset.offsets + ignored.offsets, boxes, classes


def _example(
    image: tf.Tensor,
    true_shape: tf.Tensor,
    boxes: tf.Tensor,
    classes: tf.Tensor,
    index: tf.Tensor,
    base: BaseModel,
    dataset: Dataset,
) -> Batch:
    """A Batch without its first axis; boxes are of the image."""
    boxes = to_input_frame(boxes, true_shape, base)
    regions = tf.zeros([0, 4])
    max_boxes, max_regions = dataset.max_boxes, dataset.max_regions
    if max_regions:
        is_region = classes == _REGION
        regions = tf.boolean_mask(boxes, is_region)
        boxes, classes = tf.boolean_mask(boxes, ~is_region), tf.boolean_mask(classes, ~is_region)
    present = tf.shape(boxes)[0]
    padding = max_boxes - present
    return Batch(
        images=image,
        true_shapes=true_shape,
        boxes=tf.ensure_shape(tf.pad(boxes, [[0, padding], [0, 0]]), [max_boxes, 4]),
        classes=tf.ensure_shape(tf.pad(tf.cast(classes, tf.int64), [[0, padding]]), [max_boxes]),
        box_weights=tf.cast(tf.range(max_boxes) < present, tf.float32),
        regions=tf.ensure_shape(tf.pad(regions, [[0, max_regions - tf.shape(regions)[0]], [0, 0]]), [max_regions, 4]),
        image_weights=tf.ones([]),
        indices=index,
    )


def _filler(base: BaseModel, dataset: Dataset, dtype: tf.DType) -> Batch:
    """A Batch without its first axis, of a blank image of weight 0."""
    shape = tf.constant([base.input_size, base.input_size, 3])
    image = tf.fill(shape, tf.constant(_GREY if dtype == tf.uint8 else 0, dtype))
    index = tf.constant(_FILLER, tf.int64)
    blank = _example(image, shape, tf.zeros([0, 4]), tf.zeros([0], tf.int32), index, base, dataset)
    return blank._replace(image_weights=tf.zeros([]))


def _batched(examples: tf.data.Dataset, batch_size: int, parts: int = 1) -> tf.data.Dataset:
    spec = examples.element_spec.images
    room = _PREFETCH_BYTES // (batch_size * math.prod(spec.shape) * spec.dtype.size)
    ready = max(1, min(_COPIERS, room // parts)) * parts
    batches = examples.batch(batch_size, drop_remainder=True, num_parallel_calls=ready, deterministic=True)
    options = tf.data.Options()
    options.deterministic = True
    # Every buffer here has a fixed size; tuning them at run time would make the memory of a job hard to foretell.
    options.autotune.enabled = False
    return batches.map(_as_written(Batch.without_padding)).prefetch(ready).with_options(options)


def prefetched(batches: tf.data.Dataset) -> tf.data.Dataset:
    """With the next batch on the GPU before it is asked for, where there is one, and no more than that one."""
    gpus = tf.config.list_logical_devices("GPU")
    return batches.apply(tf.data.experimental.prefetch_to_device(gpus[0].name, buffer_size=1)) if gpus else batches
