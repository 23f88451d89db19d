import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from sagemaker_object_detection import sample_data
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.sample_data import draw, write_sample_data


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "new" / "data"
    write_sample_data(folder, images=25, seed=3, validation_images=9)
    return folder


def annotations(channel: Path) -> dict[str, Any]:
    return json.loads((channel / "annotations.json").read_text())


def test_both_channels_are_in_the_training_format(sample: Path) -> None:
    assert sorted(path.name for path in sample.parent.iterdir()) == ["data"]
    for name, count in (("training", 25), ("validation", 9)):
        content = annotations(sample / name)
        assert len(content["images"]) == count
        assert {category["name"] for category in content["categories"]} == {"circle", "square", "triangle"}
        sizes = {}
        for image in content["images"]:
            with Image.open(sample / name / "images" / image["file_name"]) as opened:
                assert opened.format == "JPEG"
                assert opened.size == (image["width"], image["height"])
            sizes[image["id"]] = (image["width"], image["height"])
        for annotation in content["annotations"]:
            xmin, ymin, xmax, ymax = annotation["bbox"]
            width, height = sizes[annotation["image_id"]]
            assert 0 <= xmin < xmax <= width
            assert 0 <= ymin < ymax <= height


def test_there_are_all_classes_empty_images_and_several_sizes(sample: Path) -> None:
    content = annotations(sample / "training")
    assert {annotation["category_id"] for annotation in content["annotations"]} == {1, 3, 7}
    per_image = np.bincount([annotation["image_id"] for annotation in content["annotations"]], minlength=26)[1:]
    assert (per_image == 0).sum() == 2
    assert per_image.max() <= 5
    assert len({(image["width"], image["height"]) for image in content["images"]}) > 15


def test_the_load_checks_find_nothing_to_say(sample: Path, tmp_path: Path) -> None:
    from sagemaker_object_detection.dataset.load import load_splits
    from sagemaker_object_detection.hyperparameters.read import read

    splits = load_splits(
        sample / "training",
        sample / "validation",
        read({}),
        report_folder=tmp_path,
    )
    assert splits.report.warnings == ()
    assert splits.training.labels.names == ("circle", "square", "triangle")


def test_boxes_enclose_what_is_drawn_tightly(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [draw(0, 0, index) for index in range(40)]
    # The same pictures with their clutter and without objects, but for the grain, whose difference has deviation 5.7.
    monkeypatch.setattr(sample_data, "_EMPTY_EVERY", 1)
    lone = 0
    for index, (picture, objects) in enumerate(drawn):
        empty, nothing = draw(0, 0, index)
        assert nothing == []
        rows, columns = np.nonzero((np.abs(picture.astype(int) - empty) > 45).any(axis=2))
        inside = np.zeros(len(rows), bool)
        for _, (xmin, ymin, xmax, ymax) in objects:
            # Softened edges reach a pixel further.
            inside |= (rows >= ymin - 1) & (rows <= ymax) & (columns >= xmin - 1) & (columns <= xmax)
        assert inside.all()
        if len(objects) == 1 and len(rows) > 0.3 * np.prod(np.subtract(objects[0][1][2:], objects[0][1][:2])):
            changed = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(changed, objects[0][1], atol=3)
            lone += 1
    assert lone >= 3


def test_the_same_seed_writes_the_same_bytes_and_channels_differ(sample: Path, tmp_path: Path) -> None:
    write_sample_data(tmp_path / "again", images=25, seed=3, validation_images=0)
    first, again = sample / "training", tmp_path / "again" / "training"
    assert (first / "annotations.json").read_bytes() == (again / "annotations.json").read_bytes()
    assert (first / "images/00007.jpg").read_bytes() == (again / "images/00007.jpg").read_bytes()
    assert not (tmp_path / "again" / "validation").exists()
    assert (first / "images/00007.jpg").read_bytes() != (sample / "validation/images/00007.jpg").read_bytes()


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path: Path) -> None:
    write_sample_data(tmp_path, images=1, seed=0, validation_images=0)
    assert [path.name for path in tmp_path.iterdir()] == ["training"]
    with pytest.raises(UserError) as caught:
        write_sample_data(tmp_path, images=1, seed=0, validation_images=0)
    assert str(caught.value) == (
        f"{tmp_path} exists and is not an empty folder. Name a new folder for the sample data."
    )


def test_nothing_is_left_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(sample_data, "_write_channel", fail)
    with pytest.raises(OSError, match="disk full"):
        write_sample_data(tmp_path / "data", images=1, seed=0, validation_images=0)
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sample_data(Path("."), images=1, seed=0, validation_images=1)
    assert sorted(os.listdir(".")) == ["training", "validation"]
    assert len(annotations(Path("training"))["images"]) == 1


def test_nothing_is_left_in_an_empty_folder_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_channel = sample_data._write_channel

    def fail_on_the_second(folder: Path, *arguments: Any) -> None:
        if folder.name == "validation":
            raise KeyboardInterrupt
        write_channel(folder, *arguments)

    monkeypatch.setattr(sample_data, "_write_channel", fail_on_the_second)
    with pytest.raises(KeyboardInterrupt):
        write_sample_data(tmp_path, images=1, seed=0, validation_images=1)
    assert list(tmp_path.iterdir()) == []


ELSEWHERE = "Name a folder for the sample data in a place that may be written to."


@pytest.mark.parametrize(("name", "reason"), [("file/data", "Not a directory"), ("x" * 300, "File name too long")])
def test_a_place_where_no_folder_can_be_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        write_sample_data(tmp_path / name, images=1, seed=0, validation_images=0)
    assert str(caught.value) == f"{tmp_path / name} cannot be written ({reason}). {ELSEWHERE}"


@pytest.mark.parametrize(("number", "kind"), [(errno.EACCES, UserError), (errno.ENOSPC, OSError)])
def test_a_place_that_may_not_be_written_is_refused_and_a_full_disk_is_not_blamed_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(kind) as caught:
        write_sample_data(tmp_path / "data", images=1, seed=0, validation_images=0)
    if kind is UserError:
        assert str(caught.value) == f"{tmp_path / 'data'} cannot be written (Permission denied). {ELSEWHERE}"


def test_a_folder_that_somebody_fills_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_channel = sample_data._write_channel

    def write_too(*arguments: Any) -> None:
        write_channel(*arguments)
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "precious").touch()

    monkeypatch.setattr(sample_data, "_write_channel", write_too)
    with pytest.raises(UserError) as caught:
        write_sample_data(tmp_path / "data", images=1, seed=0, validation_images=0)
    assert str(caught.value) == f"{tmp_path / 'data'} cannot be written (Directory not empty). {ELSEWHERE}"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["precious"]


def test_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        write_sample_data(tmp_path / "data", images=0, seed=0, validation_images=-1)
    assert str(caught.value) == (
        "Sample data needs at least 1 training image, 0 or more validation images and a seed of 0 or more; got 0, -1 "
        "and 0."
    )
