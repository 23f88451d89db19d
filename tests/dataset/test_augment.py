import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.catalogue import CATALOGUE, DEFAULT_MODEL, BaseModel
from sagemaker_object_detection.dataset.augment import (
    augment,
    random_crop,
    random_horizontal_flip,
    random_scale_and_crop,
)
from sagemaker_object_detection.images.network_input import scale_pixels, to_network_input

SIZE = 64
CROP = DEFAULT_MODEL
SCALE = dataclasses.replace(
    next(base for base in CATALOGUE if base.family.augmentation == "scale_and_crop"), input_size=SIZE
)
both = pytest.mark.parametrize("base", [CROP, SCALE], ids=["crop", "scale_and_crop"])

HEIGHT, WIDTH = 90, 120
# ymin xmin ymax xmax in pixels, and a colour nothing else has.
RECTANGLES = ((10, 20, 40, 70, (255, 0, 0)), (50, 5, 85, 30, (0, 255, 0)), (60, 80, 90, 120, (0, 0, 255)))

Scene = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def scene() -> Scene:
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for ymin, xmin, ymax, xmax, colour in RECTANGLES:
        image[ymin:ymax, xmin:xmax] = colour
    boxes = np.array([rectangle[:4] for rectangle in RECTANGLES], np.float32) / [HEIGHT, WIDTH, HEIGHT, WIDTH]
    return tf.constant(image), tf.constant(boxes, tf.float32), tf.range(3)


def seed(number: int) -> tf.Tensor:
    return tf.constant([5, number], tf.int64)


def box_of_channel(image: np.ndarray, channel: int) -> np.ndarray | None:
    """ymin xmin ymax xmax of the pixels that are nearer to the pure colour than to grey, normalised."""
    others = np.delete(image.astype(float), channel, axis=-1).max(axis=-1)
    rows, columns = np.nonzero(image[..., channel] - others > 127.5)
    if len(rows) == 0:
        return None
    corners = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
    return corners / np.tile(image.shape[:2], 2)


# Cropped pixels are whole. Resized ones are sampled at whole places, 1 / SIZE apart, and fade over a pixel of the
# original, of which there are at most 2 * SIZE / WIDTH in a pixel of the result.
@pytest.mark.parametrize(
    ("base", "atol"), [(CROP, 1e-6), (SCALE, (1 + SIZE / WIDTH) / SIZE + 1e-6)], ids=["crop", "scale_and_crop"]
)
def test_boxes_move_with_the_pixels(base: BaseModel, atol: float) -> None:
    image, boxes, classes = scene()
    mirrored = changed = dropped = 0
    for number in range(60):
        new_image, new_boxes, new_classes = (
            part.numpy() for part in augment(image, boxes, classes, seed(number), base)
        )
        found = dict(zip(new_classes.tolist(), new_boxes, strict=True))
        for class_ in range(3):
            seen = box_of_channel(new_image, class_)
            if seen is None:
                # Nothing, or less than a pixel, is left of it.
                assert class_ not in found or (found[class_][2:] - found[class_][:2]).min() < atol
            elif class_ not in found:
                assert (seen[2:] - seen[:2]).min() <= atol
            else:
                np.testing.assert_allclose(found[class_], seen, atol=atol)
        mirrored += 0 in found and 1 in found and found[0][1] < found[1][1]
        changed += new_image.shape != image.shape
        dropped += len(new_classes) < 3
    assert 15 < mirrored < 45
    assert changed > 50
    assert (dropped > 0) == (base is SCALE)  # three quarters of the image keep a part of each
    assert dropped < 30


