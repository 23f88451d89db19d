#!/usr/bin/env python3
"""What it costs to make detections of predictions: the best anchors first, beside all anchors at once.

    SHARED_DIR=... python tests/benchmarks/postprocessing.py [--images N] [--rounds N]

It takes the predictions of published COCO weights (`weights/` of SHARED_DIR) on photographs of playing cards and blood
cells, for COCO's 90 columns and for the 3 likeliest of them, one image and eight images at a time. Both ways take turns
in one process; it prints the medians and whether all detections are equal.
"""

import argparse
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

sys.path.append(str(Path(__file__).resolve().parents[1]))
from shared import SHARED_DIR

from sagemaker_object_detection.images.decoding import decode
from sagemaker_object_detection.images.network_input import to_network_input
from sagemaker_object_detection.models import postprocess
from sagemaker_object_detection.models.detector import Detector, Predictions, build_detector
from sagemaker_object_detection.weights import coco_classes
from sagemaker_object_detection.weights.checkpoint import read_model_garden
from sagemaker_object_detection.weights.install import install_model_garden
from sagemaker_object_detection.weights.recognition import choose_size, recognise_variables
from sagemaker_object_detection.weights.sources import source_at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    detector = _published()
    predictions, shapes = _predictions(detector, options.images)
    likeliest = np.argsort(-predictions.class_logits.max(axis=(0, 1)))[:3]
    print("| classes | images at a time | all anchors, ms an image | the best first | ratio | equal |")
    print("|---|---|---|---|---|---|")
    for columns in (np.arange(predictions.class_logits.shape[2]), likeliest):
        given = Predictions(predictions.box_encodings, predictions.class_logits[..., columns])
        for size in (1, 8):
            print(_row(detector, given, shapes, size, options.rounds))


def _row(detector: Detector, predictions: Predictions, shapes: np.ndarray, size: int, rounds: int) -> str:
    ways = {"all": _compiled(detector, every=True), "best": _compiled(detector, every=False)}
    batches = [
        (*(tf.constant(part[first : first + size]) for part in predictions), tf.constant(shapes[first : first + size]))
        for first in range(0, len(shapes) - size + 1, size)
    ]
    times: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Any]] = {}
    for name, way in ways.items():
        found[name] = [way(*batch) for batch in batches]
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            for batch in batches:
                way(*batch)
            times[name].append((time.perf_counter() - began) / len(batches) / size * 1000)
    equal = all(
        (ours.numpy() == theirs.numpy()).all()
        for pair in zip(found["all"], found["best"], strict=True)
        for theirs, ours in zip(*pair, strict=True)
    )
    ratio = statistics.median(best / every for every, best in zip(times["all"], times["best"], strict=True))
    every, best = (statistics.median(times[name]) for name in ("all", "best"))
    classes = predictions.class_logits.shape[2]
    return f"| {classes} | {size} | {every:.1f} | {best:.1f} | {ratio:.2f} | {'yes' if equal else 'NO'} |"


def _compiled(detector: Detector, *, every: bool) -> Callable[..., Any]:
    """every: whether all anchors are looked at from the beginning."""

    def run(encodings: Any, logits: Any, shapes: Any) -> Any:
        original = postprocess.LOOKED_AT
        if every:
            postprocess.LOOKED_AT = len(detector.anchors)
        try:
            predictions = Predictions(encodings, logits)
            return tuple(postprocess.detections(predictions, detector.anchors, shapes, detector.base))
        finally:
            postprocess.LOOKED_AT = original

    return tf.function(run, autograph=False)


def _published() -> Detector:
    archive = SHARED_DIR / "weights/folded.tar.gz"
    if not archive.exists():
        sys.exit(f"{archive} is not there: set SHARED_DIR to the folder that holds weights/")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
        weights = source_at(folder, folder).fetch()
        assert weights is not None
        assert weights.checkpoint is not None
        stored = read_model_garden(weights.checkpoint)
        detector = build_detector(choose_size(recognise_variables(stored), weights, None), coco_classes.COLUMNS)
        install_model_garden(detector, stored, class_columns=range(coco_classes.COLUMNS))
        return detector


def _predictions(detector: Detector, count: int) -> tuple[Predictions, np.ndarray]:
    files = [
        *sorted((SHARED_DIR / "datasets/cards/validation/images").iterdir())[: count // 2],
        *sorted((SHARED_DIR / "datasets/bccd/validation/images").iterdir())[: count - count // 2],
    ]
    prepared = [to_network_input(decode(tf.io.read_file(str(file)), tf.constant(1)), detector.base) for file in files]
    images, shapes = (tf.stack(column) for column in zip(*prepared, strict=True))
    return Predictions(*(part.numpy() for part in detector(images, training=False))), shapes.numpy()


if __name__ == "__main__":
    main()
