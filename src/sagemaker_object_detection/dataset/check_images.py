"""Holds a channel's image entries against its image files: their paths, their headers, their sizes.

Nothing is decoded here, so this takes seconds and no TensorFlow; `load.py` decodes what is left.
"""

import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from sagemaker_object_detection.dataset.annotation_entries import ANNOTATIONS_FILE
from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.images.headers import MISSING, Header, UnusableImageError, read_headers

IMAGES_FOLDER = "images"


@dataclass(frozen=True, eq=False)
class CheckedImages:
    """The files of N image entries.

    headers: None where the file cannot be used. sizes: int64 [N, 2], height and width as displayed, from the
    annotations where the file cannot be used, 0 where neither says. orientations: uint8 [N], EXIF orientation to apply.
    """

    headers: list[Header | None]
    sizes: np.ndarray
    orientations: np.ndarray

    @property
    def turned(self) -> int:
        """How many images have an EXIF orientation that is applied."""
        return int((self.orientations > 1).sum())

    @property
    def ignored(self) -> int:
        """How many have one that is not applied, because the annotations' size says so."""
        pairs = zip(self.headers, self.orientations.tolist(), strict=True)
        return sum(header is not None and header.orientation != applied for header, applied in pairs)


def check_images(table: AnnotationTable) -> tuple[CheckedImages, list[Problem]]:
    """Look at the path and the header of every image, and decide which orientation its annotations are for."""
    folder, count = table.folder / IMAGES_FOLDER, len(table.file_names)
    problems: list[Problem] = []
    paths: dict[int, Path] = {}
    first_use: dict[str, int] = {}
    present = cache(lower_case_names)

    def add(index: int, kind: str, rest: str) -> None:
        hint = f" {_missing_image_hint(folder, table.file_names[index], present)}" if kind == MISSING else ""
        problems.append(Problem(table.channel, kind, f"{table.image(index)} {rest}{hint}"))

    if count == 0:
        text = f"{table.channel}: {ANNOTATIONS_FILE} lists no usable image in images. Expected at least one."
        problems.append(Problem(table.channel, "empty channels", text))
    elif not folder.is_dir():
        text = f"{table.channel}: there is no folder {folder}. Expected the {count} images of {ANNOTATIONS_FILE} in it."
        problems.append(Problem(table.channel, "missing image folders", text))
    else:
        for index, name in enumerate(table.file_names):
            refused = _path_problem(folder, name)
            if refused is not None:
                add(index, "refused file names", refused)
            elif (first := first_use.setdefault(os.path.normpath(name), index)) == index:
                paths[index] = folder / name
            else:
                listed = f"is listed already as images[{table.image_rows[first]}]"
                add(index, "duplicate file names", f"{listed}. Merge the two entries into one.")
    images = examine_images(paths, table.image_sizes, add)
    if count and not any(images.headers) and folder.is_dir():
        text = f"{table.channel}: none of the {count} images can be used."
        problems.insert(0, Problem(table.channel, "channels without usable images", text))
    return images, problems


def examine_images(
    paths: Mapping[int, Path], annotated: np.ndarray, add: Callable[[int, str, str], None]
) -> CheckedImages:
    """Read the header of images, and decide which orientation their annotations are for.

    Args:
        paths: the files, by the index of the image; one that is not there has no file that could be used.
        annotated: int64 [N, 2], height and width by the annotations, 0 where not given.
        add: takes the index, kind and end of the sentence of each problem; that of a file that is MISSING does not say
            yet what to do.
    """
    headers: list[Header | None] = [None] * len(annotated)
    sizes, orientations = annotated.copy(), np.ones(len(annotated), np.uint8)
    for index, header in zip(paths, read_headers(list(paths.values())), strict=True):
        if isinstance(header, UnusableImageError):
            add(index, header.kind, str(header))
            continue
        headers[index] = header
        # TensorFlow ignores EXIF, annotation tools differ. The annotated size tells which pixels the boxes are for; if
        # it fits both ways (a square, a half turn, or no size given), EXIF is honoured, as every viewer does.
        for size, orientation in ((header.turned, header.orientation), (header.stored, 1)):
            if all(given in (0, actual) for given, actual in zip(annotated[index], size, strict=True)):
                sizes[index], orientations[index] = size, orientation
                break
        else:
            add(index, "images of another size", _size_mismatch(header, annotated[index]))
            sizes[index] = 0
    return CheckedImages(headers, sizes, orientations)


def _size_mismatch(header: Header, annotated: np.ndarray) -> str:
    height, width = header.turned
    turn = f" (turned as its EXIF orientation {header.orientation} says)" if header.orientation > 1 else ""
    annotated_size = f"{annotated[1] or 'nothing'} and {annotated[0] or 'nothing'}"
    return (
        f"is {width} wide and {height} high{turn}, but the annotations say {annotated_size}, so its boxes would be "
        f"misplaced. Correct width and height there, or use the image that was annotated."
    )


def _path_problem(folder: Path, file_name: str) -> str | None:
    """Why this file_name may not be used below the images folder, if so. Nothing outside the channel is ever opened."""
    if not file_name or any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in file_name):
        return "is not the name of a file. Expected a path below images/."
    if posixpath.isabs(file_name):
        return "is an absolute path. Expected a path below images/."
    if ".." in file_name.split("/"):
        return 'contains "..". Expected a path below images/.'
    channel = os.path.realpath(folder.parent)
    target = os.path.realpath(folder / file_name)
    if os.path.commonpath([channel, target]) != channel:
        return "is a link that leaves the channel. Put the file itself into images/."
    return None


def lower_case_names(folder: Path) -> dict[str, str]:
    """What a folder holds: lower-case name -> name. Nothing, if it cannot be listed."""
    try:
        return {name.lower(): name for name in os.listdir(folder)}
    except OSError:
        return {}


def _missing_image_hint(folder: Path, file_name: str, present: Callable[[Path], dict[str, str]]) -> str:
    """Where the file may be instead."""
    if os.path.isfile(folder.parent / file_name):  # False where pathlib raises
        return "It lies in the channel's folder: file_name is relative to images/, so put it there or shorten the name."
    plain = posixpath.basename(file_name.replace("\\", "/"))
    similar = present(folder).get(plain.lower())
    if similar is not None and similar != file_name:
        return f"There is {similar!r}: write file_name exactly so."
    return "Add the file or remove its entry."
