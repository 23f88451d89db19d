"""Reads `annotations.json` of a channel: the built-in algorithm's format, which looks like COCO but has corner boxes.

    {"images": [{"file_name": "a.png", "height": 480, "width": 640, "id": 1}],
     "annotations": [{"image_id": 1, "bbox": [xmin, ymin, xmax, ymax], "category_id": 7}],
     "categories": [{"id": 7, "name": "dog"}]}

`categories`, `height` and `width` may be missing; other keys are ignored. A correct file is decoded in one strict,
typed pass. Only when that fails, or finds text that may not be printed, a second, patient pass looks at every entry by
itself and names all that are wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np

from sagemaker_object_detection.dataset.annotation_entries import (
    ANNOTATIONS_FILE,
    Document,
    Id,
    UnreadableFileError,
    has_unprintable,
    read_patiently,
)
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.files.regular import TooLargeFileError, read_regular
from sagemaker_object_detection.sentences import shortlist

MAX_BYTES = 2 * 2**30
"""Larger files are not read: they would fill the memory. COCO's own, segmentations included, has 0.45 GB."""
_EXPECTED = f"Expected {ANNOTATIONS_FILE} next to a folder images/."
_LISTS = (b'"images"', b'"annotations"', b'"categories"')


@dataclass(frozen=True, eq=False)
class AnnotationTable:
    """What the file says, as columns: N images, M boxes. Entries that could not be read are left out.

    image_rows [N], box_rows [M]: position of each entry in the file. image_sizes: int64 [N, 2], height and width, 0
    where not given. box_images: int64 [M], index of the image, -1 unknown. bboxes: float64 [M, 4], as written.
    box_categories: int64 [M], index into `category_ids`, the distinct ids in order of appearance. categories: id ->
    name, None if absent. origins [N]: what images of one origin have in common, None where not given.
    """

    channel: str
    folder: Path
    file_names: list[str]
    image_rows: np.ndarray
    image_sizes: np.ndarray
    box_rows: np.ndarray
    box_images: np.ndarray
    bboxes: np.ndarray
    box_categories: np.ndarray
    category_ids: list[Id]
    categories: Mapping[Id, str] | None
    origins: Sequence[Id | None]

    def image(self, index: int) -> str:
        """How sentences name an image's entry."""
        return f"{self.channel} images[{self.image_rows[index]}] {self.file_names[index]!r}"

    def box(self, number: int) -> str:
        """How sentences name an annotation."""
        image = self.box_images[number]
        named = f", image {self.file_names[image]!r}" if image >= 0 else ""
        return f"{self.channel} annotations[{self.box_rows[number]}]{named}"


def read_annotations(channel: str, folder: Path) -> tuple[AnnotationTable | None, list[Problem]]:
    """Read and link the file in a channel's folder: the table, or None if the file as a whole is unreadable, and every
    problem found. `channel` is its name, for sentences."""
    path = folder / ANNOTATIONS_FILE
    try:
        raw = read_regular(path, MAX_BYTES)
    except TooLargeFileError as error:
        text = (
            f"{channel}: {path} cannot be read ({error.strerror}). Leave out what is not needed, such as "
            "segmentations, or train on fewer images."
        )
        return None, [Problem(channel, "unreadable annotation files", text)]
    except OSError as error:
        return None, [Problem(channel, "missing annotation files", _missing_file(channel, folder, error))]
    return parse_annotations(channel, folder, raw)


def parse_annotations(
    channel: str, folder: Path, raw: bytes, file_name: str = ANNOTATIONS_FILE
) -> tuple[AnnotationTable | None, list[Problem]]:
    """As `read_annotations`, of the file's bytes; `file_name` is what sentences call it."""
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    document = _decode(raw)
    problems: list[Problem] = []
    if document is not None:
        image_rows: Sequence[int] = range(len(document.images))
        box_rows: Sequence[int] = range(len(document.annotations))
    else:
        try:
            document, image_rows, box_rows, problems = read_patiently(raw, channel, file_name)
        except UnreadableFileError as error:
            return None, [Problem(channel, "unreadable annotation files", f"{channel}: {file_name} {error}")]
    del raw
    table, unlinked = _link(channel, folder, document, image_rows, box_rows)
    return table, problems + unlinked


def _decode(raw: bytes) -> Document | None:
    """The strict pass. None where the file needs the patient one."""
    try:
        document = msgspec.json.decode(raw, type=Document)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    # Of a key that is given twice only the last value is left; the patient pass can tell.
    fields = (b'"file_name"', len(document.images)), (b'"bbox"', len(document.annotations))
    repeated = any(raw.count(key) > count for key, count in (*((name, 1) for name in _LISTS), *fields))
    return None if repeated or has_unprintable(document) else document


