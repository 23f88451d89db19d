import dataclasses
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from made_channels import picture
from PIL import Image, ImageOps
from shared import shared

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.images.decoding import decode
from sagemaker_object_detection.images.network_input import (
    scale_pixels,
    scaled_images,
    to_input_frame,
    to_network_input,
    to_pixels,
)

EFFICIENTDET = next(base for base in catalogue.CATALOGUE if base.family.keep_aspect_ratio)
SMALL = dataclasses.replace(EFFICIENTDET, input_size=64)
STRETCHED = dataclasses.replace(catalogue.DEFAULT_MODEL, input_size=64)


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


def on_white(image: Image.Image) -> np.ndarray:
    """By the formula, in numbers without rounding on the way."""
    layers = np.asarray(image.convert("RGBA")).astype(float)
    share = layers[..., 3:] / 255
    return np.floor(layers[..., :3] * share + 255 * (1 - share) + 0.5)


@pytest.mark.parametrize("name", PNGS)
def test_every_kind_of_png_is_decoded_exactly(name: str) -> None:
    image = PNGS[name]
    np.testing.assert_array_equal(decoded(encoded(image, format="PNG")), on_white(image))


TRANSPARENT = {"1": 1, "L": 7, "P": 3, "RGB": (1, 2, 3)}


@pytest.mark.parametrize("mode", TRANSPARENT)
def test_a_colour_that_stands_for_transparency_is_white(mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 8, (23, 37, 3), np.uint8)
    pixels[3, 4] = 1, 2, 3
    image = Image.fromarray(pixels)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    contents = encoded(image, format="PNG", transparency=TRANSPARENT[mode])
    expected = on_white(Image.open(io.BytesIO(contents)))
    assert (expected != np.asarray(image.convert("RGB"))).any() or mode == "1"
    np.testing.assert_array_equal(decoded(contents), expected)


