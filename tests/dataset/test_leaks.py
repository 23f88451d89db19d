"""Copies of one picture on both sides of a split: kept together where we split, told where somebody else did."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from shared import shared

from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.dataset.load import Splits, load_channel, load_splits
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.sample_data import draw, write_sample_data


def write(folder: Path, images: dict[str, int], **entry: Any) -> Path:
    """A channel of sample pictures, by file name; `entry`: more keys of each image's entry, by name of the file."""
    (folder / "images").mkdir(parents=True)
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "shape"}]}
    for number, (name, index) in enumerate(images.items()):
        picture = picture_of(index)
        picture = ImageOps.mirror(picture) if "flip" in name else picture.rotate(90 * ("rot90" in name))
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / "images" / name)
        content["images"].append({"file_name": name, "id": number, **entry.get(name, {})})
        content["annotations"].append({"image_id": number, "bbox": [10, 10, 100, 100], "category_id": 1})
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def picture_of(index: int) -> Image.Image:
    return Image.fromarray(draw(9, 0, index)[0])


def load(training: Path, validation: Path | None = None, **values: str) -> Splits:
    return load_splits(training, validation, read(values), report_folder=training.parent / "report")


def leaks(splits: Splits) -> list[str]:
    told = ("have a copy or a neighbour in training", "are called as copies or frames of training images")
    return [warning for warning in splits.report.warnings if any(each in warning for each in told)]


def augmented(count: int) -> dict[str, int]:
    """Three copies of each of so many pictures, as an augmenting export names them."""
    return {f"p{index}_jpg.rf.{copy:032x}.jpg": index for index in range(count) for copy in range(3)}


def test_copies_stay_on_one_side(tmp_path, caplog):
    channel = write(tmp_path / "training", augmented(20))
    with caplog.at_level("INFO"):
        splits = load(channel)
    assert splits.validation is not None
    assert len(splits.validation.file_names) == 12
    sides = [{name.split("_")[0] for name in part.file_names} for part in (splits.training, splits.validation)]
    assert not sides[0] & sides[1]
    assert leaks(splits) == []
    (said,) = splits.report.decisions
    assert said in caplog.messages
    assert said.startswith(
        "No validation channel: 12 of 60 images (20%; validation_split_ratio is 0.2) are held out of training; those "
        "of one origin stay together, which makes 20 groups (equal files: 60, such as "
    )
    report = json.loads((tmp_path / "report/data_report.json").read_text())
    assert report["decisions"] == [said]
    assert {(one["channel"], one["rule"], one["images"], one["groups"]) for one in report["alike"]} >= {
        ("training", "copies by their names", 48, 16),
        ("validation", "equal files", 12, 4),
    }


def test_image_by_image_is_how_it_was_and_says_what_it_costs(tmp_path):
    channel = write(tmp_path / "training", augmented(20))
    (warning,) = leaks(load(channel, split_by="image"))
    assert warning.startswith(
        "validation: 12 of 12 images have a copy or a neighbour in training (equal files: 12, such as"
    )
    assert warning.endswith('split_by is "image": leave it at Auto to keep those together.')


def test_where_nothing_is_of_one_origin_the_split_is_that_of_single_images(tmp_path):
    write_sample_data(tmp_path, images=40, validation_images=0)
    found = [load(tmp_path / "training", split_by=by) for by in ("Auto", "group", "image")]
    assert len({splits.training.fingerprint for splits in found}) == 1
    assert len({splits.validation.fingerprint for splits in found}) == 1
    assert "no two are of the same origin" in found[0].report.decisions[0]


