"""Holds out validation images where the job brings none: a pure function of names, groups and the seed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.alike import Groups
from sagemaker_object_detection.errors import UserError


def split_images(
    file_names: Sequence[str], has_boxes: np.ndarray, ratio: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the images to hold out, from those with boxes and those without in the same proportion.

    The order of the annotation file does not matter. Training always keeps an image with boxes; validation gets one too
    where there are two or more.

    Args:
        file_names: N names, all different.
        has_boxes: bool [N], at least one True.
        ratio: share to hold out, more than 0 and at most 0.5.
        seed: any integer, 0 or more.

    Returns:
        training and validation: int64 indices, both ascending, both at least one.

    Raises:
        UserError: there is a single image.
    """
    count = len(file_names)
    held_out, held_out_without = _wanted(has_boxes, ratio)
    shuffled = _shuffled(file_names, seed)
    with_boxes, without = shuffled[has_boxes[shuffled]], shuffled[~has_boxes[shuffled]]
    validation = np.sort(np.concatenate([with_boxes[:held_out], without[:held_out_without]]))
    return np.setdiff1d(np.arange(count), validation), validation


@dataclass(frozen=True, eq=False)
class GroupSplit:
    """training, validation: int64 indices, both ascending. cut: of each group that lies on both sides, because no other
    split comes near the ratio, the indices, in the order of their names."""

    training: np.ndarray
    validation: np.ndarray
    cut: tuple[np.ndarray, ...]


def split_groups(
    file_names: Sequence[str], has_boxes: np.ndarray, ratio: float, seed: int, groups: Groups
) -> GroupSplit:
    """As `split_images`, but groups stay together, as long as from half to one and a half times as many images as are
    wanted can be held out so. If not, the largest group is cut, in the order of its names: of a video, one end is held
    out. Copies of one picture are the last to be cut."""
    wanted, wanted_without = _wanted(has_boxes, ratio)
    shuffled = _shuffled(file_names, seed)
    labels, cut = groups.scenes.copy(), list[np.ndarray]()
    while True:
        held_out = _choose(shuffled, labels, has_boxes, wanted)
        found = int((held_out & has_boxes).sum())
        sizes = np.bincount(labels[has_boxes], minlength=len(labels))
        near = abs(found - wanted) <= max(1, wanted // 2) and found >= min(1, wanted)
        if near or sizes.max() < 2:
            break
        members = np.flatnonzero(labels == sizes.argmax())
        parts = groups.copies[members]
        if len(np.unique(parts)) == 1:
            parts = members
        ordered = members[_in_order([file_names[index] for index in members.tolist()])]
        cut.append(ordered)
        labels[members] = parts
        # What is cut comes last, and from its end on.
        shuffled = np.concatenate([shuffled[~np.isin(shuffled, members)], ordered[::-1]])
    empty = ~np.isin(labels, labels[has_boxes])
    left = max(0, wanted_without - int((held_out & ~has_boxes).sum()))
    if found == 0:
        left = max(1, left)
    held_out |= _choose(shuffled[empty[shuffled]], labels, ~has_boxes, left)
    validation = np.flatnonzero(held_out)
    on_both = tuple(part for part in cut if held_out[part].any() and not held_out[part].all())
    return GroupSplit(np.flatnonzero(~held_out), validation, on_both)


def _choose(shuffled: np.ndarray, labels: np.ndarray, counted: np.ndarray, wanted: int) -> np.ndarray:
    """Whole groups, in the order in which they are met, of together about as many images that count as are wanted: what
    still fits, and at last the smallest that is left, if that comes nearer, and leaves something. bool [N]."""
    sizes = np.bincount(labels[counted], minlength=len(labels))
    order = list(dict.fromkeys(label for label in labels[shuffled].tolist() if sizes[label]))
    chosen, left = [], wanted
    for label in order:
        if sizes[label] <= left:
            chosen.append(label)
            left -= int(sizes[label])
    taken = set(chosen)
    rest = [label for label in order if label not in taken]
    if left and len(rest) > 1:
        smallest = min(rest, key=lambda label: int(sizes[label]))
        if sizes[smallest] < 2 * left:
            chosen.append(smallest)
    return np.isin(labels, chosen)


def _wanted(has_boxes: np.ndarray, ratio: float) -> tuple[int, int]:
    """How many images with boxes, and how many without, are to be held out."""
    count, with_boxes = len(has_boxes), int(has_boxes.sum())
    if count < 2:
        raise UserError(
            "training has a single image and there is no validation channel, so nothing can be held out. Add images "
            'or a validation channel, or set validation_split_ratio="0" to train without validation.'
        )
    # A lone image with boxes is for training; validation then has only images without.
    held_out = min(max(1, round(ratio * with_boxes)), with_boxes - 1)
    return held_out, max(1, round(ratio * count)) - held_out


def _shuffled(file_names: Sequence[str], seed: int) -> np.ndarray:
    """int64 [N], indices: the order of the names, shuffled."""
    random = np.random.Generator(np.random.Philox(seed))
    return np.argsort(np.asarray(file_names, object), kind="stable")[random.permutation(len(file_names))]


def _in_order(file_names: Sequence[str]) -> list[int]:
    """Indices in the order of the names, 9 before 10."""

    def key(index: int) -> list[tuple[int, str]]:
        return [
            (len(part.lstrip("0")) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", file_names[index])
        ]

    return sorted(range(len(file_names)), key=key)
