"""Reads what a bounding-box job of SageMaker Ground Truth writes: an augmented manifest, one JSON object a line.

    {"source-ref": "s3://bucket/cells/a.jpg",
     "job": {"image_size": [{"width": 640, "height": 480, "depth": 3}],
             "annotations": [{"class_id": 0, "left": 68, "top": 315, "width": 218, "height": 165}]},
     "job-metadata": {"class-map": {"0": "WBC"}, "type": "groundtruth/object-detection", ...}}

(https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html) Images are taken from a local folder, never from
a bucket.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagemaker_object_detection.convert.files import Findings, is_image
from sagemaker_object_detection.convert.source import Notation, Numbers, Source, SourceBox, SourceImage
from sagemaker_object_detection.geometry.boxes import xywh_to_xyxy
from sagemaker_object_detection.sentences import shortlist

GROUND_TRUTH = "ground-truth"
_TYPE = "groundtruth/object-detection"
_METADATA = "-metadata"
_MAX_SIDE = 2**31
_FIELDS = ("left", "top", "width", "height")
NOTATION = Notation(
    fields=_FIELDS,
    expected="a width and a height above 0, in pixels, inside the image",
    inverted="has a negative width or height",
    to_corners=lambda numbers, sizes: xywh_to_xyxy(numbers),
)


class _InvalidLineError(Exception):
    """One value of a line; the message continues "file line N: ..."."""


def read_ground_truth(manifest: Path, images: Path, attribute: str | None) -> Source:
    """Read the labels of a manifest. Lines that the labelling job gave up on are left out.

    Args:
        manifest: the file output.manifest of the job.
        images: a folder with copies of the objects in S3. An object's image is the file whose path has the most parts,
            from its end on, in common with the object's key, its base name at least; two that have equally many are a
            problem.
        attribute: the label attribute. None: the only one that holds boxes.
    """
    findings = Findings(GROUND_TRUTH)
    lines = findings.read_lines(manifest, "an augmented manifest of SageMaker Ground Truth")
    files = None
    if findings.is_folder(images, "the folder with the images"):
        files = _by_base_name(images, findings)
    entries = [
        (f"{manifest} line {number}", entry)
        for number, line in enumerate(lines or (), 1)
        if line.strip() and (entry := _parse(f"{manifest} line {number}", line, findings)) is not None
    ]
    if lines is not None and not any(line.strip() for line in lines):
        findings.add("unreadable files", f"{manifest}: is empty. Expected one JSON object a line.")
    attribute = _attribute(manifest, [entry for _, entry in entries], attribute, findings)
    if attribute is None:
        return Source(GROUND_TRUTH, NOTATION, (), (), (), tuple(findings.problems))

    classes: dict[int, str] = {}
    found: list[SourceImage] = []
    boxes: list[SourceBox] = []
    given_up = 0
    for place, entry in entries:
        metadata = entry.get(f"{attribute}{_METADATA}")
        metadata = metadata if isinstance(metadata, dict) else {}
        if attribute not in entry and "failure-reason" in metadata:
            given_up += 1
            continue
        _add_classes(f"{place} {attribute}{_METADATA}", metadata.get("class-map"), classes, findings)
        try:
            label = _label(entry, attribute)
            height, width = _size(label, attribute)
            name, path = _image(entry, images, files)
        except _InvalidLineError as error:
            findings.add("unreadable lines", f"{place}: {error}")
            continue
        for number, annotation in enumerate(label["annotations"]):
            box_place = f"{place} annotations[{number}]"
            try:
                category, numbers = _box(annotation)
            except _InvalidLineError as error:
                findings.add("unreadable annotations", f"{box_place}: {error}. Correct it there.")
                continue
            boxes.append(SourceBox(box_place, len(found), category, numbers))
        found.append(SourceImage(place, name, path, height, width))
    known = []
    for box in boxes:
        if box.category in classes:
            known.append(box)
        else:
            text = (
                f"{box.place}: class_id {box.category} is in no class-map, which have {shortlist(sorted(classes))}. "
                f"Correct it or add its name to the line's class-map."
            )
            findings.add("unknown classes", text)
    return Source(
        GROUND_TRUTH,
        NOTATION,
        tuple(found),
        tuple(known),
        tuple(sorted(classes.items())),
        tuple(findings.problems),
        folders=(images,),
        left_out=(("lines that the labelling job gave up on (failure-reason)", given_up),),
    )


def _by_base_name(images: Path, findings: Findings) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for name in filter(is_image, findings.walk(images)):
        files.setdefault(name.rpartition("/")[2], []).append(name)
    return files


def _parse(place: str, line: str, findings: Findings) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        fault = f"is not valid JSON: column {error.colno}: {error.msg}"
    except (RecursionError, ValueError):
        fault = "is nested too deeply, or holds a number of thousands of digits"
    else:
        if isinstance(entry, dict):
            return entry
        fault = f"holds {_shown(entry)}"
    findings.add("unreadable lines", f"{place}: {fault}. Expected one JSON object a line. Correct it there.")
    return None


def _attribute(
    manifest: Path, entries: Sequence[Mapping[str, Any]], wanted: str | None, findings: Findings
) -> str | None:
    """The label attribute to read; None, and a problem, where it is not known."""
    if not entries:
        return None
    types: dict[str, Counter[str]] = {}
    for entry in entries:
        for key, value in entry.items():
            if key.endswith(_METADATA) and isinstance(value, dict):
                types.setdefault(key.removesuffix(_METADATA), Counter())[str(value.get("type"))] += 1
    with_boxes = sorted(name for name, counts in types.items() if counts[_TYPE])
    if wanted is not None:
        if wanted in with_boxes:
            return wanted
        text = f"{manifest}: no line has a label attribute {wanted!r} of type {_TYPE}; {_told(types, with_boxes)}."
    elif len(with_boxes) == 1:
        return with_boxes[0]
    elif with_boxes:
        text = f"{manifest}: {_told(types, with_boxes)}. Say which with --label-attribute."
    else:
        text = f"{manifest}: no line has a label attribute of type {_TYPE}; {_told(types, with_boxes)}."
    findings.add("unknown label attributes", text)
    return None


def _told(types: Mapping[str, Counter[str]], with_boxes: Sequence[str]) -> str:
    if with_boxes:
        return f"those with boxes are {shortlist(with_boxes)}"
    others = [f"{name} ({', '.join(sorted(counts))})" for name, counts in sorted(types.items())]
    return f"the others are {shortlist(others)}" if others else 'no line has a key that ends in "-metadata"'


def _add_classes(place: str, class_map: Any, classes: dict[int, str], findings: Findings) -> None:
    if class_map is None:
        return
    if not isinstance(class_map, dict):
        findings.add("unusable class names", f"{place}: class-map is {_shown(class_map)}; expected an object.")
        return
    for key, name in class_map.items():
        if not (key.isascii() and key.isdigit() and len(key) < 10 and isinstance(name, str)):
            text = f"{place}: class-map has {_shown(key)}: {_shown(name)}; expected a number and its name. Correct it."
            findings.add("unusable class names", text)
        elif findings.is_name(place, name) and classes.setdefault(int(key), name) != name:
            text = (
                f"{place}: class {key} is {name!r}, but {classes[int(key)]!r} in an earlier line. Use one name for it."
            )
            findings.add("contradicting class names", text)


def _label(entry: Mapping[str, Any], attribute: str) -> Mapping[str, Any]:
    if attribute not in entry:
        raise _InvalidLineError(f"has no label attribute {attribute!r}. Remove the line or label the image.")
    label = entry[attribute]
    if not isinstance(label, dict) or not isinstance(label.get("annotations"), list):
        raise _InvalidLineError(
            f"{attribute} is {_shown(label)}; expected an object with image_size and a list annotations. Correct it "
            f"there."
        )
    return label


def _size(label: Mapping[str, Any], attribute: str) -> tuple[int, int]:
    """Height and width."""
    size = label.get("image_size")
    sides: list[Any] = []
    if isinstance(size, list) and len(size) == 1 and isinstance(size[0], dict):
        sides = [size[0].get("height"), size[0].get("width")]
    if not sides or any(type(side) is not int or not 0 < side < _MAX_SIDE for side in sides):
        raise _InvalidLineError(
            f'{attribute}: image_size is {_shown(size)}; expected [{{"width": 640, "height": 480, "depth": 3}}]. '
            f"Correct it there."
        )
    return sides[0], sides[1]


def _image(entry: Mapping[str, Any], images: Path, files: Mapping[str, list[str]] | None) -> tuple[str, Path | None]:
    """The image's path below the folder, and the file itself; no file where there is no folder."""
    address = entry.get("source-ref")
    key = address.partition("s3://")[2].partition("/")[2] if isinstance(address, str) else ""
    base = key.rpartition("/")[2]
    if not base or not str(address).startswith("s3://"):
        raise _InvalidLineError(f"source-ref is {_shown(address)}; expected s3://bucket/key. Correct it there.")
    if files is None:
        return key, None
    candidates = files.get(base, [])
    common = {name: _common_parts(name, key) for name in candidates}
    best = [name for name in candidates if common[name] == max(common.values())]
    if not best:
        similar = [name for other, names in files.items() if other.lower() == base.lower() for name in names]
        hint = f"There is {shortlist(similar)}: name it exactly so." if similar else "Put it there or remove the line."
        raise _InvalidLineError(f"there is no {base} in {images} for {address}. {hint}")
    if len(best) > 1:
        raise _InvalidLineError(
            f"{address} may be {shortlist(best)} in {images}. Give its folders there the names they have in the bucket."
        )
    return best[0], images / best[0]


def _common_parts(name: str, key: str) -> int:
    """How many parts of two paths are the same, from the end on."""
    count = 0
    for one, other in zip(reversed(name.split("/")), reversed(key.split("/")), strict=False):
        if one != other:
            break
        count += 1
    return count


def _box(annotation: Any) -> tuple[int, Numbers]:
    if not isinstance(annotation, dict):
        raise _InvalidLineError(f"is {_shown(annotation)}; expected an object")
    category = annotation.get("class_id")
    if type(category) is not int or category < 0:
        raise _InvalidLineError(f"class_id is {_shown(category)}; expected a whole number, 0 or more")
    numbers = []
    for field in _FIELDS:
        value = annotation.get(field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_SIDE:
            raise _InvalidLineError(f"{field} is {_shown(value)}; expected a number of pixels")
        numbers.append(float(value))
    left, top, width, height = numbers
    return category, (left, top, width, height)


def _shown(value: Any) -> str:
    """The value as JSON, cut short; what is missing is null."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
