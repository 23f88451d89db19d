"""Reads what a bounding-box job of SageMaker Ground Truth writes: an augmented manifest, one JSON object a line.

    {"source-ref": "s3://bucket/cells/a.jpg",
     "job": {"image_size": [{"width": 640, "height": 480, "depth": 3}],
             "annotations": [{"class_id": 0, "left": 68, "top": 315, "width": 218, "height": 165}]},
     "job-metadata": {"class-map": {"0": "WBC"}, "type": "groundtruth/object-detection", ...}}

(https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html) A line of a chained job has the labels of every
job before it, too. Where the images are, the caller says: they are in a local folder, or stay in S3.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sagemaker_object_detection.convert import coco
from sagemaker_object_detection.convert.foreign import (
    ForeignBox,
    ForeignDataSet,
    ForeignImage,
    InvalidError,
    is_image,
)
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.sentences import MAX_SHOWN, as_json, listed, shortlist, shown

GROUND_TRUTH = "ground-truth"
_TYPE, _VERIFICATION = "groundtruth/object-detection", "groundtruth/label-verification"
_METADATA = "-metadata"
_MAX_SIDE = 2**31
_MAX_VERDICTS = 8
NOTATION = replace(coco.NOTATION, fields=("left", "top", "width", "height"))
_Entry = Mapping[str, Any]
FindImage = Callable[[str, str], tuple[str, Path | None]]
"""Place of a line and its s3://bucket/key -> the image's path below images/, and the file, if it is on this machine.
Raises an InvalidError where there is no image."""

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


def read_ground_truth(manifest: Path, images: Path, attributes: Sequence[str] = ()) -> ForeignDataSet:
    """Read the labels of a manifest. Lines that the labelling job gave up on are left out.

    Args:
        manifest: the file output.manifest of the job.
        images: a folder with copies of the objects in S3. An object's image is the file whose path has the most parts,
            from its end on, in common with the object's key, its base name at least; two that have equally many are a
            problem.
        attributes: the label attributes, as `read_lines` takes them.
    """
    data = ForeignDataSet(GROUND_TRUTH, NOTATION, folders=(images,))
    files: dict[str, list[str]] | None = None
    if data.has_folder(images, "the folder with the images"):
        files = {}
        for name in filter(is_image, data.walk(images)):
            files.setdefault(name.rpartition("/")[2], []).append(name)
    lines = data.lines(manifest, "an augmented manifest of SageMaker Ground Truth")
    read_lines(data, str(manifest), lines, attributes, partial(_image, folder=images, files=files))
    return data


def read_lines(
    data: ForeignDataSet,
    manifest: str,
    lines: Iterable[tuple[str, str]],
    attributes: Sequence[str],
    find_image: FindImage,
) -> None:
    """Add to a data set what the lines of a manifest say.

    Args:
        manifest: what the manifest is called in sentences.
        lines: place and content of each.
        attributes: label attributes; of each line the first that it has is read. Where there is none: the only one with
            boxes, or the only one of these that adjusts another.
    """
    before = len(data.problems)
    entries = []
    for place, line in lines:
        with data.collecting():
            entries.append((place, _parse(place, line)))
    if not entries and len(data.problems) == before:
        data.add_problem("unreadable files", f"{manifest}: is empty. Expected one JSON object a line.")
    wanted: list[str] = []
    with data.collecting():
        if entries:
            wanted = _attributes(manifest, [entry for _, entry in entries], attributes, data)
    if not wanted:
        return
    classes: dict[int, str] = {}
    boxes: list[ForeignBox] = []
    given_up = 0
    for place, entry in entries:
        chosen = next((name for name in wanted if name in entry), wanted[0])
        if chosen not in entry and any("failure-reason" in _metadata(entry, name) for name in wanted):
            given_up += 1
            continue
        _add_classes(f"{place} {chosen}{_METADATA}", _metadata(entry, chosen).get("class-map"), classes, data)
        with data.collecting():
            label = _label(place, entry, chosen)
            height, width = _size(place, label, chosen)
            name, path = find_image(place, _address(place, entry))
            for number, annotation in enumerate(label["annotations"]):
                with data.collecting():
                    boxes.append(_box(f"{place} annotations[{number}]", len(data.images), annotation))
            data.images.append(ForeignImage(place, name, path, height, width))
    for box in boxes:  # a class may get its name in a later line
        if box.category in classes:
            data.boxes.append(box)
        else:
            text = (
                f"{box.place}: class_id {box.category} is in no class-map, which have {shortlist(sorted(classes))}. "
                f"Correct it or add its name to the line's class-map."
            )
            data.add_problem("unknown classes", text)
    data.categories = dict(sorted(classes.items()))
    data.notes.append(("left out, lines that the labelling job gave up on (failure-reason)", given_up))


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


def _attributes(manifest: str, entries: Sequence[_Entry], wanted: Sequence[str], data: ForeignDataSet) -> list[str]:
    """The label attributes to read, in the order in which a line's are looked for; what is to be said of the choice is
    added to the notes. Raises an InvalidError where they are not known."""
    types: dict[str, Counter[str]] = {}
    adjusting: Counter[str] = Counter()
    judged: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for key in entry:
            name = key.removesuffix(_METADATA)
            if name == key or not (metadata := _metadata(entry, name)):
                continue
            kind = _word(metadata.get("type"))
            types.setdefault(name, Counter())[kind] += 1
            adjusting[name] += "adjustment-status" in metadata
            if kind == _VERIFICATION:
                judged[name, _word(metadata.get("class-name"))] += 1
    with_boxes = sorted(name for name, counts in types.items() if counts[_TYPE])
    adjustments = [name for name in with_boxes if adjusting[name]]
    chosen = [name for name in wanted if name in with_boxes]
    if not wanted:
        chosen = adjustments if len(adjustments) == 1 else with_boxes
    if not chosen or (len(chosen) > 1 and not wanted):
        raise _unknown_attribute(manifest, types, with_boxes, wanted)
    absent, others = (
        [name for name in wanted if name not in chosen],
        [name for name in with_boxes if name not in chosen],
    )
    if absent:
        data.notes.append((f"label attributes that {manifest} does not have ({shortlist(absent)})", len(absent)))
    if others:
        read = f"read: {shortlist(chosen)}"
        data.notes.append((f"label attributes with boxes that are not read ({shortlist(others)}; {read})", len(others)))
    for (name, verdict), count in judged.most_common(_MAX_VERDICTS):
        told = f"lines that the verification {shown(name)} calls {shown(verdict)}, which are read like others"
        data.notes.append((told, count))
    return chosen


def _word(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= MAX_SHOWN else as_json(value)


def _unknown_attribute(
    manifest: str, types: Mapping[str, Counter[str]], with_boxes: Sequence[str], wanted: Sequence[str]
) -> InvalidError:
    others = [f"{name} ({listed(sorted(counts))})" for name, counts in sorted(types.items())]
    if with_boxes:
        told = f"those with boxes are {shortlist(with_boxes)}. Say which with --label-attribute"
    elif others:
        kinds = dict.fromkeys(kind for counts in types.values() for kind in counts)
        known = [_OTHER_TASKS[kind] for kind in kinds if kind in _OTHER_TASKS]
        told = f"the others are {shortlist(others)}. {'; '.join(dict.fromkeys(known)) or _NO_BOXES}"
    else:
        told = f'no line has a key that ends in "-metadata", so it is the input of a labelling job. {_MANIFEST}'
    name = f" {listed([repr(each) for each in wanted])}" if wanted else ""
    fault = f"has no label attribute{name}" if wanted or not with_boxes else f"has {len(with_boxes)} label attributes"
    return InvalidError("unknown label attributes", f"{manifest}: {fault} of type {_TYPE}; {told}.")


def _add_classes(place: str, class_map: Any, classes: dict[int, str], data: ForeignDataSet) -> None:
    if class_map is None:
        return
    if not isinstance(class_map, dict):
        text = f"{place}: class-map is {as_json(class_map)}; expected an object."
        data.add_problem("unusable class names", text)
        return
    for key, name in class_map.items():
        if not (key.isascii() and key.isdigit() and len(key) < 10 and isinstance(name, str)):
            text = (
                f"{place}: class-map has {as_json(key)}: {as_json(name)}; expected a number and its name. Correct it."
            )
            data.add_problem("unusable class names", text)
        elif data.is_name(place, name) and classes.setdefault(int(key), name) != name:
            text = (
                f"{place}: class {key} is {name!r}, but {classes[int(key)]!r} in an earlier line. Use one name for it."
            )
            data.add_problem("contradicting class names", text)


def _invalid_line(place: str, fault: str, advice: str = "Correct it there.") -> InvalidError:
    return InvalidError("unreadable lines", f"{place}: {fault}. {advice}")


def _label(place: str, entry: _Entry, attribute: str) -> _Entry:
    if attribute not in entry:
        others = [key for key in entry if _metadata(entry, key).get("type") == _TYPE]
        advice = "Remove the line or label the image."
        if others:
            both = f"--label-attribute {attribute} {others[-1]}"
            advice = f"It has {shortlist(others)}: {both} takes that where there is no {attribute}."
        raise _invalid_line(place, f"has no label attribute {attribute!r}", advice)
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


def _address(place: str, entry: _Entry) -> str:
    """The image's, which has a bucket and a key."""
    address = entry.get("source-ref")
    bucket, _, key = address.removeprefix("s3://").partition("/") if isinstance(address, str) else ("", "", "")
    if not (str(address).startswith("s3://") and bucket and key.rpartition("/")[2]):
        raise _invalid_line(place, f"source-ref is {as_json(address)}; expected s3://bucket/key")
    return str(address)