def ramps(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they come from: row, column, and 255. float32 [height, width, 3]."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 255)], axis=-1).astype(np.float32)


def origin(values: np.ndarray) -> tuple[float, float]:
    """The first value and the step of a ramp, but for its end, where resizing repeats the last pixel."""
    return float(values[0]), float(values[1] - values[0])


def extent(image: np.ndarray) -> tuple[int, int]:
    """Height and width of what is not padding."""
    there = image[..., 2] == 255
    height, width = int(there.any(axis=1).sum()), int(there.any(axis=0).sum())
    assert there[:height, :width].all()
    assert not image[height:].any()
    assert not image[:, width:].any()
    return height, width


@both
@pytest.mark.parametrize(("height", "width"), [(200, 120), (100, 255), (150, 150)])
def test_boxes_follow_the_pixels_exactly(base: BaseModel, height: int, width: int) -> None:
    image = tf.constant(ramps(height, width))
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 6)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    boxes = np.concatenate([grid, grid + 0.15], axis=1).clip(0, 1).astype(np.float32)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    dropped = 0
    for number in range(25):
        new_image, new_boxes, new_classes = (
            part.numpy() for part in augment(image, tf.constant(boxes), tf.range(len(boxes)), seed(number), base)
        )
        assert min(extent(new_image)) > 1  # else there is no ramp to read
        top, row_step = origin(new_image[:, 0, 0])
        left, column_step = origin(new_image[0, :, 1])
        before = boxes.copy()
        if column_step < 0:
            before[:, [1, 3]] = 1 - before[:, [3, 1]]
            left, column_step = width - 1 - left, -column_step
        pixels = before * np.array([height, width] * 2)
        moved = (pixels - [top, left] * 2) / ([row_step, column_step] * 2) / np.tile(new_image.shape[:2], 2)
        expected = moved.clip(0, 1)
        area = (expected[:, 2:] - expected[:, :2]).min(axis=1)
        # Edges that fall together with the image's may be kept as slivers, or not.
        assert set(np.nonzero(area > 1e-4)[0]) <= set(new_classes) <= set(np.nonzero(area > -1e-4)[0])
        np.testing.assert_allclose(new_boxes, expected[new_classes], atol=1e-4)
        assert (new_boxes[:, 2:] > new_boxes[:, :2]).all()
        dropped += len(new_boxes) < len(boxes)
    assert dropped > 2


@both
def test_the_same_seed_gives_the_same_image_and_another_another(base: BaseModel) -> None:
    scenes = [[part.numpy() for part in augment(*scene(), seed(number), base)] for number in (3, 3, 4)]
    for first, again in zip(scenes[0], scenes[1], strict=True):
        np.testing.assert_array_equal(first, again)
    assert not np.array_equal(scenes[0][0], scenes[2][0])


@both
def test_a_graph_does_the_same(base: BaseModel) -> None:
    traced = tf.function(lambda image, boxes, classes, key: augment(image, boxes, classes, key, base), autograph=False)
    for number in range(5):
        for eager, graph in zip(augment(*scene(), seed(number), base), traced(*scene(), seed(number)), strict=True):
            np.testing.assert_allclose(eager, graph, atol=1e-4)


def test_half_of_the_images_are_mirrored() -> None:
    image, boxes, _ = scene()
    flips = 0
    for number in range(200):
        new_image, new_boxes = random_horizontal_flip(image, boxes, seed(number))
        flipped = bool((new_image.numpy()[:, ::-1] == image.numpy()).all())
        expected = boxes.numpy()
        if flipped:
            expected = np.stack([expected[:, 0], 1 - expected[:, 3], expected[:, 2], 1 - expected[:, 1]], axis=1)
        np.testing.assert_allclose(new_boxes, expected, atol=1e-7)
        flips += flipped
    # Five standard deviations of a fair coin.
    assert abs(flips - 100) < 36


def test_crops_keep_to_the_reference_ranges() -> None:
    image = tf.zeros([400, 400, 3], tf.uint8)
    shapes = np.array(
        [random_crop(image, tf.zeros([0, 4]), tf.zeros([0], tf.int32), seed(i))[0].shape[:2] for i in range(200)]
    )
    areas = shapes.prod(axis=1) / 400**2
    aspects = shapes[:, 1] / shapes[:, 0]
    # A pixel of rounding on 400.
    assert areas.min() >= 0.75 - 0.005
    assert areas.max() <= 1
    assert aspects.min() >= 0.75 - 0.005
    assert aspects.max() <= 1 / 0.75 + 0.005  # a window of three quarters of a square cannot be wider
    assert areas.std() > 0.03
    assert aspects.std() > 0.05


def test_crops_of_a_wide_image_are_up_to_three_times_as_wide_as_high() -> None:
    image = tf.zeros([100, 320, 3], tf.uint8)
    shapes = [random_crop(image, tf.zeros([0, 4]), tf.zeros([0], tf.int32), seed(i))[0].shape[:2] for i in range(20)]
    aspects = [width / height for height, width in shapes]
    assert max(aspect for aspect in aspects if aspect != 3.2) <= 3.05  # a pixel of rounding on 100
    assert max(aspects) > 2.8


