"""Reads Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf): an XML file for each image.

Its boxes are the first and the last pixel of an object, counted from 1: one pixel in the corner is 1, 1, 1, 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.class_names import number_classes
from sagemaker_object_detection.convert.foreign import (
    ForeignBox,
    ForeignDataSet,
    ForeignImage,
    InvalidError,
    Notation,
    did_you_mean,
    is_image,
    parse_number,
)
from sagemaker_object_detection.convert.outlines import POLYGON, ROTATED, around, rotated
from sagemaker_object_detection.convert.pictures import find_picture
from sagemaker_object_detection.convert.xml_tree import Element, UnreadableXmlError, parse_xml
from sagemaker_object_detection.dataset.box_keys import DEGREES_KEYS, ROTATION_KEYS
from sagemaker_object_detection.dataset.conventions import CORNERS, PIXELS, Convention
from sagemaker_object_detection.geometry.boxes import from_pixel_indices
from sagemaker_object_detection.sentences import printable, quoted, shown

VOC = "voc"
NOTATION = Notation(
    fields=("xmin", "ymin", "xmax", "ymax"),
    expected="xmin <= xmax and ymin <= ymax, in pixels counted from 1, inside the image",
    convention=Convention(CORNERS.order, PIXELS, first=1),
)
_FILE = "an XML file of Pascal VOC"
_OTHER_ROOTS = {
    "annotations": "CVAT's own format: export the task as 'COCO 1.0' or 'PASCAL VOC 1.1'",
    "dataset": "dlib's format, which is not converted: export COCO or Pascal VOC",
}
"""By the root element, what another tool's XML file is, and what to do."""
_DIFFICULT = {"keep": "kept as they are", "ignore": "made regions to ignore", "drop": "left out"}


def read_voc(
    folder: Path,
    annotations: Path | None,
    images: Path | None,
    split: Path | None,
    names: str | None,
    difficult: str,
    image_by: str | None = None,
) -> ForeignDataSet:
    """Read the objects of every annotation file, or of those of a split.

    Args:
        folder: holds what follows, unless another place is named.
        annotations, images: by default Annotations/ and JPEGImages/.
        split: a file with the names of the images to take, which may be named from the folder, too. None: all of them.
        names: the classes, with commas between them; their ids are their positions. None: those of all annotation
            files in alphabetical order, also of files outside of the split, so that every split gets the same ids.
        difficult: what becomes of objects marked as difficult: "keep", "ignore" for regions to ignore, which is what
            VOC's own evaluation makes of them, or "drop".
        image_by: what says which image a file is for, as `find_picture` takes it.
    """
    annotations, images = annotations or folder / "Annotations", images or folder / "JPEGImages"
    if split is not None and not split.exists() and (folder / split).exists():
        split = folder / split
    data = ForeignDataSet(VOC, NOTATION, folders=(annotations, images))
    has_images = data.has_folder(images, "the folder of the images")
    stems: list[str] = []
    if data.has_folder(annotations, "the folder of the XML files"):
        stems = [name for name in data.walk(annotations) if name.lower().endswith(".xml")]
        if not stems:
            text = f"{annotations}: holds no .xml file. Expected one for each image."
            data.add_problem("missing files", text)
    known = {name[: -len(".xml")]: annotations / name for name in stems}
    chosen = known.keys() if split is None else _chosen(split, annotations, known, data)
    others: set[str] = set()
    objects: list[tuple[ForeignBox, bool]] = []
    for stem, path in known.items():
        if stem in chosen:
            with data.collecting():
                root = _parse(path, data)
                objects += _objects(path, root, len(data.images), data)
                data.images.append(_image(path, stem, root, images if has_images else None, image_by, data))
        elif names is None:
            with data.collecting():
                unused = ForeignDataSet(VOC, NOTATION)  # the problems of what is not converted do not matter
                others |= {str(box.category) for box, _ in _objects(path, _parse(path, data), 0, unused)}
    others |= {str(box.category) for box, _ in objects}
    marked = sum(is_difficult and bool(box.numbers) for box, is_difficult in objects)
    data.boxes = [
        replace(box, ignored=is_difficult and difficult == "ignore")
        for box, is_difficult in objects
        if box.numbers and not (is_difficult and difficult == "drop")
    ]
    number_classes(data, names, others)
    if has_images and split is None:
        files = {image.file_name for image in data.images}
        spare = sum(is_image(name) and name not in files for name in data.walk(images))
        data.notes.append(("images that no XML file is for, not converted", spare))
    data.notes.append((f"{_DIFFICULT[difficult]}, objects marked as difficult", marked))
    return data


