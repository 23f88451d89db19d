"""The response and its drawing."""

import numpy as np
from PIL import Image

from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.serving.drawing import draw
from sagemaker_object_detection.serving.response import Response, response

LABELS = Labels(ids=(7, 42), names=("cat", "dog"))


def outputs(count: int) -> dict[str, object]:
    """As the SavedModel gives them for one image: rows past the count are 0."""
    return {
        "num_detections": float(count),
        "detection_boxes": [[0.1, 0.2, 0.3, 0.4], [0.0] * 4],
        "detection_scores": [0.9, 0.0],
        "detection_classes": [2.0, 0.0],
    }


def test_boxes_are_xmin_ymin_xmax_ymax_and_classes_index_the_labels():
    answer = response(outputs(1), LABELS)
    assert answer == Response(normalized_boxes=[[0.2, 0.1, 0.4, 0.3]], classes=[1], scores=[0.9], labels=["cat", "dog"])
    assert answer.labels[answer.classes[0]] == "dog"


def test_no_detection_is_an_empty_answer():
    answer = response(outputs(0), LABELS)
    assert (answer.normalized_boxes, answer.classes, answer.scores) == ([], [], [])


def changed_pixels(before: Image.Image, after: Image.Image) -> np.ndarray:
    """bool [height, width]"""
    return (np.asarray(before) != np.asarray(after)).any(axis=2)


def test_a_box_is_drawn_where_it_is_and_named():
    image = Image.new("RGB", (400, 200), "white")
    answer = Response([[0.5, 0.5, 0.75, 0.9]], [0], [0.8], ["cat"])
    changed = changed_pixels(image, draw(image, answer, 0.3))
    rows, columns = np.nonzero(changed)
    assert abs(columns.min() - 200) <= 1
    assert abs(columns.max() - 300) <= 1
    assert abs(rows.max() - 180) <= 1
    assert rows.min() < 98  # the label stands above its box
    assert not changed[110:170, 210:290].any()  # and the object stays to be seen
    assert not changed_pixels(image, Image.new("RGB", (400, 200), "white")).any()


def test_detections_below_the_threshold_are_not_drawn():
    image = Image.new("RGB", (100, 100), "white")
    answer = Response([[0.1, 0.1, 0.9, 0.9]], [0], [0.29], ["cat"])
    assert not changed_pixels(image, draw(image, answer, 0.3)).any()


def test_labels_at_every_edge_stay_inside_the_picture():
    image = Image.new("RGB", (120, 60), "white")
    corners = [[0, 0, 0.2, 0.2], [0.8, 0, 1, 0.2], [0, 0.8, 0.2, 1], [0.8, 0.8, 1, 1], [0, 0, 1, 1]]
    drawn = draw(image, Response(corners, [0] * 5, [0.9] * 5, ["a rather long label"]), 0.3)
    assert drawn.size == (120, 60)


def test_a_tiny_grey_picture_can_be_drawn_on():
    answer = Response([[0, 0, 1, 1]], [0], [0.9], ["cat"])
    assert draw(Image.new("L", (1, 1)), answer, 0.3).size == (1, 1)
