"""Turns what a reader made of a data set into the container's format: check, write, have it checked again, sum up."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.check import CheckedSource, check_source
from sagemaker_object_detection.convert.source import Source
from sagemaker_object_detection.convert.write import check_target, write_data_set
from sagemaker_object_detection.dataset.annotation_entries import (
    AnnotationEntry,
    CategoryEntry,
    Document,
    Id,
    ImageEntry,
)
from sagemaker_object_detection.dataset.annotation_file import read_annotations
from sagemaker_object_detection.dataset.check_boxes import check_boxes
from sagemaker_object_detection.dataset.check_images import check_images
from sagemaker_object_detection.dataset.problems import DataError, Problem

MAX_LISTED = 200
"""Problems shown. A terminal keeps about a thousand lines."""


@dataclass(frozen=True)
class Summary:
    """What was written. boxes_per_class: (id, name, boxes) of each. notes: what else there is to say, in words, and
    how often each; those of 0 are left out."""

    folder: Path
    images: int
    negatives: int
    boxes: int
    boxes_per_class: tuple[tuple[Id, str, int], ...]
    notes: tuple[tuple[str, int], ...]

    def as_text(self) -> str:
        """A line for the whole and a line for everything else."""
        classes = ", ".join(f"{name} (id {id_}) {count}" for id_, name, count in self.boxes_per_class)
        lines = [
            f"{self.folder}: {self.images} images, {self.boxes} boxes",
            f"classes: {classes}",
            f"images without boxes: {self.negatives}",
        ]
        return "\n".join([*lines, *(f"{what}: {count}" for what, count in self.notes if count)])


def convert(source: Source, folder: Path, *, drop: bool, copy: bool) -> Summary:
    """Write a source as a data set that training takes.

    Args:
        folder: does not exist yet, or is empty.
        drop: whether invalid boxes are left out; else they are problems.
        copy: whether images are copied where they could be linked.

    Raises:
        UserError: every problem of the source in one list, places in the source named; or the folder cannot be written.
        StoppedError: a signal came. In every case nothing is left behind.
    """
    checked, problems = check_source(source, drop=drop)
    if problems:
        raise _data_error(problems)
    check_target(folder, source.folders)
    files = [(image.path, image.file_name) for image in source.images if image.path is not None]
    notes, copied = write_data_set(folder, _document(source, checked), files, copy=copy, verify=_verify)
    kept = [box for box, keep in zip(source.boxes, checked.kept.tolist(), strict=True) if keep]
    counts = Counter(box.category for box in kept)
    dropped = checked.dropped
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(dropped.items()))
    return Summary(
        folder=folder,
        images=len(files),
        negatives=len(files) - len({box.image for box in kept}),
        boxes=len(kept),
        boxes_per_class=tuple((id_, name, counts[id_]) for id_, name in source.categories),
        notes=(
            *source.noticed,
            *((f"left out, {what}", count) for what, count in source.left_out),
            (f"left out, as --invalid-boxes drop asks ({kinds})", dropped.total()),
            *notes,
            ("images linked to those of the source (hard links)", len(files) - copied),
            ("images copied", copied),
        ),
    )


def _data_error(problems: list[Problem]) -> DataError:
    kinds = Counter(problem.kind for problem in problems)
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    return DataError(problems, listed=MAX_LISTED, rest=f"In all: {told}.")


def _document(source: Source, checked: CheckedSource) -> Document:
    sizes = checked.sizes.tolist()
    images = [
        ImageEntry(image.file_name, number, height, width)
        for number, (image, (height, width)) in enumerate(zip(source.images, sizes, strict=True), 1)
    ]
    annotations = [
        AnnotationEntry(
            source.boxes[row].image + 1, _whole_where_possible(checked.corners[row]), source.boxes[row].category
        )
        for row in np.flatnonzero(checked.kept).tolist()
    ]
    return Document(images, annotations, [CategoryEntry(id_, name) for id_, name in source.categories])


def _whole_where_possible(corners: np.ndarray) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = (int(number) if number.is_integer() else number for number in corners.tolist())
    return xmin, ymin, xmax, ymax


def _verify(folder: Path) -> tuple[tuple[str, int], ...]:
    """What training's own checks say of the data set as written: problems there would be are raised, notes returned."""
    channel = "converted data"
    table, problems = read_annotations(channel, folder)
    if table is not None:
        images, found = check_images(table)
        problems += found
        boxes, found, _ = check_boxes(table, images.sizes, bbox_format="xyxy", invalid_boxes="error")
        problems += found
    if table is None or problems:
        raise _data_error(problems)
    return (
        ("boxes that reach outside by a pixel at most, which training clips", boxes.clipped),
        ("images that are turned as their EXIF orientation says", images.turned),
        ("EXIF orientations that are ignored, as the annotated sizes ask", images.ignored),
    )
