"""The COCO detection figures, computed by faster-coco-eval from one data set and its detections."""

from dataclasses import dataclass

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.evaluation.evaluation import CocoFigures
from sagemaker_object_detection.geometry.boxes import to_xyxy_pixels

FIGURES = (
    "mAP", "mAP_50", "mAP_75", "mAP_small", "mAP_medium", "mAP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
"""Our names for the twelve COCO figures, in the order in which the evaluation returns them."""


@dataclass(frozen=True, eq=False)
class DetectionSet:
    """The detections of a whole data set, image by image in its order.

    boxes: float32 [N, D, 4], ymin xmin ymax xmax, normalised to the image; scores: float32 [N, D], falling; classes:
    int32 [N, D], 0-based; count: int32 [N], how many of the D are real. losses: float32 [N], localization and
    classification together, None where they were not measured.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    count: np.ndarray
    losses: np.ndarray | None = None


def coco_figures(dataset: Dataset, detections: DetectionSet) -> CocoFigures:
    """Mean average precision and recall as pycocotools defines them, in original pixels, at most 100 per image.

    A figure without any ground truth behind it (no large box, say) is left out. The overall figures are 0 where the
    data set has boxes but nothing was detected.
    """
    evaluation = COCOeval_faster(_ground_truth(dataset), iouType="bbox", print_function=_silent)
    evaluation.cocoDt = evaluation.cocoGt.loadRes(_results(dataset, detections))
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    overall = {name: float(value) for name, value in zip(FIGURES, evaluation.stats, strict=False) if value >= 0.0}
    # precision: [IoU thresholds, recall thresholds, classes, areas, detection limits]; area 0 is "all", limit -1 is 100
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    per_class = {
        name: {"mAP": float(precision[:, :, index].mean()), "mAP_50": float(precision[0, :, index].mean())}
        for index, name in enumerate(dataset.labels.names)
        if (precision[:, :, index] >= 0.0).all()
    }
    return CocoFigures(overall, per_class)


def _silent(*_: object) -> None:
    """faster-coco-eval prints its tables through a function; a training log does not want them."""


def _ground_truth(dataset: Dataset) -> COCO:
    image_of_box = np.repeat(np.arange(len(dataset.file_names)), np.diff(dataset.offsets))
    corners = to_xyxy_pixels(dataset.boxes, dataset.sizes[image_of_box])
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(float)
    columns = zip(image_of_box.tolist(), dataset.classes.tolist(), boxes.tolist(), strict=True)
    annotations = [
        {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, (image, category, box) in enumerate(columns, 1)
    ]
    sizes = enumerate(dataset.sizes.tolist())
    images = [{"id": number, "height": height, "width": width} for number, (height, width) in sizes]
    categories = [{"id": number, "name": name} for number, name in enumerate(dataset.labels.names)]
    content = {"images": images, "annotations": annotations, "categories": categories, "info": {}}
    return COCO(content, print_function=_silent)


def _results(dataset: Dataset, detections: DetectionSet) -> np.ndarray:
    """float64 [total, 7]: image, x, y, width, height, score, class; the array form that `loadRes` takes."""
    real = np.arange(detections.scores.shape[1]) < detections.count[:, None]
    image = np.nonzero(real)[0]
    corners = to_xyxy_pixels(detections.boxes[real], dataset.sizes[image])
    extents = corners[:, 2:] - corners[:, :2]
    columns = [image, corners[:, :2], extents, detections.scores[real], detections.classes[real]]
    return np.column_stack([column.astype(np.float64) for column in columns])
