"""Reads tables of boxes, a row for each, as CSV files.

Three ways of writing them are known by their columns, see `_LAYOUTS`: Open Images
(https://storage.googleapis.com/openimages/web/factsfigures.html), the tables of TensorFlow's tutorials and of
Roboflow's export, and those of Google's AutoML Vision (https://cloud.google.com/vision/automl/object-detection/docs/csv-format).
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagemaker_object_detection.convert.class_names import number_classes
from sagemaker_object_detection.convert.foreign import (
    ForeignBox,
    ForeignDataSet,
    InvalidError,
    Notation,
    is_image,
    parse_number,
)
from sagemaker_object_detection.convert.outlines import POLYGON, around
from sagemaker_object_detection.dataset.box_keys import marks_ignored
from sagemaker_object_detection.dataset.conventions import BY_SETTING
from sagemaker_object_detection.sentences import printable, quoted, shortlist, shown

CSV = "csv"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
PIXELS = Notation(
    fields=_CORNERS,
    expected="xmin < xmax and ymin < ymax, in pixels, inside the image",
    convention=BY_SETTING["xyxy"],
)
SHARES = Notation(
    fields=_CORNERS,
    expected="xmin < xmax and ymin < ymax, as shares of the image's sides, inside the image",
    convention=BY_SETTING["xyxy_normalized"],
)


@dataclass(frozen=True)
class _Layout:
    """Columns, in small letters, of one way of writing boxes.

    points: pairs of columns, x and y, that the box goes around; two pairs are its corners. width, height: of the image.
    split: says which part of the data the row is for.
    """

    said: str
    notation: Notation
    image: str
    label: str
    points: Sequence[tuple[str, str]]
    width: str = ""
    height: str = ""
    split: str = ""

    @property
    def columns(self) -> list[str]:
        return [self.image, self.label, *(column for pair in self.points for column in pair)]


_TWO_CORNERS = (("xmin", "ymin"), ("xmax", "ymax"))
_OPEN_IMAGES = _Layout("Open Images", SHARES, "imageid", "labelname", _TWO_CORNERS)
_TUTORIAL = _Layout("TensorFlow's tutorials and Roboflow", PIXELS, "filename", "class", _TWO_CORNERS, "width", "height")
_FOUR = tuple((f"x{corner}", f"y{corner}") for corner in range(1, 5))
_AUTOML = _Layout("AutoML Vision", SHARES, "uri", "label", _FOUR, split="set")
_LAYOUTS = (_OPEN_IMAGES, _TUTORIAL, _AUTOML)
_AUTOML_HEADER = ("set", "uri", "label", *(column for pair in _FOUR for column in pair))
"""AutoML's tables have none of their own."""
_SETS = frozenset(("train", "validation", "validate", "test", "unassigned"))


def read_csv(table: Path, images: Path, names: str | None, split: str | None) -> ForeignDataSet:
    """Read the rows of a table. A row without a class and numbers is an image without boxes.

    Args:
        table: the CSV file; its first line names the columns, but for AutoML's.
        images: the folder with the images.
        names: the classes, as `number_classes` takes them.
        split: the set to take, such as TRAIN, of a table that has several.
    """
    data = ForeignDataSet(CSV, PIXELS, folders=(images,))
    folder = images if data.has_folder(images, "the folder of the images") else None
    with data.collecting():
        layout, rows = _rows(table, data)
        data.notation, data.addresses = layout.notation, layout is _AUTOML
        rows = _of_split(table, layout, rows, split)
        by_stem = _images_by_stem(images, data) if folder is not None and layout is _OPEN_IMAGES else {}
        indices: dict[str, int] = {}
        for place, row in rows:
            with data.collecting():
                name = row[layout.image]
                if layout is _OPEN_IMAGES:  # which names images without a suffix
                    name = by_stem.get(name, f"{name}.jpg")
                image = data.image(place, name, folder, *_size(place, row, layout))
                index = indices.setdefault(name, len(data.images))
                if index == len(data.images):
                    data.images.append(image)
                elif (first := data.images[index]).width != image.width or first.height != image.height:
                    text = f"{place}: the size of {quoted(name)} is another than in {first.place}. Correct it there."
                    raise InvalidError("contradicting sizes", text)
                _add_box(place, row, index, layout, data)
    number_classes(data, names)
    return data


def _images_by_stem(folder: Path, data: ForeignDataSet) -> dict[str, str]:
    """The images whose names are those of no other but for the folder and the suffix."""
    names = [name for name in data.walk(folder) if is_image(name)]
    counts = Counter(Path(name).stem for name in names)
    return {stem: name for name in names if counts[stem := Path(name).stem] == 1}


