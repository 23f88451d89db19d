"""How well a base model's anchors can cover boxes: pure NumPy, in seconds for all of COCO's boxes.

Of the anchors of one shape on one level, the one whose centre is nearest in both axes overlaps a box most, since the
intersection is a product that falls with the distance along either axis. So a box is held against one cell of every
level instead of against every anchor. Corners and overlaps are computed as `generate_anchors` and `pairwise_iou` do.
"""

import numpy as np

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.geometry.anchors import anchor_centers, anchor_shapes

_CHUNK = 4096
"""Boxes at a time, so that what is computed of them stays in the processor's cache."""


def best_anchor_iou(boxes: np.ndarray, sizes: np.ndarray, base: BaseModel) -> np.ndarray:
    """The intersection over union of every box with the anchor that overlaps it most, in the network input.

    Args:
        boxes: float32 [M, 4], ymin xmin ymax xmax, normalised to the image.
        sizes: int [M, 2], height and width of each box's image, pixels.

    Returns:
        float32 [M].
    """
    framed = boxes_in_input(boxes, sizes, base)
    best = np.zeros(len(framed), np.float32)
    for start in range(0, len(framed), _CHUNK):
        chunk = np.ascontiguousarray(framed[start : start + _CHUNK].T)
        for level in base.levels:
            iou = _best_of_level(chunk, base, level)
            np.maximum(best[start : start + _CHUNK], iou, out=best[start : start + _CHUNK])
    return best


def boxes_in_input(boxes: np.ndarray, sizes: np.ndarray, base: BaseModel) -> np.ndarray:
    """Boxes of images as boxes of the network input, as `images/network_input.py` makes it of each image.

    Arguments as of `best_anchor_iou`; float32 [M, 4], normalised to the network input, padding included.
    """
    if not base.family.keep_aspect_ratio:
        return boxes
    sides = np.asarray(sizes, np.float32)
    scale = np.float32(base.input_size) / sides.max(axis=1, keepdims=True)
    fitted = np.maximum(np.rint(sides * scale), np.float32(1))
    return np.asarray(boxes * np.tile(fitted / np.float32(base.input_size), 2))


def _best_of_level(boxes: np.ndarray, base: BaseModel, level: int) -> np.ndarray:
    """The best of the anchors of the nearest cell: float32 [n], for boxes float32 [4, n] in the network input."""
    centers, shapes = anchor_centers(base, level), anchor_shapes(base, level)
    lows, highs, overlaps = [], [], []
    for axis in range(2):
        low, high = boxes[axis], boxes[axis + 2]
        middle = (low + high) * np.float32(0.5 * base.input_size)
        nearest = np.rint((middle - centers[0]) / np.float32(2**level)).astype(np.intp)
        center = centers[np.clip(nearest, 0, len(centers) - 1)]
        half = np.float32(0.5) * shapes[:, axis, None]
        lows.append((center - half) * np.float32(1 / base.input_size))  # [K, n]
        highs.append((center + half) * np.float32(1 / base.input_size))
        overlaps.append(np.maximum(np.minimum(high, highs[axis]) - np.maximum(low, lows[axis]), np.float32(0)))
    intersection = overlaps[0] * overlaps[1]
    area = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    anchor_area = (highs[0] - lows[0]) * (highs[1] - lows[1])
    return np.asarray((intersection / (area + anchor_area - intersection)).max(axis=0))
