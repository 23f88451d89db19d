import copy
import errno
import hashlib
import json
import logging
import os
import socket
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_channels import DELETED, GOOD, changed, picture, write_annotations, write_channel
from PIL import Image
from shared import shared

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.dataset.load import Splits, load_splits
from sagemaker_object_detection.dataset.pipeline import evaluation_batches
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.images import decoding, walk
from sagemaker_object_detection.job.stop import StoppedError, StopSignal
from sagemaker_object_detection.sample_data import write_sample_data


def load(training: Path, validation: Path | None = None, **overrides: Any) -> Splits:
    report_folder = overrides.pop("report_folder", training.parent / "report")
    settings = replace(read({"validation_split_ratio": "0"}), **overrides)
    return load_splits(training, validation, settings, report_folder=report_folder)


def problems(training: Path, validation: Path | None = None, **overrides: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(training, validation, **overrides)
    return list(caught.value.problems)


def read_report(training: Path) -> dict[str, Any]:
    return json.loads((training.parent / "report" / "data_report.json").read_text())


def test_a_good_channel(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    splits = load(channel)
    data = splits.training
    assert splits.validation is None
    assert data.images == channel / "images"
    assert data.file_names == ("a.jpg", "b.png")
    assert data.labels.ids == (7, 42)
    assert data.labels.names == ("cat", "dog")
    np.testing.assert_array_equal(data.sizes, [[48, 64], [40, 60]])
    np.testing.assert_array_equal(data.orientations, [1, 1])
    np.testing.assert_array_equal(data.offsets, [0, 2, 3])
    np.testing.assert_array_equal(data.classes, [0, 1, 1])
    np.testing.assert_allclose(data.boxes[0], [6 / 48, 4 / 64, 40 / 48, 60 / 64], rtol=1e-7)
    types: Any = (data.sizes.dtype, data.orientations.dtype, data.offsets.dtype, data.boxes.dtype, data.classes.dtype)
    assert types == (np.int32, np.uint8, np.int64, np.float32, np.int32)
    assert data.max_boxes == 2


def test_boxes_are_grouped_by_image_in_whatever_order_they_are_listed(tmp_path: Path) -> None:
    content = changed("annotations", [])
    listed = [(2, 1, 42), (1, 2, 42), (2, 3, 7), (1, 4, 7), (1, 5, 42)]
    for image, ymin, category in listed:
        content["annotations"].append({"image_id": image, "bbox": [30, ymin, 60, 40], "category_id": category})
    data = load(write_channel(tmp_path / "training", content)).training
    assert data.offsets.tolist() == [0, 3, 5]
    assert data.classes.tolist() == [1, 0, 1, 1, 0]
    np.testing.assert_allclose(data.boxes[:, 0], [2 / 48, 4 / 48, 5 / 48, 1 / 40, 3 / 40], rtol=1e-6)


def test_numbers_sort_before_text_and_ids_name_classes_without_categories(tmp_path: Path) -> None:
    content = changed("categories", DELETED)
    for annotation, id_ in zip(content["annotations"], (10, "x", 9), strict=True):
        annotation["category_id"] = id_
    labels = load(write_channel(tmp_path / "training", content)).training.labels
    assert labels.ids == (9, 10, "x")
    assert labels.names == ("9", "10", "x")


def test_ids_that_look_the_same_are_no_two_classes(tmp_path: Path) -> None:
    content = changed("categories", DELETED)
    for annotation, id_ in zip(content["annotations"], (10, "9", 9), strict=True):
        annotation["category_id"] = id_
    (problem,) = problems(write_channel(tmp_path / "training", content))
    assert problem.startswith("training categories: '9' (1 boxes), 9 (1 boxes) have the same name '9'. If they are one")


SAME_NAMES = [
    (
        {7: "cat", 42: "dog", 8: "dog"},
        ("cat", "dog (8)", "dog (42)"),
        "training: the categories 8, 42 have the same name 'dog' and are told apart as 'dog (8)', 'dog (42)'. Give "
        "every category a name of its own, or merge them.",
    ),
    (
        {7: "dog (42)", 42: "dog", "x": "dog"},
        ("dog (42) (7)", "dog (42) (42)", "dog (x)"),
        "training: the categories 42, 'x' have the same name 'dog' and are told apart as 'dog (42) (42)', 'dog (x)'. "
        "Give every category a name of its own, or merge them.",
    ),
]


@pytest.mark.parametrize(("categories", "names", "warning"), SAME_NAMES)
def test_a_class_without_boxes_may_be_called_like_another(
    tmp_path: Path, categories: dict[int | str, str], names: tuple[str, ...], warning: str
) -> None:
    content = changed("categories", [{"id": id_, "name": name} for id_, name in categories.items()])
    training = write_channel(tmp_path / "training", content)
    splits = load(training, write_channel(tmp_path / "validation", content))
    assert splits.training.labels.names == names
    assert splits.report.warnings[0] == warning
    assert list(splits.report.channels[0].boxes_per_class) == list(names)


def test_classes_with_boxes_that_have_the_same_name_are_refused(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training", changed("categories.0.name", "cat"))
    assert problems(channel) == [
        "training categories: 42 (2 boxes), 7 (1 boxes) have the same name 'cat'. If they are one class, write one "
        "category_id in all their annotations; else give each a name of its own."
    ]


FLAGS = [
    ("iscrowd", 1),
    ("iscrowd", True),
    ("iscrowd", "1"),
    ("iscrowd", 1.0),
    ("ignore", 1),
    ("ignore", True),
    ("is_crowd", "true"),
    ("isCrowd", 1),
    ("IsGroupOf", "True"),
    ("ignored", 1),
    ("gt_ignore", "1"),
    ("ignore_flag", 1.0),
    ("dontcare", True),
    ("is_group_of", 1),
    ("attributes", {"iscrowd": True}),
    ("attributes", {"Ignore": 1}),
]


@pytest.mark.parametrize(("key", "value"), FLAGS)
def test_a_crowd_is_a_region_to_ignore_and_no_object(tmp_path: Path, key: str, value: object) -> None:
    content = changed(f"annotations.1.{key}", value)
    for name, off in (("iscrowd", 0), ("ignore", None), ("isCrowd", "0"), ("is_crowd", False)):
        content["annotations"][0][name] = content["annotations"][2][name] = off
    splits = load(write_channel(tmp_path / "training", content))
    data = splits.training
    assert (data.offsets.tolist(), data.classes.tolist()) == ([0, 1, 2], [0, 1])
    assert data.ignored is not None
    assert (data.ignored.offsets.tolist(), data.ignored.classes.tolist()) == ([0, 1, 1], [1])
    np.testing.assert_allclose(data.ignored.boxes, [[20 / 48, 30 / 64, 44 / 48, 50 / 64]], rtol=1e-7)
    report = splits.report.channels[0]
    assert (report.boxes, report.ignored_regions) == (2, 1)
    assert report.boxes_per_class == {"cat": 1, "dog": 1}


def test_regions_to_ignore_are_counted_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    channel = write_channel(tmp_path / "training", changed("annotations.1.iscrowd", 1))
    with caplog.at_level(logging.INFO):
        load(channel)
    assert caplog.messages[-2] == (
        "training: 2 images, 2 boxes (cat 1, dog 1); regions to ignore (iscrowd, ignore), neither learned nor counted "
        "as mistakes: 1."
    )
    assert read_report(channel)["channels"][0]["ignored_regions"] == 1


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("difficult", 1, "which has no effect: iscrowd or ignore 1 is for what is not to be learnt"),
        ("gt_ignore", "perhaps", "a word that is not known, which has no effect: bbox alone is read"),
        ("difficult", 0, ""),
        ("gt_ignore", False, ""),
    ],
)
def test_a_flag_without_effect_is_told_once(tmp_path: Path, key: str, value: object, told: str) -> None:
    splits = load(write_channel(tmp_path / "training", changed(f"annotations.1.{key}", value)))
    assert splits.training.ignored is None
    found = [warning for warning in splits.report.warnings if key in warning]
    assert [told in warning for warning in found] == [True] * bool(told)


@pytest.mark.parametrize("value", [2, -1, "yes", [], 0.5])
def test_what_is_no_flag_is_refused(tmp_path: Path, value: object) -> None:
    (problem,) = problems(write_channel(tmp_path / "training", changed("annotations.1.iscrowd", value)))
    assert problem.startswith("training annotations[1], image 'a.jpg': iscrowd is ")
    assert problem.endswith("; expected 0 or 1. Correct it in annotations.json.")


def test_a_region_to_ignore_is_checked_as_a_box(tmp_path: Path) -> None:
    content = changed("annotations.1.iscrowd", 1)
    content["annotations"][1]["bbox"] = [50, 20, 30, 44]
    (problem,) = problems(write_channel(tmp_path / "training", content))
    assert problem.startswith("training annotations[1], image 'a.jpg': bbox [50, 20, 30, 44] is inverted")
    assert load(tmp_path / "training", invalid_boxes="drop").training.ignored is None


def test_an_image_of_nothing_but_regions_to_ignore_has_no_boxes(tmp_path: Path) -> None:
    content = changed("annotations.2.ignore", 1)
    splits = load(write_channel(tmp_path / "training", content), validation_split_ratio=0.5)
    assert splits.validation is not None  # it has the image without boxes: the other is for training
    assert (splits.training.file_names, splits.validation.file_names) == (("a.jpg",), ("b.png",))
    assert [report.images_without_boxes for report in splits.report.channels] == [0, 1]
    assert splits.validation.max_regions == 1


def test_a_channel_of_nothing_but_regions_to_ignore_has_nothing_to_learn(tmp_path: Path) -> None:
    content = changed("categories", DELETED)
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1
    assert problems(write_channel(tmp_path / "training", content)) == [
        "training: all that is left in annotations are regions to ignore (3: iscrowd or ignore is 1). Expected at "
        "least one box to learn from."
    ]


WAY_OUT = 'Correct it, or set invalid_boxes="drop" to leave such boxes out.'
OR_CLIP = f'{WAY_OUT} invalid_boxes="clip" clips those of which half or more is inside.'
CORNERS = "expected xmin < xmax and ymin < ymax, in pixels, inside the image"
COCO = "expected [xmin, ymin, width, height] in pixels, with width and height above 0, inside the image"
BAD_BOXES = [
    ("xyxy", [50, 6, 40, 40], f"bbox [50, 6, 40, 40] is inverted; {CORNERS}. {WAY_OUT}"),
    ("xyxy", [4, 40, 60, 6], f"bbox [4, 40, 60, 6] is inverted; {CORNERS}. {WAY_OUT}"),
    ("xyxy", [40, 6, 40, 40], f"bbox [40, 6, 40, 40] is empty; {CORNERS}. {WAY_OUT}"),
    ("xyxy", [40, 6, 40.0000001, 40], f"bbox [40, 6, 40.0000001, 40] is empty; {CORNERS}. {WAY_OUT}"),
    ("xyxy", [64, 6, 65, 40], f"bbox [64, 6, 65, 40] is empty; {CORNERS}. {WAY_OUT}"),
    (
        "xyxy",
        [4, 6, 65.5, 40],
        f"bbox [4, 6, 65.5, 40] reaches outside its image, which is 64 wide and 48 high; {CORNERS}. {OR_CLIP}",
    ),
    (
        "xyxy",
        [-1, -1, -1e300, 1e300],
        f"bbox [-1, -1, -1e+300, 1e+300] is inverted; {CORNERS}. {WAY_OUT}",
    ),
    (
        "xyxy",
        [100, 100, 110, 110],
        f"bbox [100, 100, 110, 110] reaches outside its image, which is 64 wide and 48 high; {CORNERS}. {OR_CLIP}",
    ),
    (
        "xyxy",
        [-1e308, -1e308, 1e308, 1e308],
        "bbox [-1e+308, -1e+308, 1e+308, 1e+308] reaches outside its image, which is 64 wide and 48 high; "
        f"{CORNERS}. {OR_CLIP}",
    ),
    (
        "xywh",
        [1e308, 1e308, 1e308, 1e308],
        "bbox [1e+308, 1e+308, 1e+308, 1e+308] reaches outside its image, which is 64 wide and 48 high; "
        f"{COCO}. {OR_CLIP}",
    ),
    (
        "xywh",
        [-1e308, -1e308, -1e308, -1e308],
        f"bbox [-1e+308, -1e+308, -1e+308, -1e+308] has a negative width or height; {COCO}. {WAY_OUT}",
    ),
    ("xywh", [4, 6, -2, 10], f"bbox [4, 6, -2, 10] has a negative width or height; {COCO}. {WAY_OUT}"),
    ("xywh", [4, 6, 0, 10], f"bbox [4, 6, 0, 10] is empty; {COCO}. {WAY_OUT}"),
    (
        "xywh",
        [40, 6, 30, 10],
        f"bbox [40, 6, 30, 10] reaches outside its image, which is 64 wide and 48 high; {COCO}. {OR_CLIP}",
    ),
]


def boxes_content(bbox_format: str, first: list[float]) -> dict[str, Any]:
    content = changed("annotations.0.bbox", first)
    if bbox_format == "xywh":
        content["annotations"][1]["bbox"] = [30, 20, 10, 10]
        content["annotations"][2]["bbox"] = [30, 20, 10, 10]
    return content


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("bbox_format", "bbox", "sentence"), BAD_BOXES)
def test_a_box_that_is_none(tmp_path: Path, bbox_format: str, bbox: list[float], sentence: str) -> None:
    channel = write_channel(tmp_path / "training", boxes_content(bbox_format, bbox))
    assert problems(channel, bbox_format=bbox_format) == [f"training annotations[0], image 'a.jpg': {sentence}"]


