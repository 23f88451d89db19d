"""What a channel's folder holds instead of `annotations.json`: a manifest of Ground Truth, or a data set in another
format, which is named with the command that converts it."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from sagemaker_object_detection.dataset.annotation_entries import ANNOTATIONS_FILE
from sagemaker_object_detection.dataset.ground_truth import START_BYTES, SUFFIX, is_manifest
from sagemaker_object_detection.files.regular import open_regular
from sagemaker_object_detection.sentences import shortlist

_EXPECTED = f"Expected {ANNOTATIONS_FILE} next to a folder images/, or the manifest of a bounding box job."
_OTHER_SUFFIXES = (".json", ".jsonl", ".ndjson", ".jsonlines", ".txt", "")
"""What a manifest may be called instead. Images are not opened, nor is a folder's every text file."""
_MAX_OPENED = 20
_MAX_SEEN = 10_000
CONVERTER = "scripts/convert_dataset.py"
_IMAGES = (".jpg", ".jpeg", ".png")
_NOT_CONVERTED = "which is not converted: write its boxes as annotations.json, or as COCO and convert that"


@dataclass(frozen=True)
class _Layout:
    """A data set in another format, by what a folder holds.

    patterns: paths of files, or their last parts, in small letters. what: completes "... looks like". command: the
    converter's arguments, in which {file} is the first file that fits, {beside} its folder, {images} the folder with
    the most images and {top} the channel's; without one it is not converted. keys: one of these stands in the first
    bytes of the file. needs: a path that is there, too. advice: what to do where it is not converted.
    """

    patterns: tuple[str, ...]
    what: str
    command: str = ""
    keys: tuple[bytes, ...] = ()
    needs: str = ""
    advice: str = _NOT_CONVERTED


_EXPORT = "which is not converted: export the labels from there as COCO, and convert that"
_JSON = ("*.json",)
_COCO = "coco {file} --images {images}"
_YOLO = ("data.yaml", "data.yml", "labels/*.txt", "train/labels", "obj.names", "classes.txt")
_LAYOUTS = (
    _Layout(("_annotations.coco.json",), "Roboflow's COCO export", "coco {file} --images {beside}"),
    _Layout(
        ("obj.data", "obj_train_data"), "Darknet's or CVAT's YOLO", "yolo {top} --list train.txt", needs="train.txt"
    ),
    _Layout(
        ("obj_train_data",), "Darknet's or CVAT's YOLO", "yolo {top} --images {file} --labels {file}", needs="obj.names"
    ),
    _Layout(("*.xml",), "CVAT's XML file", keys=(b"<image ", b"<track "), advice=_EXPORT),
    _Layout(("annotations/*.xml",), "Pascal VOC's XML files", "voc {top}", needs="JPEGImages"),
    _Layout(("*.xml",), "Pascal VOC's XML files", "voc {top} --annotations {beside} --images {images}"),
    _Layout(("*.tfrecord*", "*.record", "*.record-*", "*.tfrec"), "a TFRecord file", "tfrecord {file}"),
    _Layout(("*.rec", "*.idx", "*.lst"), "a file of RecordIO", ""),
    _Layout(_JSON, "VGG Image Annotator's project", keys=(b'"_via_', b'"shape_attributes"'), advice=_EXPORT),
    _Layout(_JSON, "CreateML's JSON file", keys=(b'"coordinates"',), advice=_EXPORT),
    _Layout(_JSON, "LabelMe's JSON files", "labelme {beside} --images {images}", keys=(b'"shapes"', b'"imagePath"')),
    _Layout(
        _JSON,
        "Label Studio's export",
        "label-studio {file} --images {images}",
        keys=(b'"from_name"', b'"rectanglelabels"', b'"original_width"', b'"file_upload"'),
    ),
    _Layout(("*instances*.json", "*coco*.json"), "a COCO file", _COCO),
    _Layout(_JSON, "a COCO file", _COCO, keys=(b'"licenses"', b'"categories"', b'"supercategory"', b'"info"')),
    _Layout(_YOLO, "YOLO's labels", "yolo {top} --split train", needs="images/train"),
    _Layout(_YOLO, "YOLO's labels", "yolo {top} --split train", needs="train/images"),
    _Layout(_YOLO, "YOLO's labels", "yolo {top}"),
    _Layout(("*.csv",), "a CSV file", "csv {file} --images {images}"),
    _Layout(("*.json", "*.jsonl"), "a JSON file"),
)
"""The first that fits decides."""


