"""Reads what a bounding box job of SageMaker Ground Truth writes: an augmented manifest, one JSON object a line.

    {"source-ref": "s3://bucket/cells/a.jpg",
     "job": {"image_size": [{"width": 640, "height": 480, "depth": 3}],
             "annotations": [{"class_id": 0, "left": 68, "top": 315, "width": 218, "height": 165}]},
     "job-metadata": {"class-map": {"0": "WBC"}, "type": "groundtruth/object-detection", ...}}

(https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html) A line has the labels of all the jobs that its
image went through. Those of a job that adjusts boxes have an `adjustment-status`, and replace what they adjust.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.sentences import as_json, is_printable, listed, shortlist

SUFFIX = ".manifest"
START_BYTES = 2**20
"""From so many of a file's first bytes it is known what it is."""
NUMBERS = ("left", "top", "width", "height")
_BOXES = "groundtruth/object-detection"
_VERDICTS = "groundtruth/label-verification"
_METADATA = "-metadata"
_MAX_SIDE = 2**31
_CONVERT = "scripts/convert_dataset.py"
_BOX_JOB = "Expected those of a bounding box job: label the images with one, or write annotations.json."
_TASKS = (
    (
        "groundtruth/video-object",
        "boxes in video frames, which lie in SeqLabel.json files",
        f"Write the frames and their boxes as COCO, and convert that with {_CONVERT} coco.",
    ),
    ("groundtruth/video", "classes of videos", _BOX_JOB),
    ("groundtruth/lidar", "labels of 3D point clouds", _BOX_JOB),
    ("groundtruth/point-cloud", "labels of 3D point clouds", _BOX_JOB),
    ("groundtruth/semantic-segmentation", "segmentation masks", _BOX_JOB),
    ("groundtruth/image-classification", "classes of whole images", _BOX_JOB),
    ("groundtruth/text", "labels of texts", _BOX_JOB),
    (_VERDICTS, "verdicts on other labels, which the manifest lacks", _BOX_JOB),
)
"""What other jobs write: how their type begins, what their labels are, and what helps."""
_Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """line: where the manifest has it, from 1. source: its address in S3. height, width: pixels."""

    line: int
    source: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """image: index. row: its place in the line's list of annotations. numbers: left, top, width and height, pixels."""

    image: int
    row: int
    class_id: int
    numbers: tuple[float, ...]


class _Metadata(msgspec.Struct, rename="kebab"):
    type: Any = None
    creation_date: Any = None
    adjustment_status: Any = None
    class_name: Any = None


@dataclass
class _Attribute:
    """What the lines say of the labels of one job. newest: the latest date, as text, which sorts as dates do."""

    types: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    newest: str = ""
    adjusts: bool = False

    def __str__(self) -> str:
        verdicts = f": {listed([f'{name} {count}' for name, count in sorted(self.verdicts.items())])}"
        return f"{', '.join(sorted(self.types))}{verdicts if self.verdicts else ''}"


