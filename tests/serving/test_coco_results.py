"""Boxes of answers as COCO's results have them."""

import os

import pytest

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving.coco_results import coco_results, image_ids


def test_no_pipe_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "annotations.json")
    with pytest.raises(UserError, match=r"annotations.json' cannot be read \(Is a pipe\); expected JSON with a list"):
        image_ids([], tmp_path / "annotations.json")


def test_boxes_are_corner_and_extent_in_thousandths_of_a_pixel():
    boxes = [[0.25, 0.5, 1 / 3, 0.75], [0.0, 0.0, 1.0, 1.0]]
    answer = {"normalized_boxes": boxes, "classes": [1, 0], "scores": [0.9, 0.1234]}
    assert coco_results(answer, "a.jpg", (100, 1000), (7, "x")) == [
        {"image_id": "a.jpg", "category_id": "x", "bbox": [250.0, 50.0, 83.333, 25.0], "score": 0.9},
        {"image_id": "a.jpg", "category_id": 7, "bbox": [0.0, 0.0, 1000.0, 100.0], "score": 0.1234},
    ]
