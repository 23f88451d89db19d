"""The classes of a job, and whether they can be told apart by their names: one rule for channels and converters."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from sagemaker_object_detection.dataset.annotation_entries import Id
from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.sentences import MAX_TEXT, listed, quoted, shortlist

SAME_NAMES = "duplicate class names"
_WARNED = 8
"""Warnings of one kind."""
_SEPARATORS = re.compile(r"[\s_-]+")
_SHOWN = 10


def check_names(source: str, categories: Mapping[Id, str], boxes: Mapping[Id, int]) -> list[Problem]:
    """A problem for each name that several classes with boxes have: a model cannot tell them apart, and would be
    trained to. Without boxes a class does no harm: exports have one for the project or the supercategory.

    Args:
        source: what the categories are of, for sentences.
        categories: names by id.
        boxes: how many each id has.
    """
    sharing: dict[str, list[Id]] = {}
    for id_, name in categories.items():
        if boxes.get(id_):
            sharing.setdefault(name, []).append(id_)
    problems = []
    for name, ids in sharing.items():
        if len(ids) > 1:
            counts = listed([f"{quoted(id_)} ({boxes[id_]} boxes)" for id_ in ids], _SHOWN)
            text = (
                f"{source} categories: {counts} have the same name {quoted(name)}. If they are one class, write one "
                f"category_id in all their annotations; else give each a name of its own."
            )
            problems.append(Problem(source, SAME_NAMES, text))
    return problems


def find_labels(table: AnnotationTable) -> tuple[Labels, list[str]]:
    """The classes of a job: the training channel's categories, or the ids its annotations use where it has none.

    No two have the same name: those that do in the file get their ids appended, and there is a warning for each name
    (`check_names` refuses it where more than one of them has boxes).
    """
    categories = table.categories or {id_: str(id_) for id_ in table.category_ids}
    ids = sorted(categories, key=lambda id_: (isinstance(id_, str), id_))
    names = [categories[id_] for id_ in ids]
    sharing: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        sharing.setdefault(name, []).append(number)
    # 1 and "1" are two ids that look the same.
    write = str if len({str(id_) for id_ in ids}) == len(ids) else repr
    holders = {name: list(numbers) for name, numbers in sharing.items()}
    shared = [name for name, numbers in holders.items() if len(numbers) > 1]
    while shared:  # again where a name with its id is another's name
        renamed = [number for name in shared for number in holders.pop(name)]
        for number in renamed:
            names[number] = f"{names[number]} ({write(ids[number])})"
            holders.setdefault(names[number], []).append(number)
        shared = [name for name in dict.fromkeys(names[number] for number in renamed) if len(holders[name]) > 1]
    warnings = [
        f"{table.channel}: the categories {shortlist([ids[number] for number in numbers])} have the same name "
        f"{quoted(name)} and are told apart as {shortlist([names[number] for number in numbers])}. Give every category "
        f"a name of its own, or merge them."
        for name, numbers in sharing.items()
        if len(numbers) > 1
    ]
    similar = [
        f"{table.channel}: the categories {listed(written, _SHOWN)} differ in {how} alone, and are learnt as different "
        f"classes. If they are one, give their boxes one category."
        for written, how in map(_told_apart, _alike(list(categories.values())))
    ]
    return Labels(tuple(ids), tuple(names)), [*_first_few(table.channel, warnings), *_first_few(table.channel, similar)]


def _first_few(channel: str, warnings: list[str]) -> list[str]:
    """Of many warnings of one kind some, and how many more there are."""
    more = len(warnings) - _WARNED
    return warnings if more <= 0 else [*warnings[:_WARNED], f"{channel}: {more} more names of categories are so."]


def _told_apart(group: Sequence[str]) -> tuple[list[str], str]:
    """How to write names that are alike, and in what they differ."""
    names = sorted(set(group))
    if len({unicodedata.normalize("NFC", name) for name in names if len(name) <= MAX_TEXT}) < len(names):
        return [ascii(name) for name in names], "the form of Unicode"  # which look the same
    blanks = len({"".join(name.casefold().split()) for name in names}) > 1
    return [quoted(name) for name in names], "blanks, _ and -, or in case," if blanks else "case or blanks"


def check_blank_names(table: AnnotationTable) -> list[Problem]:
    """Every class has a name."""
    blank = [id_ for id_, name in (table.categories or {}).items() if not name.strip()]
    if not blank:
        return []
    text = f"{table.channel} categories: {shortlist(blank)} have an empty name. Give every category a name."
    return [Problem(table.channel, "categories without a name", text)]


def _alike(names: Sequence[str]) -> list[list[str]]:
    """Groups of names that differ in case, blanks, _ and - or the form of Unicode alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        # Of a long row of combining characters the plain form takes a time that grows with its square.
        plain = name if len(name) > MAX_TEXT else _SEPARATORS.sub("", unicodedata.normalize("NFKC", name).casefold())
        groups.setdefault(plain or name, []).append(name)
    return [group for group in groups.values() if len(set(group)) > 1]


def check_known(table: AnnotationTable, labels: Labels, names: Mapping[Id, str], whom: str) -> list[Problem]:
    """A class of a channel that measures must be one of `whom` it measures, and be called the same.

    Args:
        labels: the classes of whom.
        names: as whom calls them in its categories, by id.
        whom: "training" or "the model".
    """
    channel, problems = table.channel, []
    known = set(labels.ids)
    for id_, name in (table.categories or {}).items():
        known_as = names.get(id_, name)
        if known_as != name:
            text = (
                f"{channel} categories: id {quoted(id_)} is {quoted(name)}, but {whom} calls it {quoted(known_as)}. "
                f"Use the same categories in both."
            )
            problems.append(Problem(channel, "contradicting categories", text))
    codes, first, uses = np.unique(table.box_categories, return_index=True, return_counts=True)
    for code, box, count in zip(codes.tolist(), first.tolist(), uses.tolist(), strict=True):
        id_ = table.category_ids[code]
        if id_ in known:
            continue
        way_out = "Add the class to training" if whom == "training" else "Train a model that knows the class"
        text = (
            f"{channel}: category_id {quoted(id_)} ({count} times) is unknown to {whom}, which has "
            f"{shortlist(labels.ids)}; first: {table.box(box)}. {way_out} or remove those boxes."
        )
        problems.append(Problem(channel, f"classes unknown to {whom}", text))
    return problems
