"""The files below a folder, links followed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def files_below(folder: Path, unlisted: Callable[[OSError], None]) -> Iterator[str]:
    """Paths of all files below the folder, relative to it, with "/" between their parts: a folder's own files first,
    in the order of their names, then those of the folders in it.

    Names that begin with a dot are left out. Links are followed, but for those that have no end.

    Args:
        unlisted: is handed the error of a folder that cannot be listed, which else is passed over.
    """
    # For each place the real folders on the way to it: a link to one of these, or to what holds one, has no end.
    ways = {os.fspath(folder): [os.path.realpath(folder)]}
    for place, folders, files in os.walk(folder, onerror=unlisted, followlinks=True):
        way, seen = ways.pop(place), sorted(folders)
        folders.clear()
        for name in seen:
            inside = os.path.join(place, name)
            real = os.path.realpath(inside)
            endless = any(os.path.commonpath([real, passed]) == real for passed in way)
            if not name.startswith(".") and not endless:
                folders.append(name)
                ways[inside] = [*way, real]
        inner = Path(os.path.relpath(place, folder))
        yield from ((inner / name).as_posix() for name in sorted(files) if not name.startswith("."))
