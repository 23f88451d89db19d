import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.augment import augment, random_crop, random_horizontal_flip

HEIGHT, WIDTH = 90, 120
# ymin xmin ymax xmax in pixels, and a colour nothing else has.
RECTANGLES = ((10, 20, 40, 70, (255, 0, 0)), (50, 5, 85, 30, (0, 255, 0)), (60, 80, 90, 120, (0, 0, 255)))


def scene() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for ymin, xmin, ymax, xmax, colour in RECTANGLES:
        image[ymin:ymax, xmin:xmax] = colour
    boxes = np.array([rectangle[:4] for rectangle in RECTANGLES], np.float32) / [HEIGHT, WIDTH, HEIGHT, WIDTH]
    return tf.constant(image), tf.constant(boxes, tf.float32), tf.range(3)


def seed(number: int) -> tf.Tensor:
    return tf.constant([5, number], tf.int64)


def box_of_colour(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray | None:
    """ymin xmin ymax xmax of the pixels of this colour, normalised."""
    rows, columns = np.nonzero((image == colour).all(axis=-1))
    if len(rows) == 0:
        return None
    corners = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
    return corners / np.tile(image.shape[:2], 2)


def test_boxes_move_with_the_pixels_through_mirror_and_crop() -> None:
    image, boxes, classes = scene()
    mirrored = cropped = dropped = 0
    for number in range(60):
        new_image, new_boxes, new_classes = (part.numpy() for part in augment(image, boxes, classes, seed(number)))
        found = dict(zip(new_classes.tolist(), new_boxes, strict=True))
        for class_, rectangle in enumerate(RECTANGLES):
            expected = box_of_colour(new_image, rectangle[4])
            assert (class_ in found) == (expected is not None)
            if expected is not None:
                np.testing.assert_allclose(found[class_], expected, atol=1e-6)
        mirrored += 0 in found and 1 in found and found[0][1] < found[1][1]
        cropped += new_image.shape != image.shape
        dropped += len(new_classes) < 3
    assert 15 < mirrored < 45
    assert cropped > 50
    assert dropped < 30


def test_the_same_seed_gives_the_same_image_and_another_another() -> None:
    scenes = [augment(*scene(), seed(number)) for number in (3, 3, 4)]
    for first, again in zip(scenes[0], scenes[1], strict=True):
        np.testing.assert_array_equal(first, again)
    assert scenes[0][0].shape != scenes[2][0].shape


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


def test_an_image_no_crop_fits_stays_whole() -> None:
    image, boxes, classes = tf.zeros([300, 30, 3], tf.uint8), tf.constant([[0.1, 0.2, 0.3, 0.4]]), tf.constant([1])
    new_image, new_boxes, new_classes = random_crop(image, boxes, classes, seed(0))
    assert new_image.shape == (300, 30, 3)
    np.testing.assert_array_equal(new_boxes, boxes)
    np.testing.assert_array_equal(new_classes, [1])


def test_an_image_without_boxes() -> None:
    image, boxes, classes = augment(scene()[0], tf.zeros([0, 4]), tf.zeros([0], tf.int32), seed(1))
    assert image.shape[2] == 3
    assert boxes.shape == (0, 4)
    assert classes.shape == (0,)


def test_a_single_pixel_survives() -> None:
    image, boxes, _ = augment(tf.zeros([1, 1, 3], tf.uint8), tf.constant([[0.0, 0, 1, 1]]), tf.constant([0]), seed(1))
    assert image.shape == (1, 1, 3)
    np.testing.assert_array_equal(boxes, [[0, 0, 1, 1]])
