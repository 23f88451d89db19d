"""The COCO figures against pycocotools, and what becomes of figures without ground truth."""

import contextlib
import io

import numpy as np
import pytest
from made_detections import make_dataset, nothing, random_case
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.evaluation.coco import FIGURES, DetectionSet, coco_figures


def by_pycocotools(dataset: Dataset, detections: DetectionSet) -> np.ndarray:
    def pixels(box, size):
        ymin, xmin, ymax, xmax = (float(side) for side in box)
        return [xmin * size[1], ymin * size[0], (xmax - xmin) * size[1], (ymax - ymin) * size[0]]

    truth, results = [], []
    for image in range(len(dataset.file_names)):
        for row in range(dataset.offsets[image], dataset.offsets[image + 1]):
            box = pixels(dataset.boxes[row], dataset.sizes[image])
            truth.append(
                {
                    "id": row + 1,
                    "image_id": image,
                    "category_id": int(dataset.classes[row]),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        for row in range(detections.count[image]):
            results.append(
                {
                    "image_id": image,
                    "category_id": int(detections.classes[image, row]),
                    "bbox": pixels(detections.boxes[image, row], dataset.sizes[image]),
                    "score": float(detections.scores[image, row]),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number} for number in range(len(dataset.file_names))],
            "annotations": truth,
            "categories": [{"id": number} for number in range(len(dataset.labels))],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(4))
def test_the_twelve_figures_equal_pycocotools(seed):
    dataset, detections = random_case(seed)
    expected = {
        name: value for name, value in zip(FIGURES, by_pycocotools(dataset, detections), strict=True) if value >= 0
    }
    assert dict(coco_figures(dataset, detections).overall) == pytest.approx(expected, abs=1e-6)


def test_nothing_detected_is_zero():
    dataset = make_dataset([[[0, 0, 50, 50]], []], [[1], []], [(100, 100), (80, 90)])
    figures = coco_figures(dataset, nothing(2))
    assert (figures.overall["mAP"], figures.overall["mAP_50"]) == (0.0, 0.0)


def test_a_data_set_without_boxes_has_no_figures():
    figures = coco_figures(make_dataset([[], []], [[], []], [(100, 100)] * 2), nothing(2))
    assert figures.overall == {}
    assert figures.per_class == {}


def test_per_class_figures_leave_out_classes_without_ground_truth():
    dataset = make_dataset([[[10, 10, 60, 60]]], [[2]], [(100, 100)])
    perfect = DetectionSet(dataset.boxes[None], np.ones((1, 1), np.float32), np.array([[2]]), np.array([1]))
    figures = coco_figures(dataset, perfect)
    assert dict(figures.per_class) == {"c": {"mAP": pytest.approx(1.0), "mAP_50": pytest.approx(1.0)}}
    assert figures.overall["mAP"] == pytest.approx(1.0)
    assert "mAP_large" not in figures.overall
