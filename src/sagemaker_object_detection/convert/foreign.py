"""A data set in another format, as its reader finds it: images, boxes and classes, each with its place in the source,
and every problem on the way."""

import os
import posixpath
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sagemaker_object_detection.dataset.annotation_entries import Id
from sagemaker_object_detection.dataset.annotation_file import MAX_BYTES
from sagemaker_object_detection.dataset.conventions import PIXELS, Convention
from sagemaker_object_detection.dataset.ground_truth import numbered_lines
from sagemaker_object_detection.dataset.image_names import Match, find_files, is_file_name, leads_elsewhere
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.dataset.witnesses import NO_WITNESSES, Witnesses
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.files.walk import files_below
from sagemaker_object_detection.hyperparameters.kinds import Number
from sagemaker_object_detection.sentences import MAX_TEXT, is_name, is_printable, quoted, shortlist, shown

_IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif")
)
"""Also of formats that are refused: an image that silently was not there would be worse."""
_NAME = f"one line of at most {MAX_TEXT} characters"
_MOST = 2.0**31
_FINITE = Number(-sys.float_info.max, sys.float_info.max)


class InvalidError(Exception):
    """One part of a data set cannot be read, and is left out. The message is the whole sentence.

    kind: what sort of problem it is, in the plural.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Notation:
    """How a format writes a box.

    fields: what its four numbers are called. expected: completes "expected ...". convention: what they are.
    any_corners: whether the two corners may be any two opposite ones. is_known: whether they can be nothing else, so
    that nobody is asked.
    """

    fields: tuple[str, str, str, str]
    expected: str
    convention: Convention
    any_corners: bool = False
    is_known: bool = False

    def to_corners(self, numbers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Numbers as written, float64 [M, 4], and sizes of their images, float64 [M, 2], height and width, to xmin ymin
        xmax ymax in pixels, float64 [M, 4]."""
        corners = self.convention.to_xyxy_pixels(numbers, sizes)
        if self.any_corners:
            ends = corners.reshape(-1, 2, 2)
            corners = np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1)
        if self.convention.unit == PIXELS:
            return corners
        return np.asarray(np.round(corners, 9))  # of whole pixels, shares lose the last digits


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """One image.

    place: where the source lists it, for sentences. file_name: its path below images/, "/" between folders, or another
    name that is to be looked for. path: the file by this name, or None where it has none. height, width: as the source
    has them, 0 where it has not. folder: where to look for the file if it is not there; None: nowhere, since a problem
    says already why there is none. group: what it has in common with others of one origin, None where not given.
    """

    place: str
    file_name: str
    path: Path | None
    height: int = 0
    width: int = 0
    folder: Path | None = None
    group: Id | None = None


@dataclass(frozen=True, slots=True)
class ForeignBox:
    """One box. place: where the source has it, for sentences. image: index. numbers: the four, as they are written.
    outline: what the source has instead of an upright box, such as "a polygon"; the numbers are those of the box around
    it, which is taken on request only. ignored: whether it is no object but a region to ignore, such as a crowd."""

    place: str
    image: int
    category: Id
    numbers: Sequence[float]
    outline: str = ""
    ignored: bool = False


