"""Pixels that stay in memory, and photographs that are decoded at a fraction of their size."""

import dataclasses
import gc
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from made_channels import picture, write_annotations
from PIL import Image

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.decoded import DecodedImages, ImageReader
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.dataset.pipeline import Batch, evaluation_batches, training_batches

BASE = dataclasses.replace(catalogue.DEFAULT_MODEL, input_size=32)
SIDES = (40, 30)
IMAGE_BYTES = 3 * SIDES[0] * SIDES[1]
COUNT = 6


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    (tmp_path / "images").mkdir(parents=True)
    names = [f"{number}.{'png' if number % 2 else 'jpg'}" for number in range(COUNT)]
    for number, name in enumerate(names):
        picture(*SIDES, seed=number).save(tmp_path / "images" / name)
    return load(tmp_path, names)


def load(channel: Path, names: list[str]) -> Dataset:
    content = {
        "images": [{"file_name": name, "id": number} for number, name in enumerate(names)],
        "annotations": [{"image_id": 0, "bbox": [2, 3, 20, 25], "category_id": 1}],
    }
    write_annotations(channel, content)
    options = {"bbox_format": "xyxy", "invalid_boxes": "error", "validation_split_ratio": 0.0, "seed": 0}
    return load_splits(channel, None, report_folder=None, **options).training


def with_memory(dataset: Dataset, memory: int) -> Dataset:
    return dataclasses.replace(dataset, decoded=DecodedImages(memory))


def take(dataset: Dataset, count: int = 6) -> list[Batch]:
    return list(training_batches(dataset, BASE, 3, 1, seed=0, augment=True).take(count).as_numpy_iterator())


def read(reader: ImageReader, index: int = 0) -> np.ndarray:
    return tf.function(reader, autograph=False)(tf.constant(index, tf.int64)).numpy()


def test_what_the_check_decoded_is_not_decoded_again(dataset: Dataset) -> None:
    for path in dataset.images.iterdir():
        path.unlink()
    assert len(take(dataset)) == 6
    assert len(list(evaluation_batches(dataset, BASE, 2, 1))) == 3


def test_an_image_that_is_turned_is_kept_when_it_was_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    picture(*SIDES).save(tmp_path / "images/a.jpg", exif=exif)
    dataset = load(tmp_path, ["a.jpg"])
    pixels = read(ImageReader(dataset))
    assert pixels.shape == (40, 30, 3)
    (tmp_path / "images/a.jpg").unlink()
    np.testing.assert_array_equal(read(ImageReader(dataset)), pixels)


@pytest.mark.parametrize("images", [0, 1, 4, COUNT])
def test_what_is_kept_changes_no_batch_and_is_no_more_than_there_is_room_for(
    dataset: Dataset, images: int, caplog: pytest.LogCaptureFixture
) -> None:
    limited = with_memory(dataset, (images + 1) * IMAGE_BYTES - 1)
    caplog.set_level("INFO")
    batches = training_batches(limited, BASE, 3, 1, seed=0, augment=True)
    rest = "" if images == COUNT else "; the others are decoded in every epoch"
    assert caplog.messages == [f"training: {images} of {COUNT} images stay decoded in memory (0 MB){rest}."]
    gc.collect()  # nothing but the stream holds what is kept
    for found, expected in zip(batches.take(6).as_numpy_iterator(), take(dataset), strict=True):
        for name, column in found._asdict().items():
            np.testing.assert_array_equal(column, getattr(expected, name), err_msg=name)
    table = limited.decoded.table
    assert len(table.export()[0]) == images


def test_another_reader_of_the_same_files_takes_no_more_room(dataset: Dataset) -> None:
    limited = with_memory(dataset, 2 * IMAGE_BYTES)
    assert [ImageReader(limited).kept for _ in range(3)] == [2, 2, 2]
    elsewhere = dataclasses.replace(limited, images=limited.images.parent)
    assert ImageReader(elsewhere).kept == 0


@pytest.mark.parametrize(
    ("sides", "input_size", "expected"),
    [
        ((639, 700), 32, (80, 88)),
        ((640, 512), 32, (80, 64)),
        ((511, 640), 32, (128, 160)),
        ((700, 127), 32, (700, 127)),
        ((700, 128), 32, (350, 64)),
        ((700, 640), None, (700, 640)),
    ],
)
def test_photographs_are_decoded_no_larger_than_they_are_needed(
    tmp_path: Path, sides: tuple[int, int], input_size: int | None, expected: tuple[int, int]
) -> None:
    (tmp_path / "images").mkdir()
    height, width = sides
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([rows * 200 / height, columns * 200 / width, np.full(sides, 90.0)], axis=2)
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "images/a.jpg", quality=98)
    dataset = with_memory(load(tmp_path, ["a.jpg"]), 10**7)
    reader = ImageReader(dataset, input_size)
    assert reader.kept_bytes == 3 * expected[0] * expected[1]
    for _ in range(2):  # decoded, and as it was kept
        pixels = read(reader)
        assert pixels.shape == (*expected, 3)
        step = height / expected[0]
        middles = (np.arange(expected[0]) + 0.5) * step * 200 / height
        np.testing.assert_allclose(pixels[:, expected[1] // 2, 0], middles, atol=4)
    assert len(dataset.decoded.table.export()[0]) == 1


def test_a_png_is_decoded_in_full_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.jpg"):
        picture(200, 160).save(tmp_path / "images" / name, "PNG")
    dataset = with_memory(load(tmp_path, ["a.png", "b.jpg"]), 10**7)
    reader = ImageReader(dataset, 16)
    assert [read(reader, index).shape for index in (0, 1, 1)] == [(160, 200, 3)] * 3
    assert len(dataset.decoded.table.export()[0]) == 1  # room for the other is counted as for a JPEG


def test_validation_sees_every_pixel(tmp_path: Path) -> None:
    """As the exported model does."""
    (tmp_path / "images").mkdir()
    picture(640, 512).save(tmp_path / "images/a.jpg", quality=95)
    dataset = load(tmp_path, ["a.jpg"])
    (whole,) = evaluation_batches(with_memory(dataset, 0), BASE, 1, 1).as_numpy_iterator()
    (kept,) = evaluation_batches(dataset, BASE, 1, 1).as_numpy_iterator()
    np.testing.assert_array_equal(kept.images, whole.images)
    (trained,) = training_batches(dataset, BASE, 1, 1, seed=0, augment=False).take(1).as_numpy_iterator()
    assert np.abs(trained.images - whole.images).max() > 0.05  # halved three times, and not what the check has kept
    np.testing.assert_array_equal(trained.boxes, whole.boxes)


def test_a_large_photograph_is_not_kept_by_the_check() -> None:
    """Training decodes it at a fraction."""
    decoded = DecodedImages(10**9)
    for sides, kept in (((1280, 1280), 0), ((1279, 4000), 1)):
        decoded.keep(Path(os.devnull), tf.zeros([*sides, 3], tf.uint8))
        assert len(decoded.table.export()[0]) == kept
