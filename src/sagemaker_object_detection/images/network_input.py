"""From an image's pixels to the network's input, in TensorFlow ops.

`to_network_input` reproduces the reference's arithmetic: pixels scaled per channel, then bilinear resizing with TF1's
legacy sampling (source = target * in / out, no half-pixel centres, no antialiasing), in this order: the other one
differs in the last bit. Padding comes last, so it has the value 0 of scaled pixels: about the mean colour, not black.

Training images are resized first, and stay uint8 until they are where the network is (`to_pixels`, `scaled_images`): a
quarter of the bytes to copy, and rounded by at most half a level of 255.
"""

from collections.abc import Callable

import tensorflow as tf

from sagemaker_object_detection.catalogue import BaseModel, Family

# In the order of the reference's operations, which decides the last bit.
_SCALINGS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "symmetric": lambda pixels: pixels * (2.0 / 255.0) - 1.0,
    "mean_subtracted": lambda pixels: pixels - (123.68, 116.779, 103.939),
    "standardized": lambda pixels: (pixels / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225),
}


def to_network_input(image: tf.Tensor, base: BaseModel) -> tuple[tf.Tensor, tf.Tensor]:
    """Scale the pixels and resize to the model's input, to the reference's last bit: stretched to the square, or fitted
    into it and padded.

    Args:
        image: uint8 or float32 [H, W, 3], RGB, values 0..255.
        base: the model; its family decides the scaling and the fit, its input size is S.

    Returns:
        images: float32 [S, S, 3]. Padding is at the bottom or at the right, and 0.
        true_shape: int32 [3], size of the image inside the input: [S, S, 3] where it is stretched; else its longer side
            is S and the other is rounded, at least 1 pixel.
    """
    return _placed(scale_pixels(tf.cast(image, tf.float32), base.family), base, lambda resized: resized)


def to_pixels(image: tf.Tensor, base: BaseModel) -> tuple[tf.Tensor, tf.Tensor]:
    """As `to_network_input`, but not scaled yet: uint8 [S, S, 3], a quarter of the bytes, for `scaled_images`."""
    return _placed(image, base, lambda resized: tf.cast(tf.round(resized), tf.uint8))


def to_raw_input(image: tf.Tensor, base: BaseModel) -> tuple[tf.Tensor, tf.Tensor]:
    """As `to_network_input`, but for a network that scales the pixels itself: float32 [S, S, 3], 0..255. What is padded
    has `padding_colour`, as the network sees it 0."""
    pixels = tf.cast(image, tf.float32)
    if not base.family.keep_aspect_ratio:
        return _placed(pixels, base, lambda resized: resized)
    colour = padding_colour(base.family)
    placed, true_shape = _placed(pixels - colour, base, lambda resized: resized)
    return placed + colour, true_shape


def padding_colour(family: Family) -> tf.Tensor:
    """The colour whose scaled pixels are 0: float32 [3], R, G, B, 0..255."""
    black, white = tf.unstack(scale_pixels(tf.constant([[0.0] * 3, [255.0] * 3]), family))
    return 255.0 * black / (black - white)


def _placed(image: tf.Tensor, base: BaseModel, finish: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Both ways: an image resized to where it lies in the input, and finished; and its size there, int32 [3]."""
    size, fits = base.input_size, base.family.keep_aspect_ratio
    shape = _fitted(tf.shape(image)[:2], size) if fits else tf.constant([size, size])
    resized = finish(resize(image, shape))
    padded = pad_to_square(resized, size) if fits else resized
    return tf.ensure_shape(padded, [size, size, 3]), tf.concat([shape, [3]], axis=0)


def scaled_images(images: tf.Tensor, true_shapes: tf.Tensor, base: BaseModel) -> tf.Tensor:
    """The network's input of a batch, float32 [B, S, S, 3], computed where the network is.

    Args:
        images: [B, S, S, 3]; uint8 from `to_pixels`, or float32, which is scaled already.
        true_shapes: int32 [B, 3], the size of each image inside its network input.
    """
    if images.dtype != tf.uint8:
        return images
    scaled = scale_pixels(tf.cast(images, tf.float32), base.family)
    if not base.family.keep_aspect_ratio:
        return scaled
    # Padding is 0 of scaled pixels. Numbers, since a GPU leaves comparing integers to the host.
    places = tf.range(float(base.input_size))
    height, width = (tf.cast(true_shapes[:, side, None], tf.float32) for side in (0, 1))
    rows, columns = (tf.cast(places < sides, tf.float32) for sides in (height, width))
    return scaled * rows[:, :, None, None] * columns[:, None, :, None]


def scale_pixels(pixels: tf.Tensor, family: Family) -> tf.Tensor:
    """Pixels float32 [..., 3], R, G, B, 0..255, as the family's networks take them."""
    return _SCALINGS[family.pixel_scaling](pixels)


def to_input_frame(boxes: tf.Tensor, true_shape: tf.Tensor, base: BaseModel) -> tf.Tensor:
    """Boxes float32 [n, 4], ymin xmin ymax xmax, normalised to an image, as boxes normalised to the network input that
    is made of it, padding included; `models/postprocess.py` goes the way back. true_shape: from `to_network_input`."""
    return boxes * tf.tile(tf.cast(true_shape[:2], tf.float32) / base.input_size, [2])


def resize(image: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Bilinear with legacy sampling: [H, W, 3] of any real dtype to float32 [h, w, 3], for `shape` int32 [2] = h, w."""
    return tf.raw_ops.ResizeBilinear(
        images=image[tf.newaxis], size=shape, align_corners=False, half_pixel_centers=False
    )[0]


def pad_to_square(image: tf.Tensor, size: int) -> tf.Tensor:
    """Zeros at the bottom and at the right: [h, w, 3] to [size, size, 3], for h, w <= size."""
    bottom, right = tf.unstack(size - tf.shape(image)[:2])
    return tf.ensure_shape(tf.pad(image, [[0, bottom], [0, right], [0, 0]]), [size, size, 3])


def _fitted(shape: tf.Tensor, size: int) -> tf.Tensor:
    """The largest shape of the same aspect ratio inside the square, int32 [2], rounded as the reference does: float32,
    halves to even (`resize_to_range` with both limits at S). A side that would vanish keeps one pixel."""
    sides = tf.cast(shape, tf.float32)
    scale = size / tf.reduce_max(sides)
    return tf.maximum(tf.cast(tf.round(sides * scale), tf.int32), 1)
