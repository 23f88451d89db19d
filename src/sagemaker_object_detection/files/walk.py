"""The files below a folder, links followed."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

_MAX_WAYS = 256
"""Through links, to one folder."""


def files_below(folder: Path, unlisted: Callable[[OSError], None]) -> Iterator[str]:
    """Paths of all files below the folder, relative to it, with "/" between their parts: a folder's own files first,
    in the order of their names, then those of the folders in it.

    Names that begin with a dot are left out. Links are followed, but for those that have no end. Links between folders
    can make more ways to a few of them than anyone could walk: so every folder is listed on a few ways only.

    Args:
        unlisted: is handed the error of a folder that cannot be listed, or to which too many ways lead, which else is
            passed over.
    """
    # For each place the real folders on the way to it: a link to one of these, or to what holds one, has no end.
    ways = {os.fspath(folder): [os.path.join(os.path.realpath(folder), "")]}
    listed: Counter[str] = Counter()
    for place, folders, files in os.walk(folder, onerror=unlisted, followlinks=True):
        way, seen = ways.pop(place), sorted(folders)
        folders.clear()
        for name in seen:
            inside = os.path.join(place, name)
            real = os.path.join(way[-1], name, "")
            if os.path.islink(inside):  # realpath looks at every part of the path
                real = os.path.join(os.path.realpath(inside), "")
            if name.startswith(".") or any(passed.startswith(real) for passed in way):
                continue
            listed[real] += 1
            if listed[real] > _MAX_WAYS:
                unlisted(OSError(errno.ELOOP, os.strerror(errno.ELOOP), inside))
                continue
            folders.append(name)
            ways[inside] = [*way, real]
        inner = Path(os.path.relpath(place, folder))
        yield from ((inner / name).as_posix() for name in sorted(files) if not name.startswith("."))
