"""Reads TFRecord files of the TensorFlow Object Detection API
(https://github.com/tensorflow/models/blob/master/research/object_detection/g3doc/using_your_own_dataset.md).

A record is a tf.train.Example: the encoded image, and a list for each of xmin, ymin, xmax and ymax as shares of the
image's sides, for the class's name and for its number. This reader alone imports TensorFlow, when it is called.
"""

import gzip
import posixpath
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from sagemaker_object_detection.convert.class_names import number_classes
from sagemaker_object_detection.convert.csv_table import SHARES
from sagemaker_object_detection.convert.foreign import ForeignBox, ForeignDataSet, InvalidError
from sagemaker_object_detection.files.regular import open_regular
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.sentences import is_printable, quoted, shown

TFRECORD = "tfrecord"
_OBJECT = "image/object"
_CORNERS = tuple(f"{_OBJECT}/bbox/{field}" for field in SHARES.fields)
_TEXT, _NUMBER = f"{_OBJECT}/class/text", f"{_OBJECT}/class/label"
_GROUPS = (f"{_OBJECT}/is_crowd", f"{_OBJECT}/group_of")
_IMAGE, _NAMES = "image/encoded", ("image/filename", "image/source_id")
_SUFFIXES = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"))
_GZIP = b"\x1f\x8b"
_MAX_RECORD = 2**30
"""Bytes of one record; TensorFlow would make room for whatever a file claims."""
_SKIPPED = 2**20
_ITEM = re.compile(r"\bitem\s*\{([^{}]*)\}")
_ID, _NAME = re.compile(r"\bid\s*:\s*([0-9]{1,9})\b"), re.compile(r"\bname\s*:\s*([\"'])([^\n]*?)\1")
_FILE = "a TFRecord file of the TensorFlow Object Detection API"


def read_tfrecord(
    files: Sequence[Path], label_map: Path | None, names: str | None, work: Path, stop: StopSignal
) -> ForeignDataSet:
    """Read the records of files, and write their images into a folder.

    Args:
        files: all of them, if the data is in several.
        label_map: the API's file with the names of the class numbers; needed if records have no names.
        names: the classes, as `number_classes` takes them.
        work: an empty folder for the images.
        stop: is looked at between two records.

    Raises:
        StoppedError: a signal came.
        OSError: an image cannot be written.
    """
    data = ForeignDataSet(TFRECORD, SHARES)
    known: dict[int, str] = {}
    if label_map is not None:
        with data.collecting():
            known = _read_label_map(label_map, data)
    used: dict[str, str] = {}
    for file in files:
        with data.collecting():
            for row, record in enumerate(_records(file)):
                stop.check()
                with data.collecting():
                    _add_record(f"{file} [{row}]", record, known, used, work, data)
    number_classes(data, names)
    return data


def _read_label_map(path: Path, data: ForeignDataSet) -> dict[int, str]:
    """Names by class number. Raises an InvalidError."""
    found: dict[int, str] = {}
    for item in _ITEM.findall(data.read_text(path, "a label map of the TensorFlow Object Detection API")):
        number, name = _ID.search(item), _NAME.search(item)
        if number is None or name is None:
            text = f"{path}: an item has no id or no name: {shown(' '.join(item.split()))}. Correct it there."
            raise InvalidError("unreadable class names", text)
        if found.setdefault(int(number[1]), name[2]) != name[2]:
            both = f"{quoted(found[int(number[1])])} and {quoted(name[2])}"
            text = f"{path}: id {number[1]} is both {both}. Correct it there."
            raise InvalidError("contradicting class names", text)
    if not found:
        raise InvalidError("unreadable class names", f"{path}: holds no item. Expected items with an id and a name.")
    return found


def _records(file: Path) -> Iterator[Any]:
    """Each record as a tf.train.Example. Raises an InvalidError where the file cannot be read."""
    try:
        with open_regular(file) as raw:
            is_compressed = raw.read(2) == _GZIP
            raw.seek(0)
            count = _check_lengths(gzip.GzipFile(fileobj=raw) if is_compressed else raw, file)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidError("unreadable files", f"{file}: cannot be read ({reason}). Expected {_FILE}.") from None
    if not count:
        raise InvalidError("unreadable files", f"{file}: holds no record. Expected {_FILE}.")

    # Late, because it takes seconds.
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    from sagemaker_object_detection.devices.prepare import use_the_cpu

    use_the_cpu()
    records = tf.data.TFRecordDataset(str(file), "GZIP" if is_compressed else "").as_numpy_iterator()
    for row in range(count):
        try:
            yield tf.train.Example.FromString(next(records))
        except (tf.errors.OpError, DecodeError) as error:
            reason = " ".join(str(error).split())[:200]
            text = f"{file} [{row}]: is damaged, or no tf.train.Example ({reason}). Expected {_FILE}."
            raise InvalidError("unreadable files", text) from None


