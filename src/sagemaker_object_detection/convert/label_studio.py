"""Reads the JSON export of Label Studio (https://labelstud.io/guide/task_format): a list of tasks, one for each image.

Its boxes are x, y, width and height in hundredths of the image's sides, turned clockwise by `rotation` degrees about
the corner x, y (https://labelstud.io/tags/rectanglelabels).
"""

import math
import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sagemaker_object_detection.convert.class_names import number_classes
from sagemaker_object_detection.convert.foreign import (
    ForeignBox,
    ForeignDataSet,
    InvalidError,
    Notation,
    coordinate,
    is_image,
    is_point,
)
from sagemaker_object_detection.convert.outlines import MASK, POLYGON, ROTATED, ROUND, around, rotated
from sagemaker_object_detection.dataset.conventions import BY_SETTING
from sagemaker_object_detection.dataset.image_names import MAX_LENGTH
from sagemaker_object_detection.sentences import described, listed, shortlist, shown

LABEL_STUDIO = "label-studio"


NOTATION = Notation(
    fields=("x", "y", "width", "height"),
    expected="a width and a height above 0, in hundredths of the image's, inside the image",
    convention=BY_SETTING["xywh_percent"],
)
_FILE = "the JSON export of Label Studio, a list of tasks (not JSON-MIN)"
_BOX, _POLYGON, _ELLIPSE, _BRUSH = "rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels"
_PLAIN = {"rectangle": _BOX, "polygon": _POLYGON, "ellipse": _ELLIPSE, "brush": _BRUSH}
"""Shapes that get their label from another result with the same id, of the type `labels`."""
_LABELS = "labels"


def read_label_studio(export: Path, images: Path, names: str | None) -> ForeignDataSet:
    """Read the annotations of every task. Predictions, skipped tasks and results that are no shapes are left out.

    Args:
        export: the JSON file.
        images: a folder with the images. An image is found by the end of its address, and without the eight letters
            that Label Studio puts before the name of an upload.
        names: the classes, as `number_classes` takes them.
    """
    data = ForeignDataSet(LABEL_STUDIO, NOTATION, folders=(images,), addresses=True)
    folder = images if data.has_folder(images, "the folder of the images") else None
    present = {posixpath.basename(name) for name in data.walk(images)} if folder else set()
    tasks: list[Any] = []
    with data.collecting():
        content = data.read_json(export, _FILE)
        if not isinstance(content, list) or not all(isinstance(task, dict) and "data" in task for task in content):
            raise InvalidError("unreadable files", f"{export}: is something else. Expected {_FILE}: export that.")
        tasks = content
    for row, task in enumerate(tasks):
        place = f"{export} [{row}]"
        with data.collecting():
            results = _results(place, task, data)
            if results is None:
                data.counts["left out, tasks that were skipped or have no annotation"] += 1
                continue
            name, size = _image_name(place, task, results, present), _size(place, results)
            _add_results(place, results, size, data)
            data.images.append(data.image(place, name, folder, *size))
    number_classes(data, names)
    return data


def _results(place: str, task: dict[str, Any], data: ForeignDataSet) -> list[dict[str, Any]] | None:
    """Of the one annotation of a task that counts; None: there is none. Raises an InvalidError where several could."""
    found = task.get("annotations", task.get("completions")) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        text = f"{place}: annotations is {described(found)}; expected a list of objects. Correct it there."
        raise InvalidError("unreadable tasks", text)
    if task.get("predictions"):
        data.counts["left out, predictions of tasks"] += 1
    valid = [each for each in found if not each.get("was_cancelled")]
    chosen = [each for each in valid if each.get("ground_truth")] or valid
    if len(chosen) > 1:
        text = (
            f"{place}: has {len(chosen)} annotations, of several people or times. Mark the one that counts as ground "
            f"truth, or remove the others."
        )
        raise InvalidError("tasks with several annotations", text)
    if not chosen:
        return None
    results = chosen[0].get("result")
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        text = f"{place}: result is {described(results)}; expected a list of objects. Correct it there."
        raise InvalidError("unreadable tasks", text)
    return results


def _image_name(place: str, task: dict[str, Any], results: list[dict[str, Any]], present: set[str]) -> str:
    """The path or address of the image, without what only Label Studio knows. Raises an InvalidError."""
    values = task["data"] if isinstance(task["data"], dict) else {}
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    source = next((str(each["source"]).lstrip("$") for each in results if each.get("source")), None)
    named = [texts[source]] if source in texts else [text for text in texts.values() if is_image(_path(text))]
    if len(named) != 1:
        text = f"{place}: data names {len(named) or 'no'} images ({listed(sorted(texts))}); expected one. Correct it."
        raise InvalidError("unreadable tasks", text)
    name = _path(named[0])
    base = posixpath.basename(name)
    if base not in present and base[8:9] == "-" and base[9:] in present:
        return base[9:]
    return name


