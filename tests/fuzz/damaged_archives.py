"""Archives whose entries claim what they should not."""

import copy
import gzip
import tarfile
from collections.abc import Mapping
from typing import Any

from damaged_files import Random, bytes_change, some

FILE_NAMES = (
    *("../annotations.json", "/etc/passwd", "..", ".", "/", "", "images/0.jpg", "..\\..\\evil", "0.jpg/", "./0.jpg"),
    *("0.jpg\x00.png", "0.JPG", "x" * 256, "a/" * 2_000 + "b", "0.jpg/../1.png", "../images/0.jpg", "//etc/passwd"),
    *("link.jpg", "pipe.jpg", "folder.jpg", "loop.jpg", "outside.jpg", "device.jpg", "\ud800.jpg", "\u202e.jpg", " "),
)


def _entry_change(rng: Random, entries: list[tuple[tarfile.TarInfo, bytes]]) -> str:
    """Changes or adds one entry of an archive."""
    entry, _ = rng.choice(entries)
    what = rng.choice(("name", "type", "size", "mode", "number", "add", "copy", "drop", "sparse"))
    if what == "name":
        entry.name = rng.choice(
            (
                *("../evil", "a/../../evil", "/evil", "/tmp/sod-fuzz-evil", "..", ".", "", "x" * 300, "a\\..\\evil"),
                *("a\nb", "\ud800", "../" * 40 + "tmp/sod-fuzz-evil", "~/evil", "./" * 200 + "a", "a/" * 150 + "b"),
                f"{entry.name}/below",
            )
        )
    elif what == "type":
        types = b"\x00123456789gxLKSDMNVX~\xff"
        entry.type = bytes([rng.choice(types)])
        entry.linkname = rng.choice(("/etc/passwd", "../../evil", "checkpoint", entry.name, ""))
        entry.devmajor, entry.devminor = 1, 5
    elif what == "size":
        sizes = (0, 1, -1, -512, -(2**20), 2**20, 2**31, 2**33, 2**40, 2**62, entry.size + 1, max(0, entry.size - 1))
        entry.size = rng.choice(sizes)
    elif what == "mode":
        entry.mode = rng.choice((0, 0o7777, 0o4755))
        entry.uid, entry.gid, entry.mtime = rng.choice(((0, 0, 0), (2**40, 2**40, 2**40), (-1, -1, -1)))
    elif what == "number":
        entry.pax_headers = rng.choice(
            ({"size": "-1"}, {"size": "x"}, {"path": "../evil"}, {"mtime": "nan"}, {"a": "b" * 9999})
        )
    elif what == "add":
        entries.insert(rng.randrange(len(entries) + 1), (tarfile.TarInfo(rng.choice(FILE_NAMES) or "a"), b""))
    elif what == "copy":
        entries.append((copy.copy(entry), rng.randbytes(10)))
    elif what == "drop" and len(entries) > 1:
        del entries[rng.randrange(len(entries))]
    else:
        entry.pax_headers = {
            "GNU.sparse.map": rng.choice(("0,1", "x", "0," + "9" * 30, "1,2,3")),
            "GNU.sparse.size": "9",
        }
    return what


def archive(rng: Random, files: Mapping[str, bytes], done: list[str]) -> bytes:
    entries = []
    for name, content in files.items():
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        entries.append((entry, content))
    dice = rng.random()
    if dice < 0.6:
        some(rng, [_entry_change], entries, done)
    raw = bytearray()
    style: Any = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    for entry, content in entries:
        try:
            raw += entry.tobuf(style, "utf-8", "surrogateescape")
        except (ValueError, UnicodeError):
            entry.name, entry.mtime, entry.uid, entry.gid = "a", 0, 0, 0
            raw += entry.tobuf(style, "utf-8", "surrogateescape")
        raw += content + bytes(-len(content) % 512)
    raw += bytes(1024)
    if 0.5 < dice < 0.75:
        some(rng, [bytes_change], raw, done)
    return gzip.compress(bytes(raw), 1, mtime=0)