def _chosen(split: Path, annotations: Path, known: Mapping[str, Path], data: ForeignDataSet) -> set[str]:
    """The names of the XML files that a split takes."""
    expected = "a text file with one name of an image a line"
    wanted = [(place, line.strip()) for place, line in data.lines(split, expected)]
    first_words = {name: name.split()[0] for _, name in wanted if name not in known}
    lost = [name for name, word in first_words.items() if word == name or word not in known]
    found, guesses = data.match(lost, known.keys(), "names in the split that are")
    chosen: dict[str, str] = {}
    for place, name in wanted:
        stem = found.get(name, name)
        if stem in chosen:
            text = f"{place}: {quoted(name)} is there already ({chosen[stem]}). Remove one of the two."
            data.add_problem("duplicate names in the split", text)
        elif stem in known:
            chosen[stem] = place
        elif name in guesses:
            guess = did_you_mean(guesses[name])
            text = f"{place}: there is no {annotations / name}.xml. {guess}Add the file or remove the line."
            data.add_problem("missing annotation files", text)
        else:  # cat_train.txt: a name, and whether a cat is there
            text = (
                f"{place}: got {quoted(name)}; expected the name of an image alone. Lists of one class have a "
                f"second column; use that of all images, such as train.txt."
            )
            data.add_problem("unreadable lines of the split", text)
    return set(chosen)


def _parse(path: Path, data: ForeignDataSet) -> Element:
    """The root element of an annotation file. Raises an InvalidError where it is none."""
    try:
        root = parse_xml(data.read_bytes(path, _FILE))
    except UnreadableXmlError as error:
        text = f"{path} {error}. Expected {_FILE}: correct it or remove it."
        raise InvalidError("unreadable files", text) from None
    if root.tag != "annotation":
        advice = "Correct it or remove the file"
        if root.tag in _OTHER_ROOTS:
            advice = f"It looks like {_OTHER_ROOTS[root.tag]}"
        text = f"{path} line {root.line}: its root is <{printable(root.tag)}>; expected <annotation>. {advice}."
        raise InvalidError("unreadable files", text)
    return root


def _only(parent: Element, tag: str, place: str) -> Element:
    """The one child with this tag. Raises an InvalidError where there is none, or a second one."""
    found = parent.all(tag)
    if len(found) != 1:
        text = f"{place}: has {len(found) or 'no'} <{tag}>; expected one in <{parent.tag}>. Correct it there."
        raise InvalidError("unreadable objects", text)
    return found[0]


def _objects(path: Path, root: Element, image: int, data: ForeignDataSet) -> list[tuple[ForeignBox, bool]]:
    """The objects of a file with their classes by name, and whether each is marked as difficult. What cannot be read
    is a problem; numbers are then missing."""
    objects = []
    for item in root.all("object"):
        place, name = f"{path} line {item.line}", None
        if any(flag.text.strip() == "1" for flag in item.all("deleted")):
            data.counts["left out, objects marked as deleted"] += 1
            continue
        with data.collecting():
            name = _only(item, "name", place)
        numbers, outline = _shape(item, path, data)
        flags = item.all("difficult")
        flag = flags[0].text.strip() if flags else "0"
        if flag not in ("", "0", "1"):
            text = f"{path} line {flags[0].line}: <difficult> is {shown(flag)}; expected 0 or 1. Correct it there."
            data.add_problem("unreadable objects", text)
        if name is not None and data.is_name(f"{path} line {name.line}", name.text.strip()):
            objects.append((ForeignBox(place, image, name.text.strip(), numbers, outline=outline), flag == "1"))
    return objects


def _shape(item: Element, path: Path, data: ForeignDataSet) -> tuple[tuple[float, ...], str]:
    """The numbers of an object's box, none where it cannot be read, and what outline it is around."""
    with data.collecting():
        for turned in item.all("robndbox")[:1]:  # roLabelImg, https://github.com/cgvict/roLabelImg: a centre, radians
            numbers = _numbers(turned, ("cx", "cy", "w", "h", "angle"), path, data)
            if len(numbers) < 5:
                return (), ""
            x, y, width, height, angle = numbers
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            return _pixel_indices(around(rotated(box, math.degrees(angle)))), ROTATED
        if not item.all("bndbox") and (points := _polygon(item)):
            return _pixel_indices(around(points)), POLYGON
        box_element = _only(item, "bndbox", f"{path} line {item.line}")
        numbers = _numbers(box_element, NOTATION.fields, path, data)
        degrees = _degrees(item, path)
        if len(numbers) < len(NOTATION.fields) or degrees % 360 == 0:
            return numbers if len(numbers) == len(NOTATION.fields) else (), ""
        edges = from_pixel_indices(np.array([numbers]))[0].tolist()
        return _pixel_indices(around(rotated(edges, degrees))), ROTATED
    return (), ""


