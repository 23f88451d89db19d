"""Files and folders that are there once they are whole: they are written under another name, then renamed."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, unfinished: str | None = None) -> Iterator[Path]:
    """Where to write what is to be the file `path`: beside it, until the end of the block.

    The content is on the disk before it gets the name. If an exception ends the block, the unfinished file is removed,
    and whatever was there under `path` stays.

    Args:
        unfinished: the other name; by default one that begins with a dot and that nothing else has.

    Raises:
        OSError: it cannot be written.
    """
    other = path.with_name(unfinished or f".{secrets.token_hex(8)}.unfinished")
    try:
        if unfinished is not None:
            other.unlink(missing_ok=True)  # left by a killed process, or a link that somebody has put there
        yield other
        with other.open("rb") as file:
            os.fsync(file.fileno())
        other.replace(path)
    finally:
        with suppress(OSError):  # it says nothing new of a place that cannot be written
            other.unlink(missing_ok=True)


@contextmanager
def work_folder(parent: Path, prefix: str, abandoned: float | None = None) -> Iterator[Path]:
    """An empty folder in `parent`, that nobody else may read, until the end of the block.

    Not tempfile.TemporaryDirectory: where that may not remove a file it changes the file's mode, which a hard link
    shares with what it was linked to.

    Args:
        prefix: its name begins so.
        abandoned: how many seconds old a folder with this prefix has to be to be removed first: that of a process which
            was killed. None removes none.
    """
    if abandoned is not None:
        for leftover in parent.glob(f"{prefix}*"):
            with suppress(FileNotFoundError):  # somebody else was faster
                if time.time() - leftover.lstat().st_mtime >= abandoned:
                    shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_free(target: Path) -> bool:
    """Whether there is nothing yet, or an empty folder. A path through a file is an OSError, unlike for Path.exists."""
    try:
        target.lstat()
    except FileNotFoundError:
        return True
    return target.is_dir() and not any(target.iterdir())


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to be filled, which becomes `target` at the end of the block.

    If `target` exists, what is in the folder moves into it, in the order of the names: a mount point or somebody's
    current folder cannot be replaced. Folders above that are missing are made. If an exception ends the block, nothing
    is left behind.

    Args:
        target: without links; it does not exist, or is an empty folder.

    Raises:
        OSError: it cannot be written.
    """
    exists = target.exists()
    place = target if exists else target.parent
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        with work_folder(place, ".unfinished-") as work:
            complete = work / "complete"  # not the folder itself, which nobody else may read
            complete.mkdir()
            yield complete
            if exists:
                for entry in sorted(complete.iterdir()):
                    entry.replace(target / entry.name)
            else:
                complete.replace(target)
    except BaseException:
        with suppress(OSError):  # somebody else has put something there, or it was never made
            for folder in missing:
                folder.rmdir()
        raise
