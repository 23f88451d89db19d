"""Holds boxes against what stands beside them: segmentations and areas tell how the numbers of a box are meant."""

from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.conventions import (
    COMMON_ORDERS,
    CONVENTIONS,
    PIXELS,
    Convention,
    Order,
    copies_by,
    look_like_shares,
)
from sagemaker_object_detection.dataset.readings import FEW, Sample
from sagemaker_object_detection.dataset.witnesses import Witnesses

_AGREE = 0.9
_FEWEST_APART = 3
_USUAL_FACTORS = (0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1.25, 1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Testimony:
    """likely: the convention that witnesses agree with, if they do not with the declared one. agrees: whether outlines
    agree with the declared one. words: how many do, as a part of a sentence. contradiction: a sentence on witnesses
    that agree with no known convention."""

    likely: Convention | None = None
    agrees: bool = False
    words: str = ""
    contradiction: str = ""


@dataclass(frozen=True, eq=False)
class _Hearing:
    """numbers: float64 [K, 4], as written; sizes: float64 [K, 2], height and width of each box's image. outlines:
    float64 [K, 4], xmin ymin xmax ymax, or None; areas: float64 [K]. Both in pixels."""

    numbers: np.ndarray
    sizes: np.ndarray
    outlines: np.ndarray | None
    areas: np.ndarray

    def agreeing(self, convention: Convention) -> int:
        """How many boxes agree, read so: to a few pixels, or to what rounding the sides of a box makes of its area."""
        corners = convention.to_xyxy_pixels(self.numbers, self.sizes)
        with np.errstate(over="ignore", invalid="ignore"):
            sides = corners[:, 2:] - corners[:, :2]
            if self.outlines is not None:
                near = np.maximum(2, 0.05 * (self.outlines[:, 2:] - self.outlines[:, :2]).max(axis=1))
                return int((np.abs(corners - self.outlines).max(axis=1) <= near).sum())
            near = 0.01 * self.areas + 0.5 * np.abs(sides).sum(axis=1)
            return int(((sides > 0).all(axis=1) & (np.abs(sides.prod(axis=1) - self.areas) <= near)).sum())

    def apart(self, convention: Convention) -> int:
        """How many boxes fit their images, read so, but have less than half in common with the outline (an IoU below
        0.5), or less room than the area, which is that of what lies in them."""
        corners, fits = convention.to_xyxy_pixels(self.numbers, self.sizes), convention.fits(self.numbers, self.sizes)
        with np.errstate(over="ignore", invalid="ignore"):
            areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
            if self.outlines is None:
                return int((fits & (self.areas > 1.2 * areas + 10)).sum())
            inner = np.minimum(corners[:, 2:], self.outlines[:, 2:]) - np.maximum(corners[:, :2], self.outlines[:, :2])
            shared = inner.clip(0).prod(axis=1)
            return int((fits & (shared < (areas + self.areas - shared) / 2)).sum())

    def scaled(self, order: Order) -> Convention | None:
        """An order in the pixels of copies that are so many times as large that areas agree."""
        corners = Convention(order, PIXELS).to_xyxy_pixels(self.numbers, self.sizes)
        with np.errstate(over="ignore", invalid="ignore"):
            areas = (corners[:, 2:] - corners[:, :2]).clip(0).prod(axis=1)
        usable = (areas > 1) & np.isfinite(areas) & (self.areas > 0)
        if not usable.any():
            return None
        factor = float(np.sqrt(np.median(areas[usable] / self.areas[usable])))
        usual = [each for each in _USUAL_FACTORS if abs(each / factor - 1) < 0.03]
        return Convention(order, copies_by(usual[0] if usual else factor))


def hear(written: np.ndarray, sizes: np.ndarray, declared: Convention, witnesses: Witnesses) -> Testimony:
    """What witnesses say of all boxes together. Areas are heard only if there are no outlines.

    Args:
        written: float64 [M, 4], the numbers as written.
        sizes: float64 [M, 2], height and width of each box's image.
    """
    outlined = np.isfinite(witnesses.outlines).all(axis=1)
    by_outline = bool(outlined.sum() >= FEW)
    heard = np.flatnonzero(outlined if by_outline else np.isfinite(witnesses.areas))
    if len(heard) < FEW:
        return Testimony()
    boxes = witnesses.boxes[heard]
    numbers, limits, outlines, areas = written[boxes], sizes[boxes], None, witnesses.areas[heard]
    if by_outline:
        outlines = witnesses.outlines[heard]
        if look_like_shares(outlines, limits).all():
            outlines = outlines * np.tile(limits[:, ::-1], 2)
        areas = (outlines[:, 2:] - outlines[:, :2]).prod(axis=1)
    hearing = _Hearing(numbers, limits, outlines, areas)
    count, own = len(heard), hearing.agreeing(declared)
    if own >= count / 2:
        return Testimony(agrees=by_outline)
    what, scaled = "segmentations" if by_outline else "areas", [*filter(None, map(hearing.scaled, COMMON_ORDERS))]
    known = [each for each in CONVENTIONS if each.order in COMMON_ORDERS and not each.is_like(declared)]
    counts = {each: hearing.agreeing(each) for each in (*known, *scaled)}
    most = max(counts.values())
    close = [each for each, number in counts.items() if number >= max(_AGREE * count, most - count / 50)]
    likely = max(close, key=lambda each: int(each.fits(numbers, limits).sum()), default=None)
    if likely is not None and likely in scaled:
        # Tools that resize scale some of box, outline and area. The box is the one that is wrong if, scaled, it fits.
        reading = Sample(numbers, limits).read(likely)
        likely = likely if reading.fills and reading.missed <= count / 100 else None
    if likely is not None:
        # The witnesses themselves may be in another order: boxes that all fit are right.
        fitting, fits = (int(each.fits(numbers, limits).sum()) for each in (declared, likely))
        likely = likely if fits >= min(fitting, 0.99 * count) else None
    if likely is not None:
        words = f"{counts[likely]} of {count} boxes agree with their {what} so, and {own or 'none'} as declared"
        return Testimony(likely=likely, words=words)
    apart = hearing.apart(declared)
    if apart < max(_FEWEST_APART, count / 10):
        return Testimony()
    told = "lie elsewhere than these" if by_outline else "are larger than these"
    contradiction = (
        f"the {what} of {apart} of {count} boxes {told}, and agree with no way of reading them that "
        f"fits the images. The boxes are taken, and nothing beside them: make sure that they are right"
    )
    return Testimony(contradiction=contradiction)
