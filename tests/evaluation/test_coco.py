"""The COCO figures against pycocotools, and what becomes of figures without ground truth."""

import contextlib
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_channels import write_annotations
from made_detections import crowded_case, make_dataset, nothing, random_case
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.evaluation import coco as coco_module
from sagemaker_object_detection.evaluation.coco import FIGURES, DetectionSet, coco_figures
from sagemaker_object_detection.hyperparameters.read import read


def by_pycocotools(dataset: Dataset, detections: DetectionSet, limit: int = 100) -> list[float]:
    def pixels(box, size):
        ymin, xmin, ymax, xmax = (float(side) for side in box)
        return [xmin * size[1], ymin * size[0], (xmax - xmin) * size[1], (ymax - ymin) * size[0]]

    truth: list[dict[str, Any]] = []
    results = []
    parts: list[Any] = [dataset, dataset.ignored] if dataset.ignored else [dataset]
    for image in range(len(dataset.file_names)):
        for iscrowd, rows in enumerate(parts):
            for row in range(rows.offsets[image], rows.offsets[image + 1]):
                box = pixels(rows.boxes[row], dataset.sizes[image])
                truth.append(
                    {
                        "id": len(truth) + 1,
                        "image_id": image,
                        "category_id": int(rows.classes[row]),
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": iscrowd,
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
    content = {
        "images": [{"id": number} for number in range(len(dataset.file_names))],
        "annotations": truth,
        "categories": [{"id": number} for number in range(len(dataset.labels))],
    }
    return figures_of(content, results, limit)


def figures_of(content: dict[str, Any], results: list[dict[str, Any]], limit: int = 100) -> list[float]:
    """The twelve figures with at most `limit` detections of an image."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, 10, limit]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    # Its first figure is that of 100 detections, whatever maxDets says: it is not defined where they are more.
    return [float(precision[precision > -1].mean()), *evaluation.stats[1:]]


@pytest.mark.parametrize("seed", range(4))
def test_the_twelve_figures_equal_pycocotools(seed):
    dataset, detections = random_case(seed)
    expected = {
        name: value for name, value in zip(FIGURES, by_pycocotools(dataset, detections), strict=True) if value >= 0
    }
    assert dict(coco_figures(dataset, detections).overall) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("seed", "limit"), [(0, 100), (1, 300), (2, 1000)])
def test_figures_with_crowds_and_many_objects_equal_pycocotools(seed, limit, monkeypatch):
    dataset, detections = crowded_case(seed)
    assert np.diff(dataset.offsets).min() >= 100
    assert dataset.max_regions > 1
    monkeypatch.setattr(coco_module, "_AT_ONCE", 1000)  # matched in three parts
    names = [name.replace("AR_100", f"AR_{limit}") for name in FIGURES]
    expected = dict(zip(names, by_pycocotools(dataset, detections, limit), strict=True))
    figures = coco_figures(dataset, detections, limit)
    assert dict(figures.overall) == pytest.approx(expected, abs=1e-6)
    without = coco_figures(replace(dataset, ignored=None), detections, limit)
    assert figures.overall["mAP"] > without.overall["mAP"] + 0.01  # what is found in crowds was a mistake


def test_a_file_with_crowds_is_evaluated_as_pycocotools_does(tmp_path):
    """pycocotools reads the file itself; of its boxes COCO's form, and of flags only iscrowd."""
    dataset, detections = crowded_case(7)
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 10 * (n + 1), "name": f"c{n}"} for n in range(3)]
    flags: Any = iter(
        [{"iscrowd": 1}, {"iscrowd": True}, {"ignore": 1}, {"iscrowd": 0, "ignore": 1}, {"isCrowd": "1"}] * 9
    )
    (tmp_path / "training/images").mkdir(parents=True)
    for image, (height, width) in enumerate(dataset.sizes.tolist()):
        Image.new("L", (width, height)).save(tmp_path / f"training/images/{image}.png")
        content["images"].append({"id": image + 1, "file_name": f"{image}.png", "height": height, "width": width})
        for rows in (dataset.ignored, dataset):
            own = slice(rows.offsets[image], rows.offsets[image + 1])
            for box, index in zip(rows.boxes[own], rows.classes[own].tolist(), strict=True):
                ymin, xmin, ymax, xmax = box.astype(float) * [height, width, height, width]
                flag = next(flags) if rows is dataset.ignored else {"iscrowd": 0}
                entry = {"image_id": image + 1, "category_id": 10 * (index + 1), "bbox": [xmin, ymin, xmax, ymax]}
                content["annotations"].append(entry | flag)
    write_annotations(tmp_path / "training", content)
    read_back = load_splits(tmp_path / "training", None, read({"validation_split_ratio": "0"})).training
    figures = coco_figures(read_back, detections, 400)

    for number, entry in enumerate(content["annotations"], 1):
        xmin, ymin, xmax, ymax = entry["bbox"]
        width, height = xmax - xmin, ymax - ymin
        entry |= {"id": number, "bbox": [xmin, ymin, width, height], "area": width * height}
        entry["iscrowd"] = int(any(str(entry.get(key)) in ("1", "True") for key in ("iscrowd", "ignore", "isCrowd")))
    results = [
        {
            "image_id": image + 1,
            "category_id": 10 * (int(detections.classes[image, row]) + 1),
            "bbox": [xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height],
            "score": float(detections.scores[image, row]),
        }
        for image, (height, width) in enumerate(dataset.sizes.tolist())
        for row in range(detections.count[image])
        for ymin, xmin, ymax, xmax in [detections.boxes[image, row].astype(float)]
    ]
    expected = figures_of(json.loads(json.dumps(content)), results, 400)
    assert list(figures.overall.values()) == pytest.approx(expected, abs=1e-6)


def test_a_class_of_nothing_but_crowds_has_no_figure():
    box = [10, 10, 60, 60]
    dataset = make_dataset([[box]], [[0]], [(100, 100)], ignored=[([box], [1])])
    found = DetectionSet(dataset.boxes[None, [0, 0]], np.ones((1, 2), np.float32), np.array([[0, 1]]), np.array([2]))
    figures = coco_figures(dataset, found)
    assert list(figures.per_class) == ["a"]
    assert figures.overall["mAP"] == pytest.approx(1.0)


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
