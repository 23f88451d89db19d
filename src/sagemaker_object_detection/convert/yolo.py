"""Reads YOLO's data sets (https://docs.ultralytics.com/datasets/detect): a text file of boxes for each image.

A line is `class x y width height`: the class by number, the centre and the size of the box as shares of the image's
width and height, as it is displayed.
"""

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sagemaker_object_detection.convert.class_names import read_names, split_names
from sagemaker_object_detection.convert.foreign import (
    ForeignBox,
    ForeignDataSet,
    InvalidError,
    Notation,
    did_you_mean,
    is_image,
    parse_number,
)
from sagemaker_object_detection.convert.outlines import POLYGON, around
from sagemaker_object_detection.dataset.annotation_entries import Id
from sagemaker_object_detection.dataset.conventions import BY_SETTING
from sagemaker_object_detection.sentences import printable, quoted, shortlist, shown

YOLO = "yolo"
NAME_FILES = ("data.yaml", "data.yml", "classes.txt", "obj.names", "labels/classes.txt")
"""Where class names are looked for, below the data set's folder. (labelImg writes the last.)"""
_SPLITS = ("train", "val", "valid", "test")
_LINE = "class x y width height"
_KEYPOINTS = re.compile(r"^kpt_shape\s*:\s*\[\s*([0-9]{1,3})\s*,\s*([23])\s*\]", re.MULTILINE)
"""Of a data.yaml: how many keypoints stand behind each box, and how many values each has."""
_VISIBILITY = frozenset(("0", "1", "2", "0.0", "1.0", "2.0", "0.000000", "1.000000", "2.000000"))
_POSE = "Write how many, and the values of each, into data.yaml, such as kpt_shape: [17, 3]; the boxes are then taken."
_CORRECT = "Correct it there."
_LABELS = f"a text file with a line {_LINE} for each box"


NOTATION = Notation(
    fields=("x", "y", "width", "height"),
    expected="a centre x, y and a width and a height above 0, as shares of the image's, inside the image",
    convention=BY_SETTING["cxcywh_normalized"],
)


def read_yolo(
    folder: Path,
    split: str | None,
    images: Path | None,
    labels: Path | None,
    names: str | None,
    names_file: Path | None,
    image_list: Path | None = None,
) -> ForeignDataSet:
    """Read the labels of every image; an image without a file of labels has no boxes.

    Lines of six numbers, which are detections with a confidence, are refused. Longer ones are outlines, or boxes with
    keypoints if the data.yaml has a kpt_shape.

    Args:
        folder: holds what follows, unless another place is named.
        split: the one to take, in images/split or split/images. Several are not to be mixed by accident: what a model
            was trained on says nothing about it.
        images, labels: by default images/ and labels/, of which the second mirrors the first.
        names: class names in the order of their numbers, with commas between them.
        names_file: a file that has them; without either, what is found below the data set's folder.
        image_list: a text file with the path of an image a line, such as Darknet's train.txt. Labels lie beside the
            images, or in the folder labels/ that mirrors images/.
    """
    if image_list is not None:
        return _read_list(folder, image_list, names, names_file)
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
    for name in filter(is_image, data.walk(images)):
        label = _label(name)
        first = image_of_label.setdefault(label, name)
        if first != name:
            text = f"{images / name}: shares {labels / label} with {images / first}. Rename one of the images."
            data.add_problem("images that share their labels", text)
    _pair(label_files, image_of_label, labels, images, names_file, data)
    keypoints = _keypoints(folder, data)
    for label, name in image_of_label.items():
        _add_image(name, images, labels / label_files[label] if label in label_files else None, keypoints, data)
    return data


def _label(image: str) -> str:
    return f"{posixpath.splitext(image)[0]}.txt"


def _pair(
    label_files: dict[str, str],
    image_of_label: Mapping[str, str],
    labels: Path,
    images: Path,
    names_file: Path | None,
    data: ForeignDataSet,
) -> None:
    """Give files of labels whose names are those of no image to the images that they are for, if these have none. What
    is left over is a problem."""
    has_names = None if names_file is None else os.path.realpath(names_file)
    spare = [
        label
        for label in sorted(label_files.keys() - image_of_label.keys())
        if posixpath.basename(label) != "classes.txt" and os.path.realpath(labels / label_files[label]) != has_names
    ]
    lonely = image_of_label.keys() - label_files.keys()
    found, guesses = data.match(spare, lonely, "names of label files that are")
    label_files |= {meant: label_files[label] for label, meant in found.items()}
    for label, likely in guesses.items():
        guess = did_you_mean([image_of_label[each] for each in likely])
        stem = images / label.removesuffix(".txt")
        text = f"{labels / label_files[label]}: there is no image {stem}.jpg or .png. {guess}Add the image or remove"
        data.add_problem("missing images", f"{text} the file.")


