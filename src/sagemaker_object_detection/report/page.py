"""`report.html`: what the job came to, on one page that needs nothing beside it, and the same pictures as PNG files."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.anchor_coverage import find_coverage
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.problems import DataReport, SecondLook
from sagemaker_object_detection.evaluation.evaluation import CONFIDENT, Evaluation
from sagemaker_object_detection.evaluation.verdict import shy
from sagemaker_object_detection.files.whole import work_folder
from sagemaker_object_detection.geometry.anchors import MATCH_IOU
from sagemaker_object_detection.geometry.coverage import best_anchor_iou, boxes_in_input
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.report import charts
from sagemaker_object_detection.report.drawing import colour_of
from sagemaker_object_detection.report.figures import Figures
from sagemaker_object_detection.report.pictures import Picture
from sagemaker_object_detection.report.place import FILE_NAME, PICTURES, remove_page
from sagemaker_object_detection.step.optimizer import learning_rate
from sagemaker_object_detection.step.readings import PARTS
from sagemaker_object_detection.training.progress import Epoch
from sagemaker_object_detection.training.recipe import steps_per_epoch, total_steps

_TEMPLATE = "report.html.j2"
MAX_CONFUSION = 30
"""Classes that a confusion matrix is legible with; of more, the pairs that are confused most are listed."""
_MAX_PAIRS = 20
_RATE_POINTS = 200


@dataclass(frozen=True, eq=False)
class PageContent:
    """All that the page shows. `result`, `figures`, and the `pictures` and `second_looks` that go with them, are of the
    saved weights; None where there are none."""

    base: BaseModel
    versions: Mapping[str, str]
    report: DataReport
    evaluated: Dataset | None
    """What `result` is of, None where nothing was validated."""
    result: Evaluation | None
    figures: Figures | None
    pictures: Sequence[Picture]
    second_looks: Sequence[SecondLook]
    values: Mapping[str, object]
    """Hyperparameters by name, as they were used."""
    run: "Run | None" = None
    """The job that trained the model; None where it is only evaluated."""
    suggested: bool = True
    """Whether the figures' thresholds were chosen on these images; else they are the model's own."""


@dataclass(frozen=True, eq=False)
class Run:
    """What only the job itself knows."""

    training: Dataset
    hyperparameters: Hyperparameters
    fault: str | None
    epochs: tuple[Epoch, ...]
    saved: Epoch | None


def write_page(findings: PageContent, folder: Path) -> Path:
    """Writes `report.html` and the folder `report/` beside it, which replace those of an earlier run.

    Everything is made under another name first.

    Returns:
        the page.
    """
    remove_page(folder)
    with work_folder(folder, ".report-", abandoned=0.0) as temporary:
        drawn = _charts(findings)
        (temporary / PICTURES).mkdir()
        for name, png in drawn.items():
            (temporary / PICTURES / f"{name}.png").write_bytes(png)
        for number, picture in enumerate(findings.pictures, 1):
            (temporary / PICTURES / f"worst_{number}.png").write_bytes(picture.encoded("PNG"))
        (temporary / FILE_NAME).write_text(render(findings, drawn), encoding="utf-8")
        (temporary / PICTURES).rename(folder / PICTURES)
        return (temporary / FILE_NAME).rename(folder / FILE_NAME)


def render(findings: PageContent, drawn: Mapping[str, bytes]) -> str:
    """The page as HTML; `drawn`: PNG by the name of the chart."""
    loader = PackageLoader(__package__, ".")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters["figure"] = lambda value, digits=3: "-" if value is None else f"{value:.{digits}f}"
    jinja.filters["number"] = lambda value: f"{value:,}"
    result, run = findings.result, findings.run
    shown = {
        "channel": "test" if run is None else "validation",
        "thresholds": "the suggested score" if findings.suggested else "the model's score",
        "threshold": "suggested threshold" if findings.suggested else "threshold of the model",
        "shy": result is not None and shy(result),
        "confident": CONFIDENT,
        "evaluated_images": len(findings.evaluated.file_names) if findings.evaluated else 0,
        "missing": _missing(findings),
        "charts": {name: _data_uri("png", png) for name, png in drawn.items()},
        "pictures": [(picture, _data_uri("jpeg", picture.encoded("JPEG"))) for picture in findings.pictures],
        "classes": _classes(findings),
        "confusion": _confusion(findings),
        "anchors": _anchor_sides(findings.base),
        "anchor_iou": MATCH_IOU,
        "advice": [each.text for each in find_coverage(run.training, findings.base) if each.bad] if run else [],
        "effective": run.hyperparameters.effective() if run else findings.values,
    }
    return jinja.get_template(_TEMPLATE).render(vars(findings) | shown)


def _missing(findings: PageContent) -> list[str]:
    """What the page cannot show, and why."""
    if findings.evaluated is None:
        return [
            "There is no validation set: the job has no validation channel and validation_split_ratio is 0. So nobody "
            "knows how good the model is: there are no mAP, no curves, no score thresholds and no pictures of mistakes."
        ]
    if findings.run is not None and findings.run.saved is None:
        return [
            "No epoch was finished before the job was stopped. The model has the weights of that moment, which were "
            "never validated: there are no losses, no mAP, no curves, no score thresholds and no pictures of mistakes."
        ]
    if not len(findings.evaluated.boxes):
        return [
            f"No {'test' if findings.run is None else 'validation'} image has a box, so that there is nothing to find: "
            "there are no mAP, no curves and no score thresholds."
        ]
    if findings.figures is None:
        return [
            "The job was stopped, and too little time was left to go over the validation images once more: there are "
            "no curves, no score thresholds and no pictures of mistakes. mAP and losses are those of the saved epoch."
        ]
    return []


def _charts(findings: PageContent) -> dict[str, bytes]:
    """PNG by name."""
    drawn = _charts_of_run(findings.run, findings.base) if findings.run else {}
    ranked = sorted(enumerate(findings.figures.classes if findings.figures else ()), key=lambda pair: -pair[1].boxes)
    curves = {index: one.curve.interpolated for index, one in ranked if one.curve}
    cuts = {index: (one.threshold.recall, one.threshold.precision) for index, one in ranked if one.threshold}
    if curves:
        drawn["precision_recall"] = charts.precision_recall(curves, _names(findings), cuts)
    return drawn


def _charts_of_run(run: Run, base: BaseModel) -> dict[str, bytes]:
    """A line without a finite value is left out, and so is a chart without a line."""
    h, epochs, training = run.hyperparameters, run.epochs, run.training
    saved = run.saved.number if run.saved else None
    results = [epoch.validation for epoch in epochs]
    losses = {
        "training": [epoch.loss for epoch in epochs],
        "of which L2": [epoch.regularization for epoch in epochs],
        "validation: localization": _metric(results, "localization_loss"),
        "validation: classification": _metric(results, "classification_loss"),
    }
    scores = {"mAP@[.5:.95]": _metric(results, "mAP"), "mAP@.5": _metric(results, "mAP_50")}
    dead = {"dead channels": [result.dead_channels if result else None for result in results]}
    drawn = {}
    for name, title, lines, mark, least_top in (
        ("losses", "Losses", losses, saved, 0.0),
        ("map", "Mean average precision", scores, saved, 0.1),
        ("channels", "Share of the backbone's channels that are dead", dead, None, 0.1),
    ):
        numbers = {key: np.array(values, float) for key, values in lines.items()}  # None becomes NaN
        known = {key: values.tolist() for key, values in numbers.items() if np.isfinite(values).any()}
        if known:
            drawn[name] = charts.over_epochs(title, known, mark, least_top=least_top)
    if epochs:
        steps = steps_per_epoch(h, len(training.file_names))
        shown = np.linspace(0, len(epochs) * steps, _RATE_POINTS, dtype=int, endpoint=False)
        rate = learning_rate(h.learning_rate_schedule, h.learning_rate, total_steps(h, len(training.file_names)))
        rates = [rate if isinstance(rate, float) else float(rate(step)) for step in shown]
        drawn["rate"] = charts.over_steps("Learning rate", {"": ((shown / steps).tolist(), rates)})
    norms = [
        (epoch.number + (place + 0.5) / len(epoch.slices), [norm / part.steps for norm in part.gradients])
        for epoch in epochs
        for place, part in enumerate(epoch.slices)
    ]
    moves = [(epoch.number, epoch.movement) for epoch in epochs if epoch.movement]
    if gradients := _by_part(norms):
        drawn["gradients"] = charts.over_steps("Norm of the gradient", gradients, logarithmic=True)
    if moves:
        drawn["movement"] = charts.over_steps("Weights' movement in an epoch", _by_part(moves), logarithmic=True)
    boxes = boxes_in_input(training.boxes, _image_sizes(training), base) * base.input_size
    sizes, names = np.asarray(boxes[:, 2:] - boxes[:, :2]), training.labels.names
    drawn["box_sizes"] = charts.box_sizes(sizes, training.classes, names, _anchor_sides(base), base.input_size)
    return drawn


def _metric(results: Sequence[Evaluation | None], key: str) -> list[float | None]:
    return [result.metrics.get(key) if result else None for result in results]


def _by_part(points: Sequence[tuple[float, Sequence[float]]]) -> dict[str, tuple[list[float], list[float]]]:
    """Epochs and values of each of `PARTS` that is not always 0. points: an epoch, and the value of each part there."""
    at = [epoch for epoch, _ in points]
    lines = {name: (at, [values[part] for _, values in points]) for part, name in enumerate(PARTS)}
    return {name: line for name, line in lines.items() if any(line[1])}


def _image_sizes(dataset: Dataset) -> np.ndarray:
    """Height and width of each box's image, int32 [M, 2]."""
    return np.repeat(dataset.sizes, np.diff(dataset.offsets), axis=0)


