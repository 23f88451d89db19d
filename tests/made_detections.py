"""Data sets and detections, made up: for what counts and draws them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sagemaker_object_detection.dataset.annotations import Dataset, IgnoredRegions, Labels
from sagemaker_object_detection.evaluation.coco import DetectionSet
from sagemaker_object_detection.geometry.boxes import from_xyxy_pixels


def make_dataset(
    corners: Sequence[Sequence[Sequence[float]]], classes: list[list[int]], sizes, names=("a", "b", "c"), ignored=None
) -> Dataset:
    """Corner boxes in pixels per image. ignored: of each image, corner boxes and classes of its regions to ignore."""
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
        ignored=None if ignored is None else regions(ignored, sizes),
    )


def regions(ignored, sizes: np.ndarray) -> IgnoredRegions:
    counts = [len(boxes) for boxes, _ in ignored]
    flat = np.array([box for boxes, _ in ignored for box in boxes], float).reshape(-1, 4)
    return IgnoredRegions(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=from_xyxy_pixels(flat, np.repeat(sizes, counts, axis=0)),
        classes=np.array([index for _, classes in ignored for index in classes], np.int32),
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


def crowded_case(seed: int) -> tuple[Dataset, DetectionSet]:
    """Six images of up to 150 objects with up to four crowds each; of up to 400 detections many lie in crowds, some of
    them of another class."""
    random = np.random.default_rng(seed)
    images, most = 6, 400
    corners, classes, ignored, found = [], [], [], []
    sizes = [(int(height), int(width)) for height, width in random.integers(200, 500, (images, 2))]

    def boxes_in(count: int, width: int, height: int, least: float, largest: float) -> np.ndarray:
        top_left = random.uniform(0, 1 - largest, (count, 2)) * [width, height]
        return np.concatenate(
            [top_left, top_left + random.uniform(least, largest, (count, 2)) * [width, height]], axis=1
        )

    for height, width in sizes:
        boxes = boxes_in(int(random.integers(100, 151)), width, height, 0.03, 0.3)
        crowds = boxes_in(int(random.integers(0, 5)), width, height, 0.2, 0.5)
        kinds, crowd_kinds = random.integers(0, 3, len(boxes)), random.integers(0, 3, len(crowds))
        noisy = boxes + random.normal(0, 0.06, boxes.shape) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        inside = [
            np.tile(crowd[:2], 2) + random.uniform(-0.1, 1.0, (30, 4)) * np.tile(crowd[2:] - crowd[:2], 2)
            for crowd in crowds
        ]
        stray = np.concatenate([boxes_in(30, width, height, 0.03, 0.3), *inside])
        stray = np.concatenate([np.minimum(stray[:, :2], stray[:, 2:]), np.maximum(stray[:, :2], stray[:, 2:])], axis=1)
        candidates = np.concatenate([noisy, noisy[:60] + 3, stray])
        guesses = [kinds, kinds[:60], random.integers(0, 3, 30), *(np.full(30, kind) for kind in crowd_kinds)]
        guessed = np.concatenate(guesses)
        guessed = np.where(random.uniform(size=len(guessed)) < 0.1, (guessed + 1) % 3, guessed)
        order = random.permutation(len(candidates))[:most]
        scores = np.sort(random.uniform(0, 1, len(order)))[::-1]
        found.append((from_xyxy_pixels(candidates[order], np.array([height, width])), scores, guessed[order]))
        corners.append(boxes.tolist())
        classes.append(kinds.tolist())
        ignored.append((crowds.tolist(), crowd_kinds.tolist()))
    detections = DetectionSet(
        boxes=np.zeros((images, most, 4), np.float32),
        scores=np.zeros((images, most), np.float32),
        classes=np.zeros((images, most), np.int32),
        count=np.array([len(scores) for _, scores, _ in found], np.int32),
    )
    for number, (boxes, scores, guessed) in enumerate(found):
        rows = slice(len(scores))
        detections.boxes[number, rows], detections.scores[number, rows] = boxes, scores
        detections.classes[number, rows] = guessed
    return make_dataset(corners, classes, sizes, ignored=ignored), detections


def nothing(images: int) -> DetectionSet:
    return DetectionSet(
        np.zeros((images, 5, 4), np.float32),
        np.zeros((images, 5), np.float32),
        np.zeros((images, 5), np.int32),
        np.zeros(images, np.int32),
    )
