"""Training augmentation: a mirror image half the time, then a random crop. Boxes move with the pixels.

Pure functions of a seed. The crop samples as the reference's `random_crop_image` does: a window of 75 to 100% of the
area and an aspect ratio (width / height) of 0.75 to 3, the whole image when 100 attempts find none; boxes fully
outside are dropped, the others clipped.
"""

import tensorflow as tf

_CROP_AREA = (0.75, 1.0)
_CROP_ASPECT = (0.75, 3.0)
_CROP_ATTEMPTS = 100


def augment(
    image: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mirror and crop one image.

    Args:
        image: [H, W, 3], any dtype.
        boxes: float32 [n, 4], ymin xmin ymax xmax, normalised.
        classes: int32 [n].
        seed: int64 [2]; the same seed gives the same result.

    Returns:
        image [H', W', 3], boxes [m, 4] normalised to the crop, classes [m], m <= n.
    """
    flip_seed, crop_seed = tf.unstack(tf.random.split(seed, 2))
    image, boxes = random_horizontal_flip(image, boxes, flip_seed)
    return random_crop(image, boxes, classes, crop_seed)


def random_horizontal_flip(image: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirror left and right with probability one half. Shapes as in `augment`."""

    def mirrored() -> tuple[tf.Tensor, tf.Tensor]:
        ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
        return tf.reverse(image, [1]), tf.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=1)

    return tf.cond(tf.random.stateless_uniform([], seed) < 0.5, mirrored, lambda: (image, boxes))


def random_crop(
    image: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cut out a random window. Shapes as in `augment`.

    The sampler is handed the whole image as its only box: with nothing required to be covered, boxes do not matter to
    it.
    """
    shape = tf.shape(image)
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=_CROP_ASPECT,
        area_range=_CROP_AREA,
        max_attempts=_CROP_ATTEMPTS,
    )
    crop = tf.slice(image, begin, size)
    full = tf.cast(shape[:2], tf.float32)
    # Whole pixels, so that boxes and pixels move by exactly the same amount.
    offset = tf.cast(begin[:2], tf.float32) / full
    stretch = full / tf.cast(tf.shape(crop)[:2], tf.float32)
    moved = (boxes - tf.tile(offset, [2])) * tf.tile(stretch, [2])
    clipped = tf.clip_by_value(moved, 0.0, 1.0)
    kept = tf.reduce_all(clipped[:, 2:] > clipped[:, :2], axis=1)
    return tf.ensure_shape(crop, [None, None, 3]), tf.boolean_mask(clipped, kept), tf.boolean_mask(classes, kept)