def _anchor_sides(base: BaseModel) -> tuple[float, float]:
    """Of the smallest and the largest square anchor, pixels of the network input."""
    scales = base.family.scales_per_octave
    low, high = (base.family.anchor_scale * 2.0**level for level in (base.levels[0], base.levels[-1]))
    return low, high * 2 ** ((scales - 1) / scales)


def _classes(findings: PageContent) -> list[dict[str, Any]]:
    """A row of the tables for each class. What is not known is None."""
    training = findings.run.training if findings.run else None
    evaluated, result = findings.evaluated, findings.result
    anchors = best_anchor_iou(training.boxes, _image_sizes(training), findings.base) if training else np.zeros(0)
    rows = []
    for index, name in enumerate(_names(findings)):
        one = findings.figures.classes[index] if findings.figures else None
        figures = result.coco.per_class.get(name, {}) if result else {}
        found = anchors[training.classes == index] if training else anchors
        rows.append(
            {
                "name": name,
                "colour": colour_of(index),
                "training": len(found),
                "evaluated": int((evaluated.classes == index).sum()) if evaluated else None,
                "mAP": figures.get("mAP"),
                "mAP_50": figures.get("mAP_50"),
                "threshold": one.threshold if one else None,
                "covered": float((found >= MATCH_IOU).mean()) if len(found) else None,
                "anchor_iou": float(np.median(found)) if len(found) else None,
            }
        )
    return rows


def _confusion(findings: PageContent) -> dict[str, Any] | None:
    """Rows of (name, [(count, share of the row)]), or the pairs that are confused most where classes are many."""
    if findings.figures is None:
        return None
    names, counts = _names(findings), findings.figures.confusion
    if len(names) > MAX_CONFUSION:
        wrong = counts[:-1, :-1] * ~np.eye(len(names), dtype=bool)
        most = np.argsort(-wrong, axis=None, kind="stable")[:_MAX_PAIRS]
        pairs = [(*divmod(int(place), len(names)), int(wrong.flat[place])) for place in most]
        return {"rows": None, "pairs": [(names[row], names[column], count) for row, column, count in pairs if count]}
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = (zip(*both, strict=True) for both in zip(counts.tolist(), shares.tolist(), strict=True))
    rows = [(name, list(row)) for name, row in zip((*names, None), cells, strict=True)]
    return {"pairs": None, "rows": rows, "columns": names}


def _names(findings: PageContent) -> tuple[str, ...]:
    """Of the classes."""
    dataset = findings.run.training if findings.run else findings.evaluated
    assert dataset is not None
    return dataset.labels.names


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
