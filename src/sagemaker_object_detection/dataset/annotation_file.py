"""Reads `annotations.json` of a channel: the built-in algorithm's format, which looks like COCO but has corner boxes.

    {"images": [{"file_name": "a.png", "height": 480, "width": 640, "id": 1}],
     "annotations": [{"image_id": 1, "bbox": [xmin, ymin, xmax, ymax], "category_id": 7}],
     "categories": [{"id": 7, "name": "dog"}]}

`categories`, `height` and `width` may be missing. An annotation with `iscrowd` or `ignore` set to 1 is a region to
ignore (`box_keys` has other spellings); other keys have no effect. A correct file is decoded in one strict,
typed pass. Only when that fails, or finds text that may not be printed, a second, patient pass looks at every entry by
itself and names all that are wrong.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np

from sagemaker_object_detection.dataset.annotation_entries import (
    ANNOTATIONS_FILE,
    Document,
    Id,
    RefusedIds,
    UnreadableFileError,
    has_unprintable,
    read_patiently,
)
from sagemaker_object_detection.dataset.box_keys import DIFFICULT, IGNORED, ROTATED, BoxKey, find_box_keys
from sagemaker_object_detection.dataset.channel_contents import CONVERTER, find_manifests, missing_annotations
from sagemaker_object_detection.dataset.ground_truth import START_BYTES, is_manifest, numbered_lines, read_manifest
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.dataset.witnesses import NO_WITNESSES, Witnesses, find_witnesses
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.regular import TooLargeFileError, read_regular
from sagemaker_object_detection.sentences import counted, quoted, shortlist

MAX_BYTES = 2 * 2**30
"""Larger files are not read: they would fill the memory. COCO's own, segmentations included, has 0.45 GB."""
_NUMBER = re.compile("0|-?[1-9][0-9]{0,18}")
_EXPECTED = f"Expected {ANNOTATIONS_FILE} next to a folder images/."


@dataclass(frozen=True, eq=False)
class AnnotationTable:
    """What the file says, as columns: N images, M boxes. Entries that could not be read are left out.

    image_rows [N], box_rows [M]: position of each entry in the file. image_sizes: int64 [N, 2], height and width, 0
    where not given. box_images: int64 [M], index of the image, -1 unknown. bboxes: float64 [M, 4], as written.
    box_categories: int64 [M], index into `category_ids`, the distinct ids in order of appearance. categories: id ->
    name, None if absent. ignored: int64 [R], which of the M are no objects but regions to ignore. file: the file's
    name. addresses: whether `file_names` are the images' addresses in a bucket, and not paths below images/.
    bbox_format: what the numbers of a box are, where the file's format says it. notes: sentences on what is not read.
    said_formats: keys of boxes that say what their numbers are. origins [N]: what images of one origin have in common,
    None where not given; without any, empty. witnesses: what stands beside some of the M boxes.
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
    ignored: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    file: str = ANNOTATIONS_FILE
    addresses: bool = False
    bbox_format: str | None = None
    notes: tuple[str, ...] = ()
    said_formats: tuple[BoxKey, ...] = ()
    origins: Sequence[Id | None] = ()
    witnesses: Witnesses = NO_WITNESSES

    def image(self, index: int) -> str:
        """How sentences name an image's entry."""
        return f"{self.channel} {self.place(index)} {quoted(self.file_names[index])}"

    def place(self, index: int) -> str:
        """Where the file has an image's entry."""
        return f"images[{self.image_rows[index]}]"

    def box(self, number: int) -> str:
        """How sentences name an annotation."""
        image = self.box_images[number]
        named = f", image {quoted(self.file_names[image])}" if image >= 0 else ""
        return f"{self.channel} annotations[{self.box_rows[number]}]{named}"


@dataclass(frozen=True, eq=False)
class ManifestTable(AnnotationTable):
    """What a manifest says. places [N]: the lines of the images. box_rows [M]: positions in their lines' lists."""

    places: Sequence[str] = ()

    def place(self, index: int) -> str:
        return self.places[index]

    def box(self, number: int) -> str:
        image = self.box_images[number]
        place = f"{self.channel} {self.places[image]} annotations[{self.box_rows[number]}]"
        return f"{place}, image {quoted(self.file_names[image])}"


