"""Reads YOLO's data sets (https://docs.ultralytics.com/datasets/detect): a text file of boxes for each image.

A line is `class x y width height`: the class by number, the centre and the size of the box as shares of the image's
width and height, as it is displayed.
"""

import os
import posixpath
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.class_names import read_names, split_names
from sagemaker_object_detection.convert.foreign import (
    ForeignBox,
    ForeignDataSet,
    InvalidError,
    Notation,
    is_image,
    parse_number,
)
from sagemaker_object_detection.dataset.annotation_entries import Id
from sagemaker_object_detection.geometry.boxes import cxcywh_to_xyxy
from sagemaker_object_detection.sentences import shortlist

YOLO = "yolo"
NAME_FILES = ("data.yaml", "data.yml", "classes.txt", "obj.names", "labels/classes.txt")
"""Where class names are looked for, below the data set's folder. (labelImg writes the last.)"""
_MAX_SHARE = 2.0
"""What is larger is no share of an image, of which a box that only reaches outside does not have as much."""
_SPLITS = ("train", "val", "valid", "test")
_LINE = "class x y width height"


def _to_corners(numbers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return cxcywh_to_xyxy(numbers * np.tile(sizes[:, ::-1], 2))


NOTATION = Notation(
    fields=("x", "y", "width", "height"),
    expected="a centre x, y and a width and a height above 0, as shares of the image's, inside the image",
    to_corners=_to_corners,
)


def read_yolo(
    folder: Path,
    split: str | None,
    images: Path | None,
    labels: Path | None,
    names: str | None,
    names_file: Path | None,
) -> ForeignDataSet:
    """Read the labels of every image; an image without a file of labels has no boxes.

    Lines of more than five numbers are refused: polygons of segmentations, and detections with a confidence.

    Args:
        folder: holds what follows, unless another place is named.
        split: the one to take, in images/split or split/images. Several are not to be mixed by accident: what a model
            was trained on says nothing about it.
        images, labels: by default images/ and labels/, of which the second mirrors the first.
        names: class names in the order of their numbers, with commas between them.
        names_file: a file that has them; without either, what is found below the data set's folder.
    """
    splits = [] if split or images else _splits(folder)
    inside_out = split and (folder / split / "images").is_dir() and not (folder / "images" / split).is_dir()
    own = split or "."
    images = images or (folder / own / "images" if inside_out else folder / "images" / own)
    labels = labels or (folder / own / "labels" if inside_out else folder / "labels" / own)
    data = ForeignDataSet(YOLO, NOTATION, folders=(images, labels))
    if splits:
        text = (
            f"{folder}: holds {' and '.join(splits)}. Convert each of them by itself, with --split {splits[0]}, or "
            f"name a folder with --images."
        )
        data.add_problem("mixed splits", text)
        return data
    data.categories = _class_names(folder, names, names_file, data)
    if not data.has_folder(images, "the folder of the images") or not data.has_folder(
        labels, "the folder of the .txt files, which mirrors that of the images"
    ):
        return data
    label_files = _label_files(labels, data)
    image_of_label: dict[str, str] = {}
    without = 0
    for name in filter(is_image, data.walk(images)):
        path = images / name
        label = f"{posixpath.splitext(name)[0]}.txt"
        first = image_of_label.setdefault(label, name)
        if first != name:
            text = f"{path}: shares {labels / label} with {images / first}. Rename one of the images."
            data.add_problem("images that share their labels", text)
        elif label in label_files:
            expected = f"a text file with a line {_LINE} for each box"
            for place, line in data.lines(labels / label_files[label], expected):
                with data.collecting():
                    data.boxes.append(_box(place, line.split(), len(data.images), data.categories))
        else:
            without += 1
        data.images.append(replace(data.image(str(images), name, images), place=str(path)))
    data.notes.append(("images without a file of labels, taken as negatives", without))
    has_names = None if names_file is None else os.path.realpath(names_file)
    for label in sorted(label_files.keys() - image_of_label.keys()):
        path = labels / label_files[label]
        if posixpath.basename(label) != "classes.txt" and os.path.realpath(path) != has_names:
            stem = images / label.removesuffix(".txt")
            text = f"{path}: there is no image {stem}.jpg or .png. Add the image or remove the file."
            data.add_problem("missing images", text)
    return data


def _splits(folder: Path) -> list[str]:
    """Those that lie in the folder, if one has to be chosen."""
    in_images = [name for name in _SPLITS if (folder / "images" / name).is_dir()]
    around = [name for name in _SPLITS if (folder / name / "images").is_dir()]
    return in_images if len(in_images) > 1 else [] if (folder / "images").is_dir() else around


def _label_files(labels: Path, data: ForeignDataSet) -> dict[str, str]:
    """The files of labels by their paths with .txt in small letters, as images name them."""
    found: dict[str, str] = {}
    for name in data.walk(labels):
        stem, suffix = posixpath.splitext(name)
        if suffix.lower() == ".txt" and (first := found.setdefault(f"{stem}.txt", name)) != name:
            text = f"{labels / name}: there is {labels / first} too. Remove one of the two."
            data.add_problem("files of labels that are there twice", text)
    return found


def _class_names(folder: Path, names: str | None, names_file: Path | None, data: ForeignDataSet) -> dict[Id, str]:
    """None of them where one has a problem: what is not known may be right."""
    before = len(data.problems)
    if names is not None:
        found = [split_names(names, data)]
    elif names_file is not None:
        found = [read_names(names_file, data)]
    else:
        places = [folder / name for name in NAME_FILES if os.path.isfile(folder / name)]
        found = [read_names(place, data) for place in places]
        if not places:
            text = (
                f"{folder}: holds no class names. Expected {' or '.join(NAME_FILES)} there; else give --names "
                f"cat,dog or --names-file FILE."
            )
            data.add_problem("missing class names", text)
        elif any(other != found[0] for other in found) and len(data.problems) == before:
            text = (
                f"{folder}: the class names in {' and '.join(str(place) for place in places)} differ. Say which "
                f"are right with --names-file FILE."
            )
            data.add_problem("contradicting class names", text)
    return found[0] if len(data.problems) == before else {}


def _box(place: str, words: list[str], image: int, classes: Mapping[Id, str]) -> ForeignBox:
    """The box of one line. Raises an InvalidError where it is none.

    Args:
        classes: none where they are not known.
    """
    if len(words) != 5:
        text = f"{place}: has {len(words)} values; expected the five of {_LINE}.{_hint(len(words))}"
        raise InvalidError("unreadable lines", text)
    numbers = []
    for word in words:
        if (value := parse_number(word)) is None:
            text = f"{place}: got {word!r}; expected the five numbers of {_LINE}. Correct it there."
            raise InvalidError("unreadable lines", text)
        numbers.append(value)
    number, *box = numbers
    if max(map(abs, box)) > _MAX_SHARE:
        text = (
            f"{place}: got {' '.join(words[1:])}, which cannot be shares of the image's width and height; expected "
            f"numbers from 0 to 1. Divide pixels by the image's size."
        )
        raise InvalidError("boxes that are not shares", text)
    if not number.is_integer() or number < 0 or (classes and int(number) not in classes):
        known = f"one of {shortlist(list(classes))}" if classes else "a whole number, 0 or more"
        text = f"{place}: the class is {words[0]}; expected {known}. Correct it, or add its name to the class names."
        raise InvalidError("unknown classes", text)
    return ForeignBox(place, image, int(number), box)


def _hint(count: int) -> str:
    if count >= 7 and count % 2:
        return " It looks like the polygon of a segmentation, which is not converted: export boxes."
    return " It looks like a detection with its confidence: use annotations." if count == 6 else " Correct it there."
