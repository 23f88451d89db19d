"""Reads Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf): an XML file for each image.

Its boxes are the first and the last pixel of an object, counted from 1: one pixel in the corner is 1, 1, 1, 1.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagemaker_object_detection.convert.class_names import split_names
from sagemaker_object_detection.convert.files import Findings, is_image, parse_number, parse_side
from sagemaker_object_detection.convert.source import Notation, Numbers, Source, SourceBox, SourceImage
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


@dataclass(frozen=True)
class _Object:
    place: str
    name: str
    numbers: Numbers | None
    difficult: bool


@dataclass(frozen=True)
class VocLayout:
    """Where a Pascal VOC data set lies. split: a file with the names of the images to take, or None for all."""

    annotations: Path
    images: Path
    split: Path | None


def find_layout(folder: Path, annotations: Path | None, images: Path | None, split: Path | None) -> VocLayout:
    """The usual places below the data set's folder, unless others are named. A split may be named from there, too."""
    if split is not None and not split.exists() and (folder / split).exists():
        split = folder / split
    return VocLayout(annotations or folder / "Annotations", images or folder / "JPEGImages", split)


def read_voc(layout: VocLayout, names: str | None, *, drop_difficult: bool) -> Source:
    """Read the objects of every annotation file, or of those of a split.

    Args:
        names: the classes, with commas between them; their ids are their positions. None: those of all annotation
            files in alphabetical order, also of files outside of the split, so that every split gets the same ids.
        drop_difficult: whether to leave out objects marked as difficult.
    """
    findings = Findings(VOC)
    has_images = findings.is_folder(layout.images, "the folder of the images")
    paths: list[Path] = []
    if findings.is_folder(layout.annotations, "the folder of the XML files"):
        paths = [
            layout.annotations / name for name in findings.walk(layout.annotations) if name.lower().endswith(".xml")
        ]
        if not paths:
            findings.add("missing files", f"{layout.annotations}: holds no .xml file. Expected one for each image.")
    chosen = paths if layout.split is None else _chosen(layout.split, layout.annotations, paths, findings)
    wanted = set(chosen)
    images: list[SourceImage] = []
    objects: list[tuple[int, _Object]] = []
    used: set[str] = set()
    for path in paths:
        if path in wanted:
            root = _parse(path, findings)
            if root is not None:
                objects += [(len(images), found) for found in _objects(path, root, findings)]
                images.append(_image(path, root, layout, has_images, findings))
        elif names is None and (root := _parse(path, findings)) is not None:
            used |= {item.name for item in _objects(path, root, Findings(VOC))}
    used |= {item.name for _, item in objects}
    classes = dict(enumerate(sorted(used))) if names is None else split_names(names, findings)
    ids = {name: number for number, name in classes.items()}
    for item in (item for _, item in objects if item.name not in ids):
        text = (
            f"{item.place}: the class {item.name!r} is not among those of --names ({shortlist(list(ids))}). Add it "
            f"there or correct it."
        )
        findings.add("unknown classes", text)
    kept = [(image, item) for image, item in objects if not (drop_difficult and item.difficult)]
    boxes = tuple(
        SourceBox(item.place, image, ids[item.name], item.numbers)
        for image, item in kept
        if item.numbers is not None and item.name in ids
    )
    noticed = []
    if has_images and layout.split is None:
        files = {image.file_name for image in images}
        spare = sum(is_image(name) and name not in files for name in findings.walk(layout.images))
        noticed.append(("images that no XML file is for, not converted", spare))
    return Source(
        VOC,
        NOTATION,
        tuple(images),
        boxes,
        tuple(classes.items()),
        tuple(findings.problems),
        folders=(layout.annotations, layout.images),
        left_out=(("objects marked as difficult", len(objects) - len(kept)),),
        noticed=tuple(noticed),
    )


def _chosen(split: Path, annotations: Path, paths: Sequence[Path], findings: Findings) -> list[Path]:
    known = {path.relative_to(annotations).as_posix()[: -len(".xml")]: path for path in paths}
    chosen: dict[str, int] = {}
    for number, line in enumerate(findings.read_lines(split, "a text file with one name of an image a line") or (), 1):
        name = line.strip()
        if not name:
            continue
        if name in chosen:
            text = f"{split} line {number}: {name!r} is there already, in line {chosen[name]}. Remove one of the two."
            findings.add("duplicate names in the split", text)
        elif name in known:
            chosen[name] = number
        elif name.split()[0] in known:  # cat_train.txt: a name, and whether a cat is there
            text = (
                f"{split} line {number}: got {name!r}; expected the name of an image alone. Lists of one class have a "
                f"second column; use that of all images, such as train.txt."
            )
            findings.add("unreadable lines of the split", text)
        else:
            text = f"{split} line {number}: there is no {annotations / name}.xml. Add the file or remove the line."
            findings.add("missing annotation files", text)
    return [known[name] for name in chosen]


