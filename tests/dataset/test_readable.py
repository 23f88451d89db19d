"""Files that change after they were checked, between the batches of a pipeline that keeps none in memory."""

import dataclasses
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from made_channels import picture, training_stream, write_annotations
from PIL import Image

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.dataset.pipeline import Batch, Order, evaluation_batches
from sagemaker_object_detection.dataset.readable import readable
from sagemaker_object_detection.errors import JobError, PlatformError, UserError
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.images.decoded import DecodedImages

BASE = catalogue.DEFAULT_MODEL
COUNT = 60
"""More than the pipeline reads ahead with batches of one: at most 4 batches, 32 images under way and one per core."""
SINCE = (
    "It was in order when the job checked it, so it has changed since. Leave the files of a running job as they are, "
    "and start it again."
)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    (tmp_path / "training/images").mkdir(parents=True)
    names = [f"{number:02}.{'png' if number % 2 else 'jpg'}" for number in range(COUNT)]
    for number, name in enumerate(names):
        picture(32, 24, seed=number).save(tmp_path / "training/images" / name)
    content = {
        "images": [{"file_name": name, "id": number} for number, name in enumerate(names)],
        "annotations": [{"image_id": 0, "bbox": [12, 8, 30, 20], "category_id": 1}],
    }
    write_annotations(tmp_path / "training", content)
    return load(tmp_path)


def load(folder: Path) -> Dataset:
    checked = load_splits(
        folder / "training",
        None,
        read({"validation_split_ratio": "0"}),
    ).training
    return dataclasses.replace(checked, decoded=DecodedImages(0))


def iterate_with_a_change(dataset: Dataset, change: Callable[[Path], object]) -> tuple[list[int], JobError]:
    """Runs into the change of the last image but one, made when the first batch is there."""
    batches = readable(evaluation_batches(dataset, BASE, 1), dataset)
    seen = [int(next(batches).indices[0])]
    change(dataset.images / dataset.file_names[-2])
    with pytest.raises((UserError, PlatformError)) as caught:
        seen.extend(int(batch.indices[0]) for batch in batches)
    assert isinstance(caught.value.__cause__, tf.errors.OpError)
    return seen, caught.value


def swap(path: Path, contents: bytes) -> None:
    path.unlink()
    path.write_bytes(contents)


def other_image(**options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 32)).save(buffer, **options)
    return buffer.getvalue()


CHANGES = [
    (Path.unlink, "does not exist."),
    (
        lambda path: os.truncate(path, path.stat().st_size - 100),
        "cannot be decoded: the file is cut short or damaged. Replace it.",
    ),
    (lambda path: os.truncate(path, 0), "is an empty file. Upload it again."),
    (
        lambda path: swap(path, other_image(format="PNG")),
        "is 24 wide and 32 high as stored, no longer 32 and 24.",
    ),
    (
        lambda path: swap(path, other_image(format="GIF")),
        'is a GIF image. Expected a JPEG or PNG image: convert it, as "magick mogrify -format png FILE" does.',
    ),
    (
        lambda path: (path.unlink(), path.mkdir()),
        "cannot be read (Is a directory). Expected a JPEG or PNG file that may be read.",
    ),
]


@pytest.mark.parametrize(("change", "what"), CHANGES)
def test_a_file_that_changes_between_batches_is_named(
    dataset: Dataset, change: Callable[[Path], object], what: str
) -> None:
    seen, error = iterate_with_a_change(dataset, change)
    assert isinstance(error, UserError)
    assert str(error) == f"image '58.jpg' in {dataset.images} {what} {SINCE}"
    assert seen == list(range(58))


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_channel_that_is_gone_is_the_platforms_fault(dataset: Dataset, left: str) -> None:
    def remove(_: Path) -> None:
        shutil.rmtree(dataset.images)
        if left == "an empty folder":  # what an unmounted file system leaves
            dataset.images.mkdir()

    _, error = iterate_with_a_change(dataset, remove)
    assert isinstance(error, PlatformError)
    why = "it is empty" if left == "an empty folder" else "it cannot be listed: No such file or directory"
    assert str(error) == (
        f"{dataset.images} is gone ({why}); it held the job's images when the job began. Start the job again."
    )