def _keypoints(folder: Path, data: ForeignDataSet) -> int:
    """How many values stand behind each box, as the data.yaml says."""
    for name in NAME_FILES[:2]:
        with data.collecting():
            if os.path.isfile(folder / name) and (found := _KEYPOINTS.search(data.read_text(folder / name, _LABELS))):
                return int(found[1]) * int(found[2])
    return 0


def _add_image(name: str, images: Path, labels: Path | None, keypoints: int, data: ForeignDataSet) -> None:
    """Add an image and what its file of labels says.

    Args:
        keypoints: how many values behind each box are none of its.
    """
    if labels is None:
        data.counts["images without a file of labels, taken as negatives"] += 1
    else:
        for place, line in data.lines(labels, _LABELS):
            with data.collecting():
                words = line.split()
                if keypoints and len(words) == 5 + keypoints:
                    del words[5:]
                    data.counts["boxes whose keypoints are left out"] += 1
                data.boxes.append(_box(place, words, len(data.images), data.categories))
    data.images.append(replace(data.image(str(images), name, images), place=str(images / name)))


def _read_list(folder: Path, image_list: Path, names: str | None, names_file: Path | None) -> ForeignDataSet:
    data = ForeignDataSet(YOLO, NOTATION, folders=(folder,))
    if not data.has_folder(folder, "the folder of the data set"):
        return data
    if not image_list.exists() and (folder / image_list).exists():
        image_list = folder / image_list
    data.categories = _class_names(folder, names, names_file, data)
    present = set(data.walk(folder))
    wanted: dict[str, str] = {}
    for place, line in data.lines(image_list, "a text file with the path of an image a line"):
        name = posixpath.normpath(line.strip())
        if name in wanted:
            text = f"{place}: {quoted(name)} is there already ({wanted[name]}). Remove one of the two."
            data.add_problem("images that are listed twice", text)
        elif data.is_file_name(place, name):
            wanted[name] = place
    lost = [name for name in wanted if name not in present]
    found, guesses = data.match(lost, {name for name in present if is_image(name)}, "paths in the list that are")
    first: dict[str, str] = {}
    keypoints = _keypoints(folder, data)
    for name, place in wanted.items():
        image = found.get(name, name)
        if name in guesses:
            guess = did_you_mean(guesses[name])
            text = f"{place}: {quoted(name)} is not in {folder}. {guess}Add the image or remove the line."
            data.add_problem("missing images", text)
        elif (other := first.setdefault(image, place)) != place:
            text = f"{place}: {quoted(image)} is there already ({other}). Remove one of the two."
            data.add_problem("images that are listed twice", text)
        else:
            head, images, tail = f"/{image}".rpartition("/images/")
            places = {_label(image), _label(f"{head}/labels/{tail}".lstrip("/"))} if images else {_label(image)}
            there = sorted(places & present)
            if len(there) > 1:
                text = f"{folder / image}: has labels in {' and in '.join(there)}. Remove one of the two."
                data.add_problem("files of labels that are there twice", text)
            _add_image(image, folder, folder / there[0] if there else None, keypoints, data)
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
    is_outline = len(words) >= 7 and len(words) % 2
    if len(words) != 5 and not is_outline:
        hint = "It looks like a detection with its confidence: use annotations." if len(words) == 6 else _CORRECT
        text = f"{place}: has {len(words)} values; expected the five of {_LINE}. {hint}"
        raise InvalidError("unreadable lines", text)
    if len(words) > 7 and len(words) % 3 == 2 and {*words[7::3]} <= _VISIBILITY:
        text = f"{place}: has {len(words)} values, which look like a box and keypoints. {_POSE}"
        raise InvalidError("unreadable lines", text)
    numbers = []
    for word in words:
        if (value := parse_number(word)) is None:
            text = f"{place}: got {shown(word)}; expected the five numbers of {_LINE}. {_CORRECT}"
            raise InvalidError("unreadable lines", text)
        numbers.append(value)
    number, *box = numbers
    if not number.is_integer() or number < 0 or (classes and int(number) not in classes):
        known = f"one of {shortlist(classes)}" if classes else "a whole number, 0 or more"
        advice = "Correct it, or add its name to the class names."
        text = f"{place}: the class is {printable(words[0])}; expected {known}. {advice}"
        raise InvalidError("unknown classes", text)
    if not is_outline:
        return ForeignBox(place, image, int(number), box)
    xmin, ymin, xmax, ymax = around(zip(box[::2], box[1::2], strict=True))
    centred = ((xmin + xmax) / 2, (ymin + ymax) / 2, xmax - xmin, ymax - ymin)
    return ForeignBox(place, image, int(number), centred, outline=POLYGON)
