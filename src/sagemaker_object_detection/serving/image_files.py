"""The images that a person names: files, and whatever lies below folders."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.sentences import shortlist

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class ImageFile:
    """One image to answer.

    Attributes:
        path: as given, or below the folder that was given.
        name: below that folder, with "/" between its parts; None for a file that was given itself.
    """

    path: Path
    name: str | None = None


def find_images(paths: Sequence[Path]) -> list[ImageFile]:
    """Files as they are, and for folders every JPEG and PNG below, in the order of their names.

    Names that begin with a dot are not looked at; of other files it is said how many were left out. Links are followed.

    Raises:
        UserError: a folder has no image, or cannot be listed.
    """
    found: list[ImageFile] = []
    others: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(ImageFile(path))
            continue
        names = sorted(_names_below(path))
        images = [name for name in names if name.lower().endswith(SUFFIXES)]
        if not images:
            holds = f"{len(names)} other files: {shortlist(names)}" if names else "no files"
            raise UserError(
                f"folder {str(path)!r} has no image in it or below it, but {holds}; expected files that are called "
                f"{', '.join(SUFFIXES)}"
            )
        found += [ImageFile(path / name, name) for name in images]
        others += [str(path / name) for name in names if not name.lower().endswith(SUFFIXES)]
    if others:
        count = "1 file is" if len(others) == 1 else f"{len(others)} files are"
        log.warning("%s left out, not being called %s: %s", count, ", ".join(SUFFIXES), shortlist(others))
    return found


def _names_below(folder: Path) -> Iterator[str]:
    def unlisted(error: OSError) -> None:
        raise UserError(
            f"folder {str(error.filename)!r} cannot be listed ({error.strerror}); let it be read, or name the images "
            "themselves"
        ) from error

    # For each place the real folders on the way to it: a link to one of these, or to what holds one, has no end.
    ways = {os.fspath(folder): [os.path.realpath(folder)]}
    for place, folders, files in os.walk(folder, onerror=unlisted, followlinks=True):
        way, seen = ways.pop(place), list(folders)
        folders.clear()
        for name in seen:
            inside = os.path.join(place, name)
            real = os.path.realpath(inside)
            if not name.startswith(".") and not any(_holds(real, passed) for passed in way):
                folders.append(name)
                ways[inside] = [*way, real]
        inner = Path(os.path.relpath(place, folder))
        yield from ((inner / name).as_posix() for name in files if not name.startswith("."))


def _holds(folder: str, place: str) -> bool:
    """Whether `place` is this folder or lies below it: a link to such a one has no end."""
    return os.path.commonpath([folder, place]) == folder
