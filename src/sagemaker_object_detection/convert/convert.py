"""Turns what a reader made of a data set into the container's format: check, write, sum up."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.coco import COCO
from sagemaker_object_detection.convert.foreign import ForeignDataSet
from sagemaker_object_detection.convert.outlines import OVERHANGING
from sagemaker_object_detection.convert.write import check_target, write_data_set
from sagemaker_object_detection.dataset.annotation_entries import AnnotationEntry, CategoryEntry, Document, ImageEntry
from sagemaker_object_detection.dataset.check_boxes import OTHER_FORMAT, judge_boxes, too_many_invalid
from sagemaker_object_detection.dataset.check_classes import check_names
from sagemaker_object_detection.dataset.check_images import CheckedImages, examine_images
from sagemaker_object_detection.dataset.conventions import judge_conventions
from sagemaker_object_detection.dataset.image_names import Search
from sagemaker_object_detection.dataset.problems import DataError
from sagemaker_object_detection.images.headers import UnusableImageError
from sagemaker_object_detection.sentences import listed, quoted

MAX_LISTED = 200
"""Problems shown. A terminal keeps about a thousand lines."""


def convert(data: ForeignDataSet, folder: Path, *, drop: bool, copy: bool, enclose: bool = False) -> str:
    """Write a data set as training takes it.

    Args:
        folder: does not exist yet, or is empty.
        drop: whether invalid boxes are left out; else they are problems.
        copy: whether images are copied where they could be linked.
        enclose: whether the upright box around a polygon or a rotated box is taken; else these are problems.

    Returns:
        the summary: a line for the whole and a line for everything else.

    Raises:
        UserError: every problem of the data set in one list, places in the source named; or the folder cannot be
            written.
        StoppedError: a signal came. In every case nothing is left behind.
    """
    document = checked_document(data, drop=drop, enclose=enclose)
    check_target(folder, data.folders)
    files = [(image.path, image.file_name) for image in data.images if image.path is not None]
    copied = write_data_set(folder, document, files, copy=copy)
    links = "images linked to those of the source (hard links)"
    notes = (*data.notes, *sorted(data.counts.items()), (links, len(files) - copied), ("images copied", copied))
    return summary(str(folder), document, notes)


def checked_document(data: ForeignDataSet, *, drop: bool, enclose: bool = False) -> Document:
    """What annotations.json says of a data set.

    Raises:
        UserError: every problem of the data set in one list, places in the source named.
    """
    sizes, corners, kept = check(data, drop=drop, enclose=enclose)
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


def check(data: ForeignDataSet, *, drop: bool, enclose: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check every image's header and size, and every box, by training's rules.

    What is wrong is added to the problems of the data set, and what the summary says of the check to its notes.

    Args:
        drop: whether boxes that are inverted, empty or outside are left out instead of being problems.
        enclose: whether outlines are replaced by the boxes around them instead of being problems.

    Returns:
        sizes of the N images, int64 [N, 2], height and width as displayed, or as stored where the source's boxes are
        for those pixels; corners of the M boxes, float64 [M, 4], xmin ymin xmax ymax, pixels; which are kept, bool [M].
    """
    if not data.images and not data.problems:
        data.add_problem("empty data sets", f"{data.format}: the data set has no image. Expected at least one.")
    images = _check_images(data)
    numbers = np.array([box.numbers for box in data.boxes], np.float64).reshape(-1, 4)
    sizes = images.sizes[np.array([box.image for box in data.boxes], np.int64)].astype(np.float64)
    corners = data.notation.to_corners(numbers, sizes)
    known = np.flatnonzero((sizes > 0).all(axis=1))
    _check_outlines(data, corners, sizes, enclose=enclose)
    judged = judge_boxes(corners[known], sizes[known])
    kept = np.ones(len(numbers), bool)
    kept[known] = ~judged.invalid
    dropped: Counter[str] = Counter()
    judgement = judge_conventions(numbers[known], sizes[known], "xywh") if data.format == COCO else None
    if judgement is not None and judgement.sure and not judgement.confined:
        misfits = np.flatnonzero(~judgement.fits)
        setting = judgement.likely.setting if judgement.likely is not None else None
        advice = (
            f'Training takes a file with such boxes as annotations.json, with bbox_format="{setting}"; else correct'
        )
        text = (
            f"{data.format}: these boxes look like {judgement.likely}, and COCO has [x, y, width, height] in pixels: "
            f"{len(misfits)} of {len(numbers)} boxes do not fit their images so; first: "
            f"{_box(data, known[misfits[0]])}. {advice if setting else 'Correct'} them."
        )
        data.add_problem(OTHER_FORMAT, text)
    else:
        if drop and too_many_invalid(int(judged.invalid.sum()), len(known)):
            drop = False
            text = (
                f"{data.format}: {int(judged.invalid.sum())} of {len(known)} boxes are invalid, which is more than "
                f"--invalid-boxes drop leaves out: the boxes are likely written in another way than {data.format} has. "
                "Expected " + data.notation.expected + ". Correct the file."
            )
            data.add_problem(OTHER_FORMAT, text)
        for position in np.flatnonzero(judged.invalid).tolist():
            kind, fault = judged.fault(position, data.notation.inverted)
            if drop:
                dropped[kind] += 1
            else:
                text = f"{_box(data, known[position])} {fault}; expected {data.notation.expected}. Correct it, or leave"
                data.add_problem(kind, f"{text} such boxes out with --invalid-boxes drop.")
    objects = np.array([not box.ignored for box in data.boxes], bool)
    if not (kept & objects).any() and not data.problems:
        what = f"every box ({len(kept)}) was left out" if len(kept) else "there is no box"
        if kept.any():
            what = f"there is nothing but regions to ignore ({kept.sum()})"
        data.add_problem("data sets without boxes", f"{data.format}: {what}. Expected at least one to learn from.")
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(dropped.items()))
    clipped = (corners[known] != judged.clipped).any(axis=1) & ~judged.invalid
    data.notes += (
        (f"left out, as --invalid-boxes drop asks ({kinds})", dropped.total()),
        ("boxes that reach outside by a pixel at most, which training clips", int(clipped.sum())),
        ("images that are turned as their EXIF orientation says", images.turned),
        ("EXIF orientations that are ignored, as the annotated sizes ask", images.ignored),
    )
    return images.sizes, corners, kept


