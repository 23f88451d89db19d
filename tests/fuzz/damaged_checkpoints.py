"""Damage to checkpoints that is structured, and has the right checksums, so that it reaches whoever reads them."""

import math
from collections.abc import Callable

from damaged_files import Random, bytes_change
from fuzzed_job import Content, Folder, Link, Pipe
from made_checkpoints import DATA, FLOAT, SUFFIX, Checkpoint, Variable, proto

HUGE = (-1, -(2**63), 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1)


def _any(rng: Random, checkpoint: Checkpoint) -> Variable:
    return rng.choice([variable for variable in checkpoint.variables.values() if variable.dtype == FLOAT])


def _shape(rng: Random, checkpoint: Checkpoint) -> None:
    variable = _any(rng, checkpoint)
    variable.shape = rng.choice(
        (
            *([size] for size in HUGE),
            *([0, size, size] for size in HUGE),
            [2**31, 2**31, 2**31],
            [2, -3],
            [-2, -3],
            [1] * rng.choice((9, 33, 65, 100)),
            [1] * rng.choice((254, 255, 256, 300)),
            [*variable.shape, 2],
        )
    )
    if rng.random() < 0.5:  # a size that belongs to it
        variable.size = 4 * math.prod(variable.shape)


def _dtype(rng: Random, checkpoint: Checkpoint) -> None:
    _any(rng, checkpoint).dtype = rng.choice(
        (-1, 0, 8, 11, 12, 13, 15, 16, 18, 20, 21, 24, 29, 77, 101, 120, 2**31 - 1)
    )


def _place(rng: Random, checkpoint: Checkpoint) -> None:
    variable = _any(rng, checkpoint)
    setattr(variable, rng.choice(("offset", "size", "shard")), rng.choice((*HUGE, len(checkpoint.data), 1, 2)))


def _overlap(rng: Random, checkpoint: Checkpoint) -> None:
    for number in range(rng.choice((1, 5, 200))):
        variable = checkpoint.variables[f"model{SUFFIX}".encode()]
        checkpoint.variables[f"model/c/{number:03d}".encode()] = variable


def _slices(rng: Random, checkpoint: Checkpoint) -> None:
    extent = proto((1, rng.choice(HUGE)), (2, rng.choice(HUGE)))
    _any(rng, checkpoint).more = proto((7, rng.choice((b"", proto((1, extent)), proto((1, extent)) * 300))))


def _rank(rng: Random, checkpoint: Checkpoint) -> None:
    _any(rng, checkpoint).more = proto((2, proto((3, 1))))


def _record(rng: Random, checkpoint: Checkpoint) -> None:
    variable = _any(rng, checkpoint)
    variable.raw = rng.choice((b"", rng.randbytes(20), b"\xff" * 30, variable.written()[:-3], proto((1, b"x" * 2_000))))


def _text(rng: Random, checkpoint: Checkpoint) -> None:
    checkpoint.text(b"model/text", b"abc", rng.choice((0, 2, 4, *HUGE)))
    if rng.random() < 0.3:
        checkpoint.variables[b"model/text"].shape = rng.choice(([2], [1], [2**20], [2**40], [0]))


def _name(rng: Random, checkpoint: Checkpoint) -> None:
    old = rng.choice(list(checkpoint.variables))
    name = rng.choice((b"\x1b[2Jmodel", b"a\nERROR: forged", b"\xff\xfe", b"\x00", b"m" * 600, b"\xe2\x80\xaegnp"))
    checkpoint.variables[name] = checkpoint.variables.pop(old)


def _twice(rng: Random, checkpoint: Checkpoint) -> None:
    keys = sorted(checkpoint.variables)
    key = rng.choice(keys)
    keys.insert(keys.index(key), key)
    checkpoint.order = keys


def _unsorted(rng: Random, checkpoint: Checkpoint) -> None:
    keys = sorted(checkpoint.variables)
    one, other = sorted(rng.sample(range(len(keys)), 2))
    keys[one], keys[other] = keys[other], keys[one]
    checkpoint.order = keys