@dataclass
class ForeignDataSet:
    """A data set as its files have it. What cannot be read is left out, and is among the problems.

    folders: those that hold it, which nothing is to be written into. addresses: whether images are named by addresses
    in a bucket. categories: the name of each class by its id, in
    the source's order. notes: what the summary says besides, in words, and how often; those of 0 it leaves out. counts:
    the same, of what is met one by one. witnesses: what stands beside some of the boxes.
    """

    format: str
    notation: Notation
    folders: tuple[Path, ...] = ()
    addresses: bool = False
    images: list[ForeignImage] = field(default_factory=list)
    boxes: list[ForeignBox] = field(default_factory=list)
    categories: dict[Id, str] = field(default_factory=dict)
    notes: list[tuple[str, int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    witnesses: Witnesses = NO_WITNESSES
    _unlisted: set[str] = field(default_factory=set, init=False)

    def add_problem(self, kind: str, text: str) -> None:
        """kind: what sort, in the plural. text: the whole sentence."""
        self.problems.append(Problem(self.format, kind, text))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """An InvalidError in the block becomes a problem, and the reading goes on behind it."""
        try:
            yield
        except InvalidError as error:
            self.add_problem(error.kind, str(error))

    def read_bytes(self, path: Path, expected: str) -> bytes:
        """The file's content.

        Raises:
            InvalidError: it cannot be read.
        """
        try:
            return read_regular(path, MAX_BYTES)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            fault = "does not exist" if missing else f"cannot be read ({error.strerror})"
            raise InvalidError("unreadable files", f"{path}: {fault}. Expected {expected}.") from None

    def read_text(self, path: Path, expected: str) -> str:
        """The content of a UTF-8 text file, its lines ended by line feeds alone.

        Raises:
            InvalidError: it cannot be read.
        """
        return decoded(str(path), self.read_bytes(path, expected))

    def read_json(self, path: Path, expected: str) -> Any:
        """What a JSON file holds.

        Raises:
            InvalidError: it cannot be read.
        """
        raw = self.read_bytes(path, expected)
        try:
            return strict_json.parse(raw)
        except JsonError as error:
            raise InvalidError("unreadable files", f"{path} {error}. {error.advice}; expected {expected}.") from None

    def lines(self, path: Path, expected: str) -> Iterator[tuple[str, str]]:
        """Place and content of each line of a text file that is not blank. A file that cannot be read has none, and is
        a problem."""
        with self.collecting():
            yield from numbered_lines(str(path), self.read_text(path, expected))

    def has_folder(self, path: Path, expected: str) -> bool:
        """Whether there is such a folder; that there is none is a problem."""
        if os.path.isdir(path):
            return True
        what = "is not a folder" if os.path.lexists(path) else "does not exist"
        self.add_problem("missing folders", f"{path}: {what}. Expected {expected}.")
        return False

    def walk(self, folder: Path) -> Iterator[str]:
        """`files_below`. A folder that cannot be listed is a problem: what it holds would be missing without a word."""

        def unlisted(error: OSError) -> None:
            text = f"{error.filename}: cannot be listed ({error.strerror}). Let it be read, or move it elsewhere."
            if text not in self._unlisted:  # some folders are walked twice
                self._unlisted.add(text)
                self.add_problem("unreadable folders", text)

        return files_below(folder, unlisted)

    def is_name(self, place: str, name: str) -> bool:
        """Whether this can be the name of a class; that it cannot is a problem."""
        if name and is_name(name):
            return True
        fault = f"the class's name is {quoted(name)}" if name else "the class's name is empty"
        self.add_problem("unusable class names", f"{place}: {fault}; expected {_NAME}. Correct it there.")
        return False

    def is_file_name(self, place: str, name: str) -> bool:
        """Whether a file can be called so; that it cannot is a problem."""
        if is_file_name(name) and is_printable(name):
            return True
        text = f"{place}: {quoted(name)} is not the name of a file. Expected a path below the folder of the images."
        self.add_problem("refused file names", text)
        return False

    def match(
        self, names: Collection[str], files: Collection[str], what: str
    ) -> tuple[dict[str, str], dict[str, Sequence[str]]]:
        """What names mean that are those of no file: as names of images are found, in another form.

        Args:
            what: the names, in the plural, for the summary, which counts those that are found.

        Returns:
            the file of each name that means one; the files that each other one might mean.
        """
        matches = find_files(names, list(files), by_base_name=False)
        found: dict[str, str] = {}
        used: set[str] = set()
        guesses: dict[str, Sequence[str]] = {}
        examples: dict[str, list[str]] = {}
        for name in names:
            match = matches.get(name, Match((), sure=False))
            if match.sure and len(match.files) == 1 and match.files[0] not in used:
                found[name] = match.files[0]
                used.add(match.files[0])
                examples.setdefault(" and ".join(match.forms), []).append(name)
            else:
                guesses[name] = match.files
        self.notes += [
            (f"{what} written {how}, such as {shown(same[0])} for {shown(found[same[0]])}", len(same))
            for how, same in examples.items()
        ]
        return found, guesses

    def image(self, place: str, name: str, folder: Path | None, height: int = 0, width: int = 0) -> ForeignImage:
        """The image that is called `name` in a folder, if there is one. A name that is none is a problem."""
        folder = folder if self.is_file_name(place, name) else None
        inner = name if leads_elsewhere(name) else posixpath.normpath(name)
        path = None if folder is None or leads_elsewhere(name) else folder / inner
        return ForeignImage(place, inner, path, height, width, folder)


def did_you_mean(names: Sequence[str]) -> str:
    """A question to stand before an advice, empty without names."""
    return f"Did you mean {shortlist(names)}? " if names else ""


def decoded(place: str, content: bytes) -> str:
    """The text of a UTF-8 file, its lines ended by line feeds alone.

    Args:
        place: what the file is called in sentences.

    Raises:
        InvalidError: it is no UTF-8.
    """
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        text = f"{place}: is not UTF-8 (byte {error.start + 1}). Save it as UTF-8 text."
        raise InvalidError("unreadable files", text) from None


def coordinate(value: Any) -> float | None:
    """The number that a JSON file has as a coordinate, or None: no truth value, nothing that is infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:
        return None
    return float(value)


def is_point(value: Any) -> bool:
    """Whether a JSON file has a pair of coordinates here."""
    return isinstance(value, list) and len(value) == 2 and all(coordinate(each) is not None for each in value)


def is_image(name: str) -> bool:
    """Whether the name is that of an image, usable or not."""
    return posixpath.splitext(name)[1].lower() in _IMAGE_SUFFIXES


def parse_number(text: str) -> float | None:
    """The finite number that the text is, or None."""
    try:
        return _FINITE.parse(text.strip())
    except ValueError:
        return None