def read_annotations(channel: str, folder: Path) -> tuple[AnnotationTable | None, list[Problem]]:
    """Read and link the file in a channel's folder: `annotations.json`, or else the manifest of a labelling job.

    Args:
        channel: its name, for sentences.

    Returns:
        the table, or None if the file as a whole is unreadable, and every problem found.
    """
    file, others = ANNOTATIONS_FILE, find_manifests(folder)
    if others and not os.path.lexists(folder / ANNOTATIONS_FILE):
        file, *others = others
        if others:
            several = f"{channel}: {folder} holds {shortlist([file, *others])}. Leave the one manifest that is meant."
            return None, [Problem(channel, "several annotation files", several)]
    path = folder / file
    try:
        raw = read_regular(path, MAX_BYTES)
    except TooLargeFileError as error:
        text = (
            f"{channel}: {path} cannot be read ({error.strerror}). Leave out what is not needed, such as "
            "segmentations, or train on fewer images."
        )
        return None, [Problem(channel, "unreadable annotation files", text)]
    except OSError as error:
        if file == ANNOTATIONS_FILE and isinstance(error, FileNotFoundError):
            text = missing_annotations(channel, folder)
        else:
            text = f"{channel}: {path} cannot be read ({error.strerror}). {_EXPECTED}"
        return None, [Problem(channel, "missing annotation files", text)]
    if file != ANNOTATIONS_FILE or is_manifest(raw[:START_BYTES]):
        return _parse_manifest(channel, folder, raw, file)
    table, problems = parse_annotations(channel, folder, raw)
    if table is not None and others:
        told = f"{channel}: {file} is read, and {shortlist(others)} beside it is not. Leave the one that is meant."
        table = replace(table, notes=(*table.notes, told))
    return table, problems


def _parse_manifest(channel: str, folder: Path, raw: bytes, file: str) -> tuple[AnnotationTable | None, list[Problem]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        told = f"{channel} {file}: is not UTF-8 (byte {error.start + 1}). Save it as UTF-8 text."
        return None, [Problem(channel, "unreadable annotation files", told)]
    manifest = read_manifest(file, numbered_lines(file, text), option=f"{CONVERTER} ground-truth --label-attribute")
    problems = [Problem(channel, kind, f"{channel} {told}") for kind, told in manifest.problems]
    if not manifest.images and problems:
        return None, problems
    codes = {id_: code for code, id_ in enumerate(manifest.classes)}
    images, boxes = manifest.images, manifest.boxes
    table = ManifestTable(
        channel=channel,
        folder=folder,
        file_names=[image.address for image in images],
        image_rows=np.arange(len(images)),
        places=[image.place for image in images],
        origins=[image.group for image in images],
        image_sizes=np.array([(image.height, image.width) for image in images], np.int64).reshape(-1, 2),
        box_rows=np.array([box.row for box in boxes], np.int64),
        box_images=np.array([box.image for box in boxes], np.int64),
        bboxes=np.array([box.numbers for box in boxes], np.float64).reshape(-1, 4),
        box_categories=np.array([codes[box.class_id] for box in boxes], np.int64),
        category_ids=list(codes),
        categories=dict(manifest.classes.items()),
        file=file,
        addresses=True,
        bbox_format="xywh",
        notes=tuple(f"{channel} {file}: {what}: {count}." for what, count in manifest.notes if count),
    )
    return table, problems


def parse_annotations(
    channel: str, folder: Path, raw: bytes, file_name: str = ANNOTATIONS_FILE, *, turns: Collection[str] = ()
) -> tuple[AnnotationTable | None, list[Problem]]:
    """As `read_annotations`, of the file's bytes.

    Args:
        file_name: what sentences call it.
        turns: keys beside a box by which the caller turns it; any other one that turns it is a problem.
    """
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    document = _decode(raw)
    problems: list[Problem] = []
    refused = RefusedIds()
    if document is not None:
        image_rows: Sequence[int] = range(len(document.images))
        box_rows: Sequence[int] = range(len(document.annotations))
    else:
        try:
            document, image_rows, box_rows, problems, refused = read_patiently(raw, channel, file_name)
        except UnreadableFileError as error:
            return None, [Problem(channel, "unreadable annotation files", f"{channel}: {file_name} {error}")]
    keys = find_box_keys(raw)
    marked = {row for key in keys if key.says == IGNORED for row in key.rows}
    table, unlinked = _link(channel, folder, document, image_rows, box_rows, refused, marked)
    witnesses = find_witnesses(raw, table.box_rows)
    del raw
    unsized = sum(image.height == 0 or image.width == 0 for image in document.images)
    notes = [_told_beside(channel, key) for key in keys if not key.says or key.says == DIFFICULT]
    if unsized:
        notes.append(f"{channel}: {unsized} images have a height or width of 0, which is unknown: their files say it.")
    rotated = [_rotated(channel, key, file_name) for key in keys if key.says == ROTATED and key.name not in turns]
    formats = tuple(key for key in keys if key.says and key.says not in (ROTATED, IGNORED, DIFFICULT))
    table = replace(table, notes=tuple(notes), said_formats=formats, witnesses=witnesses)
    return table, problems + rotated + unlinked


def _rotated(channel: str, key: BoxKey, file_name: str) -> Problem:
    text = (
        f"{channel}: {len(key.rows)} boxes are rotated, as {key.key} says; first: annotations[{key.rows[0]}] with "
        f"{key.key} {key.value}. Expected upright boxes. Write the upright box around each object into {file_name} and "
        f"leave {key.key} out; if the boxes are upright already, leave it out."
    )
    return Problem(channel, "rotated boxes", text)


def _told_beside(channel: str, key: BoxKey) -> str:
    first = f"First: annotations[{key.rows[0]}] with {key.value}."
    have = f"{counted(len(key.rows), 'annotation has', 'annotations have')} {key.key}"
    if key.says == DIFFICULT:
        return f"{channel}: {have}, which has no effect: iscrowd or ignore 1 is for what is not to be learnt. {first}"
    what = "a rotated box" if key.says == "" else "a word that is not known"
    return f"{channel}: {have}, {what}, which has no effect: bbox alone is read. {first}"


def _decode(raw: bytes) -> Document | None:
    """The strict pass. None where the file needs the patient one."""
    try:
        document = msgspec.json.decode(raw, type=Document)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    # Of a key that is given twice only the last value is left; the patient pass says which.
    return None if has_unprintable(document) or strict_json.repeats_a_key(raw) else document


def _link(
    channel: str,
    folder: Path,
    document: Document,
    image_rows: Sequence[int],
    box_rows: Sequence[int],
    refused: RefusedIds,
    marked: Collection[int],
) -> tuple[AnnotationTable, list[Problem]]:
    """Turn entries into columns and ids into indices, naming what refers to nothing. marked: positions in the file of
    annotations that another key than the format's own makes regions to ignore."""
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
        ignored=np.flatnonzero(
            np.fromiter((box.is_ignored for box in annotations), bool, count) | np.isin(box_rows, list(marked))
        ),
        origins=[image.origin for image in images],
    )
    problems: list[Problem] = []

    def add(kind: str, text: str) -> None:
        problems.append(Problem(channel, kind, text))

    for index, first in enumerate(firsts):
        if first != index:
            other = f"images[{image_rows[first]}] {quoted(images[first].file_name)}"
            taken = f"id {quoted(images[index].id)} already belongs to {other}"
            add("duplicate image ids", f"{table.image(index)}: {taken}. Give every image an id of its own.")
    # Where two entries have one id, the id that one of them should have is missing.
    lost = refused.lost_images + len(images) - len(first_of_id)
    unlinked = [(number, annotations[number].image_id) for number in np.flatnonzero(table.box_images < 0).tolist()]
    for number, image_id, hint, more in _by_mistake(unlinked, first_of_id, {}, refused.images, lost):
        text = (
            f"{table.box(number)}: image_id {quoted(image_id)} is not the id of any image in images{more}."
            f"{hint} Correct it or remove the annotation."
        )
        add("unknown image ids", text)
    for category in document.categories or ():
        if known[category.id] != category.name:
            both = f"{quoted(known[category.id])} and {quoted(category.name)}"
            text = (
                f"{channel} categories: id {quoted(category.id)} is both {both}. Give every category an id of its own."
            )
            add("duplicate categories", text)
    lost = refused.lost_categories + len(document.categories or ()) - len(known)
    unknown = [code for id_, code in codes.items() if known and id_ not in known]
    unlinked = [
        (number, annotations[number].category_id)
        for number in np.flatnonzero(np.isin(box_categories, unknown)).tolist()
    ]
    by_name = {name: id_ for id_, name in known.items()}
    for number, category_id, hint, more in _by_mistake(unlinked, known, by_name, refused.categories, lost):
        text = (
            f"{table.box(number)}: category_id {quoted(category_id)} is not among the ids of categories "
            f"({shortlist(known)}){more}.{hint} Add it there or correct it."
        )
        add("unknown category ids", text)
    return table, problems


