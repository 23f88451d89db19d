import errno
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from made_channels import DELETED, GOOD, changed, write_annotations

from sagemaker_object_detection.dataset.annotation_file import read_annotations


def sentences(folder: Path) -> list[str]:
    return [problem.text for problem in read_annotations("training", folder)[1]]


def test_a_good_file_becomes_columns(tmp_path: Path) -> None:
    write_annotations(tmp_path, GOOD)
    table, problems = read_annotations("training", tmp_path)
    assert problems == []
    assert table is not None
    assert table.file_names == ["a.jpg", "b.png"]
    np.testing.assert_array_equal(table.image_sizes, [[48, 64], [40, 60]])
    np.testing.assert_array_equal(table.box_images, [0, 0, 1])
    np.testing.assert_array_equal(table.bboxes, [[4, 6, 60, 40], [30, 20, 50, 44], [20, 10, 58, 38]])
    assert [table.category_ids[code] for code in table.box_categories] == [7, 42, 42]
    assert table.categories == {42: "dog", 7: "cat"}


def test_extra_keys_a_byte_order_mark_text_ids_and_missing_sizes_are_fine(tmp_path: Path) -> None:
    content = {
        "info": {"deep": [1, {"er": None}]},
        "images": [{"file_name": "a.jpg", "id": "x", "license": 3}],
        "annotations": [{"id": 5, "image_id": "x", "bbox": [1.5, 2, 3e1, 4], "category_id": "cat", "iscrowd": 0}],
    }
    write_annotations(tmp_path, b"\xef\xbb\xbf" + json.dumps(content).encode())
    table, problems = read_annotations("training", tmp_path)
    assert problems == []
    assert table is not None
    np.testing.assert_array_equal(table.image_sizes, [[0, 0]])
    np.testing.assert_array_equal(table.bboxes, [[1.5, 2, 30, 4]])
    assert table.category_ids == ["cat"]
    assert table.categories is None


@pytest.mark.parametrize("categories", [None, []])
def test_categories_may_be_empty(tmp_path: Path, categories: list[object] | None) -> None:
    write_annotations(tmp_path, changed("categories", categories))
    table, problems = read_annotations("training", tmp_path)
    assert problems == []
    assert table is not None
    assert (table.categories, table.category_ids) == (None, [7, 42])


def test_what_only_the_strict_pass_minds_is_read(tmp_path: Path) -> None:
    text = json.dumps(changed("images.0.width", 64.0)).replace('"category_id": 7', '"category_id": 7.0, "score": NaN')
    write_annotations(tmp_path, text)
    table, problems = read_annotations("training", tmp_path)
    assert problems == []
    assert table is not None
    np.testing.assert_array_equal(table.image_sizes, [[48, 64], [40, 60]])
    assert table.category_ids == [7, 42]


EXPECTED = "Expected a JSON object with the lists images and annotations."
UNREADABLE = [
    (b"", f"training: annotations.json is empty. {EXPECTED}"),
    (b"\xef\xbb\xbf \n", f"training: annotations.json is empty. {EXPECTED}"),
    (
        b'{"images": [\n  {"id" 1}]}',
        "training: annotations.json is not valid JSON: line 2, column 9: Expecting ':' delimiter. Correct it there.",
    ),
    (
        b'{"images": [',
        "training: annotations.json is not valid JSON: line 1, column 13: Expecting value. Correct it there.",
    ),
    (b'{"images": "\xff"}', "training: annotations.json is not UTF-8 (byte 13). Save it as UTF-8 text."),
    ('{"images": []}'.encode("utf-16"), "training: annotations.json is UTF-16. Save it as UTF-8 text."),
    (
        [1, 2],
        "training: annotations.json holds a list [1, 2]; expected an object with the lists images and annotations.",
    ),
    (
        {"Images": [], "annotations": []},
        "training: annotations.json has no list \"images\"; its keys are 'Images', 'annotations'. "
        "Expected the lists images and annotations.",
    ),
    (
        {},
        'training: annotations.json has no list "images"; it has no keys. Expected the lists images and annotations.',
    ),
    (
        {"images": {}, "annotations": []},
        'training: annotations.json has an object {} as "images"; expected a list of objects.',
    ),
    (
        {"images": [], "annotations": [], "categories": "cat"},
        'training: annotations.json has the text "cat" as "categories"; expected a list of objects.',
    ),
    (b"[" * 200_000, "training: annotations.json is nested too deeply. Correct it there."),
    (
        b'{"images": [], "annotations": [' + b'{"a":' * 200_000,
        "training: annotations.json is nested too deeply. Correct it there.",
    ),
    (
        b'{"images": [], "annotations": [' + b"9" * 5000 + b"]}",
        "training: annotations.json holds a number with thousands of digits. Correct it there.",
    ),
]


