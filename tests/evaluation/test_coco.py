"""The COCO figures against pycocotools, and what becomes of figures without ground truth."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sagemaker_object_detection.dataset.annotations import Dataset, Labels
from sagemaker_object_detection.evaluation.coco import FIGURES, DetectionSet, coco_figures
from sagemaker_object_detection.geometry.boxes import from_xyxy_pixels


def make_dataset(corners: list[list[list[float]]], classes: list[list[int]], sizes, names=("a", "b", "c")) -> Dataset:
    """Corner boxes in pixels per image."""
    counts = [len(boxes) for boxes in corners]
    sizes = np.array(sizes, np.int32)
    flat = np.array([box for boxes in corners for box in boxes], float).reshape(-1, 4)
    return Dataset(
        images=Path("images"),
        file_names=tuple(f"{number}.jpg" for number in range(len(corners))),
        sizes=sizes,
        orientations=np.ones(len(corners), np.uint8),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=from_xyxy_pixels(flat, np.repeat(sizes, counts, axis=0)),
        classes=np.array([index for image in classes for index in image], np.int32),
        labels=Labels(ids=tuple(range(len(names))), names=tuple(names)),
        fingerprint="",
    )


def random_case(seed: int) -> tuple[Dataset, DetectionSet]:
    """Twelve images; detections are ground truth moved a little, some of another class, and some from nowhere."""
    random = np.random.default_rng(seed)
    corners, classes, sizes, found = [], [], [], []
    for _ in range(12):
        height, width = (int(side) for side in random.integers(100, 500, 2))
        top_left = random.uniform(0, 0.6, (int(random.integers(0, 5)), 2)) * [width, height]
        extent = random.uniform(0.03, 0.4, top_left.shape) * [width, height]
        boxes = np.concatenate([top_left, top_left + extent], axis=1)
        kinds = random.integers(0, 3, len(boxes))
        noisy = boxes + random.normal(0, 0.06, boxes.shape) * np.tile(extent, 2)
        stray = np.tile(random.uniform(0, 0.5, (3, 2)) * [width, height], 2) + np.array([0, 0, 30, 40])
        candidates = np.concatenate([noisy, noisy + 3, stray])
        guessed = np.concatenate([kinds, (kinds + random.integers(0, 2, len(kinds))) % 3, random.integers(0, 3, 3)])
        scores = np.sort(random.uniform(0, 1, len(candidates)))[::-1]
        order = random.permutation(len(candidates))
        found.append((from_xyxy_pixels(candidates[order], np.array([height, width])), scores, guessed[order]))
        corners.append(boxes.tolist())
        classes.append(kinds.tolist())
        sizes.append((height, width))
    detections = DetectionSet(
        boxes=np.zeros((12, 20, 4), np.float32),
        scores=np.zeros((12, 20), np.float32),
        classes=np.zeros((12, 20), np.int32),
        count=np.array([len(scores) for _, scores, _ in found], np.int32),
    )
    for number, (boxes, scores, guessed) in enumerate(found):
        detections.boxes[number, : len(scores)] = boxes
        detections.scores[number, : len(scores)] = scores
        detections.classes[number, : len(scores)] = guessed
    return make_dataset(corners, classes, sizes), detections


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


def nothing(images: int) -> DetectionSet:
    return DetectionSet(
        np.zeros((images, 5, 4), np.float32),
        np.zeros((images, 5), np.float32),
        np.zeros((images, 5), np.int32),
        np.zeros(images, np.int32),
    )


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
