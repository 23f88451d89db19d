"""What stands beside boxes: reading it, and what it says of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask
from written_conventions import objects, write

from sagemaker_object_detection.dataset.check_boxes import OTHER_FORMAT, check_boxes
from sagemaker_object_detection.dataset.conventions import BY_SETTING, CORNERS, Convention, copies_by
from sagemaker_object_detection.dataset.witnesses import NO_WITNESSES, Witnesses, find_witnesses

POLYGON = [10, 20, 30, 25, 20, 40]
OUTLINE = (10, 20, 30, 40)


def found(*entries):
    raw = json.dumps({"images": [], "annotations": entries}).encode()
    return find_witnesses(raw, np.arange(len(entries)))


@pytest.mark.parametrize(
    ("segmentation", "outline"),
    [
        ([POLYGON], OUTLINE),
        (POLYGON, OUTLINE),
        ([POLYGON, [5, 5, 6, 6, 5, 6]], (5, 5, 30, 40)),
        ({"counts": [6, 2, 3, 1, 8], "size": [5, 4]}, (1, 1, 3, 3)),
        ({"counts": [6, 6, 8], "size": [5, 4]}, (1, 0, 3, 5)),
    ],
    ids=["a polygon", "its numbers alone", "two polygons", "a mask", "a mask that reaches into the next column"],
)
def test_extent_of_a_segmentation(segmentation, outline):
    witnesses = found({"bbox": [1, 2, 3, 4]}, {"segmentation": segmentation})
    assert witnesses.boxes.tolist() == [1]
    assert tuple(witnesses.outlines[0]) == outline


def test_compressed_masks_have_the_extent_that_pycocotools_finds():
    random = np.random.default_rng(0)
    entries, expected = [], []
    for _ in range(50):
        pixels = np.zeros(random.integers(3, 90, 2), np.uint8, order="F")
        y, x = (random.integers(0, side - 1) for side in pixels.shape)
        pixels[y : y + 9, x : x + 7] = random.random(pixels[y : y + 9, x : x + 7].shape) < 0.8
        pixels[y, x] = 1
        encoded = mask.encode(pixels)
        x, y, width, height = mask.toBbox(encoded)
        expected.append((x, y, x + width, y + height))
        entries.append({"segmentation": {"counts": encoded["counts"].decode(), "size": encoded["size"]}})
    np.testing.assert_array_equal(found(*entries).outlines, expected)


@pytest.mark.parametrize(
    "beside",
    [
        {"segmentation": []},
        {"segmentation": [[1, 2, 3]]},
        {"segmentation": [["a", "b", "c", "d", "e", "f"]]},
        {"segmentation": {"counts": "", "size": [5, 4]}},
        {"segmentation": {"counts": "P" * 99, "size": [5, 4]}},
        {"segmentation": {"counts": [-9, 3], "size": [5, 4]}},
        {"segmentation": {"counts": [1, 3], "size": 0}},
        {"segmentation": 7, "area": "large"},
        {"area": 0},
        {"area": None},
        {"area": True},
    ],
    ids=str,
)
def test_what_cannot_be_read_says_nothing(beside):
    assert len(found(beside).boxes) == 0


def test_files_that_say_nothing_have_no_witnesses():
    assert find_witnesses(b'{"annotations": [7], "area": 1}', np.arange(1)) is NO_WITNESSES
    assert find_witnesses(b'{"annotations": []}', np.arange(0)) is NO_WITNESSES


def test_witnesses_of_some_boxes_are_counted_among_these():
    areas = np.array([5.0, 6, 7])
    chosen = Witnesses(np.array([1, 4, 6]), np.full((3, 4), np.nan), areas).of(np.array([0, 4, 5, 6]))
    assert (chosen.boxes.tolist(), chosen.areas.tolist()) == ([1, 3], [6, 7])


def judged(written, outlines=None, areas=None):
    base = objects()
    count = len(base.boxes)
    outlines = np.full((count, 4), np.nan) if outlines is None else outlines
    areas = np.full(count, np.nan) if areas is None else areas
    table = replace(base.table, bboxes=written, witnesses=Witnesses(np.arange(count), outlines, areas))
    return check_boxes(table, base.sizes, "Auto", lenient=False)


BASE = objects()
LIMITS = BASE.sizes[BASE.images].astype(np.float64)
AREAS = (BASE.boxes[:, 2:] - BASE.boxes[:, :2]).prod(axis=1)
HALF = Convention(CORNERS.order, copies_by(0.5))


@pytest.mark.parametrize("way", [BY_SETTING["xywh"], BY_SETTING["yxyx"], BY_SETTING["xyxy_percent"], HALF], ids=str)
def test_convention_that_segmentations_agree_with_is_named(way):
    _, problems, _ = judged(write(way, BASE.boxes, LIMITS), outlines=BASE.boxes)
    assert [problem.kind for problem in problems] == [OTHER_FORMAT]
    assert f"look like {way}" in problems[0].text
    assert "400 of 400 boxes agree with their segmentations so" in problems[0].text
    assert problems[0].text.count("would be") == 3


@pytest.mark.parametrize("way", [BY_SETTING["xywh"], HALF], ids=str)
def test_convention_that_areas_agree_with_is_named(way):
    _, problems, _ = judged(write(way, BASE.boxes, LIMITS), areas=AREAS)
    assert f"look like {way}" in problems[0].text
    assert "agree with their areas so" in problems[0].text


@pytest.mark.parametrize(
    ("beside", "word"),
    [({"outlines": BASE.boxes / 2}, "lie elsewhere"), ({"areas": AREAS * 9}, "are larger than these")],
    ids=["outlines of a smaller image", "areas of a larger image"],
)
def test_what_agrees_with_nothing_is_a_warning(beside, word):
    _, problems, warnings = judged(BASE.boxes, **beside)
    assert problems == []
    assert word in warnings[0]


@pytest.mark.parametrize(
    "beside",
    [
        {"outlines": BASE.boxes},
        {"outlines": BASE.boxes / np.tile(LIMITS[:, ::-1], 2)},
        {"outlines": BASE.boxes + np.random.default_rng(0).uniform(-2, 2, BASE.boxes.shape)},
        {"areas": AREAS},
        {"areas": AREAS * 0.785},
        {"areas": AREAS * np.random.default_rng(0).uniform(0.3, 1, len(AREAS))},
        {"areas": AREAS / 4},
    ],
    ids=["outlines", "in shares", "drawn by hand", "areas", "of ellipses", "of masks", "of smaller images"],
)
def test_innocent_witnesses_say_nothing(beside):
    _, problems, warnings = judged(BASE.boxes, **beside)
    assert (problems, warnings) == ([], [])


def test_segmentations_decide_where_x_and_y_may_be_either():
    square = objects(sizes=np.array([[512, 512]]))
    table = replace(square.table, witnesses=Witnesses(np.arange(400), square.boxes, np.full(400, np.nan)))
    assert check_boxes(table, square.sizes, "Auto", lenient=False)[1:] == ([], [])
    swapped = replace(table, bboxes=square.boxes[:, [1, 0, 3, 2]])
    _, problems, _ = check_boxes(swapped, square.sizes, "Auto", lenient=False)
    assert f"look like {BY_SETTING['yxyx']}" in problems[0].text
