import io
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from made_channels import picture
from PIL import Image, ImageOps
from shared import shared

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.dataset.preprocess import decode, to_network_input


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def decoded(contents: bytes, orientation: int = 1) -> np.ndarray:
    pixels = decode(tf.constant(contents), tf.constant(orientation, tf.uint8))
    assert pixels.dtype == tf.uint8
    return pixels.numpy()


COLOURS = picture(37, 23)
ALPHA = Image.fromarray(np.linspace(0, 255, 37 * 23).reshape(23, 37).astype(np.uint8))
WITH_ALPHA = COLOURS.copy()
WITH_ALPHA.putalpha(ALPHA)

PNGS = {
    "rgb": COLOURS,
    "grey": COLOURS.convert("L"),
    "black and white": COLOURS.convert("1"),
    "rgb with alpha": WITH_ALPHA,
    "grey with alpha": WITH_ALPHA.convert("LA"),
    "palette": COLOURS.quantize(256),
    "small palette": COLOURS.quantize(4),
}


@pytest.mark.parametrize("name", PNGS)
def test_every_kind_of_png_is_decoded_exactly(name: str) -> None:
    image = PNGS[name]
    np.testing.assert_array_equal(decoded(encoded(image, format="PNG")), np.asarray(image.convert("RGB")))


def test_a_palette_with_a_transparent_colour_keeps_its_colours() -> None:
    image = COLOURS.quantize(16)
    contents = encoded(image, format="PNG", transparency=3)
    np.testing.assert_array_equal(decoded(contents), np.asarray(image.convert("RGB")))


def test_a_png_of_16_bits_keeps_the_high_byte() -> None:
    values = np.linspace(0, 65535, 37 * 23).reshape(23, 37).astype(np.uint16)
    contents = encoded(Image.fromarray(values), format="PNG")
    np.testing.assert_array_equal(decoded(contents), np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))


JPEGS = {
    "rgb": (COLOURS, {}),
    "grey": (COLOURS.convert("L"), {}),
    "full chroma": (COLOURS, {"subsampling": 0}),
    "progressive": (COLOURS, {"progressive": True}),
    "cmyk": (COLOURS.convert("CMYK"), {}),
}


@pytest.mark.parametrize("name", JPEGS)
def test_every_kind_of_jpeg_is_decoded_as_pillow_does(name: str) -> None:
    image, options = JPEGS[name]
    contents = encoded(image, format="JPEG", quality=95, **options)
    expected = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB")).astype(int)
    # Both use libjpeg-turbo's accurate transform; CMYK is turned into RGB with different rounding.
    assert np.abs(decoded(contents) - expected).max() <= (2 if name == "cmyk" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_every_orientation_is_turned_upright(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    contents = encoded(COLOURS, format=file_format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(contents))))
    np.testing.assert_array_equal(decoded(contents, orientation), expected)
    assert decoded(contents).shape == (23, 37, 3)


@pytest.mark.parametrize("file_format", ["GIF", "BMP"])
def test_other_formats_and_cut_files_are_errors(file_format: str) -> None:
    for contents in (encoded(COLOURS, format="JPEG")[:-60], encoded(COLOURS, format="PNG")[:-60], b"", b"\xff\xd8\xff"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(tf.constant(contents), 1)


def legacy_bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """TF1's sampling written out: source = target * in / out, no half-pixel centres."""
    parts = []
    for length in image.shape[:2]:
        source = np.arange(size) * length / size
        low = np.floor(source).astype(int)
        parts.append((low, np.minimum(low + 1, length - 1), source - low))
    (top, bottom, y), (left, right, x) = parts
    y, x = y[:, None, None], x[None, :, None]
    upper = image[top][:, left] * (1 - x) + image[top][:, right] * x
    lower = image[bottom][:, left] * (1 - x) + image[bottom][:, right] * x
    return upper * (1 - y) + lower * y


@pytest.mark.parametrize(("height", "width"), [(375, 500), (33, 1000), (320, 320), (1, 1)])
def test_network_input_is_scaled_and_resized_as_the_reference_does(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    expected = legacy_bilinear(image.astype(np.float64), 320) * (2 / 255) - 1
    for pixels in (tf.constant(image), tf.constant(image, tf.float32)):
        network_input, true_shape = to_network_input(pixels, catalogue.DEFAULT_MODEL)
        assert network_input.dtype == tf.float32
        assert true_shape.numpy().tolist() == [320, 320, 3]
        # 1e-6 of the value range, which is 2: the tolerance for agreement with the reference. Positions are float32, so
        # next to a sharp edge of a large image a little more of it counts.
        np.testing.assert_allclose(network_input, expected, atol=2e-6 if max(height, width) <= 320 else 2e-4)


def test_network_input_equals_the_reference_pack() -> None:
    pack = np.load(shared("reference/ssd_mobilenet_v2_fpnlite_320x320.npz"))
    stride = int(pack["preprocessed_stride"])
    for number in range(2):
        network_input, true_shape = to_network_input(tf.constant(pack[f"image{number}"]), catalogue.DEFAULT_MODEL)
        np.testing.assert_allclose(network_input[::stride, ::stride], pack["preprocessed"][number], atol=2e-6, rtol=0)
        np.testing.assert_array_equal(true_shape, pack["true_image_shapes"][number])


def test_every_family_of_the_catalogue_has_its_scaling() -> None:
    for base in catalogue.CATALOGUE:
        network_input, _ = to_network_input(tf.zeros([2, 2, 3], tf.uint8), base)
        assert network_input.shape == (base.input_size, base.input_size, 3)
