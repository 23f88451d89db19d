"""Keys beside a box that change what it means: a rotation, the word of another convention, a mark that it is no object.

Sources: CVAT's, Label Studio's and roLabelImg's exports write a rotation beside an upright box (cvat#4745, cvat#5881),
in the annotation itself or in its `attributes`; detectron2's `bbox_mode`; FiftyOne's, Keras' and Albumentations' words.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.hyperparameters.table import BBOX_FORMATS
from sagemaker_object_detection.sentences import as_json

ROTATION_KEYS = ("rotation", "angle", "theta", "rot", "rotation_angle", "angle_degrees", "bbox_rotation")
"""Numbers: any but 0, or a full turn in degrees, means that the box is not upright."""
DEGREES_KEYS = ("rotation", "angle_degrees")
"""Those of the rotations that are surely degrees, clockwise, about the box's centre."""
ROTATED_BOX_KEYS = ("rbox", "rbbox", "obb", "rotated_bbox", "bbox_rotated", "rotated_box", "oriented_bbox")
"""A rotated box of its own, beside the upright one."""
FORMAT_KEYS = ("bbox_mode", "bbox_format", "bbox_type", "box_format", "box_mode", "box_type")
"""A word for the convention."""
IGNORE_KEYS = ("iscrowd", "ignore")
"""Flags: 1 means that the box is no object but a region to ignore. These two are the format's own, and a value that is
no flag is refused; elsewhere and spelled otherwise they are what tools write."""
OTHER_IGNORE_KEYS = (
    *("is_crowd", "isCrowd", "IsCrowd", "crowd", "isgroupof", "is_group_of", "isGroupOf", "IsGroupOf", "group_of"),
    *("Ignore", "ignored", "is_ignored", "isIgnored", "is_ignore", "gt_ignore", "ignore_flag"),
    *("dontcare", "dont_care", "DontCare"),
)
DIFFICULT_KEYS = ("difficult", "Difficult", "is_difficult")
"""Flags that have no effect: VOC's own figures leave such objects out, COCO's do not know them."""
SET, CLEAR = frozenset((1, "1", "true", "True")), frozenset((0, "0", "false", "False", ""))
"""Values of flags, as JSON writers and those who turn CSV into JSON write them; True is 1."""
NESTED = "attributes"
"""Where an annotation may have these keys too."""
ROTATED, IGNORED, DIFFICULT = "rotated", "ignored", "difficult"
FORMATS = {
    **dict.fromkeys(("0", "xyxy_abs", "xyxy", "voc", "pascal_voc", "corners"), "xyxy"),
    **dict.fromkeys(("1", "xywh_abs", "xywh", "coco"), "xywh"),
    **dict.fromkeys(("2", "xyxy_rel", "rel_xyxy", "xyxyn", "albumentations"), "xyxy_normalized"),
    **dict.fromkeys(("3", "xywh_rel", "rel_xywh", "xywhn", "fiftyone"), "xywh_normalized"),
    **dict.fromkeys(("4", "xywha_abs", "xywhr", "cxcywhr", "xyxyxyxy", "rotated", "obb", "oriented"), ROTATED),
    **dict.fromkeys(("yxyx", "tensorflow"), "yxyx"),
    **dict.fromkeys(("rel_yxyx", "yxyx_rel"), "yxyx_normalized"),
    **dict.fromkeys(("cxcywh", "center_xywh", "cxcywh_abs"), "cxcywh"),
    **dict.fromkeys(("yolo", "cxcywhn", "rel_center_xywh", "cxcywh_rel"), "cxcywh_normalized"),
}
"""What words, and detectron2's numbers, say in the words of `bbox_format`. Each of those is a word too."""


@dataclass(frozen=True)
class BoxKey:
    """A key that annotations have. rows: their positions in the file. value: of the first one, as JSON. says: the value
    of `bbox_format` that it stands for, ROTATED if boxes are rotated, IGNORED or DIFFICULT if they are marked so, "" if
    a rotated box lies beside, and None if the word is unknown."""

    key: str
    rows: list[int]
    value: str
    says: str | None

    @property
    def name(self) -> str:
        """The key without the place where it is."""
        return self.key.rpartition(".")[2]