def find_manifests(folder: Path) -> list[str]:
    """Names of the files in a channel's folder that a labelling job wrote, sorted. Files called *.manifest come first,
    and others are looked for only if there is none."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    manifests = [name for name in names if name.lower().endswith(SUFFIX)]
    others = [name for name in names if os.path.splitext(name)[1].lower() in _OTHER_SUFFIXES and name[0] != "."]
    if len(manifests) == 1:
        return manifests
    return _labelled(folder, manifests) or manifests or _labelled(folder, others)


def _labelled(folder: Path, names: list[str]) -> list[str]:
    return [name for name in names[:_MAX_OPENED] if is_manifest(_start(folder / name))]


def _start(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(START_BYTES)
    except OSError:
        return b""


def missing_annotations(channel: str, folder: Path) -> str:
    """What to say of a channel's folder that holds neither."""
    if not folder.is_dir():
        return f"{channel}: the channel's folder {folder} does not exist. {_EXPECTED}"
    try:
        present = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    except OSError as error:
        return f"{channel}: {ANNOTATIONS_FILE} is missing; {folder} cannot be listed ({error.strerror}). {_EXPECTED}"
    found = f"holds {shortlist(present)}" if present else "is empty"
    return f"{channel}: {ANNOTATIONS_FILE} is missing; {folder} {found}. {_EXPECTED}{_hint(folder, _seen(folder))}"


def _hint(folder: Path, seen: list[str]) -> str:
    for path in seen:
        inner, _, name = path.rpartition("/")
        if inner and (name == ANNOTATIONS_FILE or name.lower().endswith(SUFFIX)):
            return f" There is one in {inner}/: let the channel's S3 path end in {inner}/."
    opened: dict[str, bytes] = {}

    def fits(layout: _Layout, path: str) -> bool:
        lower = path.lower()
        if not any(fnmatch(lower, each) or fnmatch(lower.rpartition("/")[2], each) for each in layout.patterns):
            return False
        if layout.keys and path not in opened and len(opened) < _MAX_OPENED:
            opened[path] = _start(folder / path)
        return not layout.keys or any(key in opened.get(path, b"") for key in layout.keys)

    for layout in _LAYOUTS:
        if layout.needs and layout.needs not in seen:
            continue
        for path in seen:
            if fits(layout, path):
                return f" {path} looks like {layout.what}{_advice(layout, folder, path, seen)}."
    return ""


def _advice(layout: _Layout, folder: Path, path: str, seen: list[str]) -> str:
    if not layout.command:
        return f", {layout.advice}"
    places = Counter(each.rpartition("/")[0] for each in seen if each.lower().endswith(_IMAGES))
    beside = path.rpartition("/")[0]
    images = places.most_common(1)[0][0] if places else beside
    named = {"top": "", "file": path, "beside": beside, "images": images}
    quoted = {key: shlex.quote(str(folder / inner)) for key, inner in named.items()}
    return f": convert it with {CONVERTER} {layout.command.format(**quoted)} --to NEW_FOLDER"


def _seen(folder: Path) -> list[str]:
    """Paths of what lies in the folder, and in the folders of up to two levels in it; the first few thousand."""

    def paths(inner: str, depth: int) -> Iterator[str]:
        try:
            entries = sorted(os.scandir(folder / inner), key=lambda entry: entry.name)
        except OSError:
            return
        names = [f"{inner}{entry.name}" for entry in entries]
        yield from names
        for name, entry in zip(names, entries, strict=True):
            if depth and entry.is_dir(follow_symlinks=False):
                yield from paths(f"{name}/", depth - 1)

    return [path for _, path in zip(range(_MAX_SEEN), paths("", 2), strict=False)]