@given(colour=st.integers(0, 255), alpha=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_transparency_is_composited_to_the_nearest_level(colour: int, alpha: int) -> None:
    image = Image.new("LA", (1, 1), (colour, alpha))
    assert decoded(encoded(image, format="PNG")).max() == (colour * alpha + 255 * (255 - alpha) + 127) // 255


def test_a_png_of_16_bits_keeps_the_high_byte() -> None:
    values = np.linspace(0, 65535, 37 * 23).reshape(23, 37).astype(np.uint16)
    contents = encoded(Image.fromarray(values), format="PNG")
    np.testing.assert_array_equal(decoded(contents), np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize(("used", "sample_bits"), [(4095, 12), (1023, 10), (255, 8), (65535, 16)])
def test_a_png_of_16_bits_is_scaled_by_the_bits_that_the_data_uses(used: int, sample_bits: int) -> None:
    values = np.linspace(0, used, 37 * 23).reshape(23, 37).astype(np.uint16)
    contents = encoded(Image.fromarray(values), format="PNG")
    pixels = decode(tf.constant(contents), tf.constant(1), sample_bits=sample_bits).numpy()
    np.testing.assert_array_equal(pixels[..., 0], values >> (sample_bits - 8))
    assert pixels.max() == 255


def test_samples_of_more_bits_than_the_data_used_are_white_and_8_bits_are_left_alone() -> None:
    bright = encoded(Image.fromarray(np.full((4, 6), 40_000, np.uint16)), format="PNG")
    assert decode(tf.constant(bright), tf.constant(1), sample_bits=12).numpy().min() == 255
    plain = encoded(COLOURS, format="PNG")
    pixels = decode(tf.constant(plain), tf.constant(1), sample_bits=12).numpy()
    np.testing.assert_array_equal(pixels, np.asarray(COLOURS))


JPEGS: dict[str, tuple[Image.Image, dict[str, Any]]] = {
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


def test_a_ycck_jpeg_is_decoded_as_pillow_does() -> None:
    # What Photoshop writes for print: Adobe's marker says how the four channels were turned (2: YCCK).
    contents = encoded(COLOURS.convert("CMYK"), format="JPEG", quality=95)
    place = contents.index(b"Adobe") + 11
    assert contents[place] == 0
    contents = contents[:place] + b"\x02" + contents[place + 1 :]
    expected = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB")).astype(int)
    assert np.abs(decoded(contents) - expected).max() <= 2


@pytest.mark.parametrize("name", ["apng", "16 bits with alpha"])
def test_more_than_a_picture_of_8_bits_is_decoded_to_its_first_picture_in_8_bits(name: str) -> None:
    if name == "apng":
        contents = encoded(
            COLOURS, format="PNG", save_all=True, append_images=[COLOURS.transpose(Image.Transpose.ROTATE_180)]
        )
        np.testing.assert_array_equal(decoded(contents), np.asarray(COLOURS))
        return
    samples = np.random.default_rng(0).integers(0, 2**16, (23, 37, 4), np.uint16)
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 37, 23, 16, 6, 0, 0, 0))
    contents = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    layers = Image.fromarray((samples >> 8).astype(np.uint8), "RGBA")
    np.testing.assert_array_equal(decoded(contents), on_white(layers))


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


def legacy_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """TF1's sampling written out: source = target * in / out, no half-pixel centres."""
    parts = []
    for length, new_length in zip(image.shape[:2], (height, width), strict=True):
        source = np.arange(new_length) * length / new_length
        low = np.floor(source).astype(int)
        parts.append((low, np.minimum(low + 1, length - 1), source - low))
    (top, bottom, y), (left, right, x) = parts
    y, x = y[:, None, None], x[None, :, None]
    upper = image[top][:, left] * (1 - x) + image[top][:, right] * x
    lower = image[bottom][:, left] * (1 - x) + image[bottom][:, right] * x
    return upper * (1 - y) + lower * y


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (33, 1000), (320, 320), (1, 1)])
def test_network_input_is_scaled_and_resized_as_the_reference_does(height: int, width: int) -> None:
    image = noise(height, width)
    expected = legacy_bilinear(image.astype(np.float64), 320, 320) * (2 / 255) - 1
    for pixels in (tf.constant(image), tf.constant(image, tf.float32)):
        network_input, true_shape = to_network_input(pixels, catalogue.DEFAULT_MODEL)
        assert network_input.dtype == tf.float32
        assert true_shape.numpy().tolist() == [320, 320, 3]
        # 1e-6 of the value range, which is 2: the tolerance for agreement with the reference. Positions are float32, so
        # next to a sharp edge of a large image a little more of it counts.
        np.testing.assert_allclose(network_input, expected, atol=2e-6 if max(height, width) <= 320 else 2e-4)


FITTED = [
    (375, 500, 384, 512),
    (500, 375, 512, 384),
    (512, 512, 512, 512),
    (256, 512, 256, 512),
    (1, 1, 512, 512),
    (300, 1, 512, 2),
    (1, 2000, 1, 512),  # 0.256 of a pixel
    (3, 1024, 2, 512),  # one and a half: halves go to even
    (5, 1024, 2, 512),
    (1999, 1501, 512, 384),
]


@pytest.mark.parametrize(("height", "width", "true_height", "true_width"), FITTED)
def test_an_image_that_keeps_its_aspect_ratio_is_fitted_and_padded(
    height: int, width: int, true_height: int, true_width: int
) -> None:
    image = noise(height, width)
    network_input, true_shape = to_network_input(tf.constant(image), EFFICIENTDET)
    assert true_shape.dtype == tf.int32
    assert true_shape.numpy().tolist() == [true_height, true_width, 3]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = legacy_bilinear((image / 255 - mean) / deviation, true_height, true_width)
    # As above: 1e-6 of a value range of 4.8, and more where float32 positions meet sharp edges.
    atol = 5e-6 if max(height, width) <= 512 else 5e-4
    np.testing.assert_allclose(network_input[:true_height, :true_width], expected, atol=atol)
    assert not network_input[true_height:].numpy().any()
    assert not network_input[:, true_width:].numpy().any()


SIDES = st.integers(1, 300)


