"""Reads what a bounding-box job of SageMaker Ground Truth writes: an augmented manifest, one JSON object a line.

    {"source-ref": "s3://bucket/cells/a.jpg",
     "job": {"image_size": [{"width": 640, "height": 480, "depth": 3}],
             "annotations": [{"class_id": 0, "left": 68, "top": 315, "width": 218, "height": 165}]},
     "job-metadata": {"class-map": {"0": "WBC"}, "type": "groundtruth/object-detection", ...}}

(https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html) Images are taken from a local folder, never from
a bucket.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from sagemaker_object_detection.sentences import as_json, shortlist

GROUND_TRUTH = "ground-truth"
_TYPE = "groundtruth/object-detection"
_METADATA = "-metadata"
_MAX_SIDE = 2**31
NOTATION = replace(coco.NOTATION, fields=("left", "top", "width", "height"))
_Entry = Mapping[str, Any]


def read_ground_truth(manifest: Path, images: Path, attribute: str | None) -> ForeignDataSet:
    """Read the labels of a manifest. Lines that the labelling job gave up on are left out.

    Args:
        manifest: the file output.manifest of the job.
        images: a folder with copies of the objects in S3. An object's image is the file whose path has the most parts,
            from its end on, in common with the object's key, its base name at least; two that have equally many are a
            problem.
        attribute: the label attribute. None: the only one that holds boxes.
    """
    data = ForeignDataSet(GROUND_TRUTH, NOTATION, folders=(images,))
    files: dict[str, list[str]] | None = None
    if data.has_folder(images, "the folder with the images"):
        files = {}
        for name in filter(is_image, data.walk(images)):
            files.setdefault(name.rpartition("/")[2], []).append(name)
    before = len(data.problems)
    entries = []
    for place, line in data.lines(manifest, "an augmented manifest of SageMaker Ground Truth"):
        with data.collecting():
            entries.append((place, _parse(place, line)))
    if not entries and len(data.problems) == before:
        data.add_problem("unreadable files", f"{manifest}: is empty. Expected one JSON object a line.")
    chosen = None
    with data.collecting():
        if entries:
            chosen = _attribute(manifest, [entry for _, entry in entries], attribute)
    if chosen is None:
        return data
    classes: dict[int, str] = {}
    boxes: list[ForeignBox] = []
    given_up = 0
    for place, entry in entries:
        metadata = entry.get(f"{chosen}{_METADATA}")
        metadata = metadata if isinstance(metadata, dict) else {}
        if chosen not in entry and "failure-reason" in metadata:
            given_up += 1
            continue
        _add_classes(f"{place} {chosen}{_METADATA}", metadata.get("class-map"), classes, data)
        with data.collecting():
            label = _label(place, entry, chosen)
            height, width = _size(place, label, chosen)
            name, path = _image(place, entry, images, files)
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
    return data


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


def _attribute(manifest: Path, entries: Sequence[_Entry], wanted: str | None) -> str:
    """The label attribute to read. Raises an InvalidError where it is not known."""
    types: dict[str, Counter[str]] = {}
    for entry in entries:
        for key, value in entry.items():
            if key.endswith(_METADATA) and isinstance(value, dict):
                types.setdefault(key.removesuffix(_METADATA), Counter())[str(value.get("type"))] += 1
    with_boxes = sorted(name for name, counts in types.items() if counts[_TYPE])
    chosen = [name for name in with_boxes if wanted in (None, name)]
    if len(chosen) == 1:
        return chosen[0]
    others = [f"{name} ({', '.join(sorted(counts))})" for name, counts in sorted(types.items())]
    if with_boxes:
        told = f"those with boxes are {shortlist(with_boxes)}. Say which with --label-attribute"
    else:
        told = f"the others are {shortlist(others)}" if others else 'no line has a key that ends in "-metadata"'
    name = "" if wanted is None else f" {wanted!r}"
    fault = (
        f"has {len(with_boxes)} label attributes" if wanted is None and with_boxes else f"has no label attribute{name}"
    )
    raise InvalidError("unknown label attributes", f"{manifest}: {fault} of type {_TYPE}; {told}.")


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


def _image(place: str, entry: _Entry, folder: Path, files: Mapping[str, list[str]] | None) -> tuple[str, Path | None]:
    """The image's path below the folder, and the file itself; no file where there is no folder."""
    address = entry.get("source-ref")
    key = address.partition("s3://")[2].partition("/")[2] if isinstance(address, str) else ""
    base = key.rpartition("/")[2]
    if not base or not str(address).startswith("s3://"):
        raise _invalid_line(place, f"source-ref is {as_json(address)}; expected s3://bucket/key")
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