def _missing_file(channel: str, folder: Path, error: OSError) -> str:
    if not isinstance(error, FileNotFoundError):
        return f"{channel}: {folder / ANNOTATIONS_FILE} cannot be read ({error.strerror}). {_EXPECTED}"
    if not folder.is_dir():
        return f"{channel}: the channel's folder {folder} does not exist. {_EXPECTED}"
    try:
        present = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    except OSError as unlisted:
        return f"{channel}: {ANNOTATIONS_FILE} is missing; {folder} cannot be listed ({unlisted.strerror}). {_EXPECTED}"
    found = f"holds {shortlist(present)}" if present else "is empty"
    nested = next(chain(folder.glob(f"*/{ANNOTATIONS_FILE}"), folder.glob(f"*/*/{ANNOTATIONS_FILE}")), None)
    hint = ""
    if nested is not None:
        inner = nested.parent.relative_to(folder).as_posix()
        hint = f" There is one in {inner}/: let the channel's S3 path end in {inner}/."
    return f"{channel}: {ANNOTATIONS_FILE} is missing; {folder} {found}. {_EXPECTED}{hint}"


def _link(
    channel: str, folder: Path, document: Document, image_rows: Sequence[int], box_rows: Sequence[int]
) -> tuple[AnnotationTable, list[Problem]]:
    """Turn entries into columns and ids into indices, naming what refers to nothing."""
    images, annotations = document.images, document.annotations
    first_of_id: dict[Id, int] = {}
    firsts = [first_of_id.setdefault(image.id, index) for index, image in enumerate(images)]
    sides = chain.from_iterable((image.height or 0, image.width or 0) for image in images)
    codes: dict[Id, int] = {}
    coded = (codes.setdefault(box.category_id, len(codes)) for box in annotations)
    known: dict[Id, str] = {}
    for category in document.categories or ():
        known.setdefault(category.id, category.name)
    count = len(annotations)
    box_categories = np.fromiter(coded, np.int64, count)
    table = AnnotationTable(
        channel=channel,
        folder=folder,
        file_names=[image.file_name for image in images],
        image_rows=np.asarray(image_rows, np.int64),
        image_sizes=np.fromiter(sides, np.int64, 2 * len(images)).reshape(-1, 2),
        box_rows=np.asarray(box_rows, np.int64),
        box_images=np.fromiter((first_of_id.get(box.image_id, -1) for box in annotations), np.int64, count),
        bboxes=np.fromiter(chain.from_iterable(box.bbox for box in annotations), np.float64, 4 * count).reshape(-1, 4),
        box_categories=box_categories,
        category_ids=list(codes),
        categories=known or None,
        origins=[image.origin for image in images],
    )
    problems: list[Problem] = []

    def add(kind: str, text: str) -> None:
        problems.append(Problem(channel, kind, text))

    for index, first in enumerate(firsts):
        if first != index:
            other = f"images[{image_rows[first]}] {images[first].file_name!r}"
            taken = f"id {images[index].id!r} already belongs to {other}"
            add("duplicate image ids", f"{table.image(index)}: {taken}. Give every image an id of its own.")
    for number in np.flatnonzero(table.box_images < 0).tolist():
        image_id = annotations[number].image_id
        text = (
            f"{table.box(number)}: image_id {image_id!r} is not the id of any image in images."
            f"{_other_type(image_id, first_of_id)} Correct it or remove the annotation."
        )
        add("unknown image ids", text)
    for category in document.categories or ():
        if known[category.id] != category.name:
            both = f"{known[category.id]!r} and {category.name!r}"
            text = f"{channel} categories: id {category.id!r} is both {both}. Give every category an id of its own."
            add("duplicate categories", text)
    unknown = [code for id_, code in codes.items() if known and id_ not in known]
    for number in np.flatnonzero(np.isin(box_categories, unknown)).tolist():
        category_id = annotations[number].category_id
        text = (
            f"{table.box(number)}: category_id {category_id!r} is not among the ids of categories "
            f"({shortlist(list(known))}).{_other_type(category_id, known)} Add it there or correct it."
        )
        add("unknown category ids", text)
    return table, problems


def _other_type(id_: Id, known: Mapping[Id, object]) -> str:
    """A hint where 1 was written for "1", or the other way round."""
    if isinstance(id_, int):
        return f" There is {str(id_)!r}, which is text." if str(id_) in known else ""
    as_number = next((key for key in known if isinstance(key, int) and str(key) == id_), None)
    return "" if as_number is None else f" There is {as_number}, which is a number."
