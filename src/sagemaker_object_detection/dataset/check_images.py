"""Holds a channel's image entries against its image files: their paths, their headers, their sizes.

Nothing is decoded here, so this takes seconds and no TensorFlow; `load.py` decodes what is left.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from operator import itemgetter
from pathlib import Path

import numpy as np

from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.image_names import Search, files_of_channel, is_file_name, leads_elsewhere
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.images.headers import MISSING, UNUSABLE, Header, UnusableImageError, read_headers
from sagemaker_object_detection.sentences import counted, quoted, shortlist

IMAGES_FOLDER = "images"
_SUFFIXES = (".jpg", ".jpeg", ".png")
_LEAVES = f"is a link that leaves the channel. Put the file itself into {IMAGES_FOLDER}/."


@dataclass(frozen=True, eq=False)
class CheckedImages:
    """The files of N image entries.

    headers: None where the file cannot be used. paths: likewise. sizes: int64 [N, 2], height and
    width as displayed, from the annotations where the file cannot be used, 0 where neither says. orientations: uint8
    [N], EXIF orientation to apply.
    notes: sentences on files that were taken though they are called otherwise. unusable: what is wrong with files that
    can never be used, by the index of the image; they are among the problems too.
    """

    headers: list[Header | None]
    paths: list[Path | None]
    sizes: np.ndarray
    orientations: np.ndarray
    notes: tuple[str, ...] = ()
    unusable: Mapping[int, Problem] = field(default_factory=dict)

    @property
    def turned(self) -> int:
        """How many images have an EXIF orientation that is applied."""
        return int((self.orientations > 1).sum())

    @property
    def turned_by_xmp(self) -> int:
        """How many of these say it in XMP data alone."""
        pairs = zip(self.headers, self.orientations.tolist(), strict=True)
        return sum(header is not None and header.from_xmp and applied > 1 for header, applied in pairs)

    @property
    def ignored(self) -> int:
        """How many have one that is not applied, because the annotations' size says so."""
        pairs = zip(self.headers, self.orientations.tolist(), strict=True)
        return sum(header is not None and header.orientation != applied for header, applied in pairs)


def check_images(table: AnnotationTable) -> tuple[CheckedImages, list[Problem]]:
    """Look at the path and the header of every image, and decide which orientation its annotations are for."""
    folder, count = images_folder(table.folder), len(table.file_names)
    problems: list[Problem] = []
    elsewhere: list[int] = []
    paths: dict[int, Path] = {}
    used: dict[str, int] = {}
    files: dict[int, Problem] = {}

    def add(index: int, kind: str, rest: str) -> None:
        problem = Problem(table.channel, kind, f"{table.image(index)} {rest}")
        problems.append(problem)
        if kind in UNUSABLE:
            files[index] = problem

    unusable = _unusable_folder(table, folder)
    if unusable is not None:
        problems.append(unusable)
        names: list[str] = []
    else:
        names = table.file_names
    channel = os.path.realpath(table.folder)
    for index, name in enumerate(names):
        if not is_file_name(name):
            add(index, "refused file names", f"is not the name of a file. Expected a path below {folder.name}/.")
        elif leads_elsewhere(name) and not table.addresses:
            elsewhere.append(index)
        elif _leaves(channel, folder, name):
            add(index, "refused file names", _LEAVES)
        elif (first := used.setdefault(os.path.normpath(name), index)) == index:
            if table.addresses:
                elsewhere.append(index)
            else:
                paths[index] = folder / name
        else:
            listed = f"is listed already as {table.place(first)}"
            add(index, "duplicate file names", f"{listed}. Merge the two entries into one.")
    present = cache(lambda: files_of_channel(folder))
    search = Search(
        folder,
        present,
        used,
        lambda index: f"{table.place(index)} {quoted(table.file_names[index])}",
        addresses=table.addresses,
    )

    def find(missing: Sequence[int]) -> Mapping[int, Path | UnusableImageError]:
        lost = {index: table.file_names[index] for index in sorted({*missing, *elsewhere})}
        found: dict[int, Path | UnusableImageError] = {}
        for index, file in search.find(lost).items():
            if isinstance(file, UnusableImageError):
                found[index] = file
            elif _leaves(channel, folder, file):
                found[index] = UnusableImageError("refused file names", _LEAVES)
            else:
                found[index] = folder / file
        return found

    images = examine_images(paths, table.image_sizes, add, find)
    if names and not any(images.headers):
        if folder == table.folder and {problem.kind for problem in problems} <= {MISSING, "refused file names"}:
            missing = folder / IMAGES_FOLDER
            text = f"{table.channel}: there is no folder {missing}. Expected the {count} images of {table.file} in it."
            return images, [Problem(table.channel, "missing image folders", text)]
        text = f"{table.channel}: none of the {count} images can be used."
        problems.insert(0, Problem(table.channel, "channels without usable images", text))
    told = [
        f"{table.channel}: {count} file name{'s are' if count > 1 else ' is'} written {how}; the files in "
        f"{folder.name}/ were taken."
        for how, count in search.notes()
    ]
    known = {*used, *(os.path.relpath(path, folder) for path in images.paths if path is not None)}
    if names and folder != table.folder and not table.addresses and (unlisted := _unlisted(present(), known)):
        told.append(
            f"{table.channel}: {counted(len(unlisted), 'image')} in {folder.name}/ "
            f"{'is' if len(unlisted) == 1 else 'are'} not in {table.file} and not used ({shortlist(unlisted)})."
        )
    if names and folder == table.folder and not table.addresses:
        told.append(f"{table.channel}: there is no folder {IMAGES_FOLDER}/; the images were taken from {folder}.")
    return replace(images, notes=tuple(told), unusable=files), problems


