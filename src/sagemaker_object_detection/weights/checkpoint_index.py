"""A checkpoint's index, judged before TensorFlow opens the checkpoint.

TensorFlow aborts the process on an index whose shapes or types cannot be, and allocates whatever size one names. So
nothing of it may be believed.

An index is a table of LevelDB (`doc/table_format.md` of https://github.com/google/leveldb): blocks of sorted keys, each
of which leaves out what it shares with the one before it; a block that says where these lie; and a footer. The first
key is empty and stands for a `BundleHeaderProto`. Every other is a variable's name and stands for a `BundleEntryProto`
(`tensorflow/core/protobuf/tensor_bundle.proto`).

Only what TensorFlow writes is taken: blocks that are not compressed and follow each other without a gap, restart points
at whole keys. So there is one way to read a table, whether TensorFlow runs through it or looks a key up. Checksums are
left to TensorFlow, which checks those of each block and each variable.
"""

import math
import os
import struct
from collections.abc import Iterator, Mapping
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

from sagemaker_object_detection.files.regular import open_regular, read_regular
from sagemaker_object_detection.sentences import shown
from sagemaker_object_detection.weights import bounds

_MAX_INDEX_BYTES = 8 * 2**20
_MAX_VARIABLES = 50_000
"""The largest published model has some 2,000, and an optimizer's slots come to three times as many."""
_MAX_VARIABLE_BYTES = 256 * 2**20
"""The largest of a base model has 10 MB."""
_MAX_TEXT_BYTES = 16 * 2**20
"""The one text of a checkpoint describes its objects, in some 100 bytes for each variable."""
_MAX_DIMENSIONS = 8
_MAX_NAME = 512
_MAX_RECORD = 1024
"""Bytes that describe a variable; some 40 are usual."""

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5
"""Bytes after each block: a byte for its compression (0 for none), and a checksum."""
_VARINT = 10
"""Bytes of the longest varint."""
_TEXT = tf.string.as_datatype_enum
_WIDTHS = {
    kind.as_datatype_enum: kind.size
    for kind in (
        *(tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.bool),
        *(tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64),
    )
}
"""Bytes of one number, by its type's number in TensorFlow."""


class UnreadableCheckpointError(ValueError):
    """What is wrong with a checkpoint's files, as a part of a sentence."""


def judge_checkpoint(prefix: Path) -> Mapping[str, tuple[int, ...]]:
    """Name -> shape of every variable in a checkpoint that TensorFlow may read.

    Args:
        prefix: the files' path without ".index" and ".data-...".

    Raises:
        UnreadableCheckpointError: the index is damaged or not one that TensorFlow writes; or a variable is of no known
            type, is larger than a detector's can be, or does not lie where and in as many bytes as the index says.
        OSError: a file is missing, may not be read, or is no plain file.
    """
    records = _records(read_index(prefix))
    key, record = next(records, (b"-", b""))
    header = _parsed(BundleHeaderProto(), record, "the index")
    if key or header.endianness != BundleHeaderProto.LITTLE or not 1 <= header.num_shards <= bounds.MAX_ENTRIES:
        raise UnreadableCheckpointError("the index does not begin as one")
    entries: dict[str, BundleEntryProto] = {}
    for key, record in records:
        if len(entries) == _MAX_VARIABLES:
            raise UnreadableCheckpointError(f"it has more than {_MAX_VARIABLES} variables")
        name = key.decode(errors="backslashreplace")
        what = f"variable {shown(name)}"
        if not name.isprintable() or name.encode() != key:
            raise UnreadableCheckpointError(f"{what} has a name that cannot be printed")
        entry = entries[name] = _parsed(BundleEntryProto(), record, what)
        if fault := _fault(entry, header.num_shards):
            raise UnreadableCheckpointError(f"{what} {fault}")
    _judge_places(prefix, entries, header.num_shards)
    return {name: tuple(dim.size for dim in entry.shape.dim) for name, entry in entries.items()}


def read_index(prefix: Path) -> bytes:
    """The file `prefix`.index. Raises an OSError where it cannot be read, is no plain file, or has no end."""
    return read_regular(prefix.with_name(f"{prefix.name}.index"), _MAX_INDEX_BYTES)


def _fault(entry: BundleEntryProto, shards: int) -> str | None:
    """What is wrong with the description of one variable."""
    shape, width = [dim.size for dim in entry.shape.dim], _WIDTHS.get(entry.dtype)
    if width is None and entry.dtype != _TEXT:
        return f"has the type {entry.dtype}, which no detector's variable has"
    if len(shape) > _MAX_DIMENSIONS:
        return f"has {len(shape)} dimensions, and at most {_MAX_DIMENSIONS} are read"
    if entry.shape.unknown_rank or any(size < 0 for size in shape):
        return f"has the shape {shown(shape)}, which is none"
    if shape and width is None:
        return "is a list of texts, which no detector has"
    if entry.slices:
        return "is stored in slices, which are not read"
    if not (0 <= entry.shard_id < shards and entry.offset >= 0 and entry.size >= 0):
        return "lies outside the checkpoint's files"
    limit = _MAX_TEXT_BYTES if width is None else _MAX_VARIABLE_BYTES
    # Zeros count as ones, because TensorFlow multiplies the others as well.
    if max(entry.size, math.prod(max(size, 1) for size in shape) * (width or 1)) > limit:
        return f"is larger than {limit // 2**20} MB, which no detector's variable is"
    if width is not None and entry.size != (expected := math.prod(shape) * width):
        return f"has {entry.size} bytes, and its shape {expected}"
    return None


