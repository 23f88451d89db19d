"""Which keys beside a box change its meaning, whatever else stands in the file."""

import json

import pytest

from sagemaker_object_detection.dataset.box_keys import ROTATED, find_box_keys
from sagemaker_object_detection.hyperparameters.table import BBOX_FORMATS


def found(*annotations, **others):
    keys = find_box_keys(json.dumps({"annotations": annotations, **others}).encode())
    return [(key.key, key.rows, key.value, key.says) for key in keys]


@pytest.mark.parametrize("key", ["rotation", "angle", "theta"])
@pytest.mark.parametrize("value", [30, -0.5, "12", 180, 90.0])
def test_rotation_is_found(key, value):
    assert found({}, {key: value}) == [(key, [1], json.dumps(value), ROTATED)]
    assert found({"attributes": {key: value}}) == [(f"attributes.{key}", [0], json.dumps(value), ROTATED)]


@pytest.mark.parametrize("value", [0, 0.0, "0", 360, -360.0, None, "frontal", True, [], {}, 10**400])
def test_no_rotation(value):
    assert found({"angle": value}, {"attributes": {"angle": value}}, {"attributes": [value]}) == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "xyxy"),
        (1, "xywh"),
        (4, ROTATED),
        ("BoxMode.XYWH_ABS", "xywh"),
        ("XYXY_REL", "xyxy_normalized"),
        ("YOLO", "cxcywh_normalized"),
        ("pascal voc", "xyxy"),
        ("rel-xywh", "xywh_normalized"),
        ("tight", None),
        (7, None),
        (True, None),
        ([1], None),
        *((value, value) for value in BBOX_FORMATS),
    ],
)
def test_word_for_the_convention(value, says):
    assert found({"bbox_mode": value}) == [("bbox_mode", [0], json.dumps(value), says)]


def test_rows_are_gathered_by_key_and_meaning():
    assert found({"bbox_mode": 1}, {"bbox_mode": 0}, {"bbox_mode": "xywh"}, {"rbox": [1]}, {"rbox": []}) == [
        ("bbox_mode", [0, 2], "1", "xywh"),
        ("bbox_mode", [1], "0", "xyxy"),
        ("rbox", [3], "[1]", ""),
    ]


def test_keys_elsewhere_do_not_matter():
    assert found({"id": 1}, images=[{"rotation": 90}], info={"angle": 3}) == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b'{"rotation": 1}', b'{"annotations": {"rotation": 5}}', b'["rotation"]', b'\xff "rotation"'],
)
def test_what_is_no_annotation_file_has_none(raw):
    assert find_box_keys(raw) == []


def test_entries_are_read_past_those_that_are_none():
    assert [key.rows for key in find_box_keys(b'{"annotations": [null, 3, {"angle": 5, "score": NaN}]}')] == [[2]]
