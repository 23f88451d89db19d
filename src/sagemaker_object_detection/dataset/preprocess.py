"""From the bytes of an image file to the network's input, in TensorFlow ops: one decoder for checks and training.

`to_network_input` reproduces the reference's arithmetic: pixels scaled per channel, then bilinear resizing with TF1's
legacy sampling (source = target * in / out, no half-pixel centres, no antialiasing), in this order: the other one
differs in the last bit. Padding comes last, so it has the value 0 of scaled pixels: about the mean colour, not black.

Training images are resized first, and stay uint8 until they are where the network is (`to_pixels`, `scaled_images`): a
quarter of the bytes to copy, and rounded by at most half a level of 255.
"""

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from sagemaker_object_detection.catalogue import BaseModel, Family

# In the order of the reference's operations, which decides the last bit.
_SCALINGS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "symmetric": lambda pixels: pixels * (2.0 / 255.0) - 1.0,
    "mean_subtracted": lambda pixels: pixels - (123.68, 116.779, 103.939),
    "standardized": lambda pixels: (pixels / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225),
}


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
    """Decode a JPEG or PNG and turn it upright.

    Args:
        contents: scalar string, the bytes of the file.
        orientation: scalar integer, EXIF orientation to apply, 1 (none) to 8.
        halvings: scalar int32, as in `decode_stored`.

    Returns:
        uint8 [H, W, 3], H and W as displayed.
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
    size, family = base.input_size, base.family
    shape = _fitted(tf.shape(image)[:2], size) if family.keep_aspect_ratio else tf.constant([size, size])
    resized = resize(scale_pixels(tf.cast(image, tf.float32), family), shape)
    if family.keep_aspect_ratio:
        resized = pad_to_square(resized, size)
    return tf.ensure_shape(resized, [size, size, 3]), tf.concat([shape, [3]], axis=0)


def to_pixels(image: tf.Tensor, base: BaseModel) -> tuple[tf.Tensor, tf.Tensor]:
    """As `to_network_input`, but not scaled yet: uint8 [S, S, 3], a quarter of the bytes, for `scaled_images`."""
    size, family = base.input_size, base.family
    shape = _fitted(tf.shape(image)[:2], size) if family.keep_aspect_ratio else tf.constant([size, size])
    pixels = tf.cast(tf.round(resize(image, shape)), tf.uint8)
    if family.keep_aspect_ratio:
        pixels = pad_to_square(pixels, size)
    return tf.ensure_shape(pixels, [size, size, 3]), tf.concat([shape, [3]], axis=0)


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
    """Boxes of an image as boxes of the network input it was made into; `models/postprocess.py` goes the way back.

    Args:
        boxes: float32 [n, 4], ymin xmin ymax xmax, normalised to the image.
        true_shape: int32 [3], from `to_network_input`.
        base: the model.

    Returns:
        float32 [n, 4], normalised to the network input, padding included.
    """
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