def test_the_file_of_a_training_batch_is_found_at_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = training_stream(dataset, BASE, 3, seed=5, augment=True)
    batches = readable(stream, dataset, lambda number: Order(COUNT, 3, 5).batch(number))
    assert next(batches).indices.numpy().tolist() == Order(COUNT, 3, 5).batch(0).tolist()
    # The second epoch's last image, and another one that comes before it in the folder but has been read before.
    last = int(Order(COUNT, 3, 5).batch(39)[-1])
    (dataset.images / dataset.file_names[last]).unlink()
    tried: list[Path] = []
    path_stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **options: tried.append(path) or path_stat(path, **options))
    with pytest.raises(UserError) as caught:
        for _ in batches:
            pass
    assert str(caught.value).startswith(f"image {dataset.file_names[last]!r} in {dataset.images} does not exist.")
    # 64 at most, each of which is looked at before its header and its pixels are read.
    assert len([path for path in tried if path.parent == dataset.images]) <= 3 * 64


@pytest.mark.parametrize("orientation", [5, 8])
def test_an_image_turned_by_its_exif_orientation_is_itself(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "training/images").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        picture(32, 24).save(tmp_path / "training/images" / name, exif=exif)
    content = {
        "images": [{"file_name": "a.jpg", "id": 1, "width": 24, "height": 32}, {"file_name": "b.jpg", "id": 2}],
        "annotations": [{"image_id": 1, "bbox": [2, 8, 20, 30], "category_id": 1}],
    }
    write_annotations(tmp_path / "training", content)
    dataset = load(tmp_path)
    assert len(list(readable(evaluation_batches(dataset, BASE, 1), dataset))) == 2
    (dataset.images / "b.jpg").unlink()
    with pytest.raises(UserError, match=r"^image 'b\.jpg' in .* does not exist\."):
        list(readable(evaluation_batches(dataset, BASE, 2), dataset))


def raising(error: BaseException) -> Iterator[Batch]:
    raise error
    yield


def test_a_device_that_fails_is_the_platforms_fault(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    path_open = Path.open

    def fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "07.png":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return path_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)
    error = tf.errors.UnknownError(None, None, f"{dataset.images}/07.png; Input/output error")
    with pytest.raises(PlatformError) as caught:
        list(readable(raising(error), dataset))
    assert str(caught.value) == (
        f"image '07.png' in {dataset.images} cannot be read (Input/output error): its storage fails. Start the job "
        "again."
    )


def test_a_file_that_is_in_order_again_is_the_storages_fault(dataset: Dataset) -> None:
    error = tf.errors.NotFoundError(None, None, f"{{{{node}}}} {dataset.images}/07.png; No such file or directory")
    with pytest.raises(PlatformError) as caught:
        list(readable(raising(error), dataset))
    assert str(caught.value) == (
        f"a file in {dataset.images} could not be read, and now all of them can be ({{{{node}}}} "
        f"{dataset.images}/07.png; No such file or directory): its storage fails now and then. Start the job again."
    )


OTHERS = [
    tf.errors.InvalidArgumentError(None, None, "shapes do not match"),
    tf.errors.ResourceExhaustedError(None, None, "out of memory"),
    tf.errors.UnavailableError(None, None, "a host is lost"),
    ValueError("ours"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_errors_of_other_origin_come_through_as_they_are(dataset: Dataset, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        list(readable(raising(error), dataset))
    assert caught.value is error


def test_the_largest_image_is_named_where_memory_has_no_room_to_decode(dataset: Dataset) -> None:
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor on task:0/device:CPU:0")
    with pytest.raises(UserError, match=r"The largest: image '00\.jpg' in \S+ is 32 wide and 24 high, and"):
        list(readable(raising(error), dataset))


def test_what_goes_wrong_where_batches_are_used_is_not_looked_into(dataset: Dataset) -> None:
    def step(_: Batch) -> None:
        (dataset.images / dataset.file_names[0]).write_bytes(b"")
        raise tf.errors.InvalidArgumentError(None, None, "a step failed")

    with pytest.raises(tf.errors.InvalidArgumentError, match="a step failed"):
        list(map(step, readable(evaluation_batches(dataset, BASE, 30), dataset)))


def test_batches_that_can_be_read_pass_unchanged(dataset: Dataset) -> None:
    plain = list(evaluation_batches(dataset, BASE, 8).as_numpy_iterator())
    passed = list(readable(evaluation_batches(dataset, BASE, 8), dataset))
    assert len(passed) == len(plain) == 8
    for batch, expected in zip(passed, plain, strict=True):
        np.testing.assert_array_equal(batch.images, expected.images)
        np.testing.assert_array_equal(batch.indices, expected.indices)
