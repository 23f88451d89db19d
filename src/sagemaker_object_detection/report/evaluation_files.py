"""What an evaluation leaves: `evaluation.json`, `images.jsonl` and the page, for a pipeline, a program and a person."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.problems import DataReport
from sagemaker_object_detection.evaluation.coco import DetectionSet
from sagemaker_object_detection.evaluation.evaluation import Evaluation
from sagemaker_object_detection.files.whole import whole_file
from sagemaker_object_detection.report.figures import Figures, compute_figures
from sagemaker_object_detection.report.pictures import draw_worst
from sagemaker_object_detection.report.place import EVALUATION_FILE, IMAGES_FILE
from sagemaker_object_detection.report.second_look import find_second_looks
from sagemaker_object_detection.sentences import listed, quoted

log = logging.getLogger(__name__)

METRICS = "object_detection_metrics"
"""The key of the figures, each of which has a `value`: the form of SageMaker's model quality metrics."""
_CLASSES_SHOWN = 20


def write_evaluation(
    folder: Path,
    base: BaseModel,
    dataset: Dataset,
    report: DataReport,
    evaluation: Evaluation,
    found: DetectionSet,
    *,
    thresholds: Sequence[float] | None,
    values: Mapping[str, object],
    versions: Mapping[str, str],
) -> None:
    """Writes all of it into `folder`, which exists, and logs the figures.

    Args:
        dataset: N images, of which `evaluation` and `found` are.
        thresholds: the model's own, of each class; None for those with the best F1 on these images.
        values: the hyperparameters the model was trained with.
    """
    # Late: what draws takes a second to import.
    from sagemaker_object_detection.report.page import PageContent, write_page

    figures = compute_figures(dataset, found, thresholds)
    content = PageContent(
        base=base,
        versions=versions,
        report=report,
        evaluated=dataset,
        result=evaluation,
        figures=figures,
        pictures=draw_worst(dataset, figures),
        second_looks=find_second_looks(dataset, found, figures),
        values=values,
        suggested=thresholds is None,
    )
    page = write_page(content, folder)
    with whole_file(folder / IMAGES_FILE) as unfinished:
        lines = (json.dumps(_image(dataset, found, figures, index)) for index in range(len(dataset.file_names)))
        unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    summary = evaluation_content(dataset, evaluation, figures, base, versions, own=thresholds is not None)
    with whole_file(folder / EVALUATION_FILE) as unfinished:
        unfinished.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _tell(dataset, evaluation, figures)
    log.info("The evaluation is in %s, and its report in %s.", folder / EVALUATION_FILE, page)


def evaluation_content(
    dataset: Dataset,
    evaluation: Evaluation,
    figures: Figures,
    base: BaseModel,
    versions: Mapping[str, str],
    *,
    own: bool,
) -> dict[str, Any]:
    """The content of `evaluation.json`. A figure that is not defined, such as mAP without boxes, is left out.

    Args:
        own: whether the thresholds are the model's own.
    """
    losses = {name: value for name, value in evaluation.metrics.items() if name.endswith("_loss")}
    return {
        METRICS: {name: {"value": value} for name, value in {**evaluation.coco.overall, **losses}.items()},
        "per_class": {
            name: {
                "boxes": one.boxes,
                **evaluation.coco.per_class.get(name, {}),
                **({} if one.threshold is None else vars(one.threshold)),
            }
            for name, one in zip(dataset.labels.names, figures.classes, strict=True)
        },
        "thresholds_of": "the model" if own else "these images",
        "images": len(dataset.file_names),
        "boxes": len(dataset.boxes),
        "data_fingerprint": dataset.fingerprint,
        "base_model": base.name,
        "versions": dict(versions),
    }


def _image(dataset: Dataset, found: DetectionSet, figures: Figures, index: int) -> dict[str, Any]:
    """An image's line: its detections in the order and form of `predict`, and what is wrong with them."""
    kept = slice(0, int(found.count[index]))
    boxes = np.round(found.boxes[index, kept][:, [1, 0, 3, 2]].astype(float), 6)
    return {
        "image": dataset.file_names[index],
        "boxes": int(dataset.offsets[index + 1] - dataset.offsets[index]),
        "mistakes": int(figures.errors[index]),
        "loss": None if found.losses is None else float(found.losses[index]),
        "normalized_boxes": boxes.tolist(),
        "classes": found.classes[index, kept].tolist(),
        "scores": np.round(found.scores[index, kept].astype(float), 6).tolist(),
    }


def _tell(dataset: Dataset, evaluation: Evaluation, figures: Figures) -> None:
    names = {"mAP": "mAP@[.5:.95]", "mAP_50": "mAP@.5"}
    shown = [
        f"{names.get(name, name.replace('_', ' '))} {value:.6f}"
        for name, value in sorted(evaluation.metrics.items(), key=lambda pair: pair[0] not in names)
    ]
    log.info("test: %d images with %d boxes: %s.", len(dataset.file_names), len(dataset.boxes), ", ".join(shown))
    classes = [
        f"{quoted(name)} {evaluation.coco.per_class[name]['mAP_50']:.3f}"
        + (f" (precision {one.threshold.precision:.2f}, recall {one.threshold.recall:.2f})" if one.threshold else "")
        for name, one in zip(dataset.labels.names, figures.classes, strict=True)
        if name in evaluation.coco.per_class
    ]
    if classes:
        log.info(
            "test: mAP@.5 of each class, with precision and recall at its score threshold: %s.",
            listed(classes, _CLASSES_SHOWN),
        )
