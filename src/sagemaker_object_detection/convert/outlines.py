"""What data sets have instead of an upright box, and the upright box around it."""

import math
from collections.abc import Iterable, Sequence

POLYGON, ROTATED, ROUND, MASK = "a polygon", "a rotated box", "a circle or an ellipse", "a mask"
OVERHANGING = frozenset((ROTATED, ROUND))
"""Corners of these may lie outside of an image whose objects do not; the box around them is clipped."""
Point = tuple[float, float]


def around(points: Iterable[Sequence[float]]) -> tuple[float, float, float, float]:
    """xmin ymin xmax ymax of points, x and y each, in their unit."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def rotated(box: Sequence[float], degrees: float, pivot: Point | None = None) -> list[Point]:
    """Corners of a box that is turned clockwise, as it is seen.

    Args:
        box: xmin ymin xmax ymax before the turn, in pixels.
        pivot: x and y of what it is turned about; None: its centre.
    """
    xmin, ymin, xmax, ymax = box
    px, py = pivot or ((xmin + xmax) / 2, (ymin + ymax) / 2)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    offsets = [(x - px, y - py) for x in (xmin, xmax) for y in (ymin, ymax)]
    return [(px + x * cosine - y * sine, py + x * sine + y * cosine) for x, y in offsets]
