"""Turns what a reader made of a data set into the container's format: check, write, sum up."""

from collections import Counter
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.check import CheckedData, check
from sagemaker_object_detection.convert.foreign import ForeignDataSet
from sagemaker_object_detection.convert.write import check_target, write_data_set
from sagemaker_object_detection.dataset.annotation_entries import (
    AnnotationEntry,
    CategoryEntry,
    Document,
    ImageEntry,
)
from sagemaker_object_detection.dataset.problems import DataError

MAX_LISTED = 200
"""Problems shown. A terminal keeps about a thousand lines."""


def convert(data: ForeignDataSet, folder: Path, *, drop: bool, copy: bool) -> str:
    """Write a data set as training takes it.

    Args:
        folder: does not exist yet, or is empty.
        drop: whether invalid boxes are left out; else they are problems.
        copy: whether images are copied where they could be linked.

    Returns:
        the summary: a line for the whole and a line for everything else.

    Raises:
        UserError: every problem of the data set in one list, places in the source named; or the folder cannot be
            written.
        StoppedError: a signal came. In every case nothing is left behind.
    """
    checked = check(data, drop=drop)
    if data.problems:
        kinds = Counter(problem.kind for problem in data.problems)
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        raise DataError(data.problems, listed=MAX_LISTED, rest=f"In all: {told}.")
    check_target(folder, data.folders)
    files = [(image.path, image.file_name) for image in data.images if image.path is not None]
    copied = write_data_set(folder, _document(data, checked), files, copy=copy)
    kept = [box for box, keep in zip(data.boxes, checked.kept.tolist(), strict=True) if keep]
    boxes_per_class = Counter(box.category for box in kept)
    classes = ", ".join(f"{name} (id {id_}) {boxes_per_class[id_]}" for id_, name in data.categories.items())
    notes = (
        *data.notes,
        *checked.notes,
        ("images linked to those of the source (hard links)", len(files) - copied),
        ("images copied", copied),
    )
    lines = [
        f"{folder}: {len(files)} images, {len(kept)} boxes",
        f"classes: {classes}",
        f"images without boxes: {len(files) - len({box.image for box in kept})}",
        *(f"{what}: {count}" for what, count in notes if count),
    ]
    return "\n".join(lines)


def _document(data: ForeignDataSet, checked: CheckedData) -> Document:
    sizes = checked.sizes.tolist()
    images = [
        ImageEntry(image.file_name, number, height, width)
        for number, (image, (height, width)) in enumerate(zip(data.images, sizes, strict=True), 1)
    ]
    annotations = [
        AnnotationEntry(
            data.boxes[row].image + 1, _whole_where_possible(checked.corners[row]), data.boxes[row].category
        )
        for row in np.flatnonzero(checked.kept).tolist()
    ]
    return Document(images, annotations, [CategoryEntry(id_, name) for id_, name in data.categories.items()])


def _whole_where_possible(corners: np.ndarray) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = (int(number) if number.is_integer() else number for number in corners.tolist())
    return xmin, ymin, xmax, ymax