OTHER_FILES = [
    (gzip.compress(b"{}", mtime=0), "compressed with gzip", "unpack it"),
    (b'{"image": "a"}\n{"image": "b"}\n', "a JSON Lines file", "convert it"),
    (b"<?xml version='1.0'?><annotation/>", "an XML file", "upload it again"),
    (b"<!DOCTYPE html><html>", "a web page", "upload it again"),
    (
        b"version https://git-lfs.github.com/spec/v1",
        "a Git LFS pointer, not the file itself",
        'fetch it with "git lfs pull"',
    ),
    (
        b"<Error><Code>AccessDenied</Code></Error>",
        "S3's error message AccessDenied, not the file itself",
        "download it again, with the permission to read it",
    ),
    (bytes(10), "full of zero bytes", "upload it again"),
    (b"\xff\xd8\xff\xe0", "a JPEG image", "upload it again"),
]


@pytest.mark.parametrize(("content", "name", "remedy"), OTHER_FILES)
def test_another_kind_of_file_is_called_what_it_is(tmp_path: Path, content: bytes, name: str, remedy: str) -> None:
    write_annotations(tmp_path, content)
    table, problems = read_annotations("training", tmp_path)
    assert table is None
    assert [problem.text for problem in problems] == [
        f"training: annotations.json is {name}. Expected a JSON object with the lists images and annotations: {remedy}."
    ]


@pytest.mark.parametrize(("content", "sentence"), UNREADABLE)
def test_a_file_that_is_no_annotation_file(tmp_path: Path, content: object, sentence: str) -> None:
    write_annotations(tmp_path, content)
    assert sentences(tmp_path) == [sentence]
    assert read_annotations("training", tmp_path)[0] is None