def _path(address: str) -> str:
    """An address, or the path in it of a file that Label Studio serves from a folder of its own."""
    if len(address) > MAX_LENGTH:  # of which urlsplit makes a plain form, see there
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    served = parse_qs(parts.query).get("d") if parts.path.endswith("/local-files/") else None
    return f"/{served[0].lstrip('/')}" if served else address


def _size(place: str, results: list[dict[str, Any]]) -> tuple[int, int]:
    """Height and width, 0 where no result says. Raises an InvalidError."""
    found = {(each["original_height"], each["original_width"]) for each in results if _has_size(each)}
    turned = {turn for each in results if (turn := each.get("image_rotation")) and turn != 360}
    if turned:
        text = (
            f"{place}: image_rotation is {described(turned.pop())}: the boxes are for the image as it was turned in "
            f"Label Studio. Turn the image itself, and set image_rotation to 0."
        )
        raise InvalidError("images that were turned while they were labelled", text)
    if len(found) > 1:
        text = (
            f"{place}: its results have {len(found)} sizes of the image: {shortlist(sorted(found))}. Correct it there."
        )
        raise InvalidError("contradicting sizes", text)
    return found.pop() if found else (0, 0)


def _has_size(result: dict[str, Any]) -> bool:
    sides = result.get("original_height"), result.get("original_width")
    return all(type(side) is int and 0 < side < 2**31 for side in sides)


def _add_results(place: str, results: list[dict[str, Any]], size: tuple[int, int], data: ForeignDataSet) -> None:
    labels = {
        str(each.get("id")): names
        for each in results
        if each.get("type") == _LABELS and (names := _value(each).get(_LABELS))
    }
    for row, result in enumerate(results):
        inner, written = f"{place} result[{row}]", str(result.get("type"))
        kind = _PLAIN.get(written, written)
        with data.collecting():
            if kind not in _PLAIN.values():
                if kind != _LABELS:
                    data.counts[f"left out, results that are no boxes ({shown(kind)})"] += 1
                continue
            value = _value(result)
            names = value.get(kind) or labels.get(str(result.get("id")))
            if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
                text = f"{inner}: its labels are {described(names)}; expected a list of one name. Correct it there."
                raise InvalidError("unreadable results", text)
            if data.is_name(inner, names[0]):
                numbers, outline = _shape(inner, kind, value, size)
                data.boxes.append(ForeignBox(inner, len(data.images), names[0], numbers, outline=outline))


def _value(result: dict[str, Any]) -> dict[str, Any]:
    value = result.get("value")
    return value if isinstance(value, dict) else {}


def _shape(place: str, kind: str, value: dict[str, Any], size: tuple[int, int]) -> tuple[tuple[float, ...], str]:
    """x, y, width and height of the upright box around a shape, and what it is. Raises an InvalidError."""

    def numbers(*keys: str) -> list[float]:
        found = [coordinate(value.get(key)) for key in keys]
        for key, number in zip(keys, found, strict=True):
            if number is None:
                text = f"{place}: {key} is {described(value.get(key))}; expected a number from 0 to 100. Correct it."
                raise InvalidError("unreadable results", text)
        return [number for number in found if number is not None]

    if kind == _BRUSH:
        text = f"{place}: is {MASK}, of which no box can be read. Draw a box, or remove the result."
        raise InvalidError("unreadable results", text)
    if kind == _POLYGON:
        points = value.get("points")
        if not isinstance(points, list) or len(points) < 3 or not all(map(is_point, points)):
            text = f"{place}: points are {described(points)}; expected three or more pairs of numbers. Correct it."
            raise InvalidError("unreadable results", text)
        return _sized(around(points)), POLYGON
    if kind == _ELLIPSE:
        x, y, across, along = numbers("x", "y", "radiusX", "radiusY")
        if degrees := numbers("rotation")[0] if value.get("rotation") else 0.0:
            image_width, image_height = size[1] or 1, size[0] or 1
            sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
            wide, high = across * image_width, along * image_height
            across = math.hypot(wide * cosine, high * sine) / image_width
            along = math.hypot(wide * sine, high * cosine) / image_height
        return (x - across, y - along, 2 * across, 2 * along), ROUND
    x, y, width, height = numbers("x", "y", "width", "height")
    degrees = numbers("rotation")[0] if value.get("rotation") else 0.0
    if degrees % 360 == 0:
        return (x, y, width, height), ""
    if not all(size):
        text = f"{place}: is turned, and original_width or original_height is missing. Add them, or export it again."
        raise InvalidError("unreadable results", text)
    scales = size[1] / 100, size[0] / 100  # it is turned in pixels, not in hundredths of two sides
    box = (x * scales[0], y * scales[1], (x + width) * scales[0], (y + height) * scales[1])
    turned = rotated(box, degrees, (box[0], box[1]))
    return _sized(around((px / scales[0], py / scales[1]) for px, py in turned)), ROTATED


def _sized(box: tuple[float, float, float, float]) -> tuple[float, ...]:
    xmin, ymin, xmax, ymax = box
    return xmin, ymin, xmax - xmin, ymax - ymin
