"""What a reader makes of a data set in another format: images, boxes and classes, each with its place in the source."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sagemaker_object_detection.dataset.annotation_entries import Id
from sagemaker_object_detection.dataset.problems import Problem

Numbers = tuple[float, float, float, float]


@dataclass(frozen=True)
class Notation:
    """How a format writes a box.

    fields: what its four numbers are called. expected: completes "expected ...". inverted: what sentences say of a box
    that ends before it begins. to_corners: numbers as written, float64 [M, 4], and sizes of their images, float64
    [M, 2], height and width -> xmin ymin xmax ymax in pixels, float64 [M, 4].
    """

    fields: tuple[str, str, str, str]
    expected: str
    inverted: str
    to_corners: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def show(self, numbers: Numbers) -> str:
        """The numbers by name, for sentences."""
        return ", ".join(f"{field} {number:.15g}" for field, number in zip(self.fields, numbers, strict=True))


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image.

    place: where the source lists it, for sentences. file_name: its path below images/, "/" between folders. path: the
    file itself, or None where a problem says already why there is none. height, width: as the source has them, 0 where
    it has not.
    """

    place: str
    file_name: str
    path: Path | None
    height: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True)
class SourceBox:
    """One box. place: where the source has it, for sentences. image: index. numbers: in the format's notation."""

    place: str
    image: int
    category: Id
    numbers: Numbers


@dataclass(frozen=True)
class Source:
    """A data set as its files have it. What could not be read is left out, and is among the problems.

    folders: those that hold it, which nothing is to be written into. categories: (id, name) of each class, in the
    source's order. left_out: what was not to be converted, in words, and
    how often; noticed: what else the summary says, likewise.
    """

    format: str
    notation: Notation
    images: tuple[SourceImage, ...]
    boxes: tuple[SourceBox, ...]
    categories: tuple[tuple[Id, str], ...]
    problems: tuple[Problem, ...]
    folders: tuple[Path, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    noticed: tuple[tuple[str, int], ...] = ()
