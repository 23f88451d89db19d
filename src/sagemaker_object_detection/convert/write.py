"""Writes a data set as the container takes it, whole or not at all: a folder with annotations.json and images/."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from sagemaker_object_detection.dataset.annotation_entries import ANNOTATIONS_FILE, Document
from sagemaker_object_detection.dataset.checks import IMAGES_FOLDER
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.disk import PLATFORM_ERRNOS
from sagemaker_object_detection.job.stop import StoppedError, StopSignal

_T = TypeVar("_T")


def check_target(folder: Path, sources: Sequence[Path] = ()) -> None:
    """Whether the folder may become the data set: it does not exist yet, or is empty.

    Args:
        sources: folders it may not lie in.

    Raises:
        UserError: it may not.
    """
    with _writing(folder):
        target = os.path.realpath(folder)
        if target == os.getcwd():  # it is replaced, and a shell would be left in a folder that is gone
            raise UserError("--to: is empty, or the current folder. Name a new one.")
        for source in sources:
            if os.path.commonpath([target, os.path.realpath(source)]) == os.path.realpath(source):
                raise UserError(f"--to: {folder} lies in {source}, which is not to be changed. Name one elsewhere.")
        try:
            folder.lstat()  # not exists(), which a path through a file is no error for
        except FileNotFoundError:
            return
        if not folder.is_dir() or any(folder.iterdir()):
            raise UserError(f"--to: {folder} exists and is not an empty folder. Name a new one.")


def write_data_set(
    folder: Path,
    document: Document,
    files: Sequence[tuple[Path, str]],
    *,
    copy: bool,
    verify: Callable[[Path], _T],
) -> tuple[_T, int]:
    """Put the data set into place under its name, when it is complete.

    SIGTERM and Ctrl-C are noticed between two images, and leave nothing behind.

    Args:
        folder: does not exist, or is empty.
        document: what annotations.json says.
        files: the image files, and their paths below images/.
        copy: whether every image is copied. Else it gets a second name (a hard link) where that is possible.
        verify: looks at the folder before it gets its name.

    Returns:
        what `verify` returns, and how many images were copied.

    Raises:
        UserError: the folder may not be written, or an image not be read.
        StoppedError: a signal came.
    """
    with StopSignal() as stop, _writing(folder):
        target = Path(os.path.realpath(folder))
        with _parents(target) as parent, _work_folder(parent, target.name) as work:
            partial = work / "complete"  # below a folder that nobody else may read
            images = partial / IMAGES_FOLDER
            images.mkdir(parents=True)
            for inner in {str(Path(name).parent) for _, name in files}:
                (images / inner).mkdir(parents=True, exist_ok=True)
            copied = 0
            for source, name in _until(stop, files):
                copied += _place(source, images / name, copy)
            (partial / ANNOTATIONS_FILE).write_bytes(msgspec.json.encode(document))
            result = verify(partial)
            if stop.requested:
                raise StoppedError
            partial.replace(target)  # an empty folder of this name gives way
    return result, copied


def _until(stop: StopSignal, items: Iterable[_T]) -> Iterator[_T]:
    for item in items:
        if stop.requested:
            raise StoppedError
        yield item


def _place(source: Path, target: Path, copy: bool) -> int:
    """Link or copy a file; how many copies that made."""
    source = Path(os.path.realpath(source))  # a link to a link would lead nowhere elsewhere
    if not copy:
        try:
            os.link(source, target)
            return 0
        except OSError:  # another file system, one without hard links, or somebody else's file
            pass
    shutil.copyfile(source, target)
    return 1


@contextmanager
def _work_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder beside the target. Not tempfile.TemporaryDirectory: where it may not remove a file it changes the mode,
    which a linked image shares with the source."""
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _parents(target: Path) -> Iterator[Path]:
    """The folder that the target lies in, made with all above it; what was made is removed where the writing fails."""
    missing = []
    for parent in target.parents:
        if parent.exists():
            break
        missing.append(parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target.parent
    except BaseException:
        for parent in missing:
            try:
                parent.rmdir()
            except OSError:  # somebody else has put something there, or it was never made
                break
        raise


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in PLATFORM_ERRNOS:  # no other folder's name would mend it
            raise
        raise UserError(
            f"--to: {folder} cannot be written ({error.filename or folder}: {error.strerror}). Name a folder in a "
            f"place that may be written to, and let every image be readable."
        ) from error
