"""What a page and event files are made of, made up: small images, a few detections, three epochs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from made_detections import make_dataset, nothing
from PIL import Image

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.problems import ChannelReport, DataReport
from sagemaker_object_detection.evaluation.coco import DetectionSet, coco_figures
from sagemaker_object_detection.evaluation.evaluation import Evaluation
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.report.figures import compute_figures
from sagemaker_object_detection.report.page import PageContent, Run
from sagemaker_object_detection.report.pictures import draw_worst
from sagemaker_object_detection.report.second_look import find_second_looks
from sagemaker_object_detection.training.progress import Epoch, Slice
from sagemaker_object_detection.training.recipe import recorded

CORNERS = [[[10, 10, 60, 60], [70, 20, 110, 70]], [[20, 20, 90, 90]], []]
CLASSES = [[0, 1], [1], []]
SIZES = [(80, 120), (100, 100), (60, 90)]
NAMES = ("cat", "dog")
FILES = ("a.png", "b.png", "c.png")


def data(folder: Path, names: tuple[str, ...] = NAMES, files: tuple[str, ...] = FILES) -> Dataset:
    """Three images below `folder`, of which the last has no boxes."""
    folder.mkdir(exist_ok=True)
    for name, (height, width) in zip(files, SIZES, strict=True):
        Image.new("RGB", (width, height), "#88aacc").save(folder / name)
    return replace(make_dataset(CORNERS, CLASSES, SIZES, names), images=folder, file_names=files)


def found_in(dataset: Dataset) -> DetectionSet:
    """The first box at 0.9, the second as the first class at 0.8, and something in the last image at 0.9."""
    found = nothing(3)
    found.count[:] = [2, 0, 1]
    found.boxes[0, :2], found.scores[0, :2] = dataset.boxes[:2], [0.9, 0.8]
    found.boxes[2, 0], found.scores[2, 0] = [0.1, 0.1, 0.5, 0.5], 0.9
    return found


def channel(name: str, dataset: Dataset) -> ChannelReport:
    counts = {label: int((dataset.classes == index).sum()) for index, label in enumerate(dataset.labels.names)}
    return ChannelReport(name, 3, 1, len(dataset.boxes), counts, 0, 0, 0, 0, 0)


def evaluation(dataset: Dataset, mean: float, confident: int = 2) -> Evaluation:
    metrics = {"localization_loss": 0.25, "classification_loss": 0.5, "mAP": mean, "mAP_50": 0.75}
    return Evaluation(metrics, 1.5, coco_figures(dataset, found_in(dataset)), confident, 0.5, 0.0625)


def findings(
    folder: Path,
    names: tuple[str, ...] = NAMES,
    files: tuple[str, ...] = FILES,
    *,
    run: dict[str, Any] | None = None,
    **changes: Any,
) -> PageContent:
    """Everything a job can come to; the second of three epochs was saved. run: what of its run is to be otherwise."""
    dataset = data(folder, names, files)
    figures = compute_figures(dataset, found_in(dataset))
    steps = (Slice(2, 1.0, (2.0, 4.0, 0.0, 8.0)), Slice(1, 0.5, (1.0, 2.0, 0.0, 4.0)))
    epochs = tuple(
        Epoch(n, 2.0 - n, 10.0, evaluation(dataset, mean), steps, (0.25, 0.125, 0.0, 0.5))
        for n, mean in enumerate((0.125, 0.5, 0.25))
    )
    report = DataReport((channel("training", dataset), channel("validation", dataset)), ("A <b>warning</b>.",))
    hyperparameters = read(
        {"epochs": "3", "passes_per_epoch": "1", "learning_rate_schedule": "cosine", "recipe": "plain"}
        | {"max_detections": "100"}
    )
    return replace(
        PageContent(
            base=DEFAULT_MODEL,
            versions={"python": "3.11.0"},
            report=report,
            evaluated=dataset,
            result=epochs[1].validation,
            figures=figures,
            pictures=draw_worst(dataset, figures),
            second_looks=find_second_looks(dataset, found_in(dataset), figures),
            values=recorded(hyperparameters, DEFAULT_MODEL),
            run=replace(Run(dataset, hyperparameters, None, epochs, epochs[1]), **(run or {})),
        ),
        **changes,
    )