def find_box_keys(raw: bytes) -> list[BoxKey]:
    """The keys of an annotation file that change the meaning of boxes.

    Args:
        raw: a JSON object with a list `annotations`, whose entries may be anything; else there are none.
    """
    known = (*ROTATION_KEYS, *ROTATED_BOX_KEYS, *FORMAT_KEYS, *OTHER_IGNORE_KEYS, *DIFFICULT_KEYS)
    nested = IGNORE_KEYS if f'"{NESTED}"'.encode() in raw else ()
    keys = [key for key in (*known, *nested) if f'"{key}"'.encode() in raw]
    if not keys:
        return []
    found: dict[tuple[str, str | None], BoxKey] = {}
    for row, entry in enumerate(_entries(raw, keys)):
        for key, value in _values(entry, keys):
            says = _meaning(key.rpartition(".")[2], value)
            if says is not _HARMLESS and key not in IGNORE_KEYS:
                found.setdefault((key, says), BoxKey(key, [], as_json(value), says)).rows.append(row)
    return list(found.values())


def marks_ignored(values: Mapping[str, Any]) -> bool:
    """Whether a flag among these, whatever its capitals, says that something is no object but a region to ignore."""
    return any(
        key.lower() in _IGNORE_WORDS and value in SET for key, value in values.items() if isinstance(value, str | int)
    )


def find_degrees(raw: bytes) -> dict[int, float]:
    """By how much boxes are turned, where it is in degrees, by the positions of their annotations in the file.

    Args:
        raw: as `find_box_keys` takes it.
    """
    keys = [key for key in DEGREES_KEYS if f'"{key}"'.encode() in raw]
    return {
        row: float(value)
        for row, entry in enumerate(_entries(raw, keys) if keys else ())
        for key, value in _values(entry, keys)
        if _meaning(key.rpartition(".")[2], value) == ROTATED
    }


def _entries(raw: bytes, keys: list[str]) -> list[Any]:
    """Annotations, without the other keys if all of them are well-formed."""
    fields: list[tuple[str, Any, Any]] = [(key, Any, None) for key in (*keys, NESTED)]
    entry = msgspec.defstruct("Entry", fields, gc=False)
    document = msgspec.defstruct("Document", [("annotations", list[entry])])  # type: ignore[valid-type]
    try:
        decoded: Any = msgspec.json.decode(raw, type=document)
        return [msgspec.structs.asdict(each) for each in decoded.annotations]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        content = strict_json.parse(raw)
    except JsonError:
        return []
    entries = content.get("annotations") if isinstance(content, dict) else None
    return entries if isinstance(entries, list) else []


def _values(entry: object, keys: list[str]) -> Iterator[tuple[str, Any]]:
    if not isinstance(entry, Mapping):
        return
    for place, holder in (("", entry), (f"{NESTED}.", entry.get(NESTED))):
        if isinstance(holder, Mapping):
            yield from ((place + key, holder[key]) for key in keys if holder.get(key) is not None)


_HARMLESS = "harmless"
_FLAGS = {**dict.fromkeys((*IGNORE_KEYS, *OTHER_IGNORE_KEYS), IGNORED), **dict.fromkeys(DIFFICULT_KEYS, DIFFICULT)}
_IGNORE_WORDS = frozenset(key.lower() for key in (*IGNORE_KEYS, *OTHER_IGNORE_KEYS))


def _meaning(key: str, value: Any) -> str | None:
    if key in ROTATED_BOX_KEYS:
        return "" if value else _HARMLESS
    if key in ROTATION_KEYS:
        try:
            degrees = float(value)
        except (TypeError, ValueError, OverflowError):
            return _HARMLESS  # a word, such as a camera's angle
        return _HARMLESS if isinstance(value, bool) or abs((degrees + 180) % 360 - 180) < 1e-6 else ROTATED
    if key in _FLAGS:
        if not isinstance(value, str | int | float):
            return None
        return _FLAGS[key] if value in SET else _HARMLESS if value in CLEAR else None
    word = re.sub(r"[\s-]+", "_", str(value).strip().lower().removeprefix("boxmode."))
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    return word if word in BBOX_FORMATS else FORMATS.get(word)
