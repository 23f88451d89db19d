"""Holds a source's images and boxes against its files, by the rules that training has, naming places in the source."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.coco import COCO
from sagemaker_object_detection.convert.files import Findings
from sagemaker_object_detection.convert.source import Source, SourceImage
from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.check_boxes import (
    EMPTY,
    INVERTED,
    OTHER_FORMAT,
    OUTSIDE,
    JudgedBoxes,
    check_boxes,
    judge_boxes,
)
from sagemaker_object_detection.dataset.check_images import displayed_size
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.images.headers import Header, UnusableImageError, read_headers


@dataclass(frozen=True, eq=False)
class CheckedSource:
    """What may be written. N images, M boxes of the source.

    sizes: int64 [N, 2], height and width as displayed, or as stored where the source's boxes are for those pixels.
    corners: float64 [M, 4], xmin ymin xmax ymax, pixels. kept: bool [M]. dropped: kinds of invalid boxes and how many
    were left out on request.
    """

    sizes: np.ndarray
    corners: np.ndarray
    kept: np.ndarray
    dropped: Counter[str]


def check_source(source: Source, *, drop: bool) -> tuple[CheckedSource, list[Problem]]:
    """Check every image's header and size, and every box.

    Args:
        drop: whether boxes that are inverted, empty or outside are left out instead of being problems.

    Returns:
        what may be written if there is no problem; and every problem, the reader's first.
    """
    findings = Findings(source.format)
    findings.problems += source.problems
    if not source.images and not findings.problems:
        findings.add("empty data sets", f"{source.format}: the data set has no image. Expected at least one.")
    sizes = _image_sizes(source.images, findings)
    numbers = np.array([box.numbers for box in source.boxes], np.float64).reshape(-1, 4)
    box_images = np.array([box.image for box in source.boxes], np.int64)
    box_sizes = sizes[box_images].astype(np.float64)
    corners = source.notation.to_corners(numbers, box_sizes)
    known = np.flatnonzero((box_sizes > 0).all(axis=1))
    judged = judge_boxes(corners[known], box_sizes[known])
    kept = np.ones(len(numbers), bool)
    kept[known] = ~judged.invalid
    dropped: Counter[str] = Counter()
    mistaken = source.format == COCO and _are_corners(source, numbers, box_images, sizes, drop)
    if mistaken:
        findings.add(OTHER_FORMAT, _corners_sentence(source, int(np.flatnonzero(~kept)[0]), int((~kept).sum())))
    else:
        for position in np.flatnonzero(judged.invalid).tolist():
            kind, text = _fault(source, judged, position, int(known[position]), box_sizes)
            if drop:
                dropped[kind] += 1
            else:
                findings.add(kind, text)
    if not kept.any() and not findings.problems:
        what = f"every box ({len(kept)}) was left out" if len(kept) else "there is no box"
        findings.add("data sets without boxes", f"{source.format}: {what}. Expected at least one to learn from.")
    return CheckedSource(sizes, corners, kept, dropped), findings.problems


def _image_sizes(images: tuple[SourceImage, ...], findings: Findings) -> np.ndarray:
    """int64 [N, 2], height and width of each image; 0 where they are not known, so that its boxes cannot be judged."""
    sizes = np.array([(image.height, image.width) for image in images], np.int64).reshape(-1, 2)

    @cache
    def present(folder: Path) -> dict[str, str]:
        try:
            return {name.lower(): name for name in os.listdir(folder)}
        except OSError:  # there is no hint then
            return {}

    first_use: dict[Path, SourceImage] = {}
    indices: list[int] = []
    paths: list[Path] = []
    for index, image in enumerate(images):
        if image.path is None:
            continue
        first = first_use.setdefault(image.path, image)
        if first is image:
            indices.append(index)
            paths.append(image.path)
        else:
            text = f"{image.place}: {image.path} is the image of {first.place} already. Merge the two, or remove one."
            findings.add("images that are listed twice", text)
    for index, path, header in zip(indices, paths, read_headers(paths), strict=True):
        place = images[index].place
        named = f"{place}: {path}" if place != str(path) else place
        if isinstance(header, UnusableImageError):
            hint = f" {_hint(path, present)}" if header.kind == "missing images" else ""
            findings.add(header.kind, f"{named} {header}{hint}")
            continue
        displayed = displayed_size(header, sizes[index])
        if displayed is None:
            findings.add("images of another size", f"{named} {_size_mismatch(header, sizes[index])}")
        sizes[index] = (0, 0) if displayed is None else displayed[0]
    return sizes


def _hint(path: Path, present: Callable[[Path], dict[str, str]]) -> str:
    similar = present(path.parent).get(path.name.lower())
    if similar == path.name:
        return "It is a link that leads nowhere: mend it."
    return f"There is {similar!r}: name it exactly so." if similar else "Add the file, or remove what names it."


def _size_mismatch(header: Header, annotated: np.ndarray) -> str:
    height, width = header.turned
    turn = f" (turned as its EXIF orientation {header.orientation} says)" if header.orientation > 1 else ""
    return (
        f"is {width} wide and {height} high{turn}, but was annotated as {annotated[1] or 'nothing'} and "
        f"{annotated[0] or 'nothing'}, so its boxes would be misplaced. Correct the size there, or use the image that "
        f"was annotated."
    )


def _fault(source: Source, judged: JudgedBoxes, position: int, row: int, sizes: np.ndarray) -> tuple[str, str]:
    """Kind and sentence of an invalid box: `position` among those that were judged, `row` among all."""
    if judged.inverted[position]:
        kind, what = INVERTED, source.notation.inverted
    elif judged.empty[position]:
        kind, what = EMPTY, "is empty"
    else:
        height, width = sizes[row]
        kind, what = OUTSIDE, f"reaches outside its image, which is {width:g} wide and {height:g} high"
    text = (
        f"{_box(source, row)} {what}; expected {source.notation.expected}. Correct it, or leave such boxes out with "
        f"--invalid-boxes drop."
    )
    return kind, text


def _box(source: Source, row: int) -> str:
    box = source.boxes[row]
    name = source.images[box.image].file_name
    return f"{box.place}, image {name!r}: the box {source.notation.show(box.numbers)}"


def _are_corners(source: Source, numbers: np.ndarray, box_images: np.ndarray, sizes: np.ndarray, lenient: bool) -> bool:
    """Whether a COCO file surely has corner boxes, as training finds out for `bbox_format="xywh"`."""
    table = AnnotationTable(
        channel=source.format,
        folder=Path(),
        file_names=[image.file_name for image in source.images],
        image_rows=np.arange(len(source.images)),
        image_sizes=sizes,
        box_rows=np.arange(len(numbers)),
        box_images=box_images,
        bboxes=numbers,
        box_categories=np.zeros(len(numbers), np.int64),
        category_ids=[0],
        categories=None,
    )
    _, problems, _ = check_boxes(table, sizes, bbox_format="xywh", invalid_boxes="drop" if lenient else "error")
    return any(problem.kind == OTHER_FORMAT for problem in problems)


def _corners_sentence(source: Source, first: int, count: int) -> str:
    return (
        f"{source.format}: these look like [xmin, ymin, xmax, ymax] boxes, and COCO has [x, y, width, height]: {count} "
        f"of {len(source.boxes)} boxes cannot be read so; first: {_box(source, first)}. Training takes a file with "
        f"such boxes as it is, under the name annotations.json; else correct them."
    )
