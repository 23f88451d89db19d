"""Reads Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf): an XML file for each image.

Its boxes are the first and the last pixel of an object, counted from 1: one pixel in the corner is 1, 1, 1, 1.
"""

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sagemaker_object_detection.convert.class_names import split_names
from sagemaker_object_detection.convert.foreign import (
    ForeignBox,
    ForeignDataSet,
    ForeignImage,
    InvalidError,
    Notation,
    is_image,
    parse_number,
)
from sagemaker_object_detection.convert.xml_tree import Element, UnreadableXmlError, parse_xml
from sagemaker_object_detection.geometry.boxes import from_pixel_indices
from sagemaker_object_detection.sentences import shortlist

VOC = "voc"
NOTATION = Notation(
    fields=("xmin", "ymin", "xmax", "ymax"),
    expected="xmin <= xmax and ymin <= ymax, in pixels counted from 1, inside the image",
    inverted="is inverted",
    to_corners=lambda numbers, sizes: from_pixel_indices(numbers),
)
_FILE = "an XML file of Pascal VOC"
_DIFFICULT = {"keep": "kept as they are", "ignore": "made regions to ignore", "drop": "left out"}


def read_voc(
    folder: Path,
    annotations: Path | None,
    images: Path | None,
    split: Path | None,
    names: str | None,
    *,
    difficult: str,
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
                data.images.append(_image(path, stem, root, images if has_images else None, data))
        elif names is None:
            with data.collecting():
                unused = ForeignDataSet(VOC, NOTATION)  # the problems of what is not converted do not matter
                others |= {str(box.category) for box, _ in _objects(path, _parse(path, data), 0, unused)}
    used = {str(box.category) for box, _ in objects} | others
    data.categories = dict(enumerate(sorted(used))) if names is None else split_names(names, data)
    ids = {name: number for number, name in data.categories.items()}
    marked = 0
    for box, is_difficult in objects:
        if box.category not in ids:
            text = (
                f"{box.place}: the class {box.category!r} is not among those of --names ({shortlist(list(ids))}). Add "
                f"it there or correct it."
            )
            data.add_problem("unknown classes", text)
        elif len(box.numbers) == len(NOTATION.fields):
            marked += is_difficult
            if not (is_difficult and difficult == "drop"):
                ignored = is_difficult and difficult == "ignore"
                data.boxes.append(replace(box, category=ids[str(box.category)], ignored=ignored))
    if has_images and split is None:
        files = {image.file_name for image in data.images}
        spare = sum(is_image(name) and name not in files for name in data.walk(images))
        data.notes.append(("images that no XML file is for, not converted", spare))
    data.notes.append((f"{_DIFFICULT[difficult]}, objects marked as difficult", marked))
    return data


def _chosen(split: Path, annotations: Path, known: Collection[str], data: ForeignDataSet) -> Collection[str]:
    """The names in a split, each with its place."""
    chosen: dict[str, str] = {}
    for place, line in data.lines(split, "a text file with one name of an image a line"):
        name = line.strip()
        if name in chosen:
            text = f"{place}: {name!r} is there already ({chosen[name]}). Remove one of the two."
            data.add_problem("duplicate names in the split", text)
        elif name in known:
            chosen[name] = place
        elif name.split()[0] in known:  # cat_train.txt: a name, and whether a cat is there
            text = (
                f"{place}: got {name!r}; expected the name of an image alone. Lists of one class have a second column; "
                f"use that of all images, such as train.txt."
            )
            data.add_problem("unreadable lines of the split", text)
        else:
            text = f"{place}: there is no {annotations / name}.xml. Add the file or remove the line."
            data.add_problem("missing annotation files", text)
    return chosen


def _parse(path: Path, data: ForeignDataSet) -> Element:
    """The root element of an annotation file. Raises an InvalidError where it is none."""
    try:
        root = parse_xml(data.read_bytes(path, _FILE))
    except UnreadableXmlError as error:
        text = f"{path} {error}. Expected {_FILE}: correct it or remove it."
        raise InvalidError("unreadable files", text) from None
    if root.tag != "annotation":
        text = (
            f"{path} line {root.line}: its root is <{root.tag}>; expected <annotation>. Correct it or remove the file."
        )
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
        place, numbers, name = f"{path} line {item.line}", [], None
        with data.collecting():
            name = _only(item, "name", place)
        with data.collecting():
            box = _only(item, "bndbox", place)
            for field in NOTATION.fields:
                with data.collecting():
                    element = _only(box, field, f"{path} line {box.line}")
                    numbers.append(_number(element, path, "unreadable objects", "a number of pixels"))
        flags = item.all("difficult")
        flag = flags[0].text.strip() if flags else "0"
        if flag not in ("", "0", "1"):
            text = f"{path} line {flags[0].line}: <difficult> is {flag!r}; expected 0 or 1. Correct it there."
            data.add_problem("unreadable objects", text)
        if name is not None and data.is_name(f"{path} line {name.line}", name.text.strip()):
            objects.append((ForeignBox(place, image, name.text.strip(), numbers), flag == "1"))
    return objects


def _number(element: Element, path: Path, kind: str, expected: str, *, is_side: bool = False) -> float:
    """The number that the text is; a side has a whole number of pixels, 0 or more. Raises an InvalidError."""
    number = parse_number(element.text)
    if number is None or (is_side and not (number.is_integer() and 0 <= number < 2**31)):
        text = f"{path} line {element.line}: <{element.tag}> is {element.text.strip()!r}; expected {expected}."
        raise InvalidError(kind, f"{text} Correct it there.")
    return number


def _image(path: Path, stem: str, root: Element, images: Path | None, data: ForeignDataSet) -> ForeignImage:
    """images: their folder, where there is one."""
    height, width = (_side(root, field, path, data) for field in ("height", "width"))
    names = root.all("filename")
    name = names[0].text.strip() if names else ""
    place = f"{path} line {names[0].line}" if name else str(path)
    image = data.image(place, name, images, height, width) if name else ForeignImage(place, name, None, height, width)
    if images is not None and (image.path is None or not os.path.lexists(image.path)):
        same = _of_same_name(stem, images)
        if same is not None:
            image = replace(image, file_name=same, path=images / same)
        elif not name:
            text = f"{path}: names no image, and there is no {images / stem}.jpg or .png. Add a <filename>."
            data.add_problem("missing images", text)
    return replace(image, place=str(path))


def _side(root: Element, field: str, path: Path, data: ForeignDataSet) -> int:
    """0 where it is not said, or cannot be read, which is a problem."""
    side = next((side for size in root.all("size")[:1] for side in size.all(field)), None)
    with data.collecting():
        if side is not None:
            return int(_number(side, path, "unreadable sizes", "a whole number of pixels", is_side=True))
    return 0


def _of_same_name(stem: str, images: Path) -> str | None:
    """The image that is called like the XML file: <filename> is often that of a picture before it was renamed."""
    suffixes = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
    return next((stem + suffix for suffix in suffixes if os.path.lexists(images / (stem + suffix))), None)
