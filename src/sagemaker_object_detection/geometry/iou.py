"""Intersections of boxes, and intersection over union."""

from typing import Any

from keras import ops


def pairwise_iou(boxes: Any, others: Any) -> Any:
    """Intersection over union of every box with every other box, 0 where they do not meet.

    Computed in float32 in the reference's order, inter / (area + other area - inter), which decides ties.

    Args:
        boxes: float32 [..., N, 4], ymin xmin ymax xmax.
        others: float32 [M, 4], of the same coordinates.

    Returns:
        float32 [..., N, M].
    """
    intersection = pairwise_intersection(boxes, others)
    ymin, xmin, ymax, xmax = (boxes[..., i, None] for i in range(4))
    other_ymin, other_xmin, other_ymax, other_xmax = (others[:, i] for i in range(4))
    area = (ymax - ymin) * (xmax - xmin)
    other_area = (other_ymax - other_ymin) * (other_xmax - other_xmin)
    union = area + other_area - intersection
    return ops.where(intersection > 0.0, intersection / ops.where(union > 0.0, union, 1.0), 0.0)


def pairwise_intersection(boxes: Any, others: Any) -> Any:
    """The area that every box shares with every other box; shapes as in `pairwise_iou`."""
    ymin, xmin, ymax, xmax = (boxes[..., i, None] for i in range(4))
    other_ymin, other_xmin, other_ymax, other_xmax = (others[:, i] for i in range(4))
    height = ops.maximum(ops.minimum(ymax, other_ymax) - ops.maximum(ymin, other_ymin), 0.0)
    width = ops.maximum(ops.minimum(xmax, other_xmax) - ops.maximum(xmin, other_xmin), 0.0)
    return height * width