def _header(rng: Random, checkpoint: Checkpoint) -> None:
    version = proto((1, 1))
    checkpoint.header = rng.choice(
        (
            b"",
            b"\xff" * 9,
            *(proto((1, shards), (3, version)) for shards in (0, -1, 2**31 - 1)),
            *(proto((1, 1), (2, order), (3, version)) for order in (1, 5)),
            proto((1, 1), (3, proto((1, 1), (2, 999)))),
        )
    )


def _claim(rng: Random, checkpoint: Checkpoint) -> None:
    says = [0, 5, 9]
    says[rng.randrange(3)] = rng.choice(HUGE)
    checkpoint.table.claim = (rng.randrange(3), (says[0], says[1], says[2]))


def _restarts(rng: Random, checkpoint: Checkpoint) -> None:
    checkpoint.table.restarts = rng.choice(([], [1], [0, 1], [0, 3, 2**32 - 1], [2**32 - 1], [0, 0], [7, 0]))


def _handle(rng: Random, checkpoint: Checkpoint) -> None:
    place = (rng.choice((0, 1, 40, *HUGE)), rng.choice((0, 4, 7, 60, *HUGE)))
    setattr(checkpoint.table, rng.choice(("handle", "index_handle")), place)


def _separator(rng: Random, checkpoint: Checkpoint) -> None:
    checkpoint.table.separator = rng.choice((b"", b"\xff", b"A"))


def _compression(rng: Random, checkpoint: Checkpoint) -> None:
    checkpoint.table.compression = rng.choice((1, 2, 255))


def _magic(rng: Random, checkpoint: Checkpoint) -> None:
    checkpoint.table.magic ^= 1 << rng.randrange(64)


def _checksum(rng: Random, checkpoint: Checkpoint) -> None:
    if rng.random() < 0.5:
        checkpoint.table.right = False
    else:
        checkpoint.data[rng.randrange(9, len(checkpoint.data))] ^= 8


def _missing(rng: Random, checkpoint: Checkpoint) -> None:
    checkpoint.header = proto((1, 2), (3, proto((1, 1))))


def _layout(rng: Random, checkpoint: Checkpoint) -> None:
    checkpoint.table.block, checkpoint.table.interval = rng.choice((1, 2, 100)), rng.choice((1, 3, 16))


CHANGES: dict[str, Callable[[Random, Checkpoint], None]] = {
    function.__name__[1:]: function
    for function in (
        *(_shape, _dtype, _place, _overlap, _slices, _rank, _record, _text, _name, _twice, _unsorted, _header, _claim),
        *(_restarts, _handle, _separator, _compression, _magic, _checksum, _missing, _layout),
    )
}
KINDS = (*CHANGES, "file", "bytes")
HARMLESS = ("layout",)
"""Kinds that leave a checkpoint whole."""
MIXED = ("bytes", "checksum", "claim", "handle", "place", "restarts", "separator", "text")
"""Kinds that may come to nothing."""


def damaged_checkpoint(rng: Random, kind: str) -> dict[str, Content]:
    """A checkpoint with damage of a kind, by the end of the files' names."""
    checkpoint = Checkpoint()
    if kind in CHANGES:
        CHANGES[kind](rng, checkpoint)
    files: dict[str, Content] = {**checkpoint.written()}
    name = "index" if kind == "bytes" else rng.choice(("index", DATA))
    kept = checkpoint.written()[name]
    if kind == "bytes":
        content = bytearray(kept)
        bytes_change(rng, content)
        files[name] = bytes(content)
    elif kind == "file":
        cut = rng.choice((0, len(kept) // 2, len(kept) - 1))
        files[name] = rng.choice(
            (kept[:cut], bytes(len(kept) - 1), bytes(9 * 2**20)[cut:], Pipe(), Folder(), Link("/dev/zero"))
        )
    return files


def below(prefix: str, files: dict[str, Content]) -> dict[str, Content]:
    """The same by path, such as checkpoint/ckpt-0.index."""
    return {f"{prefix}.{end}": content for end, content in files.items()}
