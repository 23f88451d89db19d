"""Turns what a reader made of a data set into the container's format: check, write, sum up."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.boxes import check_boxes
from sagemaker_object_detection.convert.foreign import ForeignDataSet
from sagemaker_object_detection.convert.write import check_target, write_data_set
from sagemaker_object_detection.dataset.annotation_entries import AnnotationEntry, CategoryEntry, Document, ImageEntry
from sagemaker_object_detection.dataset.check_classes import check_names
from sagemaker_object_detection.dataset.check_images import CheckedImages, examine_images
from sagemaker_object_detection.dataset.image_names import Search
from sagemaker_object_detection.dataset.problems import DataError
from sagemaker_object_detection.images.headers import UnusableImageError
from sagemaker_object_detection.sentences import listed, quoted

MAX_LISTED = 200
"""Problems shown. A terminal keeps about a thousand lines."""


def convert(
    data: ForeignDataSet,
    folder: Path,
    *,
    drop: bool,
    copy: bool,
    enclose: bool = False,
    bbox_format: str | None = None,
) -> str:
    """Write a data set as training takes it.

    Args:
        folder: does not exist yet, or is empty.
        drop: whether invalid boxes are left out; else they are problems.
        copy: whether images are copied where they could be linked.
        enclose: whether the upright box around a polygon or a rotated box is taken; else these are problems.
        bbox_format: how the boxes are written, as `check_boxes` takes it.

    Returns:
        the summary: a line for the whole and a line for everything else.

    Raises:
        UserError: every problem of the data set in one list, places in the source named; or the folder cannot be
            written.
        StoppedError: a signal came. In every case nothing is left behind.
    """
    document = checked_document(data, drop=drop, enclose=enclose, bbox_format=bbox_format)
    check_target(folder, data.folders)
    files = [(image.path, image.file_name) for image in data.images if image.path is not None]
    copied = write_data_set(folder, document, files, copy=copy)
    links = "images linked to those of the source (hard links)"
    notes = (*data.notes, *sorted(data.counts.items()), (links, len(files) - copied), ("images copied", copied))
    return summary(str(folder), document, notes)


def checked_document(
    data: ForeignDataSet, *, drop: bool, enclose: bool = False, bbox_format: str | None = None
) -> Document:
    """What annotations.json says of a data set.

    Raises:
        UserError: every problem of the data set in one list, places in the source named.
    """
    sizes, corners, kept = check(data, drop=drop, enclose=enclose, bbox_format=bbox_format)
    objects = Counter(box.category for box in data.boxes if not box.ignored)
    data.problems += check_names(data.format, data.categories, objects)
    if data.problems:
        kinds = Counter(problem.kind for problem in data.problems)
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        raise DataError(data.problems, listed=MAX_LISTED, rest=f"In all: {told}.")
    images = [
        ImageEntry(image.file_name, number, height, width, image.group)
        for number, (image, (height, width)) in enumerate(zip(data.images, sizes.tolist(), strict=True), 1)
    ]
    boxes = [(data.boxes[row], corners[row]) for row in np.flatnonzero(kept)]
    annotations = [
        AnnotationEntry(box.image + 1, _whole_where_possible(place), box.category, iscrowd=1 if box.ignored else 0)
        for box, place in boxes
    ]
    return Document(images, annotations, [CategoryEntry(id_, name) for id_, name in data.categories.items()])


def summary(place: str, document: Document, notes: Iterable[tuple[str, int]]) -> str:
    """A line for the whole, for its classes and for each note."""
    boxes = [entry for entry in document.annotations if not entry.is_ignored]
    regions = "regions to ignore, which are neither learned nor counted as mistakes"
    boxes_per_class = Counter(box.category_id for box in boxes)
    told = [f"{row.name} (id {row.id}) {boxes_per_class[row.id]}" for row in document.categories or ()]
    lines = [
        f"{place}: {len(document.images)} images, {len(boxes)} boxes",
        f"classes: {listed(told, MAX_LISTED)}",
        f"images without boxes: {len(document.images) - len({box.image_id for box in boxes})}",
        *(f"{what}: {count}" for what, count in ((regions, len(document.annotations) - len(boxes)), *notes) if count),
    ]
    return "\n".join(lines)


def check(
    data: ForeignDataSet, *, drop: bool, enclose: bool = False, bbox_format: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check every image's header and size, and every box, by training's rules.

    What is wrong is added to the problems of the data set, and what the summary says of the check to its notes.

    Args:
        drop, enclose, bbox_format: as `check_boxes` takes them.

    Returns:
        sizes of the N images, int64 [N, 2], height and width as displayed, or as stored where the source's boxes are
        for those pixels; corners of the M boxes, float64 [M, 4], xmin ymin xmax ymax, pixels; which are kept, bool [M].
    """
    if not data.images and not data.problems:
        data.add_problem("empty data sets", f"{data.format}: the data set has no image. Expected at least one.")
    images = _check_images(data)
    corners, kept = check_boxes(data, images.sizes, drop=drop, enclose=enclose, bbox_format=bbox_format)
    objects = np.array([not box.ignored for box in data.boxes], bool)
    if not (kept & objects).any() and not data.problems:
        what = f"every box ({len(kept)}) was left out" if len(kept) else "there is no box"
        if kept.any():
            what = f"there is nothing but regions to ignore ({kept.sum()})"
        data.add_problem("data sets without boxes", f"{data.format}: {what}. Expected at least one to learn from.")
    data.notes += (
        ("images that are turned as their EXIF orientation says", images.turned),
        ("EXIF orientations that are ignored, as the annotated sizes ask", images.ignored),
    )
    return images.sizes, corners, kept


