"""What a channel's folder holds instead of `annotations.json`: a manifest of Ground Truth, or a data set in another
format, which is named with the command that converts it."""

import os
from collections.abc import Iterator
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
_CONVERT = f"convert it with {CONVERTER}"
_FORMATS = (
    (("*.xml",), "Pascal VOC's XML files", f"{_CONVERT} voc"),
    (("data.yaml", "data.yml", "labels/*.txt", "train/labels", "obj.names"), "YOLO's labels", f"{_CONVERT} yolo"),
    (("*instances*.json", "*coco*.json"), "a COCO file", f"{_CONVERT} coco"),
    (("*.rec", "*.idx", "*.lst", "*.tfrecord*", "*.record"), "RecordIO or TFRecord files", "unpack them"),
    (("*.csv",), "a CSV file", f"write its boxes as {ANNOTATIONS_FILE}"),
    (
        ("*.json", "*.jsonl"),
        "other JSON files",
        f"write their boxes as {ANNOTATIONS_FILE}, or as COCO and {_CONVERT} coco",
    ),
)
"""Paths of files or their last parts, what these are, and what to do. The first row that fits decides."""


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
    return f"{channel}: {ANNOTATIONS_FILE} is missing; {folder} {found}. {_EXPECTED}{_hint(_seen(folder))}"


def _hint(seen: list[str]) -> str:
    for path in seen:
        inner, _, name = path.rpartition("/")
        if inner and (name == ANNOTATIONS_FILE or name.lower().endswith(SUFFIX)):
            return f" There is one in {inner}/: let the channel's S3 path end in {inner}/."
    for patterns, what, advice in _FORMATS:
        for path in seen:
            if any(fnmatch(path.lower(), each) or fnmatch(path.rpartition("/")[2].lower(), each) for each in patterns):
                return f" {path} looks like {what}: {advice}."
    return ""


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
