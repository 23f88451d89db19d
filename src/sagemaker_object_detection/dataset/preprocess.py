"""From the bytes of an image file to the network's input, in TensorFlow ops: one decoder for checks and training.

`to_network_input` reproduces the reference's arithmetic: pixels scaled per channel, and bilinear resizing with TF1's
legacy sampling (source = target * in / out, no half-pixel centres, no antialiasing), in this order: the other one
differs in the last bit, which an untrained network amplifies to a percent of a gradient.
"""

import tensorflow as tf

from sagemaker_object_detection.catalogue import BaseModel


def decode_stored(contents: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG as its pixels are stored, ignoring EXIF.

    Grey, palette and CMYK images become RGB, alpha is left out, 16-bit samples keep their high byte.

    Args:
        contents: scalar string, the bytes of the file.

    Returns:
        uint8 [H, W, 3].

    Raises:
        tf.errors.InvalidArgumentError: the bytes are damaged or of another format.
    """
    # The JPEG op recognises PNG by its signature. Its default, faster DCT differs from other decoders by a few levels.
    return tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")


def decode(contents: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG and turn it upright.

    Args:
        contents: scalar string, the bytes of the file.
        orientation: scalar integer, EXIF orientation to apply, 1 (none) to 8.

    Returns:
        uint8 [H, W, 3], H and W as displayed.
    """
    return apply_orientation(decode_stored(contents), orientation)


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
    """Scale the pixels and resize to the model's input.

    Args:
        image: uint8 or float32 [H, W, 3], RGB, values 0..255.
        base: the model; its family decides the scaling, its input size is S.

    Returns:
        images: float32 [S, S, 3].
        true_shape: int32 [3], size of the image inside the input: [S, S, 3], as the aspect ratio is not kept.
    """
    size, family = base.input_size, base.family
    scaled = tf.cast(image, tf.float32) * tf.constant(family.pixel_multiplier) + tf.constant(family.pixel_offset)
    resized = tf.raw_ops.ResizeBilinear(
        images=scaled[tf.newaxis], size=[size, size], align_corners=False, half_pixel_centers=False
    )[0]
    return tf.ensure_shape(resized, [size, size, 3]), tf.constant([size, size, 3], tf.int32)