BBOX = "expected four finite numbers. Correct it in annotations.json."
PRINTABLE = (
    "expected text of at most 300 characters, without line breaks, control characters and halves of surrogate pairs. "
    "Correct it in annotations.json."
)
ENTRIES = [
    ("images.0", 5, "training images[0] is the number 5; expected an object. Correct it in annotations.json."),
    ("images.0.file_name", DELETED, "training images[0]: file_name is missing. Correct it in annotations.json."),
    (
        "images.0.file_name",
        17,
        "training images[0]: file_name is the number 17; expected text. Correct it in annotations.json.",
    ),
    ("images.0.id", None, "training images[0]: id is null. Correct it in annotations.json."),
    (
        "images.0.id",
        True,
        "training images[0]: id is the value true; expected a whole number or text. Correct it in annotations.json.",
    ),
    (
        "images.0.height",
        -1,
        "training images[0]: height is the number -1; expected a whole number of pixels, 1 or more, or 0 for unknown. "
        "Correct it in annotations.json.",
    ),
    (
        "images.0.width",
        10**30,
        f"training images[0]: width is the number {10**30}; expected a whole number of pixels, 1 or more, or 0 for "
        "unknown. Correct it in annotations.json.",
    ),
    (
        "annotations.1.bbox",
        DELETED,
        "training annotations[1], image 'a.jpg': bbox is missing. Correct it in annotations.json.",
    ),
    ("annotations.1.bbox", [1, 2, 3], f"training annotations[1], image 'a.jpg': bbox is a list [1, 2, 3]; {BBOX}"),
    ("annotations.1.bbox", [], f"training annotations[1], image 'a.jpg': bbox is a list []; {BBOX}"),
    (
        "annotations.1.bbox",
        [1, 2, 3, "4"],
        f"training annotations[1], image 'a.jpg': bbox is a list [1, 2, 3, \"4\"]; {BBOX}",
    ),
    (
        "annotations.1.bbox",
        [1, 2, 3, True],
        f"training annotations[1], image 'a.jpg': bbox is a list [1, 2, 3, true]; {BBOX}",
    ),
    (
        "annotations.1.bbox",
        [1, 2, 3, None],
        f"training annotations[1], image 'a.jpg': bbox is a list [1, 2, 3, null]; {BBOX}",
    ),
    (
        "annotations.1.bbox",
        [1, 2, 3, float("nan")],
        f"training annotations[1], image 'a.jpg': bbox is a list [1, 2, 3, NaN]; {BBOX}",
    ),
    (
        "annotations.1.bbox",
        [1, 2, 3, float("inf")],
        f"training annotations[1], image 'a.jpg': bbox is a list [1, 2, 3, Infinity]; {BBOX}",
    ),
    (
        "annotations.1.bbox",
        [1, 2, 3, 10**400],
        f"training annotations[1], image 'a.jpg': bbox is a list [1, 2, 3, 1{'0' * 69}...; {BBOX}",
    ),
    ("annotations.1.bbox", "1,2,3,4", f"training annotations[1], image 'a.jpg': bbox is the text \"1,2,3,4\"; {BBOX}"),
    (
        "annotations.1.category_id",
        DELETED,
        "training annotations[1], image 'a.jpg': category_id is missing. Correct it in annotations.json.",
    ),
    (
        "annotations.1.category_id",
        1.5,
        "training annotations[1], image 'a.jpg': category_id is the number 1.5; expected a whole number or text. "
        "Correct it in annotations.json.",
    ),
    (
        "annotations.1.image_id",
        [1],
        "training annotations[1]: image_id is a list [1]; expected a whole number or text. "
        "Correct it in annotations.json.",
    ),
    ("annotations.1", None, "training annotations[1] is null; expected an object. Correct it in annotations.json."),
    ("categories.0.name", DELETED, "training categories[0]: name is missing. Correct it in annotations.json."),
    (
        "categories.0.name",
        "do\ng",
        f'training categories[0]: name is the text "do\\ng"; {PRINTABLE}',
    ),
    ("categories.0.name", "\ud800", f'training categories[0]: name is the text "\\ud800"; {PRINTABLE}'),
    ("categories.0.name", "a\u2028b", f'training categories[0]: name is the text "a\\u2028b"; {PRINTABLE}'),
    ("categories.0.name", "a\x7fb", f'training categories[0]: name is the text "a\\u007fb"; {PRINTABLE}'),
    ("categories.0.id", "7\r", f'training categories[0]: id is the text "7\\r"; {PRINTABLE}'),
    ("images.0.id", "\udfff", f'training images[0]: id is the text "\\udfff"; {PRINTABLE}'),
    (
        "images.0.height",
        "\ud800",
        'training images[0]: height is the text "\\ud800"; expected a whole number of pixels, 1 or more, or 0 for '
        "unknown. Correct it in annotations.json.",
    ),
    (
        "annotations.1.image_id",
        "1\x85",
        f'training annotations[1]: image_id is the text "1\\u0085"; {PRINTABLE}',
    ),
    (
        "annotations.1.category_id",
        "\x1b[31m",
        f"training annotations[1], image 'a.jpg': category_id is the text \"\\u001b[31m\"; {PRINTABLE}",
    ),
    (
        "annotations.1.image_id",
        99,
        "training annotations[1]: image_id 99 is not the id of any image in images. "
        "Correct it or remove the annotation.",
    ),
    (
        "annotations.1.image_id",
        "1",
        "training annotations[1]: image_id '1' is not the id of any image in images. There is 1, which is a number. "
        "Correct it or remove the annotation.",
    ),
    (
        "annotations.1.category_id",
        9,
        "training annotations[1], image 'a.jpg': category_id 9 is not among the ids of categories (42, 7). "
        "Add it there or correct it.",
    ),
    (
        "images.1.id",
        1,
        "training images[1] 'b.png': id 1 already belongs to images[0] 'a.jpg'. Give every image an id of its own.",
    ),
    (
        "categories.2",
        {"id": 7, "name": "cow"},
        "training categories: id 7 is both 'cat' and 'cow'. Give every category an id of its own.",
    ),
]


