"""The built-in algorithm's response: normalised boxes, class indices and scores, best first."""

from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.annotations import Labels


@dataclass(frozen=True)
class Response:
    """What one image is answered with.

    normalized_boxes: [xmin, ymin, xmax, ymax] from the top left corner, in [0, 1]. The developer guide prints another
    order, (xmin, xmax, ymin, ymax); what the built-in really sends is this one (aws/amazon-sagemaker-examples#3852).
    classes: 0-based indices into `labels`.
    """

    normalized_boxes: list[list[float]]
    classes: list[int]
    scores: list[float]
    labels: list[str]


def response(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, labels: Labels) -> Response:
    """From detections: boxes float32 [D, 4] ymin xmin ymax xmax, scores float32 [D], classes int [D], 0-based."""
    return Response(
        normalized_boxes=[[round(float(side), 6) for side in box] for box in boxes[:, [1, 0, 3, 2]]],
        classes=[int(index) for index in classes],
        scores=[round(float(score), 6) for score in scores],
        labels=list(labels.names),
    )
