"""Holds out validation images where the job brings none: a pure function of the file names and the seed."""

from collections.abc import Sequence

import numpy as np

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
    if count < 2:
        raise UserError(
            "training has a single image and there is no validation channel, so nothing can be held out. Add images "
            'or a validation channel, or set validation_split_ratio="0" to train without validation.'
        )
    random = np.random.Generator(np.random.Philox(seed))
    shuffled = np.argsort(np.asarray(file_names, object), kind="stable")[random.permutation(count)]
    with_boxes, without = shuffled[has_boxes[shuffled]], shuffled[~has_boxes[shuffled]]
    held_out = min(max(1, round(ratio * len(with_boxes))), len(with_boxes) - 1)
    # A lone image with boxes is for training; validation then has only images without.
    held_out_without = max(1, round(ratio * count)) - held_out
    validation = np.sort(np.concatenate([with_boxes[:held_out], without[:held_out_without]]))
    return np.setdiff1d(np.arange(count), validation), validation