@settings(deadline=None, max_examples=60)
@given(height=SIDES, width=SIDES)
def test_fitting_keeps_the_aspect_ratio_as_well_as_whole_pixels_can(height: int, width: int) -> None:
    network_input, true_shape = to_network_input(tf.fill([height, width, 3], tf.constant(255, tf.uint8)), SMALL)
    true_height, true_width, channels = true_shape.numpy().tolist()
    assert max(true_height, true_width) == 64
    assert channels == 3
    for side, true_side in ((height, true_height), (width, true_width)):
        exact = side * 64 / max(height, width)
        assert abs(true_side - exact) <= 0.5 or (true_side == 1 and exact < 0.5)
    white = network_input.numpy() > 1
    assert white[:true_height, :true_width].all()
    assert white.sum() == true_height * true_width * 3


@settings(deadline=None, max_examples=60)
@given(height=st.integers(8, 300), width=st.integers(8, 300), data=st.data(), base=st.sampled_from([SMALL, STRETCHED]))
def test_boxes_move_with_the_pixels_into_the_network_input(
    height: int, width: int, data: st.DataObject, base: catalogue.BaseModel
) -> None:
    spans = [
        sorted(data.draw(st.lists(st.integers(0, side), min_size=2, max_size=2, unique=True)))
        for side in (height, width)
    ]
    # A bright band of rows in red, one of columns in green: each axis by itself.
    image = np.zeros((height, width, 3), np.float32)
    image[slice(*spans[0]), :, 0] = 255
    image[:, slice(*spans[1]), 1] = 255
    network_input, true_shape = to_network_input(tf.constant(image), base)
    box = tf.constant(np.transpose(spans).reshape(1, 4) / [height, width, height, width], tf.float32)
    new_box = to_input_frame(box, true_shape, base)[0].numpy() * base.input_size
    true_sides = true_shape.numpy()[:2]
    for axis, (low, high) in enumerate(spans):
        side, true_side = (height, width)[axis], true_sides[axis]
        half = scale_pixels(tf.fill([3], 127.5), base.family).numpy()[axis]
        profile = network_input.numpy().take(0, axis=1 - axis)[:true_side, axis]
        places = np.nonzero(profile > half)[0]
        # Legacy sampling is half the bright half a pixel of the image before an edge, and samples are whole pixels.
        shift = 0.5 - 0.5 * true_side / side
        start = new_box[axis] + shift if low > 0 else 0.0
        stop = new_box[axis + 2] + shift if high < side else true_side
        if len(places) == 0:
            assert stop - start < 1.01
        else:
            assert abs(places[0] - start) < 0.51
            assert abs(places[-1] + 1 - stop) < 0.51


def test_boxes_in_the_frame_of_a_padded_input() -> None:
    boxes = tf.constant([[0.0, 0.0, 1.0, 1.0], [0.5, 0.25, 0.75, 0.5]])
    landscape = to_input_frame(boxes, tf.constant([384, 512, 3]), EFFICIENTDET)
    np.testing.assert_array_equal(landscape, [[0, 0, 0.75, 1], [0.375, 0.25, 0.5625, 0.5]])
    portrait = to_input_frame(boxes, tf.constant([512, 128, 3]), EFFICIENTDET)
    np.testing.assert_array_equal(portrait, [[0, 0, 1, 0.25], [0.5, 0.0625, 0.75, 0.125]])
    assert to_input_frame(boxes[:0], tf.constant([512, 128, 3]), EFFICIENTDET).shape == (0, 4)


@pytest.mark.parametrize("base", [SMALL, STRETCHED], ids=["padded", "stretched"])
def test_an_image_of_the_inputs_size_is_only_scaled(base: catalogue.BaseModel) -> None:
    image = np.random.default_rng(1).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    network_input, true_shape = to_network_input(tf.constant(image), base)
    np.testing.assert_array_equal(network_input, scale_pixels(tf.constant(image), base.family))
    assert true_shape.numpy().tolist() == [64, 64, 3]


@pytest.mark.parametrize(
    ("name", "black", "grey"),
    [
        ("ssd_mobilenet_v1_fpn_640x640", [-1, -1, -1], [-0.2, -0.2, -0.2]),
        ("ssd_mobilenet_v2_fpnlite_320x320", [-1, -1, -1], [-0.2, -0.2, -0.2]),
        ("ssd_resnet101_v1_fpn_640x640", [-123.68, -116.779, -103.939], [-21.68, -14.779, -1.939]),
        ("ssd_efficientdet_d3_896x896", [-2.117904, -2.035714, -1.804444], [-0.371179, -0.25, -0.026667]),
    ],
)
def test_pixels_are_scaled_as_the_family_was_trained(name: str, black: list[float], grey: list[float]) -> None:
    base = catalogue.find(name)
    assert base is not None
    scaled = scale_pixels(tf.constant([[0.0] * 3, [102.0] * 3]), base.family)
    np.testing.assert_allclose(scaled, [black, grey], rtol=1e-6, atol=2e-6)