def test_scales_and_places_are_drawn_evenly_from_the_reference_ranges() -> None:
    height, width, draws = 120, 100, 300
    image = tf.constant(ramps(height, width))
    scale_and_crop = tf.function(
        lambda key: random_scale_and_crop(image, tf.zeros([0, 4]), tf.zeros([0], tf.int32), key, SIZE)[0],
        autograph=False,
    )
    scales, places = [], []
    for number in range(draws):
        new_image = scale_and_crop(seed(number)).numpy()
        seen_height, seen_width = extent(new_image)
        top, row_step = origin(new_image[:, 0, 0])
        left, column_step = origin(new_image[0, :, 1])
        scaled_height, scaled_width = round(height / row_step), round(width / column_step)
        assert (seen_height, seen_width) == (min(scaled_height, SIZE), min(scaled_width, SIZE))
        # Both sides are cut down to whole pixels: by less than one.
        assert abs(scaled_width - scaled_height * width / height) < 1
        scales.append(scaled_height / SIZE)
        begin = np.array([top / row_step, left / column_step])
        excess = np.array([scaled_height - SIZE, scaled_width - SIZE])
        assert (np.abs(begin - begin.round()) < 1e-2).all()
        assert (begin.round()[excess <= 0] == 0).all()
        if excess.min() > 20:
            places.append(begin.round() / excess)
    assert_even((np.array(scales) + 0.5 / SIZE - 0.1) / 1.9)
    assert min(scales) < 0.2
    assert max(scales) > 1.9
    down, right = np.array(places).T
    assert len(places) > 40
    for place in (down, right):
        assert 0 <= place.min() <= place.max() < 1
        assert_even(place + 0.01)  # cut down to whole pixels, of 50 on average
    # Five standard deviations of what independent draws have.
    assert abs(np.corrcoef(down, right)[0, 1]) < 5 / np.sqrt(len(places))


def assert_even(values: np.ndarray) -> None:
    """Kolmogorov and Smirnov: even values in [0, 1] are further from it than this once in 10,000 times."""
    distance = np.abs(np.sort(values) - (np.arange(len(values)) + 0.5) / len(values)).max()
    assert distance < 2.2 / np.sqrt(len(values))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 400), (400, 1), (3, 2), (2000, 1500)])
def test_any_image_becomes_one_of_the_inputs_size(height: int, width: int) -> None:
    image = tf.fill([height, width, 3], tf.constant(255, tf.uint8))
    for number in range(10):
        whole, classes = tf.constant([[0.0, 0.0, 1.0, 1.0]]), tf.constant([7])
        new_image, boxes, classes = random_scale_and_crop(image, whole, classes, seed(number), SIZE)
        assert new_image.dtype == tf.float32
        assert new_image.shape == (SIZE, SIZE, 3)
        assert set(np.unique(new_image)) <= {0, 255}
        np.testing.assert_allclose(boxes[0], [0, 0, *np.array(extent(new_image.numpy())) / SIZE], atol=1e-6)
        assert classes.numpy().tolist() == [7]


def test_what_is_padded_here_is_black_to_the_network_and_part_of_the_image() -> None:
    black = scale_pixels(tf.zeros([3]), SCALE.family).numpy()
    padded = 0
    for number in range(8):
        new_image = augment(*scene(), seed(number), SCALE)[0]
        network_input, true_shape = to_network_input(new_image, SCALE)
        assert true_shape.numpy().tolist() == [SIZE, SIZE, 3]
        scaled = scale_pixels(new_image, SCALE.family)
        np.testing.assert_allclose(network_input, scaled, atol=1e-5)
        padded += np.allclose(network_input[-1, 0], black)
    assert padded > 2


def test_an_image_no_crop_fits_stays_whole() -> None:
    image, boxes, classes = tf.zeros([300, 30, 3], tf.uint8), tf.constant([[0.1, 0.2, 0.3, 0.4]]), tf.constant([1])
    new_image, new_boxes, new_classes = random_crop(image, boxes, classes, seed(0))
    assert new_image.shape == (300, 30, 3)
    np.testing.assert_array_equal(new_boxes, boxes)
    np.testing.assert_array_equal(new_classes, [1])


@both
def test_an_image_without_boxes(base: BaseModel) -> None:
    image, boxes, classes = augment(scene()[0], tf.zeros([0, 4]), tf.zeros([0], tf.int32), seed(1), base)
    assert image.shape[2] == 3
    assert boxes.shape == (0, 4)
    assert classes.shape == (0,)


def test_a_single_pixel_survives() -> None:
    image, boxes, _ = augment(
        tf.zeros([1, 1, 3], tf.uint8), tf.constant([[0.0, 0, 1, 1]]), tf.constant([0]), seed(1), CROP
    )
    assert image.shape == (1, 1, 3)
    np.testing.assert_array_equal(boxes, [[0, 0, 1, 1]])
