"""Data sets and detections, made up: for what counts and draws them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sagemaker_object_detection.dataset.annotations import Dataset, Labels
from sagemaker_object_detection.evaluation.coco import DetectionSet
from sagemaker_object_detection.geometry.boxes import from_xyxy_pixels


def make_dataset(
    corners: Sequence[Sequence[Sequence[float]]], classes: list[list[int]], sizes, names=("a", "b", "c")
) -> Dataset:
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


def nothing(images: int) -> DetectionSet:
    return DetectionSet(
        np.zeros((images, 5, 4), np.float32),
        np.zeros((images, 5), np.float32),
        np.zeros((images, 5), np.int32),
        np.zeros(images, np.int32),
    )
