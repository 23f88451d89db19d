"""Reads what a bounding-box job of SageMaker Ground Truth writes: an augmented manifest, one JSON object a line.

    {"source-ref": "s3://bucket/cells/a.jpg",
     "job": {"image_size": [{"width": 640, "height": 480, "depth": 3}],
             "annotations": [{"class_id": 0, "left": 68, "top": 315, "width": 218, "height": 165}]},
     "job-metadata": {"class-map": {"0": "WBC"}, "type": "groundtruth/object-detection", ...}}

(https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html) A line of a chained job has the labels of every
job before it, too. Those of one that adjusts boxes have an `adjustment-status`. Where the images are, the caller knows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sagemaker_object_detection.dataset.annotation_entries import ORIGIN_KEYS, Id, first_origin
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.sentences import (
    MAX_SHOWN,
    MAX_TEXT,
    as_json,
    is_name,
    listed,
    plain,
    printable,
    quoted,
    shortlist,
    shown,
)

SUFFIX = ".manifest"
START_BYTES = 2**20
"""From so many of a file's first bytes it is known what it is."""
NUMBERS = ("left", "top", "width", "height")
_TYPE, _VERIFICATION = "groundtruth/object-detection", "groundtruth/label-verification"
_METADATA = "-metadata"
_MAX_SIDE = 2**31
_MAX_VERDICTS = 8
_Entry = Mapping[str, Any]

_BY_COCO = "Write them as COCO, and convert that: convert_dataset.py coco FILE --images DIR"
_VIDEO = f"A video job's boxes are in the SeqLabel.json of each sequence, as left, top, width and height. {_BY_COCO}"
_NO_BOXES = "Draw boxes in a bounding-box job: there is nothing else to learn from"
_OTHER_TASKS = {
    "groundtruth/video-object-detection": _VIDEO,
    "groundtruth/video-object-tracking": _VIDEO,
    "groundtruth/custom": f"The labels of a custom job are as its own function writes them. {_BY_COCO}",
    _VERIFICATION: "A verification has no boxes of its own. Give the output.manifest of the job that drew them",
}
"""By the type of its labels, what to do with another task's. Those that are not here have no boxes."""
_MANIFEST = "Give the job's output.manifest, which is in manifests/output/ below its output path"
_OTHER_FILES = {
    "answers": ("is what workers answered, not a manifest", _MANIFEST),
    "consolidatedAnnotation": ("is what workers' answers were merged into, not a manifest", _MANIFEST),
    "detection-annotations": ("is a SeqLabel.json, not a manifest", _VIDEO),
    "tracking-annotations": ("is a SeqLabel.json, not a manifest", _VIDEO),
    "seq-no": ("is a list of a video's frames, not a manifest", _VIDEO),
}
"""By a key that it has, what another file of a labelling job is, and what to do."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """place: the line, for sentences. address: s3://bucket/key. height, width: pixels. group: what it has in
    common with others of one origin, None where the line says nothing."""

    place: str
    address: str
    height: int
    width: int
    group: Id | None = None


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """image: index. row: its place in the line's list of annotations. numbers: left, top, width and height, pixels."""

    image: int
    row: int
    class_id: int
    numbers: tuple[float, ...]