PACKS = [
    "ssd_mobilenet_v2_fpnlite_320x320",
    "ssd_mobilenet_v1_fpn_640x640",
    "ssd_resnet50_v1_fpn_640x640",
    "ssd_efficientdet_d0_512x512",
]


@pytest.mark.parametrize("name", PACKS)
def test_network_input_equals_the_reference_pack(name: str) -> None:
    base = catalogue.find(name)
    assert base is not None
    pack = np.load(shared(f"reference/{name}.npz"))
    stride, expected = int(pack["preprocessed_stride"]), pack["preprocessed"]
    tolerance = 1e-6 * float(expected.max() - expected.min())
    for number in range(2):
        network_input, true_shape = to_network_input(tf.constant(pack[f"image{number}"]), base)
        np.testing.assert_allclose(network_input[::stride, ::stride], expected[number], atol=tolerance, rtol=0)
        np.testing.assert_array_equal(true_shape, pack["true_image_shapes"][number])


BLACK_AND_WHITE: dict[str, tuple[list[float], list[float]]] = {
    "mobilenet_v2_fpnlite": ([-1, -1, -1], [1, 1, 1]),
    "mobilenet_v1_fpn": ([-1, -1, -1], [1, 1, 1]),
    "resnet_v1_fpn": ([-123.68, -116.779, -103.939], [131.32, 138.221, 151.061]),
    # (x / 255 - mean) / deviation, to seven places.
    "efficientdet": ([-2.1179039, -2.0357143, -1.8044444], [2.2489083, 2.4285714, 2.64]),
}


@pytest.mark.parametrize("base", catalogue.CATALOGUE, ids=lambda base: base.name)
def test_every_model_has_its_scaling(base: catalogue.BaseModel) -> None:
    image = tf.constant([[[0] * 3, [255] * 3]] * 2, tf.uint8)
    network_input, _ = to_network_input(image, base)
    assert network_input.shape == (base.input_size, base.input_size, 3)
    black, white = BLACK_AND_WHITE[base.family.name]
    np.testing.assert_allclose(network_input[0, 0], black, rtol=1e-6)
    np.testing.assert_allclose(network_input[0, -1], white, rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (33, 1000), (320, 320), (1, 1)])
@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("ssd_mobilenet_v2_fpnlite_320x320", 2 / 255),
        ("ssd_resnet50_v1_fpn_640x640", 1.0),
        ("ssd_efficientdet_d0_512x512", 1 / 255 / 0.224),
    ],
)
def test_pixels_scaled_later_are_the_exact_input_to_half_a_level(
    name: str, level: float, height: int, width: int
) -> None:
    base = catalogue.find(name)
    assert base is not None
    image = noise(height, width)
    exact, shape = to_network_input(tf.constant(image), base)
    for same in (tf.constant(image), tf.cast(image, tf.float32)):
        pixels, same_shape = to_pixels(same, base)
        assert pixels.dtype == tf.uint8
        found = scaled_images(pixels[None], same_shape[None], base)[0]
        np.testing.assert_allclose(found, exact, rtol=0, atol=0.501 * level)
        np.testing.assert_array_equal(same_shape, shape)
        assert not np.any(found[shape[0] :])
        assert not np.any(found[:, shape[1] :])


@pytest.mark.parametrize("name", ["ssd_mobilenet_v2_fpnlite_320x320", "ssd_efficientdet_d0_512x512"])
def test_pixels_that_are_not_resized_are_scaled_to_the_references_last_bit(name: str) -> None:
    base = catalogue.find(name)
    assert base is not None
    image = tf.constant(noise(base.input_size, base.input_size))
    pixels, shape = to_pixels(image, base)
    np.testing.assert_array_equal(scaled_images(pixels[None], shape[None], base)[0], to_network_input(image, base)[0])
