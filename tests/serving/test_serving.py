"""The response."""

from sagemaker_object_detection.dataset.annotations import Labels
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
