"""Writes a data set as the container takes it, whole or not at all: a folder with annotations.json and images/."""

import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from sagemaker_object_detection.dataset.annotation_entries import ANNOTATIONS_FILE, Document
from sagemaker_object_detection.dataset.check_images import IMAGES_FOLDER
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.disk import PLATFORM_ERRNOS, blaming
from sagemaker_object_detection.files.whole import is_free, whole_folder
from sagemaker_object_detection.job.stop import StoppedError, StopSignal


def check_target(folder: Path, sources: Sequence[Path] = ()) -> None:
    """Whether the folder may become the data set: it does not exist yet, or is empty.

    Args:
        sources: folders it may not lie in.

    Raises:
        UserError: it may not.
    """
    with _writing(folder):
        target = os.path.realpath(folder)
        if target == os.getcwd():  # which is also what an empty text names
            raise UserError("--to: is empty, or the current folder. Name a new one.")
        for source in sources:
            if os.path.commonpath([target, os.path.realpath(source)]) == os.path.realpath(source):
                raise UserError(f"--to: {folder} lies in {source}, which is not to be changed. Name one elsewhere.")
        if not is_free(folder):
            raise UserError(f"--to: {folder} exists and is not an empty folder. Name a new one.")


def write_data_set(folder: Path, document: Document, files: Sequence[tuple[Path, str]], *, copy: bool) -> int:
    """Put the data set into place under its name, when it is complete.

    SIGTERM and Ctrl-C are noticed between two images, and leave nothing behind.

    Args:
        folder: does not exist, or is empty.
        document: what annotations.json says.
        files: the image files, and their paths below images/.
        copy: whether every image is copied. Else it gets a second name (a hard link) where that is possible.

    Returns:
        how many images were copied.

    Raises:
        UserError: the folder may not be written, or an image not be read.
        StoppedError: a signal came.
    """
    copied = 0
    with StopSignal() as stop, _writing(folder), whole_folder(Path(os.path.realpath(folder))) as complete:
        images = complete / IMAGES_FOLDER
        for inner in {"."} | {str(Path(name).parent) for _, name in files}:
            (images / inner).mkdir(parents=True, exist_ok=True)
        for source, name in files:
            if stop.requested:
                raise StoppedError
            copied += _place(source, images / name, copy)
        (complete / ANNOTATIONS_FILE).write_bytes(msgspec.json.encode(document))
        if stop.requested:
            raise StoppedError
    return copied


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


def _writing(folder: Path) -> AbstractContextManager[None]:
    advice = "Name a folder in a place that may be written to, and let every image be readable."
    return blaming(
        lambda error: f"--to: {folder} cannot be written ({error.filename or folder}: {error.strerror}). {advice}",
        PLATFORM_ERRNOS,  # no other folder's name would mend these
    )