def _image(place: str, address: str, *, folder: Path, files: Mapping[str, list[str]] | None) -> tuple[str, Path | None]:
    """The image's path below the folder, and the file itself; no file where there is no folder."""
    key = address.removeprefix("s3://").partition("/")[2]
    base = key.rpartition("/")[2]
    if files is None:
        return key, None
    candidates = files.get(base, [])
    parts = key.split("/")  # how many of the last are the same
    common = {name: sum(parts[-n:] == name.split("/")[-n:] for n in range(1, len(parts) + 1)) for name in candidates}
    best = [name for name in candidates if common[name] == max(common.values())]
    if not best:
        similar = [name for other, names in files.items() if other.lower() == base.lower() for name in names]
        hint = f"There is {shortlist(similar)}: name it exactly so." if similar else "Put it there or remove the line."
        raise _invalid_line(place, f"there is no {base} in {folder} for {address}", hint)
    if len(best) > 1:
        advice = "Give its folders there the names they have in the bucket."
        raise _invalid_line(place, f"{address} may be {shortlist(best)} in {folder}", advice)
    return best[0], folder / best[0]


def _box(place: str, image: int, annotation: Any) -> ForeignBox:
    def invalid(fault: str) -> InvalidError:
        return InvalidError("unreadable annotations", f"{place}: {fault}. Correct it there.")

    if not isinstance(annotation, dict):
        raise invalid(f"is {as_json(annotation)}; expected an object")
    category = annotation.get("class_id")
    if type(category) is not int or category < 0:
        raise invalid(f"class_id is {as_json(category)}; expected a whole number, 0 or more")
    numbers = []
    for field in NOTATION.fields:
        value = annotation.get(field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_SIDE:
            raise invalid(f"{field} is {as_json(value)}; expected a number of pixels")
        numbers.append(float(value))
    return ForeignBox(place, image, category, numbers)
