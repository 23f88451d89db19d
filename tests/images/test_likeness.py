"""Copies of a picture are alike, whatever was done to the file; pictures that only resemble one another are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from sagemaker_object_detection.images import likeness
from sagemaker_object_detection.images.likeness import ALIKE, Looks, alike, differences, has_contrast, thumbnail
from sagemaker_object_detection.sample_data import draw


def photo(index: int) -> Image.Image:
    return Image.fromarray(draw(3, 0, index)[0])


def look(image: Image.Image) -> np.ndarray:
    return thumbnail(np.asarray(image.convert("RGB")))


def encoded(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


CHANGES = {
    "encoded anew": lambda image: encoded(image, 40),
    "scaled": lambda image: image.resize((image.width // 2, image.height * 2 // 3)),
    "brighter": lambda image: image.point(lambda value: value * 0.8 + 30),
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned and mirrored": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_copy_is_found_whatever_was_done_to_it(change):
    pictures = [photo(index) for index in range(12)]
    pairs = alike(np.stack([look(image) for image in [*pictures, *map(change, pictures)]]))
    found = {tuple(sorted(pair)) for pair in pairs.tolist()}
    every = {(index, index + 12) for index in range(12)}
    assert found <= every
    # Of some two quarters are equally bright, or a cell's few rows cross other stripes of these pictures.
    assert len(found) >= 9


def test_different_pictures_are_not_alike():
    assert alike(np.stack([look(photo(index)) for index in range(80)])).tolist() == []


def test_a_thing_before_the_same_backdrop_makes_another_picture():
    backdrop = photo(0)
    looks = []
    for place in range(5):
        scene = backdrop.copy()
        ImageDraw.Draw(scene).rectangle((20 + 50 * place, 40, 55 + 50 * place, 75), fill="white")
        looks.append(look(scene))
    assert alike(np.stack(looks)).tolist() == []
    assert differences(np.stack(looks[:1]), np.stack(looks[1:2]))[0] <= ALIKE  # the backdrop alone would say so


def test_without_contrast_there_is_nothing_to_go_by():
    fog = Image.fromarray(np.random.default_rng(0).integers(126, 130, (90, 120, 3), np.uint8))
    assert has_contrast(np.stack([look(fog), look(photo(0))])).tolist() == [False, True]


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (17, 15), (4000, 20)])
def test_a_picture_of_any_shape_has_a_thumbnail(size):
    width, height = size
    image = np.full((height, width, 3), 200, np.uint8)
    assert (thumbnail(image) == 200).all()


def test_a_thumbnail_is_the_mean_of_its_cells():
    columns = np.repeat(np.arange(0, 160, 10).astype(np.uint8), 20)
    image = np.broadcast_to(columns[np.newaxis, :, np.newaxis], (100, 320, 3))
    assert thumbnail(np.ascontiguousarray(image))[5].tolist() == list(range(0, 160, 10))


def test_of_many_equal_pictures_each_leads_to_every_other():
    thumbnails = np.stack([look(photo(0))] * 200 + [look(photo(1))])
    pairs = alike(thumbnails)
    assert len(pairs) <= 2 * 200 * likeness._PARTNERS
    reached = {0}
    for one, other in sorted(map(sorted, pairs.tolist())):
        if one in reached:
            reached.add(other)
    assert reached == set(range(200))


def test_beyond_the_window_those_of_like_brightness_are_compared(monkeypatch):
    monkeypatch.setattr(likeness, "_WINDOW", 4)
    monkeypatch.setattr(likeness, "_ROWS", 3)
    pictures = [photo(index) for index in range(20)]
    pairs = alike(np.stack([look(image) for image in [*pictures, *(encoded(image, 60) for image in pictures)]]))
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == {(index, index + 20) for index in range(20)}


def test_looks_are_taken_down_by_number():
    looks = Looks(2)
    pixels = np.asarray(photo(0))
    looks.see(1, b"contents", pixels)
    assert looks.seen.tolist() == [False, True]
    np.testing.assert_array_equal(looks.thumbnails[1], thumbnail(pixels))
    assert looks.digests[1].any()
    assert not looks.digests[0].any()