def _judge_places(prefix: Path, entries: Mapping[str, BundleEntryProto], shards: int) -> None:
    """Raises an UnreadableCheckpointError unless each variable has bytes of its own in a file that is there."""
    if sum(entry.size for entry in entries.values()) > bounds.MAX_BYTES:
        raise UnreadableCheckpointError(f"its variables have more than {bounds.MAX_BYTES // 2**30} GB together")
    placed = sorted(entries.items(), key=lambda named: (named[1].shard_id, named[1].offset, named[1].size))
    for shard, group in groupby(placed, key=lambda named: named[1].shard_id):
        with open_regular(prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")) as file:
            before, end, held = "", 0, os.fstat(file.fileno()).st_size
            for name, entry in group:
                if entry.offset < end:
                    raise UnreadableCheckpointError(
                        f"variables {shown(before)} and {shown(name)} lie in the same bytes"
                    )
                before, end = name, entry.offset + entry.size
                if end > held:
                    raise UnreadableCheckpointError(
                        f"variable {shown(name)} ends at byte {end} of {Path(file.name).name}, which has {held}"
                    )
                if entry.dtype == _TEXT:
                    file.seek(entry.offset)
                    # The text's length as a varint, a checksum of that, and the text.
                    length, place = _varint(file.read(min(entry.size, _VARINT)), 0)
                    if place + 4 + length != entry.size:
                        raise UnreadableCheckpointError(f"variable {shown(name)} holds a text of {length} bytes")


def _records(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table, in their order."""
    if len(index) < _FOOTER or struct.unpack_from("<Q", index, len(index) - 8) != (_MAGIC,):
        raise UnreadableCheckpointError("the index is cut short, or none")
    footer = index[-_FOOTER:]
    place = 0
    handle = []
    for _ in range(4):  # place and size of two blocks, of which the first is not used
        number, place = _varint(footer, place)
        handle.append(number)
    begin, last = 0, b""
    for separator, value in _block(index, *handle[2:]):
        offset, after = _varint(value, 0)
        size, after = _varint(value, after)
        if offset != begin or after != len(value):
            raise _damaged()
        begin = offset + size + _TRAILER
        for number, (key, record) in enumerate(_block(index, offset, size)):
            if (offset or number) and key <= last:
                raise _damaged()
            last = key
            yield key, record
        if separator < last:
            raise _damaged()
        last = separator


def _block(index: bytes, offset: int, size: int) -> list[tuple[bytes, bytes]]:
    """Keys and values of a block, whose keys rise."""
    end = offset + size
    if size < 8 or end + _TRAILER > len(index) - _FOOTER or index[end] != 0:
        raise _damaged()
    data = index[offset:end]
    (count,) = struct.unpack_from("<I", data, size - 4)
    limit = size - 4 - 4 * count
    if count < 1 or limit < 0:
        raise _damaged()
    restarts = list(struct.unpack_from(f"<{count}I", data, limit))
    records: list[tuple[bytes, bytes]] = []
    whole, place, key = [], 0, b""
    while place < limit:
        begin = place
        shared, place = _varint(data, place)
        own, place = _varint(data, place)
        length, place = _varint(data, place)
        if shared > len(key) or shared + own > _MAX_NAME or length > _MAX_RECORD or place + own + length > limit:
            raise _damaged()
        following = key[:shared] + data[place : place + own]
        if records and following <= key:
            raise _damaged()
        if shared == 0:
            whole.append(begin)
        key, place = following, place + own
        records.append((key, data[place : place + length]))
        place += length
    if restarts[0] != 0 or any(one >= other for one, other in pairwise(restarts)) or not {*restarts[1:]} <= {*whole}:
        raise _damaged()
    return records


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number in bytes of seven bits, and the place after it."""
    number = 0
    for shift in range(0, 7 * _VARINT, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise _damaged()


def _damaged() -> UnreadableCheckpointError:
    return UnreadableCheckpointError("the index is damaged, or not as TensorFlow writes one")


def _parsed(message: Any, record: bytes, what: str) -> Any:
    """The protobuf message, filled in."""
    try:
        message.ParseFromString(record)
    except DecodeError:
        raise UnreadableCheckpointError(f"{what} has no description that can be read") from None
    return message