class _InvalidError(Exception):
    """A part of the manifest that cannot be read, and is left out. The message is the whole sentence."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class _Metadata(msgspec.Struct, rename="kebab"):
    """What the choice of an attribute asks of its metadata."""

    type: Any = None
    creation_date: Any = None
    adjustment_status: Any = None
    class_name: Any = None


@dataclass
class _Attribute:
    """What all lines say of one attribute. newest: the latest date, as text, which sorts as dates do."""

    types: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    newest: str = ""
    adjusts: bool = False


@dataclass
class Manifest:
    """What can be read, and what not.

    classes: name of each id. notes: what was not read, in words, and how often. problems: kind, in the plural, and
    sentence.
    """

    images: list[LabelledImage] = field(default_factory=list)
    boxes: list[LabelledBox] = field(default_factory=list)
    classes: dict[int, str] = field(default_factory=dict)
    notes: list[tuple[str, int]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """An _InvalidError in the block becomes a problem, and the reading goes on behind it."""
        try:
            yield
        except _InvalidError as error:
            self.problems.append((error.kind, str(error)))


def is_manifest(start: bytes) -> bool:
    """Whether a file begins as the output of a labelling job does."""
    line = start.lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
    return line.startswith(b"{") and b'"source-ref"' in line and b'-metadata"' in line


def numbered_lines(place: str, text: str) -> Iterator[tuple[str, str]]:
    """Place and content of each line that is not blank."""
    # Not splitlines(), which also splits at characters that editors do not count as lines.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{place} line {number}", line


def read_manifest(
    name: str, lines: Iterable[tuple[str, str]], attributes: Sequence[str] = (), option: str = "--label-attribute"
) -> Manifest:
    """Read the labels of a manifest. Lines that the labelling job gave up on are left out.

    Args:
        name: what the manifest is called in sentences.
        lines: place and content of each.
        attributes: label attributes; of each line the first that it has is read. Where there is none: the only one with
            boxes, or the newest of those that adjust another.
        option: what lets a user say which.
    """
    manifest, lines = Manifest(), list(lines)
    if not lines:
        manifest.problems.append(("unreadable files", f"{name}: is empty. Expected one JSON object a line."))
    wanted: list[str] = []
    unknown = None
    try:
        wanted = _choose(name, _attributes(line for _, line in lines), attributes, option, manifest)
    except _InvalidError as error:
        unknown = error
    boxes: list[tuple[str, LabelledBox]] = []
    given_up = readable = 0
    for place, line in lines:
        with manifest.collecting():
            entry = _parse(place, line)
            readable += 1
            chosen = next((each for each in wanted if each in entry), wanted[0] if wanted else None)
            if chosen is None:
                continue
            if chosen not in entry and any("failure-reason" in _metadata(entry, each) for each in wanted):
                given_up += 1
                continue
            _add_classes(f"{place} {printable(chosen)}{_METADATA}", _metadata(entry, chosen).get("class-map"), manifest)
            label = _label(place, entry, chosen, option)
            height, width = _size(place, label, chosen)
            origin = first_origin(*(entry.get(key) for key in ORIGIN_KEYS))
            if isinstance(origin, str) and not is_name(origin):
                raise _invalid_line(
                    place, f"group is {as_json(origin)}; expected text of at most {MAX_TEXT} characters"
                )
            image = LabelledImage(place, _address(place, entry), height, width, origin)
            for row, annotation in enumerate(label["annotations"]):
                with manifest.collecting():
                    inner = f"{place} annotations[{row}]"
                    boxes.append((inner, LabelledBox(len(manifest.images), row, *_box(inner, annotation))))
            manifest.images.append(image)
    if unknown is not None and readable:
        manifest.problems.append((unknown.kind, str(unknown)))
    known = shortlist(sorted(manifest.classes))
    for place, box in boxes:  # a class may get its name in a later line
        if box.class_id in manifest.classes:
            manifest.boxes.append(box)
        else:
            fault = (
                f"{place}: class_id {box.class_id} is in no class-map, which have "
                f"{known}. Correct it or add its name to the line's class-map."
            )
            manifest.problems.append(("unknown classes", fault))
    manifest.classes = dict(sorted(manifest.classes.items()))
    manifest.notes.append(("left out, lines that the labelling job gave up on (failure-reason)", given_up))
    return manifest


def _parse(place: str, line: str) -> _Entry:
    expected = "Expected one JSON object a line"
    try:
        entry = strict_json.parse(line)
    except JsonError as error:
        fault = str(error).replace("line 1, ", "")
        raise _invalid_line(place, f"{fault}. {expected}", f"{error.advice}.") from None
    first = entry[0] if isinstance(entry, list) and entry else entry
    other = next((key for key in _OTHER_FILES if isinstance(first, dict) and key in first), None)
    if other is not None and "source-ref" not in first:
        fault, advice = _OTHER_FILES[other]
        raise _invalid_line(place, fault, f"{advice}.")
    if not isinstance(entry, dict):
        raise _invalid_line(place, f"holds {as_json(entry)}. {expected}")
    return entry


def _metadata(entry: _Entry, attribute: str) -> _Entry:
    metadata = entry.get(f"{attribute}{_METADATA}")
    return metadata if isinstance(metadata, dict) else {}


def _attributes(lines: Iterable[str]) -> dict[str, _Attribute]:
    """The label attributes by their names, of which AWS takes 127 characters. Lines that cannot be read have none."""
    found: dict[str, _Attribute] = {}
    for line in lines:
        try:
            entry = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            described = {
                key.removesuffix(_METADATA): msgspec.json.decode(value, type=_Metadata)
                for key, value in entry.items()
                if key.endswith(_METADATA)
                and len(key) <= MAX_TEXT
                and bytes(value).startswith(b"{")
                and bytes(value) != b"{}"
            }
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        for name, metadata in described.items():
            attribute, kind = found.setdefault(name, _Attribute()), _word(metadata.type)
            attribute.types[kind] += 1
            attribute.newest = max(attribute.newest, _word(metadata.creation_date))
            attribute.adjusts |= metadata.adjustment_status is not None
            if kind == _VERIFICATION:
                attribute.verdicts[_word(metadata.class_name)] += 1
    return found


def _choose(
    name: str, attributes: Mapping[str, _Attribute], wanted: Sequence[str], option: str, manifest: Manifest
) -> list[str]:
    """The label attributes to read, in the order in which a line's are looked for; what is to be said of the choice is
    added to the notes. Raises an _InvalidError where they are not known."""
    with_boxes = sorted(each for each, found in attributes.items() if found.types[_TYPE])
    chosen = [each for each in wanted if each in with_boxes]
    if not wanted:
        adjusting = [each for each in with_boxes if attributes[each].adjusts]
        last = max((attributes[each].newest for each in adjusting), default="")
        newest = [each for each in adjusting if attributes[each].newest == last]
        chosen = newest if len(newest) == 1 else with_boxes
    if not chosen or (len(chosen) > 1 and not wanted):
        raise _unknown_attribute(name, attributes, with_boxes, wanted, option)
    if absent := [each for each in wanted if each not in chosen]:
        manifest.notes.append((f"label attributes that {name} does not have ({shortlist(absent)})", len(absent)))
    if others := [each for each in with_boxes if each not in chosen]:
        told = f"label attributes with boxes that are not read ({shortlist(others)}; read: {shortlist(chosen)})"
        manifest.notes.append((told, len(others)))
    verdicts = Counter(
        {(each, verdict): count for each, found in attributes.items() for verdict, count in found.verdicts.items()}
    )
    for (each, verdict), count in verdicts.most_common(_MAX_VERDICTS):
        told = f"lines that the verification {shown(each)} calls {shown(verdict)}, which are read like others"
        manifest.notes.append((told, count))
    return chosen


def _word(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= MAX_SHOWN else as_json(value)


def _unknown_attribute(
    name: str, attributes: Mapping[str, _Attribute], with_boxes: Sequence[str], wanted: Sequence[str], option: str
) -> _InvalidError:
    others = [f"{printable(each)} ({listed(sorted(found.types))})" for each, found in sorted(attributes.items())]
    if with_boxes:
        told = f"those with boxes are {shortlist(with_boxes)}. Say which with {option}"
    elif others:
        kinds = dict.fromkeys(kind for found in attributes.values() for kind in found.types)
        known = [_OTHER_TASKS[kind] for kind in kinds if kind in _OTHER_TASKS]
        told = f"the others are {shortlist(others)}. {'; '.join(dict.fromkeys(known)) or _NO_BOXES}"
    else:
        told = f'no line has a key that ends in "-metadata", so it is the input of a labelling job. {_MANIFEST}'
    named = f" {shortlist(wanted)}" if wanted else ""
    fault = f"has no label attribute{named}" if wanted or not with_boxes else f"has {len(with_boxes)} label attributes"
    return _InvalidError("unknown label attributes", f"{name}: {fault} of type {_TYPE}; {told}.")


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
        elif not name or not is_name(name):
            what = shown(name) if name else "empty"
            fault = f"the class's name is {what}; expected one line of at most {MAX_TEXT} characters. Correct it there."
        if fault is not None:
            manifest.problems.append(("unusable class names", f"{place}: {fault}"))
        elif (earlier := manifest.classes.setdefault(int(key), name)) != name:
            both = f"class {key} is {quoted(name)}, but {quoted(earlier)} in an earlier line"
            text = f"{place}: {both}. Use one name for it."
            manifest.problems.append(("contradicting class names", text))


def _invalid_line(place: str, fault: str, advice: str = "Correct it there.") -> _InvalidError:
    return _InvalidError("unreadable lines", f"{place}: {fault}. {advice}")


def _label(place: str, entry: _Entry, attribute: str, option: str) -> _Entry:
    if attribute not in entry:
        others = [key for key in entry if _metadata(entry, key).get("type") == _TYPE]
        advice = "Remove the line or label the image."
        if others:
            both = f"{option} {plain(attribute)} {plain(others[-1])}"
            advice = f"It has {shortlist(others)}: {both} takes that where there is no {attribute}."
        raise _invalid_line(place, f"has no label attribute {shown(attribute)}", advice)
    label = entry[attribute]
    if not isinstance(label, dict) or not isinstance(label.get("annotations"), list):
        expected = "an object with image_size and a list annotations"
        raise _invalid_line(place, f"{printable(attribute)} is {as_json(label)}; expected {expected}")
    return label


def _size(place: str, label: _Entry, attribute: str) -> tuple[int, int]:
    """Height and width."""
    match label.get("image_size"):
        case [{"height": height, "width": width}] if _is_side(height) and _is_side(width):
            return height, width
        case size:
            expected = '[{"width": 640, "height": 480, "depth": 3}]'
            raise _invalid_line(place, f"{printable(attribute)}: image_size is {as_json(size)}; expected {expected}")


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value < _MAX_SIDE


def _address(place: str, entry: _Entry) -> str:
    """The image's, which has a bucket and a key."""
    address = entry.get("source-ref")
    bucket, _, key = address.removeprefix("s3://").partition("/") if isinstance(address, str) else ("", "", "")
    if not (str(address).startswith("s3://") and bucket and key.rpartition("/")[2]):
        raise _invalid_line(place, f"source-ref is {as_json(address)}; expected s3://bucket/key")
    return str(address)


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
