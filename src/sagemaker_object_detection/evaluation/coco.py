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
"""Our names for the twelve COCO figures, in the order in which the evaluation returns them. Where more than 100
detections of an image are counted, the number in AR_100 is theirs."""
COCO_DETECTIONS = 100
"""Of an image, that COCO's figures count."""
_AT_ONCE = 2**16
"""Detections, of whole images, that are matched at a time: as annotations they take ten times as much memory as
matched."""


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


def coco_figures(dataset: Dataset, detections: DetectionSet, max_detections: int = COCO_DETECTIONS) -> CocoFigures:
    """Mean average precision and recall as pycocotools defines them, in original pixels.

    Ignored regions are crowds there. A detection of their class of which enough lies in one is neither right nor wrong.
    At most 100 detections of an image are counted, or `max_detections` if that is more: the figures are then those of
    pycocotools with `maxDets = [1, 10, max_detections]`.

    A figure without any ground truth behind it (no large box, say) is left out. The overall figures are 0 where the
    data set has boxes but nothing was detected.
    """
    limit = max(COCO_DETECTIONS, max_detections)
    evaluation = _evaluated(_ground_truth(dataset), dataset, detections, limit)
    evaluation.accumulate()
    evaluation.summarize()
    names = [name.replace("AR_100", f"AR_{limit}") for name in FIGURES]
    overall = {name: float(value) for name, value in zip(names, evaluation.stats, strict=False) if value >= 0.0}
    # precision: [IoU thresholds, recall thresholds, classes, areas, detection limits]; area 0 is "all", limit -1 the
    # highest
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    per_class = {
        name: {"mAP": float(precision[:, :, index].mean()), "mAP_50": float(precision[0, :, index].mean())}
        for index, name in enumerate(dataset.labels.names)
        if (precision[:, :, index] >= 0.0).all()
    }
    return CocoFigures(overall, per_class)


def _evaluated(truth: COCO, dataset: Dataset, detections: DetectionSet, limit: int) -> COCOeval_faster:
    """Ready to be accumulated: every image matched, as many at a time as have _AT_ONCE detections."""
    images = len(dataset.file_names)
    step = max(1, _AT_ONCE // max(1, detections.scores.shape[1]))
    cells: list[list[object]] = []  # for each class and area what came of the images
    for first in range(0, images, step):
        chosen = range(first, min(first + step, images))
        evaluation = COCOeval_faster(truth, iouType="bbox", print_function=_silent, separate_eval=True)
        evaluation.params.maxDets = [1, 10, limit]
        evaluation.params.imgIds = list(chosen)
        evaluation.cocoDt = _results(dataset, detections, chosen)
        evaluation.evaluate()
        found = evaluation._evalImgs_cpp
        parts = [found[place : place + len(chosen)] for place in range(0, len(found), len(chosen))]
        cells = [old + new for old, new in zip(cells, parts, strict=True)] if cells else parts
    evaluation._evalImgs_cpp = [image for cell in cells for image in cell]
    evaluation._paramsEval.imgIds = list(range(images))
    return evaluation


def _silent(*_: object) -> None:
    """faster-coco-eval prints its tables through a function; a training log does not want them."""


def _ground_truth(dataset: Dataset) -> COCO:
    annotations: list[dict[str, object]] = []
    for iscrowd, rows in enumerate((dataset, dataset.ignored)):
        if rows is None:
            continue
        image_of_box = np.repeat(np.arange(len(dataset.file_names)), np.diff(rows.offsets))
        corners = to_xyxy_pixels(rows.boxes, dataset.sizes[image_of_box])
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(float)
        columns = zip(image_of_box.tolist(), rows.classes.tolist(), boxes.tolist(), strict=True)
        for number, (image, category, box) in enumerate(columns, len(annotations) + 1):
            found = {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": iscrowd}
            annotations.append({**found, "area": box[2] * box[3]})
    sizes = enumerate(dataset.sizes.tolist())
    images = [{"id": number, "height": height, "width": width} for number, (height, width) in sizes]
    categories = [{"id": number, "name": name} for number, name in enumerate(dataset.labels.names)]
    content = {"images": images, "annotations": annotations, "categories": categories, "info": {}}
    return COCO(content, print_function=_silent)


def _results(dataset: Dataset, detections: DetectionSet, images: range) -> COCO:
    """The detections of some images. `COCO.loadRes` would make polygons of them besides."""
    annotations: list[dict[str, object]] = []
    for image in images:
        count = int(detections.count[image])
        size = np.broadcast_to(dataset.sizes[image], (count, 2))
        corners = to_xyxy_pixels(detections.boxes[image, :count], size)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        columns = (boxes, detections.scores[image, :count], detections.classes[image, :count])
        for box, score, category in zip(*(column.tolist() for column in columns), strict=True):
            place = {"id": len(annotations) + 1, "image_id": image, "category_id": category, "iscrowd": 0}
            annotations.append({**place, "bbox": box, "area": box[2] * box[3], "score": score})
    categories = [{"id": number, "name": name} for number, name in enumerate(dataset.labels.names)]
    content = {"images": [{"id": image} for image in images], "annotations": annotations, "categories": categories}
    return COCO(content, print_function=_silent)
