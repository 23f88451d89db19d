"""What an annotation says of its object beside the box: the extent of its `segmentation`, and its `area`.

Both come from COCO (https://cocodataset.org/#format-data). A box is read without them; they are witnesses of how it is
to be read. Of many annotations a sample is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np

_SAMPLE = 5_000
"""Boxes, evenly spaced: as many as conventions are compared on."""
_MAX_RUNS = 1_000_000
"""Of a mask. A larger one is no witness."""


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Of K boxes. boxes: int64 [K], which ones. outlines: float64 [K, 4], xmin ymin xmax ymax of the segmentation, NaN
    where there is none. areas: float64 [K], NaN likewise."""

    boxes: np.ndarray
    outlines: np.ndarray
    areas: np.ndarray

    def of(self, chosen: np.ndarray) -> "Witnesses":
        """Those of chosen boxes, ascending, counted among these."""
        kept = np.isin(self.boxes, chosen)
        return Witnesses(np.searchsorted(chosen, self.boxes[kept]), self.outlines[kept], self.areas[kept])


NO_WITNESSES = Witnesses(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))


class _Entry(msgspec.Struct, gc=False):
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    area: Any = None


class _Document(msgspec.Struct, gc=False):
    annotations: list[_Entry]


def find_witnesses(raw: bytes, rows: np.ndarray) -> Witnesses:
    """What an annotation file says beside its boxes. What cannot be read says nothing: training does not read it.

    Args:
        raw: a JSON object with a list `annotations`.
        rows: int64 [M], the positions of the boxes in that list.
    """
    if b'"segmentation"' not in raw and b'"area"' not in raw:
        return NO_WITNESSES
    try:
        entries = msgspec.json.decode(raw, type=_Document).annotations
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return NO_WITNESSES
    boxes = np.arange(0, len(rows), max(1, -(-len(rows) // _SAMPLE)))
    seen = [entries[row] for row in rows[boxes].tolist()]
    outlines = np.array([_outline(entry.segmentation) for entry in seen], np.float64).reshape(-1, 4)
    areas = np.array([_number(entry.area) for entry in seen], np.float64)
    areas[~(areas > 0)] = np.nan
    telling = np.isfinite(outlines).all(axis=1) | np.isfinite(areas)
    return Witnesses(boxes[telling], outlines[telling], areas[telling])


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if is_number else np.nan


_NOTHING = (np.nan,) * 4


def _outline(raw: msgspec.Raw) -> Sequence[float]:
    """xmin ymin xmax ymax of polygons, or of a mask in run lengths; NaN of anything else."""
    try:
        value = msgspec.json.decode(raw)
        if isinstance(value, dict):
            return _extent_of_mask(value["counts"], int(value["size"][0]))
        polygons = value if value and isinstance(value[0], list) else [value]
        xs = [_number(x) for polygon in polygons for x in polygon[::2]]
        ys = [_number(y) for polygon in polygons for y in polygon[1::2]]
        return (min(xs), min(ys), max(xs), max(ys)) if len(xs) == len(ys) >= 3 else _NOTHING
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return _NOTHING


def _extent_of_mask(counts: Any, height: int) -> Sequence[float]:
    """xmin ymin xmax ymax of a mask whose columns are told one below the other, in run lengths of 0 and 1 in turns."""
    if len(counts) > _MAX_RUNS or height < 1:
        return _NOTHING
    ends = [0, *accumulate(_decompressed(counts) if isinstance(counts, str) else map(int, counts))]
    runs = [(start, end - 1) for start, end in zip(ends[1::2], ends[2::2], strict=False) if end > start]
    if not runs or min(start for start, _ in runs) < 0:
        return _NOTHING
    tall = any(start // height != last // height for start, last in runs)  # from one column into the next
    top = 0 if tall else min(start % height for start, _ in runs)
    bottom = height if tall else 1 + max(last % height for _, last in runs)
    return runs[0][0] // height, top, 1 + runs[-1][1] // height, bottom


def _decompressed(text: str) -> list[int]:
    """The run lengths of pycocotools' text: five bits a letter, a sixth says that more follow; from the fourth on, what
    is told is the difference to the one before the last."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
        elif shift > 60:
            raise ValueError(text)
    return counts
