"""Readings of boxes by a convention, and the one by which nearly all of them lie in their images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sagemaker_object_detection.dataset.conventions import (
    COMMON_ORDERS,
    CONVENTIONS,
    ORDERS,
    PIXELS,
    SHARES,
    UNITS,
    Convention,
    Order,
    PaddedUnit,
    Unit,
    copies_by,
)

FEW = 20
"""Boxes. Where they lie says nothing with fewer."""
_SOME = 3
"""Misfits. Fewer of them are mistakes in some convention or other, and speak for one of the usual ones at most."""
_CLEARLY = 10
_SMALLEST_COPY = 128
"""Pixels. In a smaller copy the edge is not told from the whole pixels before it."""
WIDE_UNITS = UNITS[2:]
"""Units of which numbers may also be pixels."""
_ROUND_FACTORS = (0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
_USUAL_SIDES = (224, 256, 300, 320, 384, 416, 448, 512, 600, 608, 640, 768, 800, 896, 1024, 1280, 1333, 1536)
"""Pixels, of what images are resized or padded to."""
_SLACK = 0.1
"""Between objects and the edges of an image, both together, as a share of its side."""
_ROUND = 1.05
"""By how much a usual size may be larger than what objects fill that no edge cuts."""
_ALIKE, _ALIKE_WITHOUT_CUTS = 0.985, 0.93
"""How large a part of the farther end along one axis that along the other one is, if both are those of a copy."""


@dataclass(frozen=True)
class Reading:
    """Boxes read by a convention. missed: how many do not fit. fills: whether they are spread over the images and reach
    to the edges. cut: the share of boxes that end at a far edge, the lesser of both, if it is far more than end just
    before it, as it is with objects that the edge of an image cuts; else 0."""

    convention: Convention
    missed: int
    fills: bool = False
    cut: float = 0.0


@dataclass(frozen=True, eq=False)
class Sample:
    """numbers: float64 [m, 4], as written; sizes: float64 [m, 2], height and width of each box's image."""

    numbers: np.ndarray
    sizes: np.ndarray

    @property
    def count(self) -> int:
        return len(self.numbers)

    @cached_property
    def shortest_side(self) -> float:
        """Of the images, but for one in twenty."""
        return float(np.quantile(self.sizes.min(axis=1), 0.05))

    def uses(self, unit: Unit) -> bool:
        """Whether numbers may be in a unit: a few may be far too large, but they make use of its range."""
        if unit.full is None or not self.count:
            return unit.full is None and self.count > 0
        largest = np.abs(self.numbers).max(axis=1)
        wide = unit.full == 1 or float(largest.max()) > unit.full / 4
        return wide and float(np.quantile(largest, 0.9)) <= 1.05 * unit.full

    def read(self, convention: Convention) -> Reading:
        missed = int((~convention.fits(self.numbers, self.sizes)).sum())
        if self.count < FEW or missed > self.count / 2:
            return Reading(convention, missed)
        corners = convention.to_xyxy_pixels(self.numbers, self.sizes) / np.tile(self.sizes[:, ::-1], 2)
        starts, ends = corners[:, :2].clip(-1, 2), corners[:, 2:].clip(-1, 2)
        spread = ((starts + ends) / 2).std(axis=0) >= 0.1
        fills = bool((spread & (ends.max(axis=0) >= 0.95) & (np.quantile(ends, 0.9, axis=0) >= 0.7)).all())
        at_edge, before = (ends >= 0.995).sum(axis=0), ((ends >= 0.97) & (ends < 0.995)).sum(axis=0)
        cut = fills and bool((at_edge >= np.maximum(max(3, self.count / 100), 2 * before / 5)).all())
        return Reading(convention, missed, fills, float(at_edge.min()) / self.count if cut else 0.0)

    def copies(self, order: Order, alike: float = _ALIKE) -> list[tuple[Convention, float]]:
        """Conventions of boxes drawn on copies of the images in another size, if the far ends of the boxes say that
        size; and how large a part of its image's side a copy's side is. Either a copy is as many times as wide as its
        image as it is high, or all copies have one width and height. A usual size comes before the one that is seen.

        Args:
            alike: how large a part of the other one the farther end along one axis must be.
        """
        corners = Convention(order, PIXELS).to_xyxy_pixels(self.numbers, self.sizes)
        ends = np.nan_to_num(corners[:, 2:].clip(-1e100, 1e100))
        found = []
        factors, sides = (ends / self.sizes[:, ::-1]).max(axis=0), ends.max(axis=0)
        if 0 < alike * factors.max() <= factors.min():
            for factor in _usual_and_seen(_ROUND_FACTORS, float(factors.max())):
                found.append((Convention(order, copies_by(factor)), factor))
        if 0 < alike * sides.max() <= sides.min():
            for side in _usual_and_seen(_USUAL_SIDES, float(np.ceil(sides.max() - 0.01))):
                unit = Unit(f"in the pixels of copies of {side:g} x {side:g}", full=side)
                found.append((Convention(order, unit), side / self.shortest_side))
        return found


