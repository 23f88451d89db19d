"""Reads YOLO's data sets (https://docs.ultralytics.com/datasets/detect): a text file of boxes for each image.

A line is `class x y width height`: the class by number, the centre and the size of the box as shares of the image's
width and height, as it is displayed.
"""

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sagemaker_object_detection.convert.class_names import read_names, split_names
from sagemaker_object_detection.convert.files import Findings, is_image, parse_number
from sagemaker_object_detection.convert.source import Notation, Source, SourceBox, SourceImage
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
    inverted="has a negative width or height",
    to_corners=_to_corners,
)


@dataclass(frozen=True)
class YoloLayout:
    """Where a YOLO data set lies.

    labels: mirrors the folder of the images. splits: those that lie there, where nobody has said which to take. They
    are not to be mixed by accident: what a model was trained on says nothing about it.
    """

    folder: Path
    images: Path
    labels: Path
    splits: tuple[str, ...] = ()


def find_layout(folder: Path, split: str | None, images: Path | None, labels: Path | None) -> YoloLayout:
    """The usual places below the data set's folder, unless others are named: images/train or train/images."""
    if split is not None:
        inside_out = (folder / split / "images").is_dir() and not (folder / "images" / split).is_dir()
        places = [folder / split / kind if inside_out else folder / kind / split for kind in ("images", "labels")]
        return YoloLayout(folder, places[0], labels or places[1])
    splits: list[str] = []
    if images is None:
        in_images = [name for name in _SPLITS if (folder / "images" / name).is_dir()]
        around = [name for name in _SPLITS if (folder / name / "images").is_dir()]
        splits = in_images if len(in_images) > 1 else [] if (folder / "images").is_dir() else around
    return YoloLayout(folder, images or folder / "images", labels or folder / "labels", tuple(splits))


def read_yolo(layout: YoloLayout, names: str | None, names_file: Path | None) -> Source:
    """Read the labels of every image; an image without a file of labels has no boxes.

    Lines of more than five numbers are refused: polygons of segmentations, and detections with a confidence.

    Args:
        names: class names in the order of their numbers, with commas between them.
        names_file: a file that has them; without either, what is found below the data set's folder.
    """
    findings = Findings(YOLO)
    if layout.splits:
        text = (
            f"{layout.folder}: holds {' and '.join(layout.splits)}. Convert each of them by itself, with --split "
            f"{layout.splits[0]}, or name a folder with --images."
        )
        findings.add("mixed splits", text)
        return Source(YOLO, NOTATION, (), (), (), tuple(findings.problems))
    classes = _class_names(layout, names, names_file, findings)
    images: list[SourceImage] = []
    boxes: list[SourceBox] = []
    without = 0
    image_of_label: dict[str, str] = {}
    if findings.is_folder(layout.images, "the folder of the images") and findings.is_folder(
        layout.labels, "the folder of the .txt files, which mirrors that of the images"
    ):
        label_files = _label_files(layout, findings)
        for name in filter(is_image, findings.walk(layout.images)):
            path = layout.images / name
            inner = findings.image_name(str(layout.images), name)
            label = f"{posixpath.splitext(name)[0]}.txt"
            first = image_of_label.setdefault(label, name)
            if first != name:
                text = f"{path}: shares {layout.labels / label} with {layout.images / first}. Rename one of the images."
                findings.add("images that share their labels", text)
            elif label not in label_files:
                without += 1
            else:
                boxes += _boxes(layout.labels / label_files[label], len(images), classes, findings)
            images.append(SourceImage(str(path), name, None if inner is None else path))
        has_names = None if names_file is None else os.path.realpath(names_file)
        for label in sorted(label_files.keys() - image_of_label.keys()):
            path = layout.labels / label_files[label]
            if posixpath.basename(label) != "classes.txt" and os.path.realpath(path) != has_names:
                stem = layout.images / label.removesuffix(".txt")
                text = f"{path}: there is no image {stem}.jpg or .png. Add the image or remove the file."
                findings.add("missing images", text)
    return Source(
        YOLO,
        NOTATION,
        tuple(images),
        tuple(boxes),
        tuple((classes or {}).items()),
        tuple(findings.problems),
        folders=(layout.images, layout.labels),
        noticed=(("images without a file of labels, taken as negatives", without),),
    )


