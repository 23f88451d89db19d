"""Which GPUs a library has code for: the fat binaries that nvcc has put into it.

NVIDIA does not document their layout. This is what github.com/n-eiling/cuda-fatbin-decompression found
(`fatbin-decompress.h`), little endian; a library holds any number of them:

    fat binary   u32 0xBA55ED50, u16 version 1, u16 size of this header (16), u64 size of the entries
    entry        u16 kind, u16 unknown, u32 size of this header, u64 size of the code, u64 size of the compressed code,
                 u16 minor and u16 major version of the code, u32 architecture (75 for compute capability 7.5), ...;
                 the code follows, and the next entry after it

The version of PTX is that of its instruction set, which decides the drivers that can compile it (PTX ISA, "Release
Notes": 8.5 came with CUDA 12.5, whose driver is 555).
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Capability = tuple[int, int]
_MAGIC = struct.pack("<I", 0xBA55ED50)
_HEADER = struct.Struct("<IHHQ")
_ENTRY = struct.Struct("<HHIQQHHI")
_PTX, _MACHINE_CODE = 1, 2
"""Kinds of entries. Others hold no code that a driver takes."""


@dataclass(frozen=True)
class Code:
    """One entry of a fat binary: machine code, or PTX, which a driver compiles."""

    is_ptx: bool
    capability: Capability
    version: tuple[int, int]

    def runs_on(self, device: Capability, newest_ptx: tuple[int, int] | None) -> bool:
        """Whether a device runs it under a driver that compiles PTX up to version `newest_ptx`, or None at all.

        Machine code runs on devices of the same major capability that are not older (CUDA C++ Programming Guide,
        "Binary Compatibility"), PTX on all that are not older.
        """
        if self.capability > device:
            return False
        if self.is_ptx:
            return newest_ptx is not None and self.version <= newest_ptx
        return self.capability[0] == device[0]


def fat_binaries(library: Path) -> Iterator[list[Code]]:
    """The code in each fat binary of a file.

    Raises:
        ValueError: one of them is laid out in another way.
    """
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        begin = content.find(_MAGIC)
        while begin >= 0:
            end = begin + len(_MAGIC)
            if begin + _HEADER.size <= len(content):
                _, version, header_size, size = _HEADER.unpack_from(content, begin)
                # The magic number also stands in the programs that look for it.
                if (version, header_size) == (1, _HEADER.size):
                    first, end = begin + header_size, begin + header_size + size
                    if end > len(content):
                        raise ValueError(f"{library}: the fat binary at {begin} reaches past the end of the file")
                    yield list(_entries(content, first, end, f"{library}: the fat binary at {begin}"))
            begin = content.find(_MAGIC, end)


def _entries(content: mmap.mmap, begin: int, end: int, name: str) -> Iterator[Code]:
    while begin < end:
        if begin + _ENTRY.size > end:
            raise ValueError(f"{name} ends within an entry")
        kind, _, header_size, size, _, minor, major, architecture = _ENTRY.unpack_from(content, begin)
        if header_size < _ENTRY.size or begin + header_size + size > end:
            raise ValueError(f"{name} has an entry of another layout, {begin - end} bytes before its end")
        if kind in (_PTX, _MACHINE_CODE):
            yield Code(kind == _PTX, divmod(architecture, 10), (major, minor))
        begin += header_size + size