def _check_images(data: ForeignDataSet) -> CheckedImages:
    """Of an image without a size, 0 and 0, the boxes cannot be judged."""
    paths: dict[int, Path] = {}
    first_use: dict[Path, int] = {}
    for index, image in enumerate(data.images):
        if image.path is None:
            continue
        if (first := first_use.setdefault(image.path, index)) == index:
            paths[index] = image.path
        else:
            earlier = f"{image.path} is the image of {data.images[first].place} already"
            data.add_problem("images that are listed twice", f"{image.place}: {earlier}. Merge the two, or remove one.")
    elsewhere = [index for index, image in enumerate(data.images) if image.path is None and image.folder is not None]
    searches = {
        folder: Search(
            folder,
            lambda folder=folder: list(data.walk(folder)),  # type: ignore[misc]
            {
                data.images[index].file_name: index
                for index, path in paths.items()
                if data.images[index].folder == folder
            },
            lambda index: data.images[index].place,
            addresses=data.addresses,
        )
        for folder in {image.folder for image in data.images if image.folder is not None}
    }

    def find(missing: Sequence[int]) -> Mapping[int, Path | UnusableImageError]:
        found: dict[int, Path | UnusableImageError] = {}
        for folder, search in searches.items():
            lost = [index for index in sorted({*missing, *elsewhere}) if data.images[index].folder == folder]
            for index, file in search.find({index: data.images[index].file_name for index in lost}).items():
                found[index] = file if isinstance(file, UnusableImageError) else folder / file
                if isinstance(file, str):
                    data.images[index] = replace(data.images[index], file_name=file, path=folder / file)
            data.notes += [(f"file names written {how}", count) for how, count in search.notes()]
        return found

    def report(index: int, kind: str, fault: str) -> None:
        image = data.images[index]
        called = quoted(image.file_name) if image.path is None else str(image.path)
        data.add_problem(kind, f"{image.place}{'' if image.place == called else f': {called}'} {fault}")

    annotated = np.array([(image.height, image.width) for image in data.images], np.int64).reshape(-1, 2)
    return examine_images(paths, annotated, report, find)


def _whole_where_possible(corners: np.ndarray) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = (int(number) if number.is_integer() else number for number in corners.tolist())
    return xmin, ymin, xmax, ymax
