"""Finds images in one file whose boxes are written otherwise than those of the others."""

from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.conventions import CONVENTIONS, PIXELS, Convention
from sagemaker_object_detection.dataset.readings import FEW, WIDE_UNITS, Sample

_FEW_MISFITS = 5
_NEARLY_ALL = 0.9
_SAMPLE = 5_000
_FEWEST_IMAGES = 5
_SMALLEST_SIDE = 2.2
"""Of images, in units' ranges: in smaller ones there is no place beside the first to compare it with."""
_ABOUT_ONE_SIZE = 1.5
_MORE = 3
"""Times as many boxes as in any other place of that size: objects do not crowd so by themselves."""
_PLACES = 5


@dataclass(frozen=True, eq=False)
class Part:
    """Boxes that look like another convention than the rest of the file. boxes: int64 [P], those that show it.
    images: how many they are in. clear: whether these images are clearly others than the rest. confined: whether only
    the place of the boxes says so."""

    convention: Convention
    boxes: np.ndarray
    images: int
    clear: bool
    confined: bool = False


def misfits_alike(
    written: np.ndarray,
    sizes: np.ndarray,
    images: np.ndarray,
    declared: Convention,
    solid: np.ndarray,
    misfits: np.ndarray,
    likely: Convention | None,
) -> Part | None:
    """The convention that fits most misfits, if one does. Of several that fit as many, the most common one.

    Args:
        written, sizes, images: numbers as written, float64 [M, 4], height and width of their images, float64 [M, 2],
            and the images, int64 [M].
        solid, misfits: boxes with a width and a height, and those of them that do not fit as declared, ascending.
        likely: what all boxes look like, if that is known.
    """
    if len(misfits) < _FEW_MISFITS:
        return None
    some = misfits[:: max(1, -(-len(misfits) // _SAMPLE))]
    common = [each for each in CONVENTIONS if each.order.name and not each.is_like(declared)]
    common.sort(key=lambda each: each.unit != declared.unit)
    known = common if likely is None else [*common, likely]
    counts = {each: int(each.fits(written[some], sizes[some]).sum()) for each in known}
    most = max(counts.values())
    if most < _NEARLY_ALL * len(some):
        return None
    likely = next(each for each, count in counts.items() if count >= most - 0.02 * len(some))
    boxes = misfits[likely.fits(written[misfits], sizes[misfits])]
    clear = _in_images_of_their_own(sizes, images, solid, misfits)
    return Part(likely, boxes, len(np.unique(images[boxes])), clear)


def _in_images_of_their_own(sizes: np.ndarray, images: np.ndarray, solid: np.ndarray, misfits: np.ndarray) -> bool:
    """Whether more images have no misfit than would if the misfits of the others were spread over all.

    If every box is a misfit with probability p, an image of k boxes has none with (1 - p) ** k. p is that of a binomial
    distribution without its zeros, fitted to the images that have a misfit; it depends on the size of the image, so
    that images of about one width and height are looked at by themselves. Those of one box say nothing.
    """
    boxes, missed = np.bincount(images[solid]), np.bincount(images[misfits], minlength=images[solid].max() + 1)
    size_of = np.ones((len(boxes), 2))
    size_of[images[solid]] = sizes[solid]
    several = np.flatnonzero(boxes >= 2)
    alike = np.rint(np.log(size_of[several]) / np.log(_ABOUT_ONE_SIZE))
    _, codes = np.unique(alike, axis=0, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    without, expected, count = 0, 0.0, 0
    for of_size in np.split(several[order], np.flatnonzero(np.diff(codes[order])) + 1):
        shown = of_size[missed[of_size] > 0]
        if len(shown) >= _FEWEST_IMAGES:
            share = _share_of_misfits(boxes[shown].astype(np.float64), float(missed[shown].sum()))
            expected += float(((1 - share) ** boxes[of_size]).sum())
            without += len(of_size) - len(shown)
            count += len(of_size)
    return bool(without - expected >= max(5, 3 * np.sqrt(expected), count / 10))


def _share_of_misfits(boxes: np.ndarray, total: float) -> float:
    """p of binomial distributions without their zeros, of so many of boxes, float64 [N], whose means sum to `total`."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        mean = float((boxes * middle / -np.expm1(boxes * np.log1p(-middle))).sum())
        low, high = (middle, high) if mean < total else (low, middle)
    return low


def images_in_wide_units(
    written: np.ndarray, sizes: np.ndarray, images: np.ndarray, declared: Convention, fitting: np.ndarray
) -> Part | None:
    """Images whose boxes, read as pixels, lie in the first 100 (or 1000) pixels, and fill these, while no other place
    of that size has nearly as many boxes: they are likely in percent (or thousandths), and the others in pixels.

    Args:
        fitting: int64 [m], the boxes that fit as declared, in pixels.
    """
    corners = declared.to_xyxy_pixels(written[fitting], sizes[fitting])
    for unit in WIDE_UNITS:
        full = float(unit.full or 1)
        large = sizes[fitting].min(axis=1) >= _SMALLEST_SIDE * full
        if large.sum() < FEW:
            continue
        places = np.floor(corners[:, :2].clip(0) / full)
        within = large & (corners[:, 2:] <= (places + 1) * full + 0.5).all(axis=1) & (places < _PLACES).all(axis=1)
        first = within & (places == 0).all(axis=1)
        boxes, inside = (np.bincount(images[fitting][kept], minlength=images.max() + 1) for kept in (large, first))
        whole = (boxes > 0) & (boxes == inside)
        chosen = np.flatnonzero(first & whole[images[fitting]])
        elsewhere = np.bincount((places[within] @ [_PLACES, 1]).astype(np.int64), minlength=2)[1:].max()
        stray = int(inside[~whole].sum())
        if len(chosen) < max(FEW, _MORE * elsewhere, _MORE * stray) or whole.sum() < _FEWEST_IMAGES:
            continue
        rows = fitting[chosen]
        reading = Sample(written[rows], sizes[rows]).read(Convention(declared.order, unit))
        if reading.fills and reading.missed <= len(rows) / 100 and declared.unit == PIXELS:
            return Part(reading.convention, rows, int(whole.sum()), clear=True, confined=True)
    return None
