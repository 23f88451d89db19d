"""Reads COCO instances (https://cocodataset.org/#format-data): a JSON file with [x, y, width, height] boxes.

It is the container's own format but for the boxes, so the container's own reader reads it, and finds what is wrong.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sagemaker_object_detection.convert.foreign import ForeignBox, ForeignDataSet, Notation
from sagemaker_object_detection.convert.outlines import ROTATED, around, rotated
from sagemaker_object_detection.dataset.annotation_file import AnnotationTable, parse_annotations
from sagemaker_object_detection.dataset.box_keys import DEGREES_KEYS, find_degrees
from sagemaker_object_detection.dataset.check_boxes import OTHER_FORMAT
from sagemaker_object_detection.geometry.boxes import xywh_to_xyxy

COCO = "coco"
NOTATION = Notation(
    fields=("x", "y", "width", "height"),
    expected="a width and a height above 0, in pixels, inside the image",
    to_corners=lambda numbers, sizes: xywh_to_xyxy(numbers),
)


class _Flag(msgspec.Struct, gc=False):
    iscrowd: Any = 0


class _Flags(msgspec.Struct, gc=False):
    annotations: list[_Flag]


def read_coco(annotations: Path, images: Path) -> ForeignDataSet:
    """Read the instances of a file. Annotations with iscrowd=1, which are regions of many objects, are left out.

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
        place, folder = str(annotations), annotations.parent
        table, found = parse_annotations(place, folder, raw, annotations.name, turns=DEGREES_KEYS)
        data.problems += found
    if raw is None or table is None:
        return data
    if not table.categories:
        text = f"{annotations}: has no categories. Expected a list of them, each with id and name."
        data.add_problem("missing categories", text)
    data.categories = dict(table.categories or {})
    for id_, name in data.categories.items():
        data.is_name(f"{annotations} categories, id {id_!r}", name)
    for key in table.said_formats:
        if key.says != "xywh":
            text = (
                f"{annotations}: {len(key.rows)} annotations have {key.key} {key.value}, so boxes are {key.says}, "
                f"and COCO's are xywh; first: annotations[{key.rows[0]}]. Convert the boxes, or correct it."
            )
            data.add_problem(OTHER_FORMAT, text)
    turned = find_degrees(raw.removeprefix(b"\xef\xbb\xbf"))
    crowd = _crowd_rows(raw, table, data)
    data.notes.append(("left out, annotations with iscrowd=1", len(crowd)))
    for row, name, size in zip(table.image_rows.tolist(), table.file_names, table.image_sizes.tolist(), strict=True):
        place = f"{annotations} images[{row}]"
        data.images.append(data.image(place, name, images if has_images else None, *size))
    columns = (table.box_rows, table.box_images, table.box_categories, table.bboxes)
    for row, image, code, numbers in zip(*(column.tolist() for column in columns), strict=True):
        if image >= 0 and row not in crowd:
            place, degrees = f"{annotations} annotations[{row}]", turned.get(row, 0.0)
            if degrees:
                xmin, ymin, xmax, ymax = around(rotated(xywh_to_xyxy(np.array([numbers]))[0].tolist(), degrees))
                numbers = (xmin, ymin, xmax - xmin, ymax - ymin)
            outline = ROTATED if degrees else ""
            data.boxes.append(ForeignBox(place, image, table.category_ids[code], numbers, outline=outline))
    return data


def _crowd_rows(raw: bytes, table: AnnotationTable, data: ForeignDataSet) -> set[int]:
    """Positions, in the file, of the annotations that say iscrowd=1."""
    try:
        flags = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"), type=_Flags).annotations
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return set()  # an entry is no object, or no JSON at all: a problem tells it already
    values = {row: flags[row].iscrowd for row in table.box_rows.tolist() if flags[row].iscrowd not in (0, None)}
    for row, value in values.items():
        if value != 1:
            text = f"{table.channel} annotations[{row}]: iscrowd is {value!r}; expected 0 or 1. Correct it there."
            data.add_problem("unreadable entries of annotations", text)
    return {row for row, value in values.items() if value == 1}
