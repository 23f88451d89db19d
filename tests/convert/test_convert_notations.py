"""Sources whose boxes are written in another way than their format has them (`made_notations.py`)."""

import numpy as np
import pytest
from made_notations import OWN_WAYS, WRITERS, Numbers, numbers_of
from written_sets import NAMES, PROGRAM, Picture, converted, read_back, refused

from sagemaker_object_detection.dataset.conventions import BY_SETTING

UNITS: dict[float | None, str] = {None: "", 1: "_normalized", 100: "_percent", 1000: "_thousandths"}
WAYS = [
    (name, order, unit)
    for name, (own, own_unit) in OWN_WAYS.items()
    for order, unit in [
        *((order, own_unit) for order in ("xyxy", "xywh", "cxcywh") if order != own),
        *((own, unit) for unit in UNITS if unit != own_unit),
        *([("yxyx", None)] if own_unit is None else []),
    ]
    if (name, unit) != ("ground-truth", 100) and name != "tfrecord"
]
IDS = [f"{name} in {order}{UNITS[unit]}" for name, order, unit in WAYS]


@pytest.fixture(scope="module")
def pictures():
    """Of 220 x 160 pixels and the other way around, with objects anywhere, in whole pixels."""
    random = np.random.default_rng(0)
    made = []
    for number in range(12):
        width, height = (220, 160) if number % 2 else (160, 220)
        boxes = []
        for code in (0, 1, 0, 1):
            x, y = (int(random.integers(0, side - 30)) for side in (width, height))
            right, below = (int(random.integers(20, 90)) for _ in "xy")
            boxes.append((code, x, y, min(x + right, width), min(y + below, height)))
        made.append(Picture(f"{number}.jpg", width, height, tuple(boxes)))
    return made


def source(name, pictures, folder, order, unit, share=1.0):
    for picture in pictures:
        picture.save(folder / "images")
    count = round(share * len(pictures))
    ways = [(order, unit) if number < count else OWN_WAYS[name] for number in range(len(pictures))]
    boxes = [numbers_of(picture, *way) for picture, way in zip(pictures, ways, strict=True)]
    return WRITERS[name](folder, pictures, boxes, list(NAMES))


@pytest.mark.parametrize(("name", "order", "unit"), WAYS, ids=IDS)
def test_other_ways_are_named_and_taken_on_request(name, order, unit, pictures, tmp_path, capsys):
    arguments = source(name, pictures, tmp_path / "source", order, unit)
    setting = f"{order}{UNITS[unit]}"
    problems = refused(capsys, [*arguments, "--invalid-boxes", "drop"], tmp_path)
    assert len(problems) == 1
    assert f"look like {BY_SETTING[setting]}" in problems[0]
    assert problems[0].count("would be") == 3
    if name == "ground-truth":
        assert "Correct the boxes in the source." in problems[0]
        return
    assert f'Convert it with --bbox-format "{setting}"' in problems[0]
    converted(capsys, [*arguments, "--bbox-format", setting], tmp_path / "new")
    read = {file: boxes for file, (_, _, boxes) in read_back(tmp_path / "new").items()}
    for picture in pictures:
        expected = [box for _, *box in picture.boxes]
        np.testing.assert_allclose([box for _, *box in read[picture.name]], expected, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in OWN_WAYS if name != "tfrecord"])
def test_own_way_is_taken(name, pictures, tmp_path, capsys):
    arguments = source(name, pictures, tmp_path / "source", *OWN_WAYS[name])
    summary = converted(capsys, arguments, tmp_path / "new")
    assert "48 boxes" in summary[0]
    assert not any("look like" in line or "may be" in line for line in summary)


def test_manifest_in_percent_is_believed_and_told(pictures, tmp_path, capsys):
    summary = converted(capsys, source("ground-truth", pictures, tmp_path / "source", "xywh", 100), tmp_path / "new")
    assert any("in percent of the image" in line for line in summary)


def test_own_says_that_boxes_are_as_the_format_has_them(pictures, tmp_path, capsys):
    arguments = source("voc", pictures, tmp_path / "source", "xyxy", 100)
    assert "If the boxes are right as" in refused(capsys, arguments, tmp_path)[0]
    summary = converted(capsys, [*arguments, "--bbox-format", "own"], tmp_path / "new")
    assert any("in percent of the image" in line for line in summary)


@pytest.mark.parametrize("name", ["voc", "yolo", "csv"])
def test_part_of_a_source_in_another_way_is_named(name, pictures, tmp_path, capsys):
    more = [Picture(f"{turn}{each.name}", each.width, each.height, each.boxes) for turn in "abc" for each in pictures]
    own, unit = OWN_WAYS[name]
    order = "xywh" if own != "xywh" else "xyxy"
    problems = refused(capsys, source(name, more, tmp_path / "source", order, unit, share=0.4), tmp_path)
    assert len(problems) == 1
    assert f"look like {BY_SETTING[order + UNITS[unit]]}" in problems[0]
    assert "a part of the file is written in another way" in problems[0]


def test_points_are_called_empty(pictures, tmp_path, capsys):
    folder = tmp_path / "source"
    for picture in pictures:
        picture.save(folder / "images")
    points: list[list[Numbers]] = [[(x, y, x, y) for _, x, y, *_ in picture.boxes] for picture in pictures]
    problems = refused(capsys, [*WRITERS["voc"](folder, pictures, points, list(NAMES))], tmp_path)
    assert len(problems) == 1
    assert "voc: 48 of 48 boxes are empty" in problems[0]


def test_unknown_way_is_refused(capsys):
    with pytest.raises(SystemExit):
        PROGRAM.main(["voc", "a", "--to", "b", "--bbox-format", "xyz"])
    assert "argument --bbox-format: invalid choice: 'xyz'" in capsys.readouterr().err