@pytest.mark.parametrize(("path", "value", "sentence"), ENTRIES)
def test_an_entry_that_is_wrong(tmp_path: Path, path: str, value: object, sentence: str) -> None:
    write_annotations(tmp_path, changed(path, value))
    assert sentences(tmp_path) == [sentence]  # what refers to the entry is no mistake of its own


def test_ids_of_one_kind_that_are_all_wrong_are_one_sentence(tmp_path: Path) -> None:
    content = changed("images", GOOD["images"])
    for annotation in content["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
        annotation["category_id"] = {7: "cat", 42: "dog"}[annotation["category_id"]]
    write_annotations(tmp_path, content)
    assert sentences(tmp_path) == [
        "training annotations[0]: image_id '1' is not the id of any image in images, and so with 2 more annotations. "
        "There is 1, which is a number. Correct it or remove the annotation.",
        "training annotations[0]: category_id 'cat' is not among the ids of categories (42, 7), and so with 2 more "
        "annotations. It is the name of id 7: write that. Add it there or correct it.",
    ]


def test_each_unknown_id_is_one_sentence(tmp_path: Path) -> None:
    content = changed("annotations", [{**GOOD["annotations"][0], "image_id": id_} for id_ in (1, 8, 9, 8, 8)])
    write_annotations(tmp_path, content)
    assert [text.split(" is not the id of any image in images")[0] for text in sentences(tmp_path)] == [
        "training annotations[1]: image_id 8",
        "training annotations[2]: image_id 9",
    ]
    assert "and so with 2 more annotations" in sentences(tmp_path)[0]


@pytest.mark.parametrize("patient", [False, True])
def test_sizes_of_0_are_unknown_and_counted(tmp_path: Path, patient: bool) -> None:
    content = changed("images.0.height", 0)
    content["images"][1]["width"] = 0.0 if patient else 0
    write_annotations(tmp_path, content)
    table, problems = read_annotations("training", tmp_path)
    assert table is not None
    assert (problems, table.image_sizes.tolist()) == ([], [[0, 64], [40, 0]])
    assert table.notes == ("training: 2 images have a height or width of 0, which is unknown: their files say it.",)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([1, 2, 3, 4, 30], "(a rotated box or a polygon has more; write the upright box around it)"),
        ([], "(there is a segmentation; write the box around it)"),
        (None, "bbox is null; there is a segmentation: write the box around it."),
        (DELETED, "bbox is missing; there is a segmentation: write the box around it."),
    ],
)
def test_shape_that_is_no_box_is_told_with_the_way_out(tmp_path: Path, value: object, sentence: str) -> None:
    content = changed("annotations.1.bbox", value)
    content["annotations"][1]["segmentation"] = [[1, 2, 30, 40, 5, 60]]
    write_annotations(tmp_path, content)
    (told,) = sentences(tmp_path)
    assert sentence in told


def test_rotated_boxes_are_refused_and_counted(tmp_path: Path) -> None:
    content = changed("annotations.1.attributes", {"rotation": 12.5, "occluded": True})
    content["annotations"][2]["attributes"] = {"rotation": 30.0}
    write_annotations(tmp_path, content)
    assert sentences(tmp_path) == [
        "training: 2 boxes are rotated, as attributes.rotation says; first: annotations[1] with attributes.rotation "
        "12.5. Expected upright boxes. Write the upright box around each object into annotations.json and leave "
        "attributes.rotation out; if the boxes are upright already, leave it out."
    ]


