"""Training augmentation: a mirror image half the time, then what the family does. Boxes move with the pixels.

Pure functions of a seed. Boxes fully outside the new image are dropped, the others clipped.

"crop" samples as the reference's `random_crop_image` does: a window of 75 to 100% of the area and an aspect ratio
(width / height) of 0.75 to 3, the whole image when 100 attempts find none.

"scale_and_crop" is the reference's `random_scale_crop_and_pad_to_square`: the longer side becomes 0.1 to 2 times the
network input's, then a random window of the input's size is cut out, and what is missing of it is black.
"""

import tensorflow as tf

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.images.network_input import pad_to_square, resize

_CROP_AREA = (0.75, 1.0)
_CROP_ASPECT = (0.75, 3.0)
_CROP_ATTEMPTS = 100
_SCALE = (0.1, 2.0)


def augment(
    image: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor, seed: tf.Tensor, base: BaseModel
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mirror one image and crop it, as the models of `base.family` were trained.

    Args:
        image: uint8 [H, W, 3].
        boxes: float32 [n, 4], ymin xmin ymax xmax, normalised.
        classes: int32 [n].
        seed: int64 [2]; the same seed gives the same result.
        base: the model; its family decides what follows the mirror, its input size is S.

    Returns:
        image [H', W', 3], uint8 after "crop", float32 0..255 with H' = W' = S after "scale_and_crop"; boxes [m, 4]
        normalised to it, classes [m], m <= n.
    """
    flip_seed, crop_seed = tf.unstack(tf.random.split(seed, 2))
    image, boxes = random_horizontal_flip(image, boxes, flip_seed)
    if base.family.augmentation == "scale_and_crop":
        return random_scale_and_crop(image, boxes, classes, crop_seed, base.input_size)
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
    return tf.ensure_shape(crop, [None, None, 3]), *_inside(moved, classes)


def random_scale_and_crop(
    image: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor, seed: tf.Tensor, size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Resize to 0.1 to 2 times the size, at the same aspect ratio, and cut out a random window; shapes as in `augment`.

    The resized image, at most float32 [2 S, 2 S, 3], is the largest thing made on the way.

    Returns:
        image float32 [size, size, 3], black where the window reaches beyond the image; boxes and classes inside it.
    """
    drawn = tf.random.stateless_uniform([3], seed)
    scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * drawn[0]
    full = tf.cast(tf.shape(image)[:2], tf.float32)
    # Truncated, in the reference's order of operations; an image much longer than wide keeps a row.
    scaled = tf.maximum(tf.cast(scale * size * (full / tf.reduce_max(full)), tf.int32), 1)
    excess = tf.cast(tf.maximum(scaled - size, 0), tf.float32)
    begin = tf.cast(drawn[1:] * excess, tf.int32)
    window = resize(image, scaled)[begin[0] : begin[0] + size, begin[1] : begin[1] + size]
    stretch, offset = (tf.cast(pixels, tf.float32) / size for pixels in (scaled, begin))
    moved = boxes * tf.tile(stretch, [2]) - tf.tile(offset, [2])
    return pad_to_square(window, size), *_inside(moved, classes)


def _inside(boxes: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Boxes [n, 4] clipped to the image, and their classes; without those of which nothing is left."""
    clipped = tf.clip_by_value(boxes, 0.0, 1.0)
    kept = tf.reduce_all(clipped[:, 2:] > clipped[:, :2], axis=1)
    return tf.boolean_mask(clipped, kept), tf.boolean_mask(classes, kept)