def _parse(path: Path, findings: Findings) -> Element | None:
    raw = findings.read_bytes(path, _FILE)
    if raw is None:
        return None
    try:
        root = parse_xml(raw)
    except UnreadableXmlError as error:
        findings.add("unreadable files", f"{path} {error}. Expected {_FILE}: correct it or remove it.")
        return None
    if root.tag != "annotation":
        text = (
            f"{path} line {root.line}: its root is <{root.tag}>; expected <annotation>. Correct it or remove the file."
        )
        findings.add("unreadable files", text)
        return None
    return root


def _text(element: Element) -> str:
    return element.text.strip()


def _only(parent: Element, tag: str, place: str, findings: Findings) -> Element | None:
    """The one child with this tag; that there is none, or a second one, is a problem."""
    found = parent.all(tag)
    if len(found) != 1:
        text = f"{place}: has {len(found) or 'no'} <{tag}>; expected one in <{parent.tag}>. Correct it there."
        findings.add("unreadable objects", text)
    return found[0] if len(found) == 1 else None


def _objects(path: Path, root: Element, findings: Findings) -> list[_Object]:
    objects = []
    for item in root.all("object"):
        place = f"{path} line {item.line}"
        name = _only(item, "name", place, findings)
        box = _only(item, "bndbox", place, findings)
        numbers = _numbers(box, path, findings) if box is not None else None
        flags = item.all("difficult")
        flag = _text(flags[0]) if flags else "0"
        if flag not in ("", "0", "1"):
            text = f"{path} line {flags[0].line}: <difficult> is {flag!r}; expected 0 or 1. Correct it there."
            findings.add("unreadable objects", text)
        if name is not None and findings.is_name(f"{path} line {name.line}", _text(name)):
            objects.append(_Object(place, _text(name), numbers, flag == "1"))
    return objects


def _numbers(box: Element, path: Path, findings: Findings) -> Numbers | None:
    numbers = []
    for field in NOTATION.fields:
        element = _only(box, field, f"{path} line {box.line}", findings)
        if element is None:
            continue
        number = parse_number(element.text)
        if number is None:
            text = (
                f"{path} line {element.line}: <{field}> is {_text(element)!r}; expected a number of pixels. Correct it "
                f"there."
            )
            findings.add("unreadable objects", text)
        else:
            numbers.append(number)
    if len(numbers) < 4:
        return None
    xmin, ymin, xmax, ymax = numbers
    return xmin, ymin, xmax, ymax


def _image(path: Path, root: Element, layout: VocLayout, has_images: bool, findings: Findings) -> SourceImage:
    sides: Mapping[str, int] = {}
    if size := root.all("size"):
        sides = {field: _side(size[0], field, path, findings) for field in ("height", "width")}
    names = root.all("filename")
    name = _text(names[0]) if names else ""
    inner = findings.image_name(f"{path} line {names[0].line}", name) if name else None
    file = None
    if has_images and (inner is not None or not name):
        stem = path.relative_to(layout.annotations).as_posix()[: -len(".xml")]
        if inner is None or not os.path.lexists(layout.images / inner):
            inner = _of_same_name(stem, layout.images) or inner
        if inner is None:
            text = f"{path}: names no image, and there is no {layout.images / stem}.jpg or .png. Add a <filename>."
            findings.add("missing images", text)
        else:
            file = layout.images / inner
    return SourceImage(str(path), inner or name, file, sides.get("height", 0), sides.get("width", 0))


def _side(size: Element, field: str, path: Path, findings: Findings) -> int:
    found = size.all(field)
    if not found:
        return 0
    side = parse_side(found[0].text)
    if side is None:
        text = (
            f"{path} line {found[0].line}: <{field}> is {_text(found[0])!r}; expected a whole number of pixels. "
            f"Correct it there."
        )
        findings.add("unreadable sizes", text)
    return side or 0


def _of_same_name(stem: str, images: Path) -> str | None:
    """The image that is called like the XML file: <filename> is often that of a picture before it was renamed."""
    suffixes = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
    return next((stem + suffix for suffix in suffixes if os.path.lexists(images / (stem + suffix))), None)
