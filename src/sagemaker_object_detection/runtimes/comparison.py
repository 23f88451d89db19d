"""How good an exported file is beside the SavedModel: the COCO figures of both on the same labelled images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.evaluation.coco import DetectionSet, coco_figures
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.images.decoding import decode

FIGURES = {"mAP": "mAP@[.5:.95]", "mAP_50": "mAP@.5"}
"""Those that are compared, and what people call them."""


@dataclass(frozen=True, eq=False)
class Found:
    """The detections in an image, best first; rows past `count` mean nothing."""

    boxes: np.ndarray
    """float32 [D, 4], ymin xmin ymax xmax; [0, 1] spans the image."""
    scores: np.ndarray
    """float32 [D]."""
    classes: np.ndarray
    """int32 [D], 0-based."""
    count: int


Detect = Callable[[np.ndarray], Found]
"""Takes an image as displayed, uint8 [height, width, 3]."""


@dataclass(frozen=True)
class Comparison:
    """The FIGURES of the SavedModel and of the exported file."""

    images: int
    reference: dict[str, float]
    exported: dict[str, float]

    @property
    def loss(self) -> float:
        """How much the exported file is worse, in the figure in which it loses more; negative if it is better."""
        return max(self.reference[name] - self.exported[name] for name in FIGURES)

    def table(self, name: str) -> str:
        """For people. name: of the exported file's form."""
        lines = [f"{f'{self.images} images':<16}{'SavedModel':>12}{name:>18}"]
        for figure, title in FIGURES.items():
            lines.append(f"{title:<16}{self.reference[figure]:>12.4f}{self.exported[figure]:>18.4f}")
        return "\n".join(lines)


def compare(dataset: Dataset, reference: Detect, exported: Detect) -> Comparison:
    """Lets both detect the objects of a data set."""
    found: tuple[list[Found], list[Found]] = ([], [])
    for image in pixels(dataset):
        for rows, detect in zip(found, (reference, exported), strict=True):
            rows.append(detect(image))
    return Comparison(len(dataset.file_names), *(_figures(dataset, rows) for rows in found))


def pixels(dataset: Dataset, most: int | None = None) -> Iterator[np.ndarray]:
    """The images of a data set as displayed, uint8 [height, width, 3]: all, or `most` that are spread over it."""
    count = len(dataset.file_names)
    for index in np.unique(np.linspace(0, count - 1, min(count, most or count)).round().astype(int)).tolist():
        contents, orientation = tf.constant(read_regular(dataset.path(index))), tf.constant(dataset.orientations[index])
        yield decode(contents, orientation, sample_bits=dataset.sample_bits).numpy()


def saved_model_detect(outputs_of: Callable[[list[np.ndarray]], list[dict[str, Any]]]) -> Detect:
    """The SavedModel's detections. outputs_of: `Predictor.pixels` (serving/predictor.py)."""

    def detect(image: np.ndarray) -> Found:
        (outputs,) = outputs_of([image])
        return Found(
            np.array(outputs["detection_boxes"], np.float32),
            np.array(outputs["detection_scores"], np.float32),
            np.array(outputs["detection_classes"], np.int32) - 1,
            int(outputs["num_detections"]),
        )

    return detect


def _figures(dataset: Dataset, found: list[Found]) -> dict[str, float]:
    detections = DetectionSet(
        boxes=np.stack([each.boxes for each in found]),
        scores=np.stack([each.scores for each in found]),
        classes=np.stack([each.classes for each in found]),
        count=np.array([each.count for each in found], np.int32),
    )
    overall = coco_figures(dataset, detections, detections.scores.shape[1]).overall
    return {name: overall.get(name, 0.0) for name in FIGURES}