def _unlisted(present: Sequence[str], known: Collection[str]) -> list[str]:
    """The images among files that no entry is about. Both are paths below one folder."""
    return [name for name in present if name not in known and name.lower().endswith(_SUFFIXES)]


def images_folder(channel: Path) -> Path:
    """Where a channel's images lie: in images/, or in the channel's folder itself if there is no images/."""
    inside = channel / IMAGES_FOLDER
    return inside if os.path.lexists(inside) else channel


def _unusable_folder(table: AnnotationTable, folder: Path) -> Problem | None:
    """What stands against looking for any image, if so."""
    if not table.file_names:
        text = f"{table.channel}: {table.file} lists no usable image. Expected at least one."
        return Problem(table.channel, "empty channels", text)
    fault = None
    if os.path.islink(folder) and folder != table.folder:
        target = os.path.realpath(folder)
        if not os.path.exists(target):
            fault = f"is a link to {os.readlink(folder)}, which is not there"
        elif not _is_below(os.path.realpath(table.folder), target):
            fault = f"is a link to {target}, which lies outside of the channel"
    if fault is None and not folder.is_dir():
        fault = "is not a folder"
    if fault is None:
        return None
    advice = f"Put the folder itself there, with the {len(table.file_names)} images of {table.file}."
    return Problem(table.channel, "missing image folders", f"{table.channel}: {folder} {fault}. {advice}")


def examine_images(
    paths: Mapping[int, Path],
    annotated: np.ndarray,
    add: Callable[[int, str, str], None],
    find: Callable[[Sequence[int]], Mapping[int, Path | UnusableImageError]],
) -> CheckedImages:
    """Read the header of images, and decide which orientation their annotations are for.

    Args:
        paths: the files, by the index of the image; one that is not there has no file that could be used.
        annotated: int64 [N, 2], height and width by the annotations, 0 where not given.
        add: takes the index, kind and end of the sentence of each problem.
        find: is given the images whose files are MISSING; returns the files to be used for them, or what is wrong, also
            of images that are not among `paths`.
    """
    results: dict[int, Header | UnusableImageError] = dict(zip(paths, read_headers(list(paths.values())), strict=True))
    found = find([index for index, result in results.items() if _is_missing(result)])
    files = {index: file for index, file in found.items() if isinstance(file, Path)}
    results |= {index: file for index, file in found.items() if isinstance(file, UnusableImageError)}
    results |= zip(files, read_headers(list(files.values())), strict=True)
    headers: list[Header | None] = [None] * len(annotated)
    sizes, orientations = annotated.copy(), np.ones(len(annotated), np.uint8)
    for index, header in sorted(results.items(), key=itemgetter(0)):
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
    every = {**paths, **files}
    used = [None if header is None else every[index] for index, header in enumerate(headers)]
    return CheckedImages(headers, used, sizes, orientations)


def _is_missing(result: Header | UnusableImageError) -> bool:
    return isinstance(result, UnusableImageError) and result.kind == MISSING


def _size_mismatch(header: Header, annotated: np.ndarray) -> str:
    height, width = header.turned
    turn = f" (turned as its EXIF orientation {header.orientation} says)" if header.orientation > 1 else ""
    annotated_size = f"{annotated[1] or 'nothing'} and {annotated[0] or 'nothing'}"
    times = np.divide(header.turned, annotated) if annotated.all() else np.array([1.0, 2.0])
    if abs(times[0] / times[1] - 1) < 0.02:
        annotated_size += f", {1 / times.mean():.3g} times as much"
    return (
        f"is {width} wide and {height} high{turn}, but the annotations say {annotated_size}, so its boxes would be "
        f"misplaced. Correct width and height there, or use the image that was annotated."
    )


def _leaves(channel: str, folder: Path, file_name: str) -> bool:
    """Whether a link leads out of the channel. Nothing outside of it is ever opened."""
    target = os.path.realpath(folder / file_name)
    return not _is_below(channel, target)


def _is_below(folder: str, path: str) -> bool:
    return os.path.commonpath([folder, path]) == folder