class _InvalidError(Exception):
    """A part of the manifest that cannot be read, and is left out. The message is the whole sentence."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass
class Manifest:
    """What can be read, and what not.

    classes: name of each id. given_up: how many lines the job gave up on. notes: what is not read, each completes "the
    manifest: ...". problems: kind, in the plural, and sentence.
    """

    images: list[LabelledImage] = field(default_factory=list)
    boxes: list[LabelledBox] = field(default_factory=list)
    classes: dict[int, str] = field(default_factory=dict)
    given_up: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """An _InvalidError in the block becomes a problem, and the reading goes on behind it."""
        try:
            yield
        except _InvalidError as error:
            self.problems.append((error.kind, str(error)))


def is_manifest(start: bytes) -> bool:
    """Whether a file begins as the output of a labelling job does."""
    line = start.lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
    return line.startswith(b"{") and b'"source-ref"' in line and b'-metadata"' in line


def read_manifest(raw: bytes, name: str, wanted: str | None = None) -> Manifest:
    """Read the labels of one job. Lines that it gave up on are left out.

    Args:
        raw: the file.
        name: how sentences call it.
        wanted: whose labels, by their attribute. None: the only ones that are boxes; of several the newest, if they
            are adjusted ones.
    """
    manifest = Manifest()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = f"{name}: is not UTF-8 (byte {error.start + 1}). Save it as UTF-8 text."
        manifest.problems.append(("unreadable files", fault))
        return manifest
    # Not splitlines(), which also splits at characters that editors do not count as lines.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    del text
    if not lines:
        manifest.problems.append(("unreadable files", f"{name}: is empty. Expected one JSON object a line."))
    attribute = unknown = None
    try:
        attribute = _choose(name, _attributes([line for _, line in lines]), wanted, manifest)
    except _InvalidError as error:
        unknown = error
    boxes: list[tuple[str, LabelledBox]] = []
    readable = 0
    for number, line in lines:
        place = f"{name} line {number}"
        with manifest._collecting():
            entry = _parse(place, line)
            readable += 1
            if attribute is not None:
                boxes += _read_line(place, number, entry, attribute, manifest)
    if unknown is not None and readable:
        manifest.problems.append((unknown.kind, str(unknown)))
    for place, box in boxes:  # a class may get its name in a later line
        if box.class_id in manifest.classes:
            manifest.boxes.append(box)
        else:
            fault = (
                f"{place}: class_id {box.class_id} is in no class-map, which have "
                f"{shortlist(sorted(manifest.classes))}. Correct it or add its name to the line's class-map."
            )
            manifest.problems.append(("unknown classes", fault))
    manifest.classes = dict(sorted(manifest.classes.items()))
    return manifest


def _attributes(lines: Sequence[str]) -> dict[str, _Attribute]:
    """The label attributes by their names. Lines that cannot be read have none."""
    found: dict[str, _Attribute] = {}
    for line in lines:
        try:
            entry = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            described = {
                key.removesuffix(_METADATA): msgspec.json.decode(value, type=_Metadata)
                for key, value in entry.items()
                if key.endswith(_METADATA) and bytes(value).startswith(b"{")
            }
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        for name, metadata in described.items():
            attribute = found.setdefault(name, _Attribute())
            attribute.types[str(metadata.type)] += 1
            attribute.newest = max(attribute.newest, str(metadata.creation_date or ""))
            attribute.adjusts |= metadata.adjustment_status is not None
            if metadata.type == _VERDICTS:
                attribute.verdicts[str(metadata.class_name)] += 1
    return found


def _choose(name: str, attributes: Mapping[str, _Attribute], wanted: str | None, manifest: Manifest) -> str:
    """The label attribute to read. Raises an _InvalidError where it is not known."""
    with_boxes = sorted(each for each, found in attributes.items() if found.types[_BOXES])
    chosen = [each for each in with_boxes if wanted in (None, each)]
    if len(chosen) > 1:
        last = max(attributes[each].newest for each in chosen)
        newest = [each for each in chosen if attributes[each].newest == last]
        chosen = newest if len(newest) == 1 and attributes[newest[0]].adjusts else chosen
    others = [f"{each!r} ({found})" for each, found in sorted(attributes.items()) if each not in chosen and found.types]
    if len(chosen) == 1:
        if others:
            why = " (the newest, which adjusts others)" if wanted is None and len(with_boxes) > 1 else ""
            manifest.notes.append(f"the labels {chosen[0]!r} are read{why}, and not {listed(others)}")
        return chosen[0]
    if with_boxes:
        told = (
            f"those with boxes are {shortlist(with_boxes)}. Say which with --label-attribute of {_CONVERT} ground-truth"
        )
        fault = f"{len(with_boxes)} label attributes" if wanted is None else f"no label attribute {wanted!r}"
        raise _InvalidError("unknown label attributes", f"{name}: has {fault} of type {_BOXES}; {told}.")
    task = next(
        (task for found in attributes.values() for task in _TASKS for each in found.types if each.startswith(task[0])),
        None,
    )
    fault = f"no label attribute{'' if wanted is None else f' {wanted!r}'} of type {_BOXES}"
    if task is not None:
        raise _InvalidError(
            "labels that are no boxes", f"{name}: has {task[1]}, and {fault}: {listed(others)}. {task[2]}"
        )
    told = (
        f"the others are {listed(others)}. {_BOX_JOB}"
        if others
        else f'no line has a key that ends in "{_METADATA}". Expected the output of a labelling job, which lies in its '
        "folder manifests/output/, and not its input."
    )
    raise _InvalidError("unknown label attributes", f"{name}: has {fault}; {told}")


def _parse(place: str, line: str) -> _Entry:
    expected = "Expected one JSON object a line"
    try:
        entry = strict_json.parse(line)
    except JsonError as error:
        fault = str(error).replace("line 1, ", "")
        raise _invalid_line(place, f"{fault}. {expected}", f"{error.advice}.") from None
    if not isinstance(entry, dict):
        raise _invalid_line(place, f"holds {as_json(entry)}. {expected}")
    return entry


def _read_line(
    place: str, number: int, entry: _Entry, attribute: str, manifest: Manifest
) -> list[tuple[str, LabelledBox]]:
    """The boxes of a line, each with its place. Its image and its classes go into the manifest."""
    metadata = entry.get(f"{attribute}{_METADATA}")
    metadata = metadata if isinstance(metadata, dict) else {}
    if attribute not in entry and "failure-reason" in metadata:
        manifest.given_up += 1
        return []
    _add_classes(f"{place} {attribute}{_METADATA}", metadata.get("class-map"), manifest)
    label = _label(place, entry, attribute)
    height, width = _size(place, label, attribute)
    source = entry.get("source-ref")
    if (
        not isinstance(source, str)
        or not source.startswith("s3://")
        or not source[5:].partition("/")[2].rpartition("/")[2]
    ):
        raise _invalid_line(place, f"source-ref is {as_json(source)}; expected s3://bucket/key")
    boxes = []
    for row, annotation in enumerate(label["annotations"]):
        with manifest._collecting():
            inner = f"{place} annotations[{row}]"
            boxes.append((inner, LabelledBox(len(manifest.images), row, *_box(inner, annotation))))
    manifest.images.append(LabelledImage(number, source, height, width))
    return boxes


def _add_classes(place: str, class_map: Any, manifest: Manifest) -> None:
    if class_map is None:
        return
    if not isinstance(class_map, dict):
        text = f"{place}: class-map is {as_json(class_map)}; expected an object."
        manifest.problems.append(("unusable class names", text))
        return
    for key, name in class_map.items():
        fault = None
        if not (key.isascii() and key.isdigit() and len(key) < 10 and isinstance(name, str)):
            fault = f"class-map has {as_json(key)}: {as_json(name)}; expected a number and its name. Correct it."
        elif not name or not is_printable(name):
            what = repr(name) if name else "empty"
            fault = f"the class's name is {what}; expected text in one line. Correct it there."
        if fault is not None:
            manifest.problems.append(("unusable class names", f"{place}: {fault}"))
        elif (earlier := manifest.classes.setdefault(int(key), name)) != name:
            text = f"{place}: class {key} is {name!r}, but {earlier!r} in an earlier line. Use one name for it."
            manifest.problems.append(("contradicting class names", text))


def _invalid_line(place: str, fault: str, advice: str = "Correct it there.") -> _InvalidError:
    return _InvalidError("unreadable lines", f"{place}: {fault}. {advice}")


def _label(place: str, entry: _Entry, attribute: str) -> _Entry:
    if attribute not in entry:
        raise _invalid_line(place, f"has no label attribute {attribute!r}", "Remove the line or label the image.")
    label = entry[attribute]
    if not isinstance(label, dict) or not isinstance(label.get("annotations"), list):
        expected = "an object with image_size and a list annotations"
        raise _invalid_line(place, f"{attribute} is {as_json(label)}; expected {expected}")
    return label


def _size(place: str, label: _Entry, attribute: str) -> tuple[int, int]:
    """Height and width."""
    match label.get("image_size"):
        case [{"height": height, "width": width}] if _is_side(height) and _is_side(width):
            return height, width
        case size:
            expected = '[{"width": 640, "height": 480, "depth": 3}]'
            raise _invalid_line(place, f"{attribute}: image_size is {as_json(size)}; expected {expected}")


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value < _MAX_SIDE


def _box(place: str, annotation: Any) -> tuple[int, tuple[float, ...]]:
    """Class id and numbers."""

    def invalid(fault: str) -> _InvalidError:
        return _InvalidError("unreadable annotations", f"{place}: {fault}. Correct it there.")

    if not isinstance(annotation, dict):
        raise invalid(f"is {as_json(annotation)}; expected an object")
    category = annotation.get("class_id")
    if type(category) is not int or category < 0:
        raise invalid(f"class_id is {as_json(category)}; expected a whole number, 0 or more")
    numbers = []
    for name in NUMBERS:
        value = annotation.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_SIDE:
            raise invalid(f"{name} is {as_json(value)}; expected a number of pixels")
        numbers.append(float(value))
    return category, tuple(numbers)