@pytest.mark.parametrize(("bbox_format", "bbox", "sentence"), BAD_BOXES)
def test_such_a_box_can_be_dropped(
    tmp_path: Path, bbox_format: str, bbox: list[float], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    channel = write_channel(tmp_path / "training", boxes_content(bbox_format, bbox))
    splits = load(channel, bbox_format=bbox_format, invalid_boxes="drop")
    np.testing.assert_array_equal(splits.training.offsets, [0, 1, 2])
    assert splits.report.channels[0].dropped_boxes == 1
    warning = splits.report.warnings[0]
    assert warning.startswith('training: left out 1 of 3 boxes, as invalid_boxes="drop" asks: ')
    assert f"First: training annotations[0], image 'a.jpg': {sentence.split(']')[0]}]." in warning
    assert warning in [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_an_overhang_of_a_pixel_is_clipped_and_counted(tmp_path: Path) -> None:
    splits = load(write_channel(tmp_path / "training", changed("annotations.0.bbox", [-0.5, 0, 65, 48.25])))
    np.testing.assert_array_equal(splits.training.boxes[0], [0, 0, 1, 1])
    assert splits.report.channels[0].clipped_boxes == 1


@pytest.mark.parametrize("invalid_boxes", ["error", "drop"])
def test_coco_boxes_handed_in_as_corners_are_one_sentence(tmp_path: Path, invalid_boxes: str) -> None:
    content = changed("annotations.0.bbox", [4, 6, 8, 30])
    content["annotations"][1]["bbox"] = [30, 20, 20, 24]
    content["annotations"][2]["bbox"] = [20, 10, 38, 9]
    channel = write_channel(tmp_path / "training", content)
    assert problems(channel, invalid_boxes=invalid_boxes) == [
        "training: these boxes look like COCO's [xmin, ymin, width, height] in pixels, but bbox_format='Auto' reads "
        "[xmin, ymin, xmax, ymax] in pixels: 2 of 3 boxes do not fit their images so, none the other way. First: "
        "training annotations[1], image 'a.jpg': bbox [30, 20, 20, 24] would be [30, 20, 50, 44]; training "
        "annotations[2], image 'b.png': bbox [20, 10, 38, 9] would be [20, 10, 58, 19]. Set bbox_format=\"xywh\", or "
        "convert the file to [xmin, ymin, xmax, ymax] in pixels."
    ]
    data = load(channel, bbox_format="xywh").training
    np.testing.assert_allclose(data.boxes[1], [20 / 48, 30 / 64, 44 / 48, 50 / 64], rtol=1e-7)


def test_corner_boxes_handed_in_as_coco_are_one_sentence(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    assert problems(channel, bbox_format="xywh") == [
        "training: these boxes look like [xmin, ymin, xmax, ymax] in pixels, but bbox_format='xywh' reads COCO's "
        "[xmin, ymin, width, height] in pixels: 2 of 3 boxes do not fit their images so, none the other way. First: "
        "training annotations[1], image 'a.jpg': bbox [30, 20, 50, 44] would be [30, 20, 50, 44]; training "
        "annotations[2], image 'b.png': bbox [20, 10, 58, 38] would be [20, 10, 58, 38]. Set bbox_format=\"xyxy\", or "
        "convert the file to [xmin, ymin, xmax, ymax] in pixels."
    ]


def test_boxes_that_fit_both_formats_are_a_warning(tmp_path: Path) -> None:
    content = changed("annotations", [{"image_id": 1, "bbox": [4, 6, 20, 24], "category_id": 7}])
    warnings = load(write_channel(tmp_path / "training", content)).report.warnings
    assert warnings[0] == (
        "training: every box (1) fits its image as [xmin, ymin, xmax, ymax] in pixels, but also as COCO's [xmin, ymin, "
        "width, height] in pixels; they are read as [xmin, ymin, xmax, ymax] in pixels. If that is wrong, set "
        'bbox_format="xywh"; if it is right, "xyxy".'
    )


@pytest.mark.parametrize(("first", "second"), [("Dog", "dog"), ("dog ", "dog"), ("hot dog", "Hotdog")])
def test_class_names_that_differ_in_case_or_blanks_are_a_warning(tmp_path: Path, first: str, second: str) -> None:
    content = changed("categories", [{"id": 42, "name": first}, {"id": 7, "name": second}])
    splits = load(write_channel(tmp_path / "training", content))
    assert splits.training.labels.names == (second, first)
    assert splits.report.warnings == (
        f"training: the categories {', '.join(map(repr, sorted((first, second))))} differ in case or blanks alone, and "
        "are learnt as different classes. If they are one, give their boxes one category.",
    )


@pytest.mark.parametrize(
    ("first", "second", "written", "how"),
    [
        ("red car", "red_car", "'red car', 'red_car'", "blanks, _ and -, or in case,"),
        ("caf\u00e9", "cafe\u0301", "'cafe\\u0301', 'caf\\xe9'", "the form of Unicode"),
    ],
)
def test_class_names_that_look_alike_are_a_warning(
    tmp_path: Path, first: str, second: str, written: str, how: str
) -> None:
    content = changed("categories", [{"id": 42, "name": first}, {"id": 7, "name": second}])
    (warning,) = load(write_channel(tmp_path / "training", content)).report.warnings
    assert warning.startswith(f"training: the categories {written} differ in {how} alone, and are learnt")


def test_warnings_of_many_class_names_are_bounded(tmp_path: Path) -> None:
    names = [f"{case}{number}" for number in range(20) for case in ("a", "A")]
    content = changed("categories", [{"id": number, "name": name} for number, name in enumerate(names, 1)])
    content["categories"] += [{"id": id_, "name": f"class {id_}"} for id_ in (42,)]
    warnings = load(write_channel(tmp_path / "training", content)).report.warnings
    assert sum("differ in case" in warning for warning in warnings) == 8
    assert "training: 12 more names of categories are so." in warnings


@pytest.mark.parametrize("name", ["", " "])
def test_a_class_has_a_name(tmp_path: Path, name: str) -> None:
    channel = write_channel(tmp_path / "training", changed("categories.0.name", name))
    assert problems(channel) == ["training categories: 42 have an empty name. Give every category a name."]


def break_file(name: str, content: bytes) -> Any:
    return lambda folder: (folder / name).write_bytes(content)


def save_as(name: str, file_format: str) -> Any:
    return lambda folder: picture(64, 48).save(folder / name, format=file_format)


def truncate(name: str) -> Any:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-200])


def rename(name: str, new: str) -> Any:
    return lambda folder: (folder / name).rename(folder / new)


def listen(path: Path) -> None:
    # The address of a socket may be 107 bytes long, a temporary folder's path longer.
    place = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{place}/{path.name}")
    os.close(place)


EXPECTED = "Expected a JPEG or PNG image:"
CONVERT = f'{EXPECTED} convert it, as "magick mogrify -format png FILE" does.'
BROKEN_FILES = [
    (lambda folder: (folder / "a.jpg").unlink(), "does not exist. Add the file or remove its entry."),
    (rename("a.jpg", "a.png"), "does not exist. Did you mean 'a.png'? Add the file or remove its entry."),
    (rename("a.jpg", "../a.jpg"), "does not exist. It lies beside images/: move it there."),
    (break_file("a.jpg", b""), "is an empty file. Upload it again."),
    (break_file("a.jpg", b"hello"), f"is text that begins 'hello'. {EXPECTED} upload it again."),
    (break_file("a.jpg", b"<!DOCTYPE html><html>"), f"is a web page. {EXPECTED} upload it again."),
    (
        break_file("a.jpg", b"version https://git-lfs.github.com/spec/v1"),
        f'is a Git LFS pointer, not the file itself. {EXPECTED} fetch it with "git lfs pull".',
    ),
    (break_file("a.jpg", b"\xff\xd8\xff\xe0nothing"), "is a damaged JPEG file: its header cannot be read. Replace it."),
    (break_file("a.jpg", b"\x89PNG\r\n\x1a\n"), "is a damaged PNG file: its header cannot be read. Replace it."),
    (save_as("a.jpg", "GIF"), f"is a GIF image. {CONVERT}"),
    (save_as("a.jpg", "BMP"), f"is a BMP image. {CONVERT}"),
    (save_as("a.jpg", "WEBP"), f"is a WebP image. {CONVERT}"),
    (save_as("a.jpg", "TIFF"), f"is a TIFF image. {CONVERT}"),
    (truncate("a.jpg"), "cannot be decoded: the file is cut short or damaged. Replace it."),
    (
        lambda folder: picture(50, 40).save(folder / "a.jpg"),
        "is 50 wide and 40 high, but the annotations say 64 and 48, so its boxes would be misplaced. Correct width "
        "and height there, or use the image that was annotated.",
    ),
    (
        lambda folder: ((folder / "a.jpg").unlink(), (folder / "a.jpg").mkdir()),
        "cannot be read (Is a directory). Expected a JPEG or PNG file that may be read.",
    ),
    (
        lambda folder: ((folder / "a.jpg").unlink(), os.mkfifo(folder / "a.jpg")),
        "cannot be read (Is a pipe). Expected a JPEG or PNG file that may be read.",
    ),
    (
        lambda folder: (
            (folder / "a.jpg").unlink(),
            os.mkfifo(folder / "pipe"),
            (folder / "a.jpg").symlink_to("pipe"),
        ),
        "cannot be read (Is a pipe). Expected a JPEG or PNG file that may be read.",
    ),
    (
        lambda folder: ((folder / "a.jpg").unlink(), listen(folder / "a.jpg")),
        "cannot be read (Is a socket). Expected a JPEG or PNG file that may be read.",
    ),
]


@pytest.mark.parametrize(("break_it", "sentence"), BROKEN_FILES)
def test_an_image_file_that_is_broken(tmp_path: Path, break_it: Any, sentence: str) -> None:
    channel = write_channel(tmp_path / "training")
    break_it(channel / "images")
    assert problems(channel) == [f"training images[0] 'a.jpg' {sentence}"]


def test_a_truncated_png_is_found(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    truncate("b.png")(channel / "images")
    assert problems(channel) == [
        "training images[1] 'b.png' cannot be decoded: the file is cut short or damaged. Replace it."
    ]


def test_an_image_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = write_channel(tmp_path / "training")
    monkeypatch.setattr(walk, "MAX_PIXELS", 3000)
    assert problems(channel) == [
        "training images[0] 'a.jpg' has too many pixels (64 x 48 = 3072); at most 3000 are accepted. Shrink it."
    ]


def test_a_png_that_claims_a_monstrous_size_is_refused_from_its_header(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training", changed("images.1.width", 60_000))
    raw = bytearray((channel / "images" / "b.png").read_bytes())
    raw[16:24] = (60_000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    (channel / "images" / "b.png").write_bytes(raw)
    assert problems(channel)[0] == (
        "training images[1] 'b.png' has too many pixels (60000 x 60000 = 3600000000); at most 67108864 are "
        "accepted. Shrink it."
    )


def png(width: int, height: int, pixels: bytes, *, depth: int = 8, colours: int = 2, extra: bytes = b"") -> bytes:
    """A PNG file of uncompressed `pixels`, each row behind its filter's number."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    ends = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + ends


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


ROWS = (b"\x00" + bytes(range(180))) * 40
"""Of 60 x 40 pixels, 8 bits each of red, green and blue."""
TOO_LONG = zlib.compress(bytes(3_000_000))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"x\x00\x00" + TOO_LONG),
        chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + TOO_LONG),
        chunk(b"iCCP", b"x\x00\x00" + TOO_LONG),
        chunk(b"tEXt", b"a\x00b")[:-1] + b"?",
    ],
    ids=["long text", "long XMP", "long profile", "damaged text"],
)
def test_what_no_decoder_minds_in_a_png_is_no_reason_to_refuse_it(tmp_path: Path, extra: bytes) -> None:
    channel = write_channel(tmp_path / "training")
    (channel / "images" / "b.png").write_bytes(png(60, 40, ROWS, extra=extra))
    assert load(channel).training.sizes[1].tolist() == [40, 60]


DAMAGED_PNG = "is a damaged PNG file: its header cannot be read. Replace it."
REFUSED_PNGS = [
    (png(60, 40, ROWS, colours=3), "is a damaged PNG file: its header cannot be read. Replace it."),
    (png(60, 40, ROWS, depth=7), "is a damaged PNG file: its header cannot be read. Replace it."),
    (png(0, 40, b""), "is a damaged PNG file: its header cannot be read. Replace it."),
    (
        png(60, 40, ROWS, extra=chunk(b"IHDR", bytes(13))),
        "is a damaged PNG file: its header cannot be read. Replace it.",
    ),
    (png(60, 40, ROWS)[:29] + b"bad!", "is a damaged PNG file: its header cannot be read. Replace it."),
    (
        png(60, 40, ROWS, extra=chunk(b"tEXt", b"") * 10_001),
        "has more than 4213 chunks. Save it anew.",
    ),
    (png(60, 40, ROWS[:-181]), "cannot be decoded: the file is cut short or damaged. Replace it."),
    (
        png(1_000_001, 1, bytes(1_000_002), colours=0),
        "is 1000001 wide and 1 high; at most 1000000 pixels on a side are accepted. Shrink it.",
    ),
    (
        png(2**31 - 1, 2**31 - 1, b""),
        "has too many pixels (2147483647 x 2147483647 = 4611686014132420609); at most 67108864 are accepted. "
        "Shrink it.",
    ),
]


@pytest.mark.parametrize(("contents", "sentence"), REFUSED_PNGS)
def test_a_png_that_no_decoder_would_take(tmp_path: Path, contents: bytes, sentence: str) -> None:
    channel = write_channel(tmp_path / "training")
    (channel / "images" / "b.png").write_bytes(contents)
    assert problems(channel) == [f"training images[1] 'b.png' {sentence}"]


def test_a_jpeg_that_claims_a_monstrous_size_is_refused_from_its_header(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    raw = bytearray((channel / "images" / "a.jpg").read_bytes())
    place = raw.index(b"\xff\xc0") + 5
    for side, found in ((9_000, "9000 x 9000 = 81000000"), (60_000, "60000 x 60000 = 3600000000")):
        raw[place : place + 4] = side.to_bytes(2, "big") * 2
        (channel / "images" / "a.jpg").write_bytes(raw)
        assert problems(channel) == [
            f"training images[0] 'a.jpg' has too many pixels ({found}); at most 67108864 are accepted. Shrink it."
        ]


def with_behind(name: str, more: bytes) -> Any:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + more)


TRAINABLE = {
    "a JPEG with a zip archive behind it": with_behind("a.jpg", b"PK\x03\x04" + bytes(400)),
    "a PNG with a zip archive behind it": with_behind("b.png", b"PK\x03\x04" + bytes(400)),
    "a JPEG with a PNG behind it": with_behind("a.jpg", png(60, 40, ROWS)),
    "a PNG that is called .jpg": save_as("a.jpg", "PNG"),
    "a JPEG that is called .png": lambda folder: picture(60, 40).save(folder / "b.png", format="JPEG"),
    "a progressive JPEG": lambda folder: picture(64, 48).save(folder / "a.jpg", progressive=True),
    "a CMYK JPEG": lambda folder: picture(64, 48).convert("CMYK").save(folder / "a.jpg"),
    "an animated PNG": lambda folder: picture(60, 40).save(
        folder / "b.png", save_all=True, append_images=[picture(60, 40, seed=2)]
    ),
    "a PNG of 16 bits": break_file("b.png", png(60, 40, (b"\x00" + bytes(360)) * 40, depth=16)),
    "a PNG of 16 bits with alpha": break_file("b.png", png(60, 40, (b"\x00" + bytes(480)) * 40, depth=16, colours=6)),
}


@pytest.mark.parametrize("name", TRAINABLE)
def test_images_of_every_kind_that_is_accepted_reach_the_network(tmp_path: Path, name: str) -> None:
    channel = write_channel(tmp_path / "training")
    TRAINABLE[name](channel / "images")
    data = load(channel).training
    batch = next(iter(evaluation_batches(data, catalogue.DEFAULT_MODEL, 2)))
    assert batch.indices.numpy().tolist() == [0, 1]


def test_images_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As for anybody but root where images/ has mode 0.
    channel = write_channel(tmp_path / "training")
    (channel / "images" / "b.png").unlink()
    path_open, images = Path.open, channel / "images"

    def refuse_to_open(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.parent == images:
            raise PermissionError(errno.EACCES, "Permission denied")
        return path_open(path, *arguments, **options)

    def refuse_to_list(_: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse_to_open)
    monkeypatch.setattr(os, "listdir", refuse_to_list)
    assert problems(channel) == [
        "training: none of the 2 images can be used.",
        f"training images[0] 'a.jpg' cannot be read (Permission denied). {READABLE}",
        "training images[1] 'b.png' does not exist. Add the file or remove its entry.",
    ]


BELOW = "Expected a path below images/."
READABLE = "Expected a JPEG or PNG file that may be read."
NAMES = [
    ("/etc/hostname", f"is an absolute path. {BELOW}"),
    ("../annotations.json", f'contains "..". {BELOW}'),
    ("", f"is not the name of a file. {BELOW}"),
    ("a\x00.jpg", f"is not the name of a file. {BELOW}"),
    ("\ud800.jpg", f"is not the name of a file. {BELOW}"),
    ("b.png/c.jpg", f"cannot be read (Not a directory). {READABLE}"),
    ("x" * 300, f"cannot be read (File name too long). {READABLE}"),
    (
        "images\\a.jpg",
        "would be 'a.jpg', which is the file of images[0] 'a.jpg' already. Merge the two, or add the file that is "
        "missing.",
    ),
    ("loop.jpg", f"cannot be read (Too many levels of symbolic links). {READABLE}"),
    ("device.jpg", "is a link that leaves the channel. Put the file itself into images/."),
    ("folder/../../../outside.jpg", f'contains "..". {BELOW}'),
    ("folder/outside.jpg", "is a link that leaves the channel. Put the file itself into images/."),
    ("folder", "is a link that leaves the channel. Put the file itself into images/."),
    (".", "cannot be read (Is a directory). Expected a JPEG or PNG file that may be read."),
    ("link.jpg", "is a link that leaves the channel. Put the file itself into images/."),
    ("./b.png", "is listed already as images[1]. Merge the two entries into one."),
]


@pytest.mark.parametrize(("name", "sentence"), NAMES)
def test_a_file_name_that_is_refused(tmp_path: Path, name: str, sentence: str) -> None:
    content = changed("images.2", {"file_name": name, "id": 3})
    channel = write_channel(tmp_path / "training", content)
    picture(60, 40).save(tmp_path / "outside.jpg")
    (channel / "images" / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (channel / "images" / "loop.jpg").symlink_to("loop.jpg")
    (channel / "images" / "device.jpg").symlink_to("/dev/zero")
    (channel / "images" / "folder").symlink_to(tmp_path)
    assert problems(channel) == [f"training images[2] {name!r} {sentence}"]


def test_a_link_that_stays_in_the_channel_and_a_subfolder_are_fine(tmp_path: Path) -> None:
    content = changed("images.0.file_name", "nested/ä b.jpg")
    content["images"][1]["file_name"] = "link.png"
    channel = write_channel(tmp_path / "training", content)
    (channel / "images" / "nested").mkdir()
    rename("a.jpg", "nested/ä b.jpg")(channel / "images")
    (channel / "images" / "link.png").symlink_to("b.png")
    assert load(channel).training.file_names == ("nested/ä b.jpg", "link.png")


CHANNELS = [
    (
        {"images": [], "annotations": []},
        ["training: annotations.json lists no usable image. Expected at least one."],
    ),
    (
        changed("annotations", []),
        [
            "training: there is no box in annotations. Expected at least one box to learn from.",
        ],
    ),
]


@pytest.mark.parametrize(("content", "sentences"), CHANNELS)
def test_a_channel_with_nothing_in_it(tmp_path: Path, content: object, sentences: list[str]) -> None:
    assert problems(write_channel(tmp_path / "training", content)) == sentences


def test_all_boxes_dropped(tmp_path: Path) -> None:
    content = changed("annotations", [{"image_id": 1, "bbox": [60, 40, 60, 40], "category_id": 7}])
    assert problems(write_channel(tmp_path / "training", content), invalid_boxes="drop") == [
        "training: every box (1) was left out. Expected at least one box to learn from."
    ]


def test_no_images_folder(tmp_path: Path) -> None:
    write_annotations(tmp_path / "training", GOOD)
    assert problems(tmp_path / "training") == [
        f"training: there is no folder {tmp_path / 'training' / 'images'}. Expected the 2 images of annotations.json "
        f"in it."
    ]


def test_no_usable_image(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    for name in ("a.jpg", "b.png"):
        (channel / "images" / name).unlink()
    assert problems(channel) == [
        "training: none of the 2 images can be used.",
        "training images[0] 'a.jpg' does not exist. Add the file or remove its entry.",
        "training images[1] 'b.png' does not exist. Add the file or remove its entry.",
    ]


def test_everything_wrong_in_both_channels_is_one_error(tmp_path: Path) -> None:
    training = write_channel(tmp_path / "training", changed("annotations.0.bbox", [4, 6, 4, 40]))
    truncate("b.png")(training / "images")
    content = changed("annotations.1.image_id", 5)
    content["annotations"][0]["category_id"] = 8
    content["categories"] = [{"id": 8, "name": "cow"}, {"id": 42, "name": "hound"}]
    validation = write_channel(tmp_path / "validation", content)
    (validation / "images" / "a.jpg").unlink()
    assert problems(training, validation) == [
        f"training annotations[0], image 'a.jpg': bbox [4, 6, 4, 40] is empty; {CORNERS}. {WAY_OUT}",
        "validation annotations[1]: image_id 5 is not the id of any image in images. "
        "Correct it or remove the annotation.",
        "validation images[0] 'a.jpg' does not exist. Add the file or remove its entry.",
        "training images[1] 'b.png' cannot be decoded: the file is cut short or damaged. Replace it.",
        "validation categories: id 42 is 'hound', but training calls it 'dog'. Use the same categories in both.",
        "validation: category_id 8 (1 times) is unknown to training, which has 7, 42; first: validation "
        "annotations[0], image 'a.jpg'. Add the class to training or remove those boxes.",
    ]
    report = read_report(training)
    assert len(report["problems"]) == 6
    assert report["problems"][2] == {
        "channel": "validation",
        "kind": "missing images",
        "text": "validation images[0] 'a.jpg' does not exist. Add the file or remove its entry.",
    }


def test_of_many_problems_some_of_each_kind_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    content = changed("annotations.2.bbox", [20, 10, 10, 38])
    content["images"] += [{"file_name": f"{number}.jpg", "id": 10 + number} for number in range(50)]
    channel = write_channel(tmp_path / "training", content)
    with pytest.raises(UserError) as caught:
        load(channel)
    lines = str(caught.value).splitlines()
    assert lines[0] == "51 problems:"
    assert lines[19] == "19. training images[20] '18.jpg' does not exist. Add the file or remove its entry."
    assert lines[20].startswith("20. training annotations[2], image 'b.png': bbox [20, 10, 10, 38] is inverted")
    assert lines[21:] == ["... and 31 more. data_report.json in the job's output lists them all."]
    assert len(caught.value.problems) == 51
    assert len(read_report(channel)["problems"]) == 51


def test_an_image_is_decoded_once_whatever_else_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    plain = decoding._decode_plain
    monkeypatch.setattr(decoding, "_decode_plain", lambda raw: decoded.append(1) or plain(raw))
    content = changed("images.2", {"file_name": "a.jpg", "id": 3})
    content["annotations"][0]["bbox"] = [9, 9, 1, 1]
    problems(write_channel(tmp_path / "training", content))
    assert len(decoded) == 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_annotated_size_decides_whether_exif_is_honoured(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    channel = write_channel(tmp_path / "training")
    picture(64, 48).save(channel / "images" / "a.jpg", exif=exif)
    swapped = orientation >= 5
    # Annotated as stored: a swap would not fit.
    splits = load(channel)
    assert splits.training.sizes[0].tolist() == [48, 64]
    assert splits.training.orientations[0] == (1 if swapped else orientation)
    assert splits.report.channels[0].exif_ignored_images == int(swapped)
    assert splits.report.channels[0].exif_turned_images == int(1 < orientation < 5)
    # Annotated as seen, or without a size.
    turned = changed(
        "images.0", {"file_name": "a.jpg", "id": 1, "width": 48, "height": 64} if swapped else GOOD["images"][0]
    )
    turned["annotations"][0]["bbox"] = turned["annotations"][1]["bbox"] = [30, 20, 48, 44]
    unsized = json.loads(json.dumps(turned))
    del unsized["images"][0]["width"], unsized["images"][0]["height"]
    for content in (turned, unsized):
        write_annotations(channel, content)
        splits = load(channel)
        assert splits.training.sizes[0].tolist() == ([64, 48] if swapped else [48, 64])
        assert splits.training.orientations[0] == orientation
        assert splits.report.channels[0].exif_turned_images == int(orientation > 1)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**40, -1, 1e308]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    *("images", "images.0", "images.0.file_name", "images.0.id", "images.0.height"),
    *("annotations", "annotations.0", "annotations.0.bbox", "annotations.0.bbox.2", "annotations.0.image_id"),
    *("annotations.0.category_id", "categories", "categories.0", "categories.0.id", "categories.0.name"),
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(place=st.sampled_from(PLACES), value=ANYTHING, bbox_format=st.sampled_from(["xyxy", "xywh"]))
def test_whatever_stands_in_the_file_there_is_a_sentence_or_a_data_set(
    fuzzed_channel: Path, place: str, value: object, bbox_format: str
) -> None:
    write_annotations(fuzzed_channel, changed(place, value))
    try:
        boxes = load(fuzzed_channel, bbox_format=bbox_format).training.boxes
    except UserError as error:
        sentences = error.problems
    else:
        sentences = ()
        assert ((boxes >= 0) & (boxes <= 1)).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert all(sentence.startswith("training") for sentence in sentences)


@pytest.fixture(scope="module")
def fuzzed_channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_channel(tmp_path_factory.mktemp("fuzz") / "training")


def test_a_photo_with_a_second_one_inside_is_a_jpeg(tmp_path: Path) -> None:
    # Phones write this; Pillow calls it MPO.
    channel = write_channel(tmp_path / "training")
    picture(64, 48).save(channel / "images" / "a.jpg", format="MPO", save_all=True, append_images=[picture(8, 8)])
    assert load(channel).training.sizes[0].tolist() == [48, 64]


def test_damaged_exif_is_no_orientation(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    picture(64, 48).save(channel / "images" / "a.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert load(channel).training.orientations[0] == 1


def test_images_without_boxes_are_negatives_and_classes_without_boxes_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    content = changed("annotations", GOOD["annotations"][:2])
    splits = load(
        write_channel(tmp_path / "training", content),
        write_channel(tmp_path / "validation", changed("annotations", GOOD["annotations"][2:]), seed=7),
    )
    np.testing.assert_array_equal(splits.training.offsets, [0, 2, 2])
    assert splits.validation is not None
    np.testing.assert_array_equal(splits.validation.offsets, [0, 0, 1])
    assert splits.validation.labels == splits.training.labels
    assert splits.report.warnings == ("validation has no box of 'cat', which cannot be measured.",)
    messages = [record.getMessage() for record in caplog.records]
    assert "training: 2 images, 2 boxes (cat 1, dog 1); images without boxes: 1." in messages
    assert read_report(tmp_path / "training")["channels"][1] == {
        "channel": "validation",
        "images": 2,
        "images_without_boxes": 1,
        "boxes": 1,
        "boxes_per_class": {"cat": 0, "dog": 1},
        "clipped_boxes": 0,
        "dropped_boxes": 0,
        "exif_turned_images": 0,
        "exif_ignored_images": 0,
        "xmp_turned_images": 0,
        "deep_images": 0,
        "sample_bits": 16,
        "transparent_images": 0,
        "flat_images": 0,
        "dropped_images": [],
        "ignored_regions": 0,
        "repeated_boxes": 0,
        "conventions": "boxes read as [xmin, ymin, xmax, ymax] in pixels; 1 of 1 fit; the next best, COCO's [xmin, "
        "ymin, width, height] in pixels, fits 0",
    }


def test_a_validation_channel_may_be_without_boxes(tmp_path: Path) -> None:
    empty = write_channel(tmp_path / "validation", changed("annotations", []), seed=7)
    splits = load(write_channel(tmp_path / "training"), empty)
    assert splits.validation is not None
    assert splits.validation.offsets.tolist() == [0, 0, 0]
    assert splits.report.warnings == (
        "validation: there is no box in annotations, so there is no mean average precision to measure.",
        "validation has no box of 'cat', 'dog', which cannot be measured.",
    )


@pytest.mark.parametrize("seed", range(4))
def test_image_whose_boxes_are_dropped_counts_as_negative_in_the_split(tmp_path: Path, seed: int) -> None:
    channel = write_channel(tmp_path / "training", changed("annotations.2.bbox", [58, 10, 20, 38]))
    splits = load(channel, invalid_boxes="drop", validation_split_ratio=0.5, seed=seed)
    assert splits.training.file_names == ("a.jpg",)


def test_without_a_validation_channel_images_are_held_out(tmp_path: Path) -> None:
    splits = load(write_channel(tmp_path / "training"), validation_split_ratio=0.2)
    assert splits.validation is not None
    assert sorted(splits.training.file_names + splits.validation.file_names) == ["a.jpg", "b.png"]
    for part in (splits.training, splits.validation):
        assert (len(part.boxes), part.offsets.tolist()) == (
            (2, [0, 2]) if part.file_names == ("a.jpg",) else (1, [0, 1])
        )


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first = load(write_channel(tmp_path / "one" / "training")).training.fingerprint
    assert load(write_channel(tmp_path / "two" / "training")).training.fingerprint == first
    moved = load(write_channel(tmp_path / "three" / "training", changed("annotations.0.bbox", [4, 6, 60, 41])))
    assert moved.training.fingerprint != first
    channel = write_channel(tmp_path / "four" / "training")
    picture(64, 48, seed=5).save(channel / "images" / "a.jpg")
    assert load(channel).training.fingerprint != first
    renamed = load(write_channel(tmp_path / "five" / "training", changed("categories.0.name", "hound")))
    assert renamed.training.fingerprint != first
    crowd = [
        load(write_channel(tmp_path / f"{n}" / "training", changed(f"annotations.{n}.iscrowd", 1))) for n in (1, 2)
    ]
    assert len({first, *(splits.training.fingerprint for splits in crowd)}) == 3


def test_the_fingerprint_without_regions_to_ignore_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """A checkpoint names it: another one would end every running job that is restarted."""
    data = load(write_channel(tmp_path / "training")).training
    sizes = [(data.images / name).stat().st_size for name in data.file_names]
    digest = hashlib.sha256(repr((data.file_names, sizes, data.labels)).encode())
    for name in ("sizes", "orientations", "offsets", "boxes", "classes"):
        column = getattr(data, name)
        digest.update(f"{name} {column.dtype.str} {column.shape}".encode() + column.tobytes())
    assert (data.fingerprint, data.former_fingerprint) == (digest.hexdigest(), None)


def test_the_former_fingerprint_takes_regions_and_repeated_boxes_for_objects(tmp_path: Path) -> None:
    """Version 0.1.0 did, and its jobs go on."""
    plain = copy.deepcopy(GOOD)
    plain["annotations"].append(plain["annotations"][0])
    plain["annotations"][1]["iscrowd"] = 1
    alone = copy.deepcopy(GOOD)
    del alone["annotations"][1]
    data = load(write_channel(tmp_path / "training", plain)).training
    without = load(write_channel(tmp_path / "without" / "training", alone)).training
    assert len(data.boxes) == len(without.boxes)
    assert data.former_fingerprint not in (None, data.fingerprint)
    for key in ("iscrowd", "unread_key"):
        plain["annotations"][1] = {**plain["annotations"][1], "iscrowd": 0, key: 1}
        same = load(write_channel(tmp_path / key / "training", plain)).training
        assert same.former_fingerprint == data.former_fingerprint


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (("annotations.0.bbox", [4, 6, 60, 41]), "objects"),
        (("categories.0.name", "hound"), "classes"),
        (("annotations.1.iscrowd", 1), "objects, regions to ignore"),
    ],
)
def test_what_differs_between_two_data_sets_is_a_fact_of_its_own(tmp_path: Path, change: Any, part: str) -> None:
    before = load(write_channel(tmp_path / "one" / "training")).training.facts
    after = load(write_channel(tmp_path / "two" / "training", changed(*change))).training.facts
    assert ", ".join(name for name in before if before[name] != after[name]) == part


def test_split_by_image_holds_out_what_it_did_before_there_were_regions(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    names = [f"{number}.jpg" for number in range(10)]
    content["images"] = [
        {"file_name": name, "id": number, "height": 48, "width": 64} for number, name in enumerate(names)
    ]
    content["annotations"] = [
        {"image_id": number, "bbox": [4, 6, 30 + number, 40], "category_id": 7} for number in range(10)
    ]
    folder = write_channel(tmp_path / "training", content)
    for number, name in enumerate(names):
        picture(64, 48, seed=number).save(folder / "images" / name)
    before = load(folder, split_by="image", validation_split_ratio=0.3).validation
    for number in range(0, 10, 2):
        content["annotations"][number]["iscrowd"] = 1
    (folder / "annotations.json").write_text(json.dumps(content))
    after = load(folder, split_by="image", validation_split_ratio=0.3).validation
    assert before is not None
    assert after is not None
    assert after.file_names == before.file_names
    assert after.former_fingerprint == before.fingerprint


def test_a_report_folder_that_cannot_be_written_does_not_hide_the_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    channel = write_channel(tmp_path / "training", changed("annotations", []))
    assert len(problems(channel, report_folder=tmp_path / "file" / "report")) == 1
    assert "data_report.json could not be written" in caplog.text


def test_real_data_with_an_empty_box_in_each_channel(tmp_path: Path) -> None:
    training, validation = shared("datasets/bccd/training"), shared("datasets/bccd/validation")
    assert problems(training, validation, report_folder=tmp_path) == [
        f"training annotations[2287], image 'BloodImage_00343.jpg': bbox [181, 329, 181, 329] is empty; {CORNERS}. "
        f"{WAY_OUT}",
        f"validation annotations[886], image 'BloodImage_00338.jpg': bbox [504, 337, 504, 337] is empty; {CORNERS}. "
        f"{WAY_OUT}",
    ]
    splits = load(training, validation, report_folder=tmp_path, invalid_boxes="drop")
    assert splits.validation is not None
    assert (len(splits.training.file_names), len(splits.training.boxes)) == (205, 2804)
    assert (len(splits.validation.file_names), len(splits.validation.boxes)) == (87, 1137)
    assert splits.training.labels.names == ("Platelets", "RBC", "WBC")


def test_a_stop_ends_the_decoding_of_the_images(tmp_path):
    channel = tmp_path / "training"
    write_sample_data(tmp_path, images=6, validation_images=1, seed=0)
    asked = []

    class Stop(StopSignal):
        def check(self):
            asked.append(True)
            if len(asked) > 2:
                raise StoppedError

    with pytest.raises(StoppedError):
        load_splits(
            channel,
            None,
            read({}),
            stop=Stop(),
        )