def test_the_annotation_file_has_the_last_word(tmp_path):
    images = {f"{index}.jpg": index for index in range(20)} | {"20_flip.jpg": 20, "20.jpg": 20}
    entry = {f"{index}.jpg": {"group": f"patient {index // 5}"} for index in range(20)}
    splits = load(write(tmp_path / "training", images, **entry), validation_split_ratio="0.25")
    sides = [{int(name.split(".")[0]) // 5 for name in part.file_names if "_" not in name} for part in both(splits)]
    assert not sides[0] & sides[1]
    assert len(splits.validation.file_names) in (5, 6, 7)


@pytest.mark.parametrize("key", ["video_id", "seq_id"])
def test_what_other_tools_call_a_group_is_one(tmp_path, key):
    entry = {f"{index}.jpg": {key: index // 4} for index in range(20)}
    splits = load(write(tmp_path / "training", {name: number for number, name in enumerate(entry)}, **entry))
    assert len({int(name.split(".")[0]) // 4 for name in splits.validation.file_names}) == 1
    assert len(splits.validation.file_names) == 4


@pytest.mark.parametrize("value", [[1], {"a": 1}, None, 1.5, "a\nb"])
def test_what_another_tool_has_under_its_key_is_no_fault(tmp_path, value):
    entry = {f"{index}.jpg": {"video_id": value} for index in range(4)}
    assert load(write(tmp_path / "training", {name: number for number, name in enumerate(entry)}, **entry))


def test_a_group_that_is_neither_number_nor_text_is_named(tmp_path):
    channel = write(tmp_path / "training", {"0.jpg": 0, "1.jpg": 1}, **{"1.jpg": {"group": [3]}})
    with pytest.raises(UserError, match=r"images\[1\]: group is a list \[3\]; expected a whole number or text"):
        load(channel)


def test_one_long_video_is_cut_once(tmp_path):
    splits = load(write(tmp_path / "training", {f"clip_{index:06d}.jpg": index for index in range(40)}))
    held_out = [int(name[5:11]) for name in splits.validation.file_names]
    assert held_out == list(range(32, 40))
    (warning,) = leaks(splits)
    assert (
        "8 of 8 images are called as copies or frames of training images are (frames of a video by their names: 8"
        in warning
    )
    assert warning.endswith(
        "The group of 40 images from 'clip_000000.jpg' to 'clip_000039.jpg' is too large for validation_split_ratio "
        "and was cut in the order of its names. Add images of other origins, or a validation channel."
    )


def test_pictures_that_two_channels_share_are_told(tmp_path):
    training = write(tmp_path / "training", {"1.jpg": 1, "2.jpg": 2, "a.jpg": 3, "walk_mp4-1_jpg.rf.0123456.jpg": 4})
    images = {"same.jpg": 1, "2.png": 2, "a_flip.jpg": 7, "walk_mp4-9_jpg.rf.9876543.jpg": 8, "1.jpg": 9}
    splits = load(training, write(tmp_path / "validation", images))
    assert leaks(splits) == [
        "validation: 2 of 5 images have a copy or a neighbour in training (equal files: 1, such as 'same.jpg' and "
        "'1.jpg'; nearly the same pixels: 1, such as '2.png' and '2.jpg'), so that validation finds the model better "
        "than it is. Keep all copies of a picture, and all frames of a video, in one channel.",
        "validation: 2 of 5 images are called as copies or frames of training images are (copies by their names: 1, "
        "such as 'a_flip.jpg' and 'a.jpg'; frames of a video by their names: 1, such as "
        "'walk_mp4-9_jpg.rf.9876543.jpg' and 'walk_mp4-1_jpg.rf.0123456.jpg'), but their pixels alone do not tell. If "
        "they are, validation finds the model better than it is. Keep all copies of a picture, and all frames of a "
        "video, in one channel.",
    ]


def test_channels_that_share_nothing_but_names_are_silent(tmp_path):
    write_sample_data(tmp_path, images=30, validation_images=30)
    splits = load(tmp_path / "training", tmp_path / "validation")
    assert (leaks(splits), splits.report.alike, splits.report.decisions) == ([], (), ())


def test_split_by_without_a_split_is_said_to_have_no_effect(tmp_path, caplog):
    write_sample_data(tmp_path, images=4, validation_images=2)
    with caplog.at_level("INFO"):
        load(tmp_path / "training", tmp_path / "validation", split_by="group")
    assert "split_by: has no effect, because no images are held out of training." in caplog.messages


@pytest.mark.slow
@pytest.mark.parametrize(("name", "images", "most"), [("bccd", 205, 205), ("cards", 296, 275)])
def test_real_sets_split_near_the_ratio(name, images, most):
    folder = shared("datasets") / name / "training"
    found = load_splits(folder, None, read({"invalid_boxes": "drop"}))
    assert len(found.training.file_names) + len(found.validation.file_names) == images
    assert abs(len(found.validation.file_names) - 0.2 * images) <= 1
    assert leaks(found) == []


def both(splits: Splits):
    assert splits.validation is not None
    return splits.training, splits.validation


def test_a_test_channel_is_held_against_training_and_holds_nothing_out(tmp_path):
    channel = write(tmp_path / "training", augmented(20))
    test = write(tmp_path / "test", {"seen.jpg": 3, "new.jpg": 40})
    alone = load(channel)
    splits = load_splits(channel, None, read({}), test=test)
    assert splits.validation is not None
    assert alone.validation is not None
    assert splits.test is not None
    assert splits.training.fingerprint == alone.training.fingerprint
    assert splits.validation.fingerprint == alone.validation.fingerprint
    assert splits.test.file_names == ("seen.jpg", "new.jpg")
    (said,) = leaks(splits)
    assert said.startswith("test: 1 of 2 images have a copy or a neighbour in training")


def test_a_test_channel_that_is_the_validation_channel_is_told(tmp_path):
    training = write(tmp_path / "training", {f"{index}.jpg": index for index in range(6)})
    validation = write(tmp_path / "validation", {f"v{index}.jpg": index + 20 for index in range(3)})
    splits = load_splits(training, validation, read({}), test=validation)
    (said,) = [warning for warning in splits.report.warnings if "have a copy or a neighbour in validation" in warning]
    assert said.startswith("test: 3 of 3 images ")
    assert [one.channel for one in splits.report.alike] == ["validation and test"]


def test_a_channel_for_a_model_has_its_classes(tmp_path):
    channel = write(tmp_path / "new", {"a.jpg": 0})
    labels = Labels(ids=(0, 1), names=("other", "shape"))
    dataset, report = load_channel("test", channel, labels, read({}), sample_bits=12)
    assert dataset.classes.tolist() == [1]
    assert dataset.sample_bits == 12
    assert "test has no box of 'other', which cannot be measured." in report.warnings
    with pytest.raises(UserError) as caught:
        load_channel("test", channel, Labels(ids=(1, 2), names=("cat", "dog")), read({}), sample_bits=16)
    assert caught.value.problems == (
        "test categories: id 1 is 'shape', but the model calls it 'cat'. Use the same categories in both.",
    )
    with pytest.raises(UserError, match=r"unknown to the model, which has 2; .* Train a model that knows the class"):
        load_channel("test", channel, Labels(ids=(2,), names=("cat",)), read({}), sample_bits=16)


def test_what_names_alone_say_is_told_as_that(tmp_path):
    """Unlike pictures may be called as copies are; where pixels tell, they are counted there."""
    training = write(tmp_path / "training", {"site.jpg": 0, "apple.jpg": 1, "bus.jpg": 2})
    validation = write(tmp_path / "validation", {"site_aug_1.jpg": 10, "apple_rot_0.jpg": 11, "bus_aug_1.jpg": 2})
    measured, named = leaks(load(training, validation))
    assert measured.startswith("validation: 1 of 3 images have a copy or a neighbour in training (")
    assert named.startswith("validation: 2 of 3 images are called as copies or frames of training images are (copies ")
    assert "but their pixels alone do not tell" in named


@pytest.mark.parametrize("entry", [{"group": ""}, {"video_id": -1}, {"video_id": ""}, {"seq_id": "-1"}])
def test_no_group_is_written_in_several_ways(tmp_path, entry):
    names = [f"p{index}.jpg" for index in range(4)]
    channel = write(
        tmp_path / "training", {name: index for index, name in enumerate(names)}, **dict.fromkeys(names, entry)
    )
    (said,) = load(channel, validation_split_ratio="0.5").report.decisions
    assert "no two are of the same origin" in said