def test_keys_beside_the_box_that_change_nothing_are_told_once(tmp_path: Path) -> None:
    content = changed("annotations.1.rbox", [1, 2, 3, 4, 5])
    content["annotations"][0]["bbox_type"] = "loose"
    write_annotations(tmp_path, content)
    table, problems = read_annotations("training", tmp_path)
    assert table is not None
    assert problems == []
    assert table.notes == (
        "training: 1 annotation has bbox_type, a word that is not known, which has no effect: bbox alone is read. "
        'First: annotations[0] with "loose".',
        "training: 1 annotation has rbox, a rotated box, which has no effect: bbox alone is read. First: "
        "annotations[1] with [1, 2, 3, 4, 5].",
    )


def test_every_wrong_entry_is_named_and_the_right_ones_are_kept(tmp_path: Path) -> None:
    content = changed("annotations.0.bbox", "none")
    content["images"].append({"id": 3})
    content["annotations"].append({"image_id": 2, "bbox": [1, 2, 3, 4]})
    write_annotations(tmp_path, content)
    table, problems = read_annotations("training", tmp_path)
    assert [problem.text.split(":")[0] for problem in problems] == [
        "training images[2]",
        "training annotations[0], image 'a.jpg'",
        "training annotations[3], image 'b.png'",
    ]
    assert table is not None
    np.testing.assert_array_equal(table.box_rows, [1, 2])
    assert table.file_names == ["a.jpg", "b.png"]


def test_a_missing_file_tells_what_is_there_instead(tmp_path: Path) -> None:
    channel = tmp_path / "training"
    (start,) = sentences(channel)
    assert start == (
        f"training: the channel's folder {channel} does not exist. Expected annotations.json next to a folder "
        "images/, or the manifest of a bounding box job."
    )
    channel.mkdir()
    assert sentences(channel) == [
        f"training: annotations.json is missing; {channel} is empty. "
        f"Expected annotations.json next to a folder images/, or the manifest of a bounding box job."
    ]
    write_annotations(channel / "data", GOOD)
    (channel / "notes.txt").touch()
    assert sentences(channel) == [
        f"training: annotations.json is missing; {channel} holds 'data/', 'notes.txt'. Expected annotations.json next "
        "to a folder images/, or the manifest of a bounding box job. There is one in data/: let the channel's S3 path "
        "end in data/."
    ]


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").mkdir()
    assert sentences(tmp_path) == [
        f"training: {tmp_path / 'annotations.json'} cannot be read (Is a directory). "
        f"Expected annotations.json next to a folder images/."
    ]


TWICE = [
    (b'{"images": [], "images": [], "annotations": []}', "images"),
    (b'{"images": [{"file_name": "a.jpg", "id": 1, "file_name": "b.jpg"}], "annotations": []}', "file_name"),
    (
        b'{"images": [], "annotations": [{"bbox": [1, 2, 3, 4], "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]'
        b"}",
        "bbox",
    ),
]


@pytest.mark.parametrize(("content", "key"), TWICE)
def test_a_key_that_is_given_twice_is_named(tmp_path: Path, content: bytes, key: str) -> None:
    write_annotations(tmp_path, content)
    assert sentences(tmp_path) == [
        f"training: annotations.json gives {key!r} twice in one object. Give every key once."
    ]


def test_keys_that_stand_elsewhere_are_not_given_twice(tmp_path: Path) -> None:
    content = changed("annotations.0.segments_info", [{"bbox": [1, 2, 3, 4]}, {"bbox": [1, 2, 3, 4]}])
    content["categories"][0]["name"] = "images"
    write_annotations(tmp_path, content)
    table, problems = read_annotations("training", tmp_path)
    assert problems == []
    assert table is not None
    assert table.categories == {42: "images", 7: "cat"}


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    write_annotations(tmp_path, GOOD)
    os.truncate(tmp_path / "annotations.json", 2**31 + 1)  # a hole, which takes no room
    assert sentences(tmp_path) == [
        f"training: {tmp_path / 'annotations.json'} cannot be read (Has 2147483649 bytes, and at most 2147483648 are "
        "read). Leave out what is not needed, such as segmentations, or train on fewer images."
    ]