def _check_lengths(content: BinaryIO | gzip.GzipFile, file: Path) -> int:
    """How many records a file has by their lengths, which TensorFlow would believe. Raises an InvalidError."""
    count = 0
    with closing(content):
        while start := content.read(12):
            left = struct.unpack("<Q", start[:8])[0] + 4 if len(start) == 12 else _MAX_RECORD + 1
            if left > _MAX_RECORD:
                text = f"{file} [{count}]: its length is damaged, or above {_MAX_RECORD} bytes. Expected {_FILE}."
                raise InvalidError("unreadable files", text)
            while left > 0:
                part = content.read(min(left, _SKIPPED))
                if not part:
                    text = f"{file} [{count}]: the file ends within the record. Copy it again."
                    raise InvalidError("unreadable files", text)
                left -= len(part)
            count += 1
    return count


def _add_record(
    place: str, record: Any, known: dict[int, str], used: dict[str, str], work: Path, data: ForeignDataSet
) -> None:
    def values(key: str) -> list[Any]:
        if key not in record.features.feature:  # asking for it would make it
            return []
        feature = record.features.feature[key]
        kind = feature.WhichOneof("kind")
        return list(getattr(feature, kind).value) if kind else []

    def one_by_one(key: str, count: int) -> list[Any]:
        found = values(key)
        if found and len(found) != count:
            text = f"{place}: {key} has {len(found)} values; expected {count}, one for each box. Write the file again."
            raise InvalidError("unreadable records", text)
        return found or [None] * count

    encoded = values(_IMAGE)
    if len(encoded) != 1 or not isinstance(encoded[0], bytes) or not encoded[0]:
        keys = ", ".join(sorted(record.features.feature)[:8]) or "none"
        text = f"{place}: has no {_IMAGE}; its features are {keys}. Expected {_FILE}."
        raise InvalidError("unreadable records", text)
    name = _save(place, [*values(_NAMES[0]), *values(_NAMES[1])], encoded[0], used, work)
    sides = [value for key in ("image/height", "image/width") for value in values(key)]
    is_size = len(sides) == 2 and all(isinstance(side, int) and 0 <= side < 2**31 for side in sides)
    index = len(data.images)
    data.images.append(data.image(place, name, work, *(sides if is_size else ())))
    count = max(len(values(key)) for key in (*_CORNERS, _TEXT, _NUMBER))
    columns = [one_by_one(key, count) for key in (*_CORNERS, _TEXT, _NUMBER, *_GROUPS)]
    for row, (*corners, text, number, crowd, group) in enumerate(zip(*columns, strict=True)):
        inner = f"{place} box {row}"
        with data.collecting():
            if not all(isinstance(each, float) and abs(each) < 2**31 for each in corners):
                told = f"{inner}: its corners are {corners}; expected four finite numbers. Write the file again."
                raise InvalidError("unreadable records", told)
            label = _label(inner, text, number, known)
            is_group = crowd == 1 or group == 1
            data.counts["made regions to ignore, boxes around groups (is_crowd, group_of)"] += is_group
            if data.is_name(inner, label):
                data.boxes.append(ForeignBox(inner, index, label, corners, ignored=is_group))


def _label(place: str, text: Any, number: Any, known: dict[int, str]) -> str:
    """The class's name, which the record has, or the label map. Raises an InvalidError."""
    name = text.decode(errors="replace") if isinstance(text, bytes) else ""
    mapped = known.get(number) if isinstance(number, int) else None
    if name and isinstance(number, int) and known.setdefault(number, name) != name:
        fault = (
            f"{place}: its class is {quoted(name)} by its name, and number {number}, which is {quoted(known[number])} "
            f"elsewhere. Use one name for a number."
        )
        raise InvalidError("contradicting class names", fault)
    if not name and mapped is None:
        fault = f"{place}: its class is number {number} and has no name. Give the names with --label-map FILE."
        raise InvalidError("missing class names", fault)
    return name or str(mapped)


def _save(place: str, names: Sequence[Any], encoded: bytes, used: dict[str, str], work: Path) -> str:
    """The name below the folder that an image gets. Raises an InvalidError where two records have the same."""
    texts = [name.decode(errors="replace") for name in names if isinstance(name, bytes) and name]
    suffix = next((suffix for start, suffix in _SUFFIXES if encoded.startswith(start)), ".bin")
    base = posixpath.basename(texts[0].replace("\\", "/")) if texts else f"{len(used):06d}"
    stem = posixpath.splitext(base)[0].lstrip(".")
    if not stem or not is_printable(stem) or len(stem.encode()) > 200:
        text = f"{place}: {quoted(base)} is not the name of a file. Expected one in {_NAMES[0]}."
        raise InvalidError("refused file names", text)
    name = f"{stem}{suffix}"
    if (first := used.setdefault(name, place)) != place:
        text = f"{place}: its image is called {name!r}, as that of {first} is. Give every image a name of its own."
        raise InvalidError("images that are listed twice", text)
    (work / name).write_bytes(encoded)
    return name