def _rows(table: Path, data: ForeignDataSet) -> tuple[_Layout, list[tuple[str, dict[str, str]]]]:
    """What the columns are, and place and values of each row. Raises an InvalidError."""
    expected = "a CSV file, with a row for each box"
    text = data.read_text(table, expected)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = list(_lines(table, text, delimiter))
    if not lines:
        raise InvalidError("unreadable files", f"{table}: is empty. Expected {expected}.")
    place, header = lines[0]
    columns = [column.strip().lower() for column in header]
    if len(header) == len(_AUTOML_HEADER) and columns[0] in _SETS:
        layout, columns = _AUTOML, list(_AUTOML_HEADER)
    else:
        found = next((each for each in _LAYOUTS if {*each.columns} <= {*columns}), None)
        if found is None:
            known = "; ".join(f"{', '.join(each.columns)} ({each.said})" for each in _LAYOUTS)
            text = f"{place}: the columns are {shortlist(header)}; expected {known}. Rename the columns."
            raise InvalidError("unknown columns", text)
        layout = found
        del lines[0]
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        raise InvalidError("unknown columns", f"{place}: the column {shown(repeated[0])} is there twice. Remove one.")
    rows = []
    for place, cells in lines:
        with data.collecting():
            if len(cells) != len(columns):
                text = f"{place}: has {len(cells)} values; expected {len(columns)}, one a column. Correct it there."
                raise InvalidError("unreadable rows", text)
            rows.append((place, {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}))
    return layout, rows


def _lines(table: Path, text: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(text.split("\n"), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield f"{table} line {reader.line_num}", cells
    except csv.Error as error:
        text = f"{table} line {reader.line_num}: is not CSV ({error}). Correct it there."
        raise InvalidError("unreadable files", text) from None


def _of_split(
    table: Path, layout: _Layout, rows: list[tuple[str, dict[str, str]]], split: str | None
) -> list[tuple[str, dict[str, str]]]:
    """The rows of a set. Raises an InvalidError where several are there and none was chosen: what a model was trained
    on says nothing about it."""
    sets = sorted({row[layout.split] for _, row in rows}) if layout.split else []
    if split is None and len(sets) < 2:
        return rows
    if split is None:
        advice = f"Convert each of them by itself, with --split {printable(sets[0])}."
        text = f"{table}: holds the sets {shortlist(sets)}. {advice}"
        raise InvalidError("mixed splits", text)
    if split not in sets:
        told = f"the sets {shortlist(sets)}" if sets else "no column of sets"
        raise InvalidError(
            "unknown splits", f"{table}: has {told}, and --split is {shown(split)}. Name one that it has."
        )
    return [(place, row) for place, row in rows if row[layout.split] == split]


def _size(place: str, row: dict[str, str], layout: _Layout) -> tuple[int, int]:
    """Height and width, 0 where not given. Raises an InvalidError."""
    sides = []
    for column in (layout.height, layout.width):
        text = row.get(column) or "0"
        side = parse_number(text)
        if side is None or not side.is_integer() or not 0 <= side < 2**31:
            told = f"{place}: {column} is {shown(text)}; expected a whole number of pixels. Correct it there."
            raise InvalidError("unreadable sizes", told)
        sides.append(int(side))
    return sides[0], sides[1]


def _add_box(place: str, row: dict[str, str], image: int, layout: _Layout, data: ForeignDataSet) -> None:
    written = [(row[x], row[y]) for x, y in layout.points if row[x] or row[y]]
    label = row[layout.label]
    if not written and not label:
        return
    if not written or (len(written) < len(layout.points) and len(written) != 2):
        told = ", ".join(column for pair in layout.points for column in pair)
        raise InvalidError("unreadable rows", f"{place}: some of {told} are missing. Correct it there.")
    points = []
    for pair, columns in zip(written, layout.points, strict=False):
        x, y = map(parse_number, pair)
        if x is None or y is None:
            told = f"{columns[0]} and {columns[1]} are {shown(pair[0])} and {shown(pair[1])}"
            raise InvalidError("unreadable rows", f"{place}: {told}; expected numbers. Correct it there.")
        points.append((x, y))
    corners: Sequence[float] = (*points[0], *points[-1])
    outline = ""
    if len(points) > 2:
        corners = around(points)
        xmin, ymin, xmax, ymax = corners
        is_upright = {*points} == {(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax)}
        outline = "" if is_upright else POLYGON
    is_ignored = marks_ignored(row)
    data.counts["made regions to ignore, boxes that are marked so (such as IsGroupOf)"] += is_ignored
    if data.is_name(place, label):
        data.boxes.append(ForeignBox(place, image, label, corners, outline, is_ignored))
