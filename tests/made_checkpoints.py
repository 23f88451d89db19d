"""Checkpoints as TensorFlow writes them, or with an index that claims what it should not and has the right checksums.

What the index says of each variable, the table that this is written in, and the files with the values can be changed on
their own, before all of it is written.
"""

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
DATA = "data-00000-of-00001"
FLOAT, TEXT = 1, 7
"""TensorFlow's numbers of two types."""
_POLYNOMIAL = 0x82F63B78


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def checksum(data: bytes) -> int:
    """CRC-32C, masked as LevelDB and TensorFlow store it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def proto(*fields: tuple[int, int | bytes]) -> bytes:
    """A protobuf message of numbers and of what has a length, by field number."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [varint(number << 3), varint(value)]
        else:
            parts += [varint(number << 3 | 2), varint(len(value)), value]
    return b"".join(parts)


_OBJECTS = proto(
    (1, proto((1, proto((1, 1), (2, b"model"))))),
    (1, proto((2, proto((1, b"VARIABLE_VALUE"), (3, f"model{SUFFIX}".encode()))))),
)
"""An object with a variable `model` (TrackableObjectGraph)."""


@dataclass
class Variable:
    """What an index says of a variable (BundleEntryProto)."""

    dtype: int
    shape: list[int]
    offset: int
    size: int
    crc: int
    shard: int = 0
    more: bytes = b""
    """Fields that a variable has not: slices, a shape without a rank."""
    raw: bytes | None = None
    """In place of all this."""

    def written(self) -> bytes:
        if self.raw is not None:
            return self.raw
        shape = b"".join(proto((2, proto((1, size)))) for size in self.shape)
        numbers = proto((3, self.shard), (4, self.offset), (5, self.size))
        return proto((1, self.dtype), (2, shape)) + numbers + b"\x35" + struct.pack("<I", self.crc) + self.more


@dataclass
class Table:
    """How records are written. What is None is as it has to be."""

    block: int = 3
    interval: int = 2
    compression: int = 0
    claim: tuple[int, tuple[int, int, int]] | None = None
    """The number of a record in its block, and how many bytes it says that its key shares, that this has of its own,
    and that its value has."""
    restarts: list[int] | None = None
    handle: tuple[int, int] | None = None
    """Where the first block is said to lie."""
    index_handle: tuple[int, int] | None = None
    separator: bytes | None = None
    right: bool = True
    """Whether checksums are right."""
    magic: int = 0xDB4775248B80FB57

    def written(self, records: list[tuple[bytes, bytes]]) -> bytes:
        file, handles = bytearray(), []
        for begin in range(0, len(records), self.block):
            part = records[begin : begin + self.block]
            place = self._append(file, self._block(part, damaged=True))
            place = self.handle if self.handle and not begin else place
            separator = self.separator if self.separator is not None and not begin else part[-1][0]
            handles.append((separator, varint(place[0]) + varint(place[1])))
        meta = self._append(file, self._block([], damaged=False))
        index = self.index_handle or self._append(file, self._block(handles, damaged=False))
        footer = b"".join(varint(number) for number in (*meta, *index))
        return bytes(file) + footer.ljust(40, b"\0") + struct.pack("<Q", self.magic)

    def _append(self, file: bytearray, block: bytes) -> tuple[int, int]:
        place = (len(file), len(block))
        block += bytes([self.compression])
        file += block + struct.pack("<I", checksum(block) ^ (not self.right))
        return place

    def _block(self, records: list[tuple[bytes, bytes]], *, damaged: bool) -> bytes:
        block, restarts, last = bytearray(), [], b""
        for number, (key, value) in enumerate(records):
            shared = 0
            if number % self.interval == 0:
                restarts.append(len(block))
            else:
                while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                    shared += 1
            own, last = key[shared:], key
            says = (shared, len(own), len(value))
            if damaged and self.claim and self.claim[0] == number:
                says = self.claim[1]
            block += b"".join(map(varint, says)) + own + value
        restarts = restarts or [0]
        if damaged and self.restarts is not None:
            restarts = self.restarts
        return bytes(block) + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


@dataclass
class Checkpoint:
    """Two matrices, a counter and a text, as training programs write them."""

    variables: dict[bytes, Variable] = field(default_factory=dict)
    header: bytes = proto((1, 1), (3, proto((1, 1))))
    table: Table = field(default_factory=Table)
    data: bytearray = field(default_factory=bytearray)
    order: list[bytes] | None = None
    """Of the keys; each may come again."""

    def __post_init__(self) -> None:
        self.text(b"_CHECKPOINTABLE_OBJECT_GRAPH", _OBJECTS)
        self.matrix(f"model{SUFFIX}".encode(), [2, 3])
        self.matrix(f"model/a/bias{SUFFIX}".encode(), [3])
        self.matrix(f"model/b/kernel{SUFFIX}".encode(), [1, 1, 4, 4])
        self.matrix(f"save_counter{SUFFIX}".encode(), [])

    def matrix(self, name: bytes, shape: list[int]) -> None:
        count = math.prod(shape)
        stored = struct.pack(f"<{count}f", *range(count))
        self._add(name, FLOAT, shape, stored, checksum(stored))

    def text(self, name: bytes, text: bytes, length: int | None = None) -> None:
        said, number = len(text) if length is None else length, struct.pack("<I", len(text))
        sum_of_length = struct.pack("<I", checksum(number))
        self._add(name, TEXT, [], varint(said) + sum_of_length + text, checksum(number + sum_of_length + text))

    def _add(self, name: bytes, dtype: int, shape: list[int], stored: bytes, crc: int) -> None:
        self.variables[name] = Variable(dtype, shape, len(self.data), len(stored), crc)
        self.data += stored

    def written(self) -> dict[str, bytes]:
        """Contents by the end of the files' names, as in ckpt-0.index."""
        keys = self.order or sorted(self.variables)
        records = [(b"", self.header), *((key, self.variables[key].written()) for key in keys)]
        return {"index": self.table.written(records), DATA: bytes(self.data)}

    def write(self, prefix: Path) -> Path:
        """Writes the files; returns `prefix`."""
        prefix.parent.mkdir(parents=True, exist_ok=True)
        for end, content in self.written().items():
            prefix.with_name(f"{prefix.name}.{end}").write_bytes(content)
        return prefix