def _pixel_indices(box: Sequence[float]) -> tuple[float, ...]:
    """Corners along the edges between pixels, as a <bndbox> has them."""
    xmin, ymin, xmax, ymax = box
    return xmin + 1, ymin + 1, xmax, ymax


def _numbers(box: Element, fields: tuple[str, ...], path: Path, data: ForeignDataSet) -> tuple[float, ...]:
    """Those that can be read; others are problems."""
    numbers = []
    for field in fields:
        with data.collecting():
            element = _only(box, field, f"{path} line {box.line}")
            numbers.append(_number(element, path, "unreadable objects", "a number of pixels"))
    return tuple(numbers)


def _polygon(item: Element) -> list[tuple[float, float]]:
    """The points of a <polygon>: <x1>, <y1>, <x2>, ... (Roboflow), or <pt> with <x> and <y> (LabelMe's web tool)."""
    polygon = (item.all("polygon") or [Element("", 0)])[0]
    numbered = {child.tag: child for child in polygon.children}
    pairs = [(child.all("x"), child.all("y")) for child in polygon.all("pt")]
    points = [(xs[0], ys[0]) for xs, ys in pairs if xs and ys]
    for count in range(1, len(numbered) // 2 + 1):
        if f"x{count}" in numbered and f"y{count}" in numbered:
            points.append((numbered[f"x{count}"], numbered[f"y{count}"]))
    read = [(parse_number(x.text), parse_number(y.text)) for x, y in points]
    whole = [(x, y) for x, y in read if x is not None and y is not None]
    return whole if len(whole) == len(read) >= 3 else []


def _degrees(item: Element, path: Path) -> float:
    """By how much an object's box is turned. Raises an InvalidError where that is in a unit that is not known."""
    attributes = [each for group in item.all("attributes") for each in group.all("attribute")]
    named = [
        (name.text.strip(), value) for each in attributes for name in each.all("name") for value in each.all("value")
    ]
    own = [(child.tag, child) for parent in (item, *item.all("bndbox")) for child in parent.children]
    for key, element in (*own, *named):
        turn = parse_number(element.text) if key in ROTATION_KEYS else None
        if turn and key not in DEGREES_KEYS:
            text = (
                f"{path} line {element.line}: {key} is {shown(element.text.strip())}, so the box is turned, in degrees "
                f"or not. Write the upright box around the object and leave it out, or call it {DEGREES_KEYS[0]}, in "
                f"degrees."
            )
            raise InvalidError("polygons and rotated boxes", text)
        if turn:
            return turn
    return 0.0  # also of a word, such as a camera's angle


def _number(element: Element, path: Path, kind: str, expected: str, *, is_side: bool = False) -> float:
    """The number that the text is; a side has a whole number of pixels, 0 or more. Raises an InvalidError."""
    number = parse_number(element.text)
    if number is None or (is_side and not (number.is_integer() and 0 <= number < 2**31)):
        text = f"{path} line {element.line}: <{element.tag}> is {shown(element.text.strip())}; expected {expected}."
        raise InvalidError(kind, f"{text} Correct it there.")
    return number


def _image(
    path: Path, stem: str, root: Element, images: Path | None, image_by: str | None, data: ForeignDataSet
) -> ForeignImage:
    """images: their folder, where there is one."""
    height, width = (_side(root, field, path, data) for field in ("height", "width"))
    names = root.all("filename")
    name = names[0].text.strip() if names else ""
    place = f"{path} line {names[0].line}" if name else str(path)
    image = ForeignImage(place, name, None, height, width, images)
    if name:
        image = data.image(place, name, images, height, width)
    paths = [element.text.strip() for element in root.all("path")]
    image = find_picture(image, stem, "<filename>", data, decides=image_by, paths=paths)
    if images is not None and image.path is None and not name:
        text = f"{path}: names no image, and there is no {images / stem}.jpg or .png. Add a <filename>."
        data.add_problem("missing images", text)
        image = replace(image, folder=None)
    return replace(image, place=str(path))


def _side(root: Element, field: str, path: Path, data: ForeignDataSet) -> int:
    """0 where it is not said, or cannot be read, which is a problem."""
    side = next((side for size in root.all("size")[:1] for side in size.all(field)), None)
    with data.collecting():
        if side is not None:
            return int(_number(side, path, "unreadable sizes", "a whole number of pixels", is_side=True))
    return 0
