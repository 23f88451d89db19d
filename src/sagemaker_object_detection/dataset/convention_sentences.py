"""Sentences on boxes that are not written as they are declared: the evidence, three examples, and what to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.conventions import CORNERS, Convention
from sagemaker_object_detection.dataset.judgement import Judgement

FIRST_FEW = 3
_CONFINED = "the boxes keep to the upper left part of their images, and reach to its edges"


@dataclass(frozen=True, eq=False)
class Wording:
    """Who speaks of M boxes, and what can be done there.

    place: begins each sentence. reads: who says how the boxes are to be read. box: names a box, and its numbers, by its
    position. choose: asks for a convention by its value of `bbox_format`, with {} for it; empty if none can be chosen.
    keep: asks for the declared one; empty if it was chosen already, or if that is not to be had. otherwise: what else
    helps.
    """

    place: str
    reads: str
    box: Callable[[int], str]
    choose: str = ""
    keep: str = ""
    otherwise: str = f"convert the file to {CORNERS}"

    def choice(self, ways: Sequence[Convention]) -> str:
        """A sentence that asks for one of these conventions, or for another remedy."""
        values = " or ".join(f'"{way.setting}"' for way in ways if way.setting)
        other = f"{self.otherwise[0].upper()}{self.otherwise[1:]}."
        return f"{self.choose.format(values)}, or {self.otherwise}." if self.choose and values else other


def other_convention(judgement: Judgement, written: np.ndarray, sizes: np.ndarray, wording: Wording) -> str:
    """That boxes are likely in another convention.

    Args:
        written, sizes: float64 [M, 4] and [M, 2], as `judge_conventions` had them.
    """
    declared, likely = judgement.declared, judgement.likely
    assert likely is not None
    misfits, total = np.flatnonzero(~judgement.fits), len(written)
    first = misfits[:FIRST_FEW]
    if judgement.confined:
        first = np.argsort(-written.max(axis=1), kind="stable")[:FIRST_FEW]  # far from the corner, where all agree
        fitting = f"every box but {len(misfits)} of {total} fits" if len(misfits) else f"all {total} boxes fit"
        evidence = f"{fitting} so too, but {_CONFINED}"
    elif judgement.testimony:
        first = first if len(first) else np.arange(min(FIRST_FEW, total))
        evidence = judgement.testimony
    else:
        others = int((~likely.fits(written, sizes)).sum())
        evidence = f"{len(misfits)} of {total} boxes do not fit their images so, {others or 'none'} the other way"
    advice = wording.choice([likely] if likely.setting is None else [likely, *judgement.others])
    if judgement.others:
        advice += f" It may as well be {' or '.join(map(str, judgement.others))}: look at pictures to tell."
    if judgement.confined and wording.keep:
        advice += f" If the boxes are right as {declared}, {wording.keep}."
    looks = "look like" if judgement.sure else "may be"
    return (
        f"{wording.place}: these boxes {looks} {likely}, but {wording.reads} {declared}: {evidence}. "
        f"First: {_examples(likely, first, written, sizes, wording)}. {advice}"
    )


def two_conventions(judgement: Judgement, written: np.ndarray, sizes: np.ndarray, wording: Wording) -> str:
    """That a part of the file is likely in another convention; arguments as `other_convention`."""
    declared, part, total = judgement.declared, judgement.part, len(written)
    assert part is not None
    where = f"in {part.images} image{'s' if part.images > 1 else ''}"
    if part.confined:
        evidence = (
            f"{len(part.boxes)} of {total} boxes, all those {where}, look like {part.convention}, and the others are "
            f"{declared}: they keep to the first {part.convention.unit.full:g} pixels, fill these, and no other place "
            f"of the images has a third as many"
        )
    else:
        evidence = (
            f"{judgement.fits.sum()} of {total} boxes fit their images as {declared}, but {len(part.boxes)} of the "
            f"others, {where}, look like {part.convention}; more boxes of these images may be read wrongly than those "
            f"that show it"
        )
    keep = f" If the boxes are right as {declared}, {wording.keep}." if part.confined and wording.keep else ""
    return (
        f"{wording.place}: a part of the file is written in another way: {evidence}. "
        f"First: {_examples(part.convention, part.boxes[:FIRST_FEW], written, sizes, wording)}. "
        f"Write all boxes in one way.{keep}"
    )


def no_extent(judgement: Judgement, wording: Wording) -> str:
    """That most boxes have no width or no height."""
    empty = np.flatnonzero(judgement.empty)
    return (
        f"{wording.place}: {len(empty)} of {len(judgement.empty)} boxes are empty: they have no width or no height, as "
        f"points have. First: {'; '.join(map(wording.box, empty[:FIRST_FEW].tolist()))}. Write the box around each "
        f"object."
    )


def other_part(judgement: Judgement) -> str:
    """A sentence, with a blank before it, if most misfits fit one other convention; else empty."""
    part = judgement.part
    if part is None:
        return ""
    return (
        f" {len(part.boxes)} of them fit as {part.convention}: a part of the file may be written so, and more of its "
        f"boxes be read wrongly than those that show it."
    )


def _examples(likely: Convention, first: np.ndarray, written: np.ndarray, sizes: np.ndarray, wording: Wording) -> str:
    corners = likely.to_xyxy_pixels(written[first], sizes[first])
    return "; ".join(
        f"{wording.box(number)} would be {numbers_of(box.round(2))}"
        for number, box in zip(first.tolist(), corners, strict=True)
    )


def numbers_of(box: Sequence[float] | np.ndarray) -> str:
    return f"[{', '.join(f'{number:.15g}' for number in box)}]"