def _check_outlines(data: ForeignDataSet, corners: np.ndarray, sizes: np.ndarray, *, enclose: bool) -> None:
    """Count outlines, and clip the boxes around those that may reach outside; or name each as a problem.

    Args:
        corners: float64 [M, 4], xmin ymin xmax ymax, pixels; changed in place.
        sizes: float64 [M, 2], height and width of each box's image, 0 unknown.
    """
    counts: Counter[str] = Counter()
    for row, box in enumerate(data.boxes):
        if not box.outline:
            continue
        counts[box.outline] += 1
        if not enclose:
            image = quoted(data.images[box.image].file_name)
            text = (
                f"{box.place}, image {image}: is {box.outline}; expected an upright box. "
                f"--polygons enclosing takes the box around each such outline."
            )
            data.add_problem("polygons and rotated boxes", text)
        elif box.outline in OVERHANGING:
            limits, centre = sizes[row, ::-1], (corners[row, :2] + corners[row, 2:]) / 2
            if ((centre >= 0) & (centre <= limits)).all():
                corners[row] = np.clip(corners[row], 0, np.tile(limits, 2))
    told = ", ".join(f"{outline} {count}" for outline, count in sorted(counts.items()))
    if enclose:
        around = f"boxes around outlines, as --polygons enclosing asks ({told})"
        data.notes.append((around, counts.total()))


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


def _box(data: ForeignDataSet, row: int) -> str:
    box = data.boxes[row]
    numbers = zip(data.notation.fields, box.numbers, strict=True)
    shown = ", ".join(f"{field} {number:.15g}" for field, number in numbers)
    return f"{box.place}, image {quoted(data.images[box.image].file_name)}: the box {shown}"


def _whole_where_possible(corners: np.ndarray) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = (int(number) if number.is_integer() else number for number in corners.tolist())
    return xmin, ymin, xmax, ymax
