"""Reads COCO instances (https://cocodataset.org/#format-data): a JSON file with [x, y, width, height] boxes.

It is the container's own format but for the boxes, so the container's own reader reads it, and finds what is wrong.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.foreign import ForeignBox, ForeignDataSet, Notation
from sagemaker_object_detection.convert.outlines import ROTATED, around, rotated
from sagemaker_object_detection.dataset.annotation_file import parse_annotations
from sagemaker_object_detection.dataset.box_keys import DEGREES_KEYS, find_degrees
from sagemaker_object_detection.dataset.check_boxes import OTHER_FORMAT
from sagemaker_object_detection.dataset.conventions import BY_SETTING
from sagemaker_object_detection.geometry.boxes import xywh_to_xyxy
from sagemaker_object_detection.sentences import quoted

COCO = "coco"
NOTATION = Notation(
    fields=("x", "y", "width", "height"),
    expected="a width and a height above 0, in pixels, inside the image",
    convention=BY_SETTING["xywh"],
)


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
        data.is_name(f"{annotations} categories, id {quoted(id_)}", name)
    for key in table.said_formats:
        if key.says != "xywh":
            text = (
                f"{annotations}: {len(key.rows)} annotations have {key.key} {key.value}, so boxes are {key.says}, "
                f"and COCO's are xywh; first: annotations[{key.rows[0]}]. Convert the boxes, or correct it."
            )
            data.add_problem(OTHER_FORMAT, text)
    turned = find_degrees(raw.removeprefix(b"\xef\xbb\xbf"))
    origins = table.origins or [None] * len(table.file_names)
    rows = zip(table.image_rows.tolist(), table.file_names, table.image_sizes.tolist(), origins, strict=True)
    for row, name, size, origin in rows:
        place = f"{annotations} images[{row}]"
        image = data.image(place, name, images if has_images else None, *size)
        data.images.append(replace(image, group=origin))
    columns = (table.box_rows, table.box_images, table.box_categories, table.bboxes)
    linked = np.flatnonzero(table.box_images >= 0)  # which become the boxes
    data.witnesses = table.witnesses.of(linked)
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