def _usual_and_seen(usual: Sequence[float], seen: float) -> list[float]:
    return [*(each for each in usual if 0.99 * seen < each <= _ROUND * seen and each != seen), seen]


def as_good(missed: int, count: int) -> float:
    """How many misfits another convention may have to fit as well."""
    return 1.5 * missed + count // 1000


def best_of(readings: Sequence[Reading], count: int) -> Reading | None:
    """Of those with hardly more misfits than the first of `readings`, one in which boxes reach to the edges of their
    images before one in which they do not, then the more common unit and order."""
    if not readings:
        return None
    close = {each.convention: each for each in readings if each.missed <= as_good(readings[0].missed, count)}
    ranked = [close[each] for each in CONVENTIONS if each in close]
    return max(ranked, key=lambda each: each.fills)


def find_other_way(
    sample: Sample, readings: Sequence[Reading], own: Reading, violated: bool, usual: Sequence[Convention]
) -> tuple[Reading | None, list[Convention]]:
    """What all boxes look like instead, if they do, and what else fits as well.

    Args:
        own, readings: of the declared convention, and of the others, those with the fewest misfits first.
        violated: whether the declared one does not fit.
        usual: what one or two misfits may speak for.
    """
    rivals = [each for each in readings if own.missed >= _SOME or each.convention in usual]
    if sample.count >= FEW:  # a larger unit fits anything loosely
        rivals = [each for each in rivals if each.fills or not (own.fills or each.convention.unit in WIDE_UNITS)]
    else:
        rivals = [each for each in rivals if each.convention.unit not in WIDE_UNITS]
    best = best_of(rivals, sample.count) if violated else None
    if best is not None and _CLEARLY * best.missed > own.missed:
        best = None
    suspect = _in_other_units(sample, readings, own, best, violated)
    unsure = suspect is not None and best is not None and not (suspect.cut or suspect.convention.unit.name)
    likely = best if suspect is None or unsure else suspect
    others = [suspect.convention] if suspect is not None and unsure else []
    if violated and (likely is None or likely.convention.unit not in (PIXELS, SHARES)):
        is_odd = likely is None or likely.convention.order != own.convention.order
        padded = _padded(sample, own, corner=is_odd and own.missed > sample.count / 3)
        if padded is not None and (likely is None or padded.missed <= as_good(likely.missed, sample.count)):
            return padded, []
    if likely is None:
        return None, []
    unit = likely.convention.unit
    orders = ORDERS if unit in (PIXELS, SHARES) else COMMON_ORDERS
    for rival in (sample.read(Convention(order, unit)) for order in orders):
        fits_too = rival.missed <= as_good(likely.missed, sample.count)
        known = rival.fills if sample.count >= FEW else rival.convention.order.name and own.missed >= _SOME
        if fits_too and known and rival.convention not in (likely.convention, own.convention):
            others.append(rival.convention)
    return likely, others