def _label_files(layout: YoloLayout, findings: Findings) -> dict[str, str]:
    """The files of labels by their paths with .txt in small letters, as images name them."""
    found: dict[str, str] = {}
    for name in findings.walk(layout.labels):
        stem, suffix = posixpath.splitext(name)
        if suffix.lower() == ".txt" and found.setdefault(f"{stem}.txt", name) != name:
            text = (
                f"{layout.labels / name}: there is {layout.labels / found[f'{stem}.txt']} too. Remove one of the two."
            )
            findings.add("files of labels that are there twice", text)
    return found


def _class_names(
    layout: YoloLayout, names: str | None, names_file: Path | None, findings: Findings
) -> Mapping[int, str] | None:
    """None where they are not known, which is a problem already."""
    before = len(findings.problems)
    found: Mapping[int, str] = {}
    if names is not None:
        found = split_names(names, findings)
    elif names_file is not None:
        found = read_names(names_file, findings)
    else:
        places = [layout.folder / name for name in NAME_FILES if os.path.isfile(layout.folder / name)]
        each = [read_names(place, findings) for place in places]
        if not places:
            text = (
                f"{layout.folder}: holds no class names. Expected {' or '.join(NAME_FILES)} there; else give --names "
                f"cat,dog or --names-file FILE."
            )
            findings.add("missing class names", text)
        elif any(other != each[0] for other in each) and len(findings.problems) == before:
            text = (
                f"{layout.folder}: the class names in {' and '.join(str(place) for place in places)} differ. Say which "
                f"are right with --names-file FILE."
            )
            findings.add("contradicting class names", text)
        else:
            found = each[0]
    return found if len(findings.problems) == before else None


def _boxes(path: Path, image: int, classes: Mapping[int, str] | None, findings: Findings) -> list[SourceBox]:
    boxes = []
    for row, line in enumerate(findings.read_lines(path, f"a text file with a line {_LINE} for each box") or (), 1):
        place = f"{path} line {row}"
        words = line.split()
        if not words:
            continue
        if len(words) != 5:
            text = f"{place}: has {len(words)} values; expected the five of {_LINE}.{_hint(len(words))}"
            findings.add("unreadable lines", text)
            continue
        numbers = [parse_number(word) for word in words]
        if None in numbers:
            wrong = words[numbers.index(None)]
            text = f"{place}: got {wrong!r}; expected the five numbers of {_LINE}. Correct it there."
            findings.add("unreadable lines", text)
            continue
        number, x, y, width, height = (value for value in numbers if value is not None)
        if max(abs(x), abs(y), abs(width), abs(height)) > _MAX_SHARE:
            text = (
                f"{place}: got {' '.join(words[1:])}, which cannot be shares of the image's width and height; expected "
                f"numbers from 0 to 1. Divide pixels by the image's size."
            )
            findings.add("boxes that are not shares", text)
            continue
        if not number.is_integer() or number < 0 or (classes is not None and int(number) not in classes):
            known = f"one of {shortlist(sorted(classes))}" if classes else "a whole number, 0 or more"
            text = (
                f"{place}: the class is {words[0]}; expected {known}. Correct it, or add its name to the class names."
            )
            findings.add("unknown classes", text)
            continue
        boxes.append(SourceBox(place, image, int(number), (x, y, width, height)))
    return boxes


def _hint(count: int) -> str:
    if count >= 7 and count % 2:
        return " It looks like the polygon of a segmentation, which is not converted: export boxes."
    return " It looks like a detection with its confidence: use annotations." if count == 6 else " Correct it there."