def test_a_pipe_in_place_of_the_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "annotations.json")
    assert sentences(tmp_path) == [
        f"training: {tmp_path / 'annotations.json'} cannot be read (Is a pipe). "
        f"Expected annotations.json next to a folder images/."
    ]


def test_a_channel_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, who may do anything.
    def refuse(_: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert sentences(tmp_path) == [
        f"training: annotations.json is missing; {tmp_path} cannot be listed (Permission denied). "
        f"Expected annotations.json next to a folder images/, or the manifest of a bounding box job."
    ]


def test_names_and_ids_in_any_script_are_fine(tmp_path: Path) -> None:
    content = changed("categories.0.name", "犬 🐕‍🦺 é")
    write_annotations(tmp_path, content)
    table, problems = read_annotations("training", tmp_path)
    assert problems == []
    assert table is not None
    assert table.categories == {42: "犬 🐕‍🦺 é", 7: "cat"}


@pytest.mark.nightly
def test_a_file_of_the_size_of_coco_is_read_in_seconds_and_little_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [{"file_name": f"{i:012d}.jpg", "height": 480, "width": 640, "id": 5 * i} for i in range(118_000)]
    corners = np.sort(random.uniform(0, 400, (860_000, 2, 2)), axis=1).round(2).reshape(-1, 4).tolist()
    owners = random.integers(0, 118_000, 860_000).tolist()
    annotations = [
        {"id": i, "image_id": 5 * owner, "bbox": box, "category_id": 1}
        for i, (owner, box) in enumerate(zip(owners, corners, strict=True))
    ]
    write_annotations(tmp_path, {"images": images, "annotations": annotations})
    del images, annotations, corners, owners
    # In a process of its own: its peak memory is then this function's.
    script = (
        "import resource, sys, pathlib; "
        "from sagemaker_object_detection.dataset.annotation_file import read_annotations; "
        "start = resource.getrusage(resource.RUSAGE_SELF); "
        "table, problems = read_annotations('training', pathlib.Path(sys.argv[1])); "
        "end = resource.getrusage(resource.RUSAGE_SELF); "
        "print(len(table.bboxes), len(problems), end.ru_utime - start.ru_utime, "
        "(end.ru_maxrss - start.ru_maxrss) / 1024)"
    )
    ran = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    boxes, problems, seconds, megabytes = (float(word) for word in ran.stdout.split())
    assert (boxes, problems) == (860_000, 0)
    # Measured: 1 second, and 380 MB, a third of which is the file.
    assert seconds < 10
    assert megabytes < 600


@pytest.mark.parametrize(
    ("key", "value"),
    [("id", "2"), ("height", "48"), ("category_id", "7"), ("image_id", "1"), ("name", '"dog"'), ("iscrowd", "0")],
)
def test_no_key_may_be_given_twice(tmp_path: Path, key: str, value: str) -> None:
    content = changed("annotations.0.iscrowd", 0)
    text = json.dumps(content).replace(f'"{key}":', f'"{key}": {value}, "attributes": {{}}, "{key}":', 1)
    write_annotations(tmp_path, text)
    assert sentences(tmp_path) == [
        f"training: annotations.json gives '{key}' twice in one object. Give every key once."
    ]


def test_ids_of_the_other_type_are_found_among_many(tmp_path: Path) -> None:
    categories = [{"id": 7, "name": "cat"}, {"id": "42", "name": "dog"}]
    write_annotations(tmp_path, {**changed("annotations.0.category_id", "7"), "categories": categories})
    hints = [text.rpartition(" There is ")[2] for text in sentences(tmp_path)]
    assert hints == ["7, which is a number. Add it there or correct it."]
