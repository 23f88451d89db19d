"""Judges, by all boxes of a channel together, which convention their numbers follow: an order, in a unit.

A box fits a convention if, read so, it lies in its image (to a pixel) and is at least a pixel wide and high. The rule:

1. Violated: more than 5% of the boxes (with Auto ten are enough) do not fit as they are declared, and another
   convention has at most a tenth as many misfits. The boxes are then in the other one. Shares of the image are always
   found so: read as pixels, they are thinner than a pixel.
2. Confined: the boxes fit as pixels, but keep to the upper left part of larger images, and fill that part up to its far
   edges. That part is 100 or 1000 wide and high (percent, thousandths), or it is a smaller copy of the image, at whose
   edges boxes pile up. The setting decides: an explicit `bbox_format` is believed, and a warning says what was seen.
   If boxes do not pile up at its edges, the part may as well be where the objects are, and there is a warning only.
3. Else the boxes are as declared. If another convention fits every box just as well, that is a warning.

Nothing in the numbers tells whether y is counted from below if both ends of a box still come in ascending order, or
on square images whether x or y comes first. The pictures of the report show it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sagemaker_object_detection.hyperparameters.kinds import AUTO

MAX_OVERHANG = 1.0
"""Pixels. Tools round differently, so a box may end this far outside its image and is then clipped."""
_THINNEST = 1.0 - 1e-6
FEW = 20
"""Boxes. Where they lie says nothing with fewer."""
_TOLERATED = 0.05
_MANY = 10
_SOME = 3
"""Misfits. Fewer of them are mistakes in some convention or other, and speak for one of the two usual ones at most."""
_CLEARLY = 10
_SAMPLE = 5_000
"""Boxes, evenly spaced, that conventions are compared on: enough to know a share of 5% to within one in a hundred."""
_SMALLEST_COPY = 128
"""Pixels. In a smaller copy the edge is not told from the whole pixels before it."""
_SMALLEST_IMAGE = 16
"""Pixels. On smaller images a box of a pixel at the origin is no share."""


@dataclass(frozen=True)
class Order:
    """What the four numbers are. name: the word of `bbox_format`; empty if it has none. owner: who writes so."""

    fields: tuple[str, str, str, str]
    name: str = ""
    owner: str = ""

    @cached_property
    def matrix(self) -> np.ndarray:
        """float64 [4, 4]; it times the four numbers is xmin ymin xmax ymax."""
        x0, x1 = self._ends("xmin", "xmax", "centre x", "width")
        y0, y1 = self._ends("ymin", "ymax", "centre y", "height")
        return np.stack([x0, y0, x1, y1])

    def _ends(self, low: str, high: str, centre: str, size: str) -> tuple[np.ndarray, np.ndarray]:
        part = dict(zip(self.fields, np.eye(4), strict=True))
        if size not in part:
            return part[low], part[high]
        if centre in part:
            return part[centre] - part[size] / 2, part[centre] + part[size] / 2
        return (part[low], part[low] + part[size]) if low in part else (part[high] - part[size], part[high])


@dataclass(frozen=True)
class Unit:
    """What the numbers are counted in. name: what follows the order in `bbox_format`. full: the number at the right or
    lower edge of every image; None where that is its size in pixels times `factor`."""

    text: str
    name: str = ""
    full: float | None = None
    factor: float = 1.0

    def pixels(self, sides: np.ndarray) -> np.ndarray | float:
        """By what numbers along sides of this many pixels are multiplied."""
        return 1 / self.factor if self.full is None else sides / self.full


@dataclass(frozen=True)
class Convention:
    order: Order
    unit: Unit

    def __str__(self) -> str:
        return f"{self.order.owner}[{', '.join(self.order.fields)}] {self.unit.text}"

    @property
    def setting(self) -> str | None:
        """The value of `bbox_format`, if it has one."""
        if not self.order.name or (self.unit != PIXELS and not self.unit.name):
            return None
        return f"{self.order.name}_{self.unit.name}" if self.unit.name else self.order.name

    def to_xyxy_pixels(self, written: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Boxes as written to corners.

        Args:
            written: float64 [M, 4].
            sizes: float64 [M, 2], height and width of each box's image.

        Returns:
            float64 [M, 4], xmin ymin xmax ymax, pixels. What is beyond float64 is infinite.
        """
        return np.stack(self._corners(written, sizes), axis=1)

    def _corners(self, written: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        corners = []
        with np.errstate(over="ignore", invalid="ignore"):
            for row, sides in zip(self.order.matrix, (sizes[:, 1], sizes[:, 0]) * 2, strict=True):
                corner = sum(written[:, place] * row[place] for place in np.flatnonzero(row).tolist())
                corners.append(np.asarray(corner if self.unit == PIXELS else corner * self.unit.pixels(sides)))
        return corners

    def fits(self, written: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """bool [M], which boxes lie in their images and are a pixel wide and high; arguments as `to_xyxy_pixels`."""
        x0, y0, x1, y1 = self._corners(written, sizes)
        inside = (np.minimum(x0, y0) >= -MAX_OVERHANG) & (x1 <= sizes[:, 1] + MAX_OVERHANG)
        with np.errstate(over="ignore", invalid="ignore"):
            thick = np.minimum(x1 - x0, y1 - y0) >= _THINNEST
        fits = inside & (y1 <= sizes[:, 0] + MAX_OVERHANG) & thick
        return np.asarray(fits & ~look_like_shares(written, sizes) if self.unit == PIXELS else fits)


def look_like_shares(written: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """bool [M], whether a box's numbers are all from 0 to 1, which is a pixel at most."""
    looks = np.minimum(sizes[:, 0], sizes[:, 1]) > _SMALLEST_IMAGE
    for column in written.T:
        looks &= (column >= 0) & (column <= 1)
    return np.asarray(looks)


PIXELS = Unit("in pixels")
UNITS = (
    PIXELS,
    Unit("as shares of the image, from 0 to 1", "normalized", 1.0),
    Unit("in percent of the image", "percent", 100.0),
    Unit("in thousandths of the image", "thousandths", 1000.0),
)
ORDERS = (
    Order(("xmin", "ymin", "xmax", "ymax"), "xyxy"),
    Order(("xmin", "ymin", "width", "height"), "xywh", "COCO's "),
    Order(("centre x", "centre y", "width", "height"), "cxcywh", "YOLO's "),
    Order(("ymin", "xmin", "ymax", "xmax"), "yxyx", "TensorFlow's "),
    Order(("xmin", "xmax", "ymin", "ymax"), "xxyy"),
    Order(("ymin", "ymax", "xmin", "xmax")),
    Order(("xmax", "ymax", "xmin", "ymin")),
    Order(("ymax", "xmax", "ymin", "xmin")),
    Order(("xmin", "ymax", "xmax", "ymin")),  # lower left and upper right, or y from below
    Order(("xmax", "ymin", "xmin", "ymax")),
    Order(("ymin", "xmax", "ymax", "xmin")),  # dlib's and CSS's way around
    Order(("xmax", "xmin", "ymax", "ymin")),
    Order(("xmin", "ymin", "height", "width")),
    Order(("ymin", "xmin", "height", "width")),
    Order(("ymin", "xmin", "width", "height")),
    Order(("width", "height", "xmin", "ymin")),  # Rekognition's keys as they come
    Order(("height", "width", "ymin", "xmin")),
    Order(("xmin", "width", "ymin", "height")),
    Order(("centre x", "centre y", "height", "width")),
    Order(("centre y", "centre x", "height", "width")),
    Order(("xmin", "ymax", "width", "height")),
    Order(("xmax", "ymax", "width", "height")),
)
"""The common ones, which `bbox_format` has, before the others. Sources: keras.utils.bounding_boxes, torchvision's
BoundingBoxFormat, detectron2's BoxMode, Open Images' columns, Rekognition's BoundingBox, and slips of these."""
_COMMON_ORDERS = tuple(order for order in ORDERS if order.name)
_USUAL = Convention(ORDERS[0], PIXELS), Convention(ORDERS[1], PIXELS)
_WIDE_UNITS = UNITS[2:]
"""Units of which numbers may also be pixels."""
CONVENTIONS = tuple(Convention(order, unit) for order in ORDERS for unit in UNITS)
BY_SETTING = {convention.setting: convention for convention in CONVENTIONS if convention.setting}
"""By value of `bbox_format`, but for Auto."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What M boxes are.

    declared, fits: how they are to be read, and which boxes fit so, bool [M]. likely: what they look like instead, if
    there is such a convention; others: those that fit as well as it. sure: whether the boxes surely are not as
    declared. confined: whether only their places say so. ties: values of `bbox_format` with which every box fits too,
    if all fit as declared. following, following_fits: the next best convention, and how many boxes fit it.
    """

    declared: Convention
    fits: np.ndarray
    likely: Convention | None
    others: tuple[Convention, ...]
    sure: bool
    confined: bool
    ties: tuple[Convention, ...]
    following: Convention | None
    following_fits: int

    @property
    def line(self) -> str:
        """What the report says."""
        fitting = f"boxes read as {self.declared}; {self.fits.sum():,} of {len(self.fits):,} fit"
        if self.following is None:
            return fitting
        return f"{fitting}; the next best, {self.following}, fits {self.following_fits:,}"


def judge_conventions(written: np.ndarray, sizes: np.ndarray, bbox_format: str) -> Judgement:
    """Compare the declared convention with every other.

    Args:
        written: float64 [M, 4], the numbers as written.
        sizes: float64 [M, 2], height and width of each box's image.
        bbox_format: the hyperparameter.
    """
    declared = BY_SETTING["xyxy" if bbox_format == AUTO else bbox_format]
    step = max(1, -(-len(written) // _SAMPLE))
    sample = _Sample(written[::step], sizes[::step])
    own = sample.read(declared)
    units = [unit for unit in UNITS if sample.uses(unit)]
    readings = [sample.read(Convention(order, unit)) for unit in units for order in ORDERS]
    readings = sorted((each for each in readings if each.convention != declared), key=lambda each: each.missed)
    violated = own.missed > _TOLERATED * sample.count or (bbox_format == AUTO and own.missed >= _MANY)
    rivals = [each for each in readings if own.missed >= _SOME or each.convention in _USUAL]
    if sample.count >= FEW:  # a larger unit fits anything loosely
        rivals = [each for each in rivals if each.fills or not (own.fills or each.convention.unit in _WIDE_UNITS)]
    best = _best(rivals, sample.count) if violated else None
    if best is not None and _CLEARLY * best.missed > own.missed:
        best = None
    suspect = _in_other_units(sample, readings, own, best, violated)
    unsure = suspect is not None and best is not None and not (suspect.cut or suspect.convention.unit.name)
    likely = best if suspect is None or unsure else suspect
    others = [suspect.convention] if suspect is not None and unsure else []
    if likely is not None:
        for rival in (sample.read(Convention(order, likely.convention.unit)) for order in ORDERS):
            fits_too = rival.missed <= _as_good(likely.missed, sample.count)
            known = rival.fills if sample.count >= FEW else rival.convention.order.name and own.missed >= _SOME
            if fits_too and known and rival.convention not in (likely.convention, declared):
                others.append(rival.convention)
    told = [each for each in readings if sample.count >= FEW or each.convention in _USUAL]
    pixels = [each for each in told if each.convention.unit == PIXELS and (each.fills or not own.fills)]
    common = [each for each in readings if each.convention.order.name and each.convention.unit not in _WIDE_UNITS]
    following = _best(common, sample.count)
    return Judgement(
        declared=declared,
        fits=declared.fits(written, sizes),
        likely=None if likely is None else likely.convention,
        others=tuple(others),
        sure=likely is not None and (violated or likely.convention.unit.name != "" or likely.cut > 0),
        confined=likely is not None and not violated,
        ties=tuple(each.convention for each in pixels if each.convention.setting and not each.missed + own.missed),
        following=None if following is None else following.convention,
        following_fits=0 if following is None else int(following.convention.fits(written, sizes).sum()),
    )


@dataclass(frozen=True)
class _Reading:
    """Boxes read by a convention. missed: how many do not fit. fills: whether they are spread over the images and reach
    to the edges. cut: the share of boxes that end at a far edge, the lesser of both, if it is far more than end just
    before it, as it is with objects that the edge of an image cuts; else 0."""

    convention: Convention
    missed: int
    fills: bool = False
    cut: float = 0.0


@dataclass(frozen=True, eq=False)
class _Sample:
    """numbers: float64 [m, 4], as written; sizes: float64 [m, 2], height and width of each box's image."""

    numbers: np.ndarray
    sizes: np.ndarray

    @property
    def count(self) -> int:
        return len(self.numbers)

    @property
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

    def read(self, convention: Convention) -> _Reading:
        missed = int((~convention.fits(self.numbers, self.sizes)).sum())
        if self.count < FEW or missed > self.count / 2:
            return _Reading(convention, missed)
        corners = convention.to_xyxy_pixels(self.numbers, self.sizes) / np.tile(self.sizes[:, ::-1], 2)
        starts, ends = corners[:, :2].clip(-1, 2), corners[:, 2:].clip(-1, 2)
        spread = ((starts + ends) / 2).std(axis=0) >= 0.1
        fills = bool((spread & (ends.max(axis=0) >= 0.95) & (np.quantile(ends, 0.9, axis=0) >= 0.7)).all())
        at_edge, before = (ends >= 0.995).sum(axis=0), ((ends >= 0.97) & (ends < 0.995)).sum(axis=0)
        cut = fills and bool((at_edge >= np.maximum(max(3, self.count / 100), 2 * before / 5)).all())
        return _Reading(convention, missed, fills, float(at_edge.min()) / self.count if cut else 0.0)

    def copies(self, order: Order) -> list[tuple[Convention, float]]:
        """Conventions of boxes drawn on copies of the images in another size, if the far ends of the boxes say that
        size; and how large a part of its image's side a copy's side is. Either a copy is as many times as wide as its
        image as it is high, or all copies have one width and height."""
        corners = Convention(order, PIXELS).to_xyxy_pixels(self.numbers, self.sizes)
        ends = np.nan_to_num(corners[:, 2:].clip(-1e100, 1e100))
        found = []
        factors, sides = (ends / self.sizes[:, ::-1]).max(axis=0), ends.max(axis=0)
        if 0 < 0.985 * factors.max() <= factors.min():
            factor = float(factors.max())
            unit = Unit(f"in the pixels of copies {factor:.3g} times as wide and high as the images", factor=factor)
            found.append((Convention(order, unit), factor))
        if 0 < 0.985 * sides.max() <= sides.min():
            side = float(np.ceil(sides.max() - 0.01))
            unit = Unit(f"in the pixels of copies of {side:g} x {side:g}", full=side)
            found.append((Convention(order, unit), side / self.shortest_side))
        return found


def _as_good(missed: int, count: int) -> float:
    """How many misfits another convention may have to fit as well."""
    return 1.5 * missed + count // 1000


def _best(readings: Sequence[_Reading], count: int) -> _Reading | None:
    """Of those with hardly more misfits than the first of `readings`, one in which boxes reach to the edges of their
    images before one in which they do not, then the more common unit and order."""
    if not readings:
        return None
    close = {each.convention: each for each in readings if each.missed <= _as_good(readings[0].missed, count)}
    ranked = [each for unit in UNITS for order in ORDERS if (each := close.get(Convention(order, unit))) is not None]
    return max(ranked, key=lambda each: each.fills)


def _in_other_units(
    sample: _Sample, readings: Sequence[_Reading], own: _Reading, best: _Reading | None, violated: bool
) -> _Reading | None:
    """What boxes may be that keep to a part of their images in pixels, or that fit in no known unit.

    Args:
        own, readings: of the declared convention, and of the others.
        best: of these, if it fits and the declared one does not.
        violated: whether the declared one does not fit.
    """
    read = own if best is None else best
    unit, few = read.convention.unit, sample.count / 100
    fills, cut = (read.fills, read.cut) if read.missed <= few else (False, 0.0)
    if sample.count < FEW or unit not in (PIXELS, *_WIDE_UNITS) or cut:
        return None
    filling = [each for each in readings if each.fills and each.missed <= few and not fills]
    if unit == PIXELS:
        filling = [
            each
            for each in filling
            if each.convention.unit in _WIDE_UNITS
            and sample.shortest_side >= 1.2 * float(each.convention.unit.full or 1)
        ]
    if filling:
        return _best(filling, sample.count)
    found = []
    orders = ORDERS if violated else _COMMON_ORDERS
    if violated and (
        own.fills or own.missed <= sample.count / 3
    ):  # most boxes are as declared; some copy can be found for any other order
        orders = (own.convention.order,)
    for order in orders:
        for copy, part in sample.copies(order):
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
