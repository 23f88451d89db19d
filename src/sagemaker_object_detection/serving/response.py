"""The built-in algorithm's response, for the rest of this package."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagemaker_object_detection.artifact.inference import respond
from sagemaker_object_detection.dataset.annotations import Labels


@dataclass(frozen=True)
class Response:
    """What one image is answered with; the fields are described in `artifact.inference.respond`."""

    normalized_boxes: list[list[float]]
    classes: list[int]
    scores: list[float]
    labels: list[str]


def response(outputs: Mapping[str, Any], labels: Labels) -> Response:
    """From the outputs for one image, as `Predictor` gives them."""
    return Response(**respond(outputs, labels.names), labels=list(labels.names))
