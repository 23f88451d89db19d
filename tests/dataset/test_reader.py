"""Pixels that stay in memory, and photographs that are decoded at a fraction of their size."""

import dataclasses
import gc
import os
from pathlib import Path

import numpy as np
import psutil
import pytest
import tensorflow as tf
from made_channels import picture, training_stream, write_annotations
from PIL import Image

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.dataset import reader
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.dataset.pipeline import Batch, evaluation_batches
from sagemaker_object_detection.dataset.reader import ImageReader
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.images import decoded as decoded_images
from sagemaker_object_detection.images.decoded import DecodedImages, room_for_pixels

BASE = dataclasses.replace(catalogue.DEFAULT_MODEL, input_size=32)
SIDES = (40, 30)
IMAGE_BYTES = 3 * SIDES[0] * SIDES[1] + 2048
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
    return load_splits(channel, None, read({"validation_split_ratio": "0"})).training


def with_memory(dataset: Dataset, memory: int) -> Dataset:
    return dataclasses.replace(dataset, decoded=DecodedImages(memory))


def take(dataset: Dataset, count: int = 6) -> list[Batch]:
    return list(training_stream(dataset, BASE, 3, seed=0, augment=True).take(count).as_numpy_iterator())


def read_image(reader: ImageReader, index: int = 0) -> np.ndarray:
    return tf.function(reader, autograph=False)(tf.constant(index, tf.int64)).numpy()


def test_what_the_check_decoded_is_not_decoded_again(dataset: Dataset) -> None:
    for path in dataset.images.iterdir():
        path.unlink()
    assert len(take(dataset)) == 6
    assert len(list(evaluation_batches(dataset, BASE, 2))) == 3


def test_an_image_that_is_turned_is_kept_when_it_was_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    picture(*SIDES).save(tmp_path / "images/a.jpg", exif=exif)
    dataset = load(tmp_path, ["a.jpg"])
    pixels = read_image(ImageReader(dataset))
    assert pixels.shape == (40, 30, 3)
    (tmp_path / "images/a.jpg").unlink()
    np.testing.assert_array_equal(read_image(ImageReader(dataset)), pixels)


@pytest.mark.parametrize("images", [0, 1, 4, COUNT])
def test_what_is_kept_changes_no_batch_and_is_no_more_than_there_is_room_for(
    dataset: Dataset, images: int, caplog: pytest.LogCaptureFixture
) -> None:
    limited = with_memory(dataset, (images + 1) * IMAGE_BYTES - 1)
    caplog.set_level("INFO")
    batches = training_stream(limited, BASE, 3, seed=0, augment=True)
    rest = "" if images == COUNT else "; the others are decoded in every epoch"
    assert caplog.messages == [f"training: {images} of {COUNT} images stay decoded in memory (0 MB){rest}."]
    for found, expected in zip(batches.take(6).as_numpy_iterator(), take(dataset), strict=True):
        for name, column in found._asdict().items():
            np.testing.assert_array_equal(column, getattr(expected, name), err_msg=name)
    table = limited.decoded.table
    assert len(table.export()[0]) == images


def test_pixels_live_as_long_as_a_stream_of_them(dataset: Dataset) -> None:
    batches = evaluation_batches(load(dataset.images.parent, list(dataset.file_names)), BASE, 2)
    gc.collect()
    for path in dataset.images.iterdir():
        path.unlink()
    assert len(list(batches)) == 3


def test_pixels_that_nobody_needs_are_forgotten() -> None:
    resident = []
    for _ in range(4):
        decoded = DecodedImages(10**9)
        for number in range(20):
            decoded.keep(Path(f"{number}.png"), tf.fill([1000, 1000, 3], tf.constant(number, tf.uint8)))
        assert len(decoded.table.export()[0]) == 20
        del decoded
        gc.collect()
        resident.append(psutil.Process().memory_info().rss / 2**20)
    assert resident[-1] - resident[0] < 60  # one of them takes 57 MB


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
        pixels = read_image(reader)
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
    assert [read_image(reader, index).shape for index in (0, 1, 1)] == [(160, 200, 3)] * 3
    assert len(dataset.decoded.table.export()[0]) == 1  # room for the other is counted as for a JPEG


def test_validation_sees_every_pixel(tmp_path: Path) -> None:
    """As the exported model does."""
    (tmp_path / "images").mkdir()
    picture(640, 512).save(tmp_path / "images/a.jpg", quality=95)
    dataset = load(tmp_path, ["a.jpg"])
    (whole,) = evaluation_batches(with_memory(dataset, 0), BASE, 1).as_numpy_iterator()
    (kept,) = evaluation_batches(dataset, BASE, 1).as_numpy_iterator()
    np.testing.assert_array_equal(kept.images, whole.images)
    (trained,) = training_stream(dataset, BASE, 1, seed=0, augment=False).take(1).as_numpy_iterator()
    assert np.abs(trained.images - whole.images).max() > 0.05  # halved three times, and not what the check has kept
    np.testing.assert_array_equal(trained.boxes, whole.boxes)


def test_a_large_photograph_is_not_kept_by_the_check() -> None:
    """Training decodes it at a fraction."""
    decoded = DecodedImages(10**9)
    sides = {"a.jpg": (1280, 1280), "b.JPEG": (4000, 1280), "c.jpg": (1279, 4000), "d.png": (1280, 1280)}
    for number, (name, shape) in enumerate(sides.items()):
        decoded.keep(Path(name), tf.zeros([*shape, 3], tf.uint8))
        assert len(decoded.table.export()[0]) == max(0, number - 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_halved_and_turned(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    picture(260, 200).save(tmp_path / "images/a.jpg", exif=exif, quality=95)
    dataset = with_memory(load(tmp_path, ["a.jpg"]), 10**7)
    whole, halved = read_image(ImageReader(dataset)), read_image(ImageReader(dataset, 50))
    averaged = whole.reshape(whole.shape[0] // 2, 2, -1, 2, 3).mean(axis=(1, 3))
    assert halved.shape == averaged.shape == ((100, 130, 3) if orientation < 5 else (130, 100, 3))
    np.testing.assert_allclose(halved, averaged, atol=6)


def test_the_largest_image_can_still_be_decoded_on_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_images, "available_memory", lambda: 8 * 2**30)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert room_for_pixels(1000) == 2 * 2**30
    assert room_for_pixels(2**26) == 8 * 2**30 - int(4 * 29.5 * 2**26)
    assert room_for_pixels(2**27) == 0


@pytest.mark.parametrize(("room", "at_once"), [(10**9, 4), (200_000, 2), (1_000, 1)])
def test_as_many_are_read_at_a_time_as_memory_has_room_for(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, room: int, at_once: int
) -> None:
    monkeypatch.setattr(reader, "room_to_compute", lambda: room)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4))
    # 29.5 bytes of 1,200 pixels, in half of the memory.
    assert ImageReader(dataset).at_once() == at_once
    assert ("Images are read" in caplog.text) == (at_once < 4)


def test_what_a_photograph_takes_that_is_decoded_at_a_fraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    picture(260, 200).save(tmp_path / "images/a.jpg")
    dataset = with_memory(load(tmp_path, ["a.jpg"]), 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4))
    # A progressive one's coefficients are of its full size.
    monkeypatch.setattr(reader, "room_to_compute", lambda: int(2 * 4 * 8.5 * 260 * 200) + 8)
    assert ImageReader(dataset, 25).at_once() == 4
    assert ImageReader(dataset).at_once() == 1
