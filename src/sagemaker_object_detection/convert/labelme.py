"""Reads LabelMe (https://github.com/wkentaro/labelme): a JSON file for each image, with a list of shapes.

A shape is a label, a shape_type and points in pixels: two opposite corners of a rectangle, the corners of a polygon,
the centre of a circle and a point on it.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagemaker_object_detection.convert.class_names import number_classes
from sagemaker_object_detection.convert.foreign import (
    ForeignBox,
    ForeignDataSet,
    ForeignImage,
    InvalidError,
    Notation,
    is_point,
)
from sagemaker_object_detection.convert.outlines import MASK, POLYGON, ROTATED, ROUND, around
from sagemaker_object_detection.convert.pictures import find_picture
from sagemaker_object_detection.dataset.box_keys import marks_ignored
from sagemaker_object_detection.dataset.conventions import CORNERS
from sagemaker_object_detection.sentences import described

LABELME = "labelme"
NOTATION = Notation(
    fields=("xmin", "ymin", "xmax", "ymax"),
    expected="xmin < xmax and ymin < ymax, in pixels, inside the image",
    convention=CORNERS,
    any_corners=True,
)
_FILE = "a JSON file of LabelMe, with the list shapes"
_OUTLINES = {"polygon": (3, POLYGON), "rotation": (4, ROTATED), "circle": (2, ROUND), "mask": (2, MASK)}
"""By shape_type: how many points it has at least, and what it is. (X-AnyLabeling writes "rotation".)"""
_FLAT = frozenset(("point", "points", "line", "linestrip", "linestring"))
_RECTANGLE = "rectangle"


def read_labelme(folder: Path, images: Path | None, names: str | None, image_by: str | None) -> ForeignDataSet:
    """Read the shapes of every JSON file. Points and lines, which have no area, are left out and counted.

    Args:
        folder: holds the JSON files, in folders or not.
        images: the images, in folders as the JSON files are; by default they lie beside them.
        names: the classes, as `number_classes` takes them.
        image_by: what says which image a file is for, as `find_picture` takes it.
    """
    images = images or folder
    data = ForeignDataSet(LABELME, NOTATION, folders=(folder, images))
    if not data.has_folder(folder, "the folder of the JSON files"):
        return data
    has_images = data.has_folder(images, "the folder of the images")
    for name in data.walk(folder):
        if not name.lower().endswith(".json"):
            continue
        with data.collecting():
            path = folder / name
            content = data.read_json(path, _FILE)
            if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
                text = f"{path}: has no list shapes. Expected {_FILE}: correct it or remove it."
                raise InvalidError("unreadable files", text)
            _add_shapes(path, content["shapes"], data)
            place = images if has_images else None
            data.images.append(_image(path, name[: -len(".json")], content, place, image_by, data))
    if not data.images and not data.problems:
        data.add_problem("missing files", f"{folder}: holds no .json file. Expected one for each image.")
    number_classes(data, names)
    return data


def _image(
    path: Path, stem: str, content: dict[str, Any], images: Path | None, image_by: str | None, data: ForeignDataSet
) -> ForeignImage:
    name = content.get("imagePath") or ""
    height, width = (_side(path, key, content.get(key) or 0, data) for key in ("imageHeight", "imageWidth"))
    image = ForeignImage(str(path), "", None, height, width, images)
    if name and not isinstance(name, str):
        text = f"{path}: imagePath is {described(name)}; expected the name of the image. Correct it there."
        data.add_problem("refused file names", text)
    elif name:
        # It leads from the JSON file's folder to the image: "../images/a.jpg" where that is another folder.
        image = data.image(str(path), name.replace("\\", "/").rpartition("/")[2], images, height, width)
        inner = f"{stem.rpartition('/')[0]}/{image.file_name}".lstrip("/")
        if images is not None and (images / inner).is_file():
            image = data.image(str(path), inner, images, height, width)
    image = find_picture(image, stem, "imagePath", data, decides=image_by)
    if images is not None and image.path is None and not name:
        text = f"{path}: names no image, and there is no {images / stem}.jpg or .png. Add an imagePath."
        data.add_problem("missing images", text)
        image = replace(image, folder=None)
    return image


def _side(path: Path, key: str, side: Any, data: ForeignDataSet) -> int:
    """0 where it cannot be read, which is a problem."""
    if type(side) is int and 0 <= side < 2**31:
        return side
    text = f"{path}: {key} is {described(side)}; expected a whole number of pixels. Correct it there."
    data.add_problem("unreadable sizes", text)
    return 0


def _add_shapes(path: Path, shapes: list[Any], data: ForeignDataSet) -> None:
    """Polygons of one group are one object that is seen in parts."""
    parts: dict[tuple[str, int | str], list[tuple[float, float]]] = {}
    boxes: list[tuple[str, str, list[tuple[float, float]], str, bool]] = []
    for row, shape in enumerate(shapes):
        place = f"{path} shapes[{row}]"
        with data.collecting():
            if not isinstance(shape, dict):
                raise InvalidError("unreadable shapes", f"{place}: is {described(shape)}; expected an object.")
            kind, label, group = shape.get("shape_type") or "polygon", shape.get("label"), shape.get("group_id")
            if not isinstance(label, str):
                text = f"{place}: label is {described(label)}; expected the name of a class. Correct it there."
                raise InvalidError("unusable class names", text)
            if kind in _FLAT:
                data.counts["left out, points and lines, which have no area"] += 1
                continue
            points, outline = _points(place, kind, shape.get("points"))
            if not data.is_name(place, label):
                continue
            if outline == POLYGON and isinstance(group, int | str):
                if (label, group) in parts:
                    parts[label, group] += points
                    data.counts["polygons that are parts of an object, by their group_id"] += 1
                    continue
                parts[label, group] = points
            flags = shape.get("flags")
            boxes.append((place, label, points, outline, isinstance(flags, dict) and marks_ignored(flags)))
    for place, label, points, outline, ignored in boxes:
        is_written = len(points) == 2 and not outline  # two corners as they come, which may be something else
        numbers = (*points[0], *points[1]) if is_written else around(points)
        data.counts["made regions to ignore, shapes whose flags say so"] += ignored
        data.boxes.append(ForeignBox(place, len(data.images), label, numbers, outline, ignored))


def _points(place: str, kind: Any, points: Any) -> tuple[list[tuple[float, float]], str]:
    """Points that the box goes around, and what outline they are. Raises an InvalidError."""
    least, outline = _OUTLINES.get(kind, (2, "")) if isinstance(kind, str) else (2, "")
    if not outline and kind != _RECTANGLE:
        known = ", ".join((_RECTANGLE, *_OUTLINES))
        text = f"{place}: shape_type is {described(kind)}; expected one of {known}. Correct it or remove the shape."
        raise InvalidError("unreadable shapes", text)
    if not isinstance(points, list) or len(points) < least or not all(map(is_point, points)):
        text = f"{place}: points are {described(points)}; expected {least} or more pairs of finite numbers."
        raise InvalidError("unreadable shapes", f"{text} Correct it there.")
    read = [(float(x), float(y)) for x, y in points]
    if outline == ROUND:
        (x, y), radius = read[0], math.dist(read[0], read[1])
        read = [(x - radius, y - radius), (x + radius, y + radius)]
    if kind == _RECTANGLE and len(read) > 2 and not _is_upright(read):
        outline = ROTATED if len(read) == 4 else POLYGON
    return read, outline


def _is_upright(points: list[tuple[float, float]]) -> bool:
    """Whether each point is a corner of the box around all."""
    xmin, ymin, xmax, ymax = around(points)
    return all(x in (xmin, xmax) and y in (ymin, ymax) for x, y in points)
