"""The one box convention, `ymin xmin ymax xmax` normalised to [0, 1], and the ways to and from others.

Pixel coordinates run along the edges between pixels: a box around the whole image is [0, 0, width, height].
"""

import numpy as np


def from_xyxy_pixels(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Corner boxes in pixels to the convention.

    Args:
        boxes: [M, 4], xmin ymin xmax ymax, pixels.
        sizes: [M, 2] or [2], height and width of each box's image, pixels.

    Returns:
        float32 [M, 4], ymin xmin ymax xmax, normalised.
    """
    corners = np.asarray(boxes, np.float64)[:, [1, 0, 3, 2]]
    return np.asarray(corners / np.tile(np.asarray(sizes, np.float64), 2), np.float32)


def to_xyxy_pixels(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The convention to corner boxes in pixels, xmin ymin xmax ymax, float32 [M, 4]: undoes `from_xyxy_pixels`."""
    pixels = np.asarray(boxes, np.float64) * np.tile(np.asarray(sizes, np.float64), 2)
    return np.asarray(pixels[:, [1, 0, 3, 2]], np.float32)


def xywh_to_xyxy(boxes: np.ndarray) -> np.ndarray:
    """xmin ymin width height to xmin ymin xmax ymax, float64 [M, 4]; any unit. Sums beyond float64 are infinite."""
    boxes = np.asarray(boxes, np.float64)
    with np.errstate(over="ignore"):
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def from_pixel_indices(boxes: np.ndarray) -> np.ndarray:
    """First and last column and row of pixels, counted from 1, both inside the box, as Pascal VOC has them (xmin ymin
    xmax ymax), to corners along the edges between pixels, float64 [M, 4]."""
    return np.asarray(np.asarray(boxes, np.float64) - [1.0, 1.0, 0.0, 0.0])
