"""Holds a data set's images and boxes against its files, by training's rules, naming places in the source."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.coco import COCO
from sagemaker_object_detection.convert.foreign import ForeignDataSet
from sagemaker_object_detection.dataset.check_boxes import OTHER_FORMAT, judge_boxes, read_both_ways
from sagemaker_object_detection.dataset.check_images import CheckedImages, examine_images, lower_case_names
from sagemaker_object_detection.images.headers import MISSING


@dataclass(frozen=True, eq=False)
class CheckedData:
    """What may be written, if the data set has no problem. N images, M boxes.

    sizes: int64 [N, 2], height and width as displayed, or as stored where the source's boxes are for those pixels.
    corners: float64 [M, 4], xmin ymin xmax ymax, pixels. kept: bool [M]. notes: what the summary says of them, in
    words, and how often; those of 0 it leaves out.
    """

    sizes: np.ndarray
    corners: np.ndarray
    kept: np.ndarray
    notes: tuple[tuple[str, int], ...]


def check(data: ForeignDataSet, *, drop: bool) -> CheckedData:
    """Check every image's header and size, and every box. What is wrong is added to the problems of the data set.

    Args:
        drop: whether boxes that are inverted, empty or outside are left out instead of being problems.
    """
    if not data.images and not data.problems:
        data.add_problem("empty data sets", f"{data.format}: the data set has no image. Expected at least one.")
    images = _check_images(data)
    numbers = np.array([box.numbers for box in data.boxes], np.float64).reshape(-1, 4)
    sizes = images.sizes[np.array([box.image for box in data.boxes], np.int64)].astype(np.float64)
    corners = data.notation.to_corners(numbers, sizes)
    known = np.flatnonzero((sizes > 0).all(axis=1))
    judged = judge_boxes(corners[known], sizes[known])
    kept = np.ones(len(numbers), bool)
    kept[known] = ~judged.invalid
    dropped: Counter[str] = Counter()
    is_other, broken, _ = read_both_ways(numbers[known], sizes[known], "xywh", lenient=drop)
    if data.format == COCO and is_other:
        text = (
            f"{data.format}: these look like [xmin, ymin, xmax, ymax] boxes, and COCO has [x, y, width, height]: "
            f"{broken.sum()} of {len(numbers)} boxes cannot be read so; first: "
            f"{_box(data, known[np.flatnonzero(broken)[0]])}. Training takes a file with such boxes as it is, under "
            f"the name annotations.json; else correct them."
        )
        data.add_problem(OTHER_FORMAT, text)
    else:
        for position in np.flatnonzero(judged.invalid).tolist():
            kind, fault = judged.fault(position, data.notation.inverted)
            if drop:
                dropped[kind] += 1
            else:
                text = f"{_box(data, known[position])} {fault}; expected {data.notation.expected}. Correct it, or leave"
                data.add_problem(kind, f"{text} such boxes out with --invalid-boxes drop.")
    if not kept.any() and not data.problems:
        what = f"every box ({len(kept)}) was left out" if len(kept) else "there is no box"
        data.add_problem("data sets without boxes", f"{data.format}: {what}. Expected at least one to learn from.")
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(dropped.items()))
    clipped = (corners[known] != judged.clipped).any(axis=1) & ~judged.invalid
    notes = (
        (f"left out, as --invalid-boxes drop asks ({kinds})", dropped.total()),
        ("boxes that reach outside by a pixel at most, which training clips", int(clipped.sum())),
        ("images that are turned as their EXIF orientation says", images.turned),
        ("EXIF orientations that are ignored, as the annotated sizes ask", images.ignored),
    )
    return CheckedData(images.sizes, corners, kept, notes)


def _check_images(data: ForeignDataSet) -> CheckedImages:
    """Of an image without a size, 0 and 0, the boxes cannot be judged."""
    paths: dict[int, Path] = {}
    first_use: dict[Path, str] = {}
    for index, image in enumerate(data.images):
        if image.path is None:
            continue
        if image.path not in first_use:
            first_use[image.path] = image.place
            paths[index] = image.path
        else:
            first = first_use[image.path]
            text = f"{image.place}: {image.path} is the image of {first} already. Merge the two, or remove one."
            data.add_problem("images that are listed twice", text)

    present = cache(lower_case_names)

    def hint(path: Path) -> str:
        similar = present(path.parent).get(path.name.lower())
        if similar == path.name:
            return " It is a link that leads nowhere: mend it."
        return f" There is {similar!r}: name it exactly so." if similar else " Add the file, or remove what names it."

    def report(index: int, kind: str, fault: str) -> None:
        place, path = data.images[index].place, paths[index]
        named = f"{place}: {path}" if place != str(path) else place
        data.add_problem(kind, f"{named} {fault}{hint(path) if kind == MISSING else ''}")

    annotated = np.array([(image.height, image.width) for image in data.images], np.int64).reshape(-1, 2)
    return examine_images(paths, annotated, report)


def _box(data: ForeignDataSet, row: int) -> str:
    box = data.boxes[row]
    numbers = zip(data.notation.fields, box.numbers, strict=True)
    shown = ", ".join(f"{field} {number:.15g}" for field, number in numbers)
    return f"{box.place}, image {data.images[box.image].file_name!r}: the box {shown}"