def _in_other_units(
    sample: Sample, readings: Sequence[Reading], own: Reading, best: Reading | None, violated: bool
) -> Reading | None:
    """What boxes may be that keep to a part of their images in pixels, or that fit in no known unit.

    Args:
        best: of the readings, if it fits and the declared one does not.
    """
    read = own if best is None else best
    unit, few = read.convention.unit, sample.count / 100
    fills, cut = (read.fills, read.cut) if read.missed <= few else (False, 0.0)
    if sample.count < FEW or unit not in (PIXELS, *WIDE_UNITS) or cut:
        return None
    filling = [each for each in readings if each.fills and each.missed <= few and not fills]
    if unit == PIXELS:
        filling = [
            each
            for each in filling
            if each.convention.unit in WIDE_UNITS
            and sample.shortest_side >= 1.2 * float(each.convention.unit.full or 1)
        ]
    if filling:
        return best_of(filling, sample.count)
    found = []
    orders = COMMON_ORDERS
    if violated and (
        own.fills or own.missed <= sample.count / 3
    ):  # most boxes are as declared; some copy can be found for any other order
        orders = (own.convention.order,)
    for order in orders:
        loose = order == own.convention.order and best is None
        for copy, part in sample.copies(order, _ALIKE_WITHOUT_CUTS if loose else _ALIKE):
            drawn = sample.read(copy)
            if part * sample.shortest_side < _SMALLEST_COPY:
                drawn = replace(drawn, cut=0.0)
            larger, smaller = part > 1.03 and violated and unit == PIXELS, part <= 0.9
            larger = larger and (drawn.cut > 0 or own.missed > sample.count / 2)
            if unit != PIXELS:  # a copy of 900 x 900 pixels is no thousandths
                larger, smaller = False, copy.unit.full is None or copy.unit.full < 0.97 * float(unit.full or 1)
            likely = (smaller and drawn.cut) or (not fills and drawn.fills and (larger or part <= 0.85))
            if drawn.missed <= few and likely:
                found.append(drawn)
    return max(found, key=lambda each: each.cut, default=None)


def _padded(sample: Sample, own: Reading, *, corner: bool) -> Reading | None:
    """The declared order in the pixels of copies with something around the image, if boxes fit so.

    Args:
        corner: whether the image may be in the upper left corner of the copy.
    """
    if sample.count < FEW:
        return None
    corners = Convention(own.convention.order, PIXELS).to_xyxy_pixels(sample.numbers, sample.sizes)
    for unit in _paddings(sample, corners, corner=corner):
        drawn = sample.read(Convention(own.convention.order, unit))
        if drawn.fills and _CLEARLY * drawn.missed <= own.missed and drawn.missed <= sample.count / 100:
            return drawn
    return None


def _paddings(sample: Sample, corners: np.ndarray, *, corner: bool) -> Iterator[PaddedUnit]:
    """What images may have been padded to, the smallest first: boxes fit larger ones, too."""
    longest, shortest = sample.sizes.max(axis=1), sample.sizes.min(axis=1)
    oblong, varied = float(np.mean(longest > 1.05 * shortest)) >= 0.2, longest.max() > 1.05 * longest.min()
    farthest = float(np.nan_to_num(corners.max(), posinf=0.0))
    drawn = "in the pixels of copies"
    if oblong:
        yield PaddedUnit(f"{drawn} padded to squares, on both sides")
    least = np.quantile(corners[:, 2:] - sample.sizes[:, ::-1], 0.995, axis=0)
    most = np.quantile(corners[:, :2], 0.005, axis=0)
    if (least <= most + 2).all() and (most - least <= _SLACK * np.median(sample.sizes)).all():
        x, y = np.rint((least + most) / 2).tolist()
        yield PaddedUnit(f"{drawn} with a border, of {x:g} pixels on the left and {y:g} above", border=(y, x))
    for side in sorted({*_USUAL_SIDES, float(np.ceil(farthest - 0.01)), float(longest.max())}):
        size = f"{side:g} x {side:g}"
        if side < farthest - 1:
            continue
        if oblong:
            yield PaddedUnit(
                f"{drawn} scaled to {size}, and padded on both sides (letterboxed)", side=side, scaled=True
            )
        if oblong and varied and corner:
            text = f"{drawn} scaled to {size}, and padded on the right or below"
            yield PaddedUnit(text, side=side, scaled=True, centred=False)
        if longest.max() <= side > shortest.min() + 2:
            yield PaddedUnit(f"{drawn} padded to {size} on all sides", side=side)
