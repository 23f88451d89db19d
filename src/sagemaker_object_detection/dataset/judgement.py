"""Judges, by all boxes of a channel together, which convention their numbers follow: an order, in a unit.

A box fits a convention if, read so, it lies in its image (to a pixel) and is at least a pixel wide and high. Boxes
without width or height say nothing. The rule:

1. Contradicted: what stands beside the boxes, segmentations and areas, agrees with another convention.
2. Violated: more than 5% of the boxes (ten are enough, unless the convention was set) do not fit as they are declared,
   and another convention has at most a tenth as many misfits. The boxes are then in the other one. Shares of the image
   are always found so: read as pixels, they are thinner than a pixel.
3. Mixed: most of the misfits fit one other convention, and lie in images of their own. Then those images are in it.
   Images are also in percent if their boxes keep to the first 100 pixels, fill those, and no other place of the images
   has half as many boxes.
4. Confined: the boxes fit as pixels, but keep to the upper left part of larger images, and fill that part up to its far
   edges. That part is 100 or 1000 wide and high (percent, thousandths), or it is a smaller copy of the image, at whose
   edges boxes pile up. The setting decides: an explicit `bbox_format` is believed, and a warning says what was seen.
   If boxes do not pile up at its edges, the part may as well be where the objects are, and there is a warning only.
5. Else the boxes are as declared. If another convention fits the boxes just as well, that is a warning.

Nothing in the numbers tells whether y is counted from below if both ends of a box still come in ascending order, or
on square images whether x or y comes first. The pictures of the report show it.
"""

from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.conventions import (
    CONVENTIONS,
    ORDERS,
    PIXELS,
    SHARES,
    UNITS,
    Convention,
    PaddedUnit,
)
from sagemaker_object_detection.dataset.mixtures import Part, images_in_wide_units, misfits_alike
from sagemaker_object_detection.dataset.readings import FEW, WIDE_UNITS, Sample, as_good, best_of, find_other_way
from sagemaker_object_detection.dataset.testimony import hear
from sagemaker_object_detection.dataset.witnesses import NO_WITNESSES, Witnesses

_TOLERATED = 0.05
_MANY = 10
_SAMPLE = 5_000
"""Boxes, evenly spaced, that conventions are compared on: enough to know a share of 5% to within one in a hundred."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What M boxes are.

    declared, fits: how they are to be read, and which boxes fit so, bool [M]. empty: which have no width or no height,
    bool [M]. likely: what they look like instead, if there is such a convention; others: those that fit as well as it.
    sure: whether the boxes surely are not as declared. confined: whether only their places say so. testimony: whether
    segmentations or areas say so, as a part of a sentence. contradiction: a sentence on those that agree with no way of
    reading. part: the misfits, or the boxes of some images, if they look like one other convention; mixed: whether the
    file is surely written in two. ties: values of `bbox_format` that fit about as many boxes. following,
    following_fits: the next best convention, and how many boxes fit it.
    """

    declared: Convention
    fits: np.ndarray
    empty: np.ndarray
    likely: Convention | None
    others: tuple[Convention, ...]
    sure: bool
    confined: bool
    testimony: str
    contradiction: str
    part: Part | None
    mixed: bool
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


def judge_conventions(
    written: np.ndarray,
    sizes: np.ndarray,
    declared: Convention,
    images: np.ndarray,
    *,
    explicit: bool = False,
    witnesses: Witnesses = NO_WITNESSES,
) -> Judgement:
    """Compare the declared convention with every other.

    Args:
        written: float64 [M, 4], the numbers as written.
        sizes: float64 [M, 2], height and width of each box's image.
        declared: how the format, or the hyperparameter, says that they are to be read.
        images: int64 [M], the image of each box.
        explicit: whether someone said so of these very boxes.
        witnesses: of these boxes.
    """
    fits, empty = declared.fits(written, sizes), declared.is_empty(written)
    solid = np.flatnonzero(~empty)
    chosen = solid[:: max(1, -(-len(solid) // _SAMPLE))]
    sample = Sample(written[chosen], sizes[chosen])
    own = sample.read(declared)
    units = [unit for unit in UNITS if sample.uses(unit)]
    known = [each for each in CONVENTIONS if each.unit in units and not each.is_like(declared)]
    readings = sorted((sample.read(each) for each in known), key=lambda each: each.missed)
    violated = own.missed > _TOLERATED * sample.count or (not explicit and own.missed >= _MANY)
    usual = [Convention(order, unit) for order in ORDERS[:2] for unit in {PIXELS, declared.unit}]
    likely, others = find_other_way(sample, readings, own, violated, usual)
    confined = likely is not None and not violated
    sure = likely is not None and (violated or likely.convention.unit.name != "" or likely.cut > 0)
    heard = hear(written, sizes, declared, witnesses)
    part, mixed = None, False
    if heard.likely is not None:
        likely, others, confined, sure = sample.read(heard.likely), [], False, True
    else:
        way = None if likely is None else likely.convention
        part = misfits_alike(written, sizes, images, declared, solid, solid[~fits[solid]], way)
        mixed = part is not None and violated and _is_mixed(part, way, declared, own.missed <= sample.count / 2)
        if part is None and declared.unit == PIXELS and (way is None or (confined and way.unit not in WIDE_UNITS)):
            part = images_in_wide_units(written, sizes, images, declared, np.flatnonzero(fits))
            mixed = part is not None
        if mixed:
            likely, others, confined, sure = None, [], False, False
    told = [each for each in readings if sample.count >= FEW or each.convention in usual]
    pixels = [each for each in told if each.convention.unit == PIXELS and (each.fills or not own.fills)]
    tied = [] if violated or heard.agrees or declared.unit != PIXELS else pixels
    common = [each for each in readings if each.convention.order.name and each.convention.unit not in WIDE_UNITS]
    following = best_of(common, sample.count)
    enough = as_good(own.missed, sample.count)
    return Judgement(
        declared=declared,
        fits=fits,
        empty=empty,
        likely=None if likely is None else likely.convention,
        others=tuple(others),
        sure=sure,
        confined=confined,
        testimony=heard.words,
        contradiction=heard.contradiction,
        part=part,
        mixed=mixed,
        ties=tuple(each.convention for each in tied if each.convention.setting and each.missed <= enough),
        following=None if following is None else following.convention,
        following_fits=0 if following is None else int(following.convention.fits(written, sizes).sum()),
    )


def _is_mixed(part: Part, likely: Convention | None, declared: Convention, most_fit: bool) -> bool:
    """Whether misfits are a part of the file in another way, rather than all boxes in the likely one.

    Args:
        most_fit: whether most boxes fit as declared.
    """
    if likely is None:
        return part.clear
    if declared.unit in WIDE_UNITS and likely.unit in (PIXELS, SHARES):  # it is the declared way that is loose
        return False
    tight = {declared.unit, SHARES} if declared.unit in WIDE_UNITS else {declared.unit, SHARES, PIXELS}
    # A loose way of reading covers the part that is in another way, and the rest as well.
    is_loose = likely.unit not in tight and not isinstance(likely.unit, PaddedUnit)
    return part.clear or (is_loose and part.convention.unit in tight and most_fit)
