"""Reads COCO instances (https://cocodataset.org/#format-data): a JSON file with [x, y, width, height] boxes.

It is the container's own format but for the boxes, so the container's own reader reads it, and finds what is wrong.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sagemaker_object_detection.convert.foreign import ForeignBox, ForeignDataSet, Notation, coordinate
from sagemaker_object_detection.convert.outlines import ROTATED, around, rotated
from sagemaker_object_detection.dataset.annotation_file import AnnotationTable, parse_annotations
from sagemaker_object_detection.geometry.boxes import xywh_to_xyxy
from sagemaker_object_detection.sentences import described

COCO = "coco"
NOTATION = Notation(
    fields=("x", "y", "width", "height"),
    expected="a width and a height above 0, in pixels, inside the image",
    to_corners=lambda numbers, sizes: xywh_to_xyxy(numbers),
)


class _Beside(msgspec.Struct, gc=False):
    """Keys beside a bbox that change what it means: CVAT's and others' degrees of a turn about the centre, and
    detectron2's number of the notation."""

    attributes: Any = None
    rotation: Any = None
    angle: Any = None
    bbox_mode: Any = None


_TURNS = ("attributes.rotation", "rotation", "angle")
"""Where those degrees are."""


class _Besides(msgspec.Struct, gc=False):
    annotations: list[_Beside]


_XYWH_PIXELS = 1
"""detectron2's BoxMode.XYWH_ABS."""


def read_coco(annotations: Path, images: Path) -> ForeignDataSet:
    """Read the instances of a file. Crowds, and what else the container's own format takes for a region to ignore, stay
    what they are.

    Args:
        annotations: the JSON file; its segmentations are skipped.
        images: the folder that its file names are relative to.
    """
    data = ForeignDataSet(COCO, NOTATION, folders=(images,))
    raw = table = None
    with data.collecting():
        raw = data.read_bytes(annotations, "a COCO file with the lists images, annotations and categories")
    has_images = data.has_folder(images, "the folder of the images")
    if raw is not None:
        table, found = parse_annotations(str(annotations), annotations.parent, raw, annotations.name, turns=_TURNS)
        data.problems += found
    if raw is None or table is None:
        return data
    if not table.categories:
        text = f"{annotations}: has no categories. Expected a list of them, each with id and name."
        data.add_problem("missing categories", text)
    data.categories = dict(table.categories or {})
    for id_, name in data.categories.items():
        data.is_name(f"{annotations} categories, id {id_!r}", name)
    turned = _turned(raw, table, data)
    for row, name, size in zip(table.image_rows.tolist(), table.file_names, table.image_sizes.tolist(), strict=True):
        place = f"{annotations} images[{row}]"
        data.images.append(data.image(place, name, images if has_images else None, *size))
    columns = (table.box_rows, table.box_images, table.box_categories, table.bboxes)
    ignored = set(table.ignored.tolist())
    for number, (row, image, code, numbers) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if image >= 0:
            place, degrees = f"{annotations} annotations[{row}]", turned.get(row, 0.0)
            if degrees:
                xmin, ymin, xmax, ymax = around(rotated(xywh_to_xyxy(np.array([numbers]))[0].tolist(), degrees))
                numbers = (xmin, ymin, xmax - xmin, ymax - ymin)
            outline, is_ignored = ROTATED if degrees else "", number in ignored
            data.boxes.append(ForeignBox(place, image, table.category_ids[code], numbers, outline, is_ignored))
    return data


def _turned(raw: bytes, table: AnnotationTable, data: ForeignDataSet) -> dict[int, float]:
    """Degrees of the boxes that are turned, by the positions of their annotations in the file."""
    try:
        besides = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"), type=_Besides).annotations
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}  # an entry is no object, or no JSON at all: a problem tells it already
    found = {}
    for row in table.box_rows.tolist():
        beside, place = besides[row], f"{table.channel} annotations[{row}]"
        if beside.bbox_mode not in (None, _XYWH_PIXELS):
            text = (
                f"{place}: bbox_mode is {beside.bbox_mode!r}, detectron2's number of another notation; expected "
                f"{_XYWH_PIXELS}, [x, y, width, height] in pixels. Convert the boxes, or correct it."
            )
            data.add_problem("boxes in another notation", text)
        attributes = beside.attributes if isinstance(beside.attributes, dict) else {}
        for key, value in zip(_TURNS, (attributes.get("rotation"), beside.rotation, beside.angle), strict=True):
            degrees = coordinate(value)
            if value is not None and degrees is None:
                text = (
                    f"{place}: {key} is {described(value)}; expected by how many degrees the box is turned. Correct it."
                )
                data.add_problem("unreadable entries of annotations", text)
            elif degrees and degrees % 360:
                found[row] = degrees
    return found