def _by_mistake(
    unlinked: Sequence[tuple[int, Id]],
    known: Mapping[Id, object],
    names: Mapping[str, Id],
    refused: Collection[Id],
    lost: int,
) -> list[tuple[int, Id, str, str]]:
    """Annotations that refer to nothing, one of each mistake.

    Args:
        unlinked: their numbers, and the ids that they refer to.
        known: the ids that there are.
        names: of what has these ids.
        refused: ids of entries that could not be read: they are told, and what refers to them is right.
        lost: of how many entries the id is not known, so that as many ids are taken for theirs.

    Returns:
        number, id, hint, and how many others make the same mistake, as parts of a sentence.
    """
    mistakes: dict[tuple[str, Id | None], list[tuple[int, Id, str]]] = {}
    unlinked = [(number, id_) for number, id_ in unlinked if id_ not in refused]
    if len({id_ for _, id_ in unlinked}) <= lost:
        return []
    # Where 1 was written for "1", or the other way round.
    other_type = {str(id_): f"{id_}, which is a number" for id_ in known if isinstance(id_, int)} | {
        int(id_): f"{id_!r}, which is text" for id_ in known if isinstance(id_, str) and _NUMBER.fullmatch(id_)
    }
    for number, id_ in unlinked:
        kind, hint = "other type", f" There is {other_type[id_]}." if id_ in other_type else ""
        if not hint:
            kind, hint = "name", f" It is the name of id {quoted(names[id_])}: write that." if id_ in names else ""  # type: ignore[index]
        mistakes.setdefault((kind, None) if hint else ("", id_), []).append((number, id_, hint))
    return [
        (*found[0], f", and so with {len(found) - 1} more annotations" if len(found) > 1 else "")
        for found in mistakes.values()
    ]
