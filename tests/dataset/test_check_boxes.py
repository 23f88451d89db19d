"""When boxes are refused as a whole and when one by one: on either side of every boundary."""

from pathlib import Path

import numpy as np
import pytest

from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.box_keys import BoxKey
from sagemaker_object_detection.dataset.check_boxes import (
    INVERTED,
    MANY_INVALID,
    OTHER_FORMAT,
    SHARES,
    TWO_FORMATS,
    check_boxes,
)

# Of an image of 100 x 100 pixels, as numbers that make sense as corners, as COCO's extents, as both or as neither.
CORNERS, EXTENTS, BOTH, NEITHER = (60, 60, 90, 90), (50, 50, 20, 20), (10, 10, 60, 60), (90, 90, 80, 80)


@pytest.mark.parametrize(
    ("boxes", "lenient", "kinds"),
    [
        ([EXTENTS] * 10 + [CORNERS], False, {OTHER_FORMAT}),
        ([EXTENTS] * 9 + [CORNERS], False, {INVERTED, MANY_INVALID}),
        ([EXTENTS] * 10 + [NEITHER], False, {OTHER_FORMAT}),
        ([EXTENTS] + [BOTH] * 19, False, {INVERTED}),
        ([EXTENTS] + [BOTH] * 18, False, {OTHER_FORMAT}),
        ([EXTENTS] + [BOTH] * 18, True, {OTHER_FORMAT}),
        ([EXTENTS] + [BOTH] * 19, True, set()),
        ([CORNERS] + [BOTH] * 10, False, set()),
        ([NEITHER] * 5 + [CORNERS] * 15, True, set()),
        ([NEITHER] * 6 + [CORNERS] * 15, True, {INVERTED, MANY_INVALID}),
        ([NEITHER] * 6 + [CORNERS] * 114, True, set()),
        ([NEITHER] * 7 + [CORNERS] * 114, True, {INVERTED, MANY_INVALID}),
        ([EXTENTS] * 5 + [CORNERS] * 95, False, {INVERTED, TWO_FORMATS}),
        ([NEITHER] * 6, True, {OTHER_FORMAT}),
    ],
)
def test_other_format_is_recognised_by_boxes_that_only_fit_it(boxes, lenient, kinds):
    table = table_of(boxes)
    _, problems, _ = check_boxes(table, table.image_sizes, "xyxy", lenient=lenient)
    assert {problem.kind for problem in problems} == kinds


def table_of(boxes, categories=None, **given):
    count = len(boxes)
    return AnnotationTable(
        channel="training",
        folder=Path(),
        file_names=["a.jpg"],
        image_rows=np.arange(1),
        image_sizes=np.array([[100, 100]]),
        box_rows=np.arange(count),
        box_images=np.zeros(count, np.int64),
        bboxes=np.array(boxes, np.float64),
        box_categories=np.array(categories if categories is not None else range(count), np.int64),
        category_ids=[1],
        categories=None,
        **given,
    )


def test_boxes_that_are_left_out_and_fit_another_format_are_told():
    table = table_of([EXTENTS] * 5 + [CORNERS] * 95)
    boxes, problems, warnings = check_boxes(table, table.image_sizes, "xyxy", lenient=True)
    assert (boxes.dropped, problems) == (5, [])
    assert "5 of them fit as COCO's [xmin, ymin, width, height] in pixels: a part of the file" in warnings[0]


def test_so_many_invalid_boxes_are_not_left_out_and_that_is_not_offered():
    table = table_of([NEITHER] * 7 + [CORNERS] * 114)
    for lenient in (False, True):
        _, problems, warnings = check_boxes(table, table.image_sizes, "xyxy", lenient=lenient)
        assert not any("left out" in warning for warning in warnings)
        assert problems[0].text.startswith(
            "training: 7 of 121 boxes (6%) are invalid as [xmin, ymin, xmax, ymax] in pixels"
        )
        assert not any('or set invalid_boxes="drop"' in problem.text for problem in problems)


def test_box_that_is_there_twice_is_trained_on_once():
    table = table_of([CORNERS, BOTH, CORNERS, CORNERS], categories=[0, 0, 0, 1])
    boxes, problems, warnings = check_boxes(table, table.image_sizes, "xyxy", lenient=False)
    assert (boxes.rows.tolist(), boxes.repeated.tolist(), problems) == ([0, 1, 2, 3], [False, False, True, False], [])
    place = "training annotations[{}], image 'a.jpg': bbox [60, 60, 90, 90]"
    assert warnings == [
        "training: 1 of 4 boxes are there already, with the same class, and are trained on once. First: "
        f"{place.format(2)}.",
        "training: 1 of 4 boxes are there already, with another class; training gives a place one class, so correct "
        f"them. First: {place.format(3)}.",
    ]


def test_thin_box_is_told_and_kept():
    table = table_of([CORNERS, (10, 10, 10.5, 90)])
    boxes, problems, warnings = check_boxes(table, table.image_sizes, "xyxy", lenient=False)
    assert (len(boxes.rows), problems) == (2, [])
    assert warnings == [
        "training: 1 of 2 boxes are thinner than a pixel of their image, and will hardly be learnt. First: training "
        "annotations[1], image 'a.jpg': bbox [10, 10, 10.5, 90]."
    ]


def test_single_box_in_shares_is_told():
    table = table_of([CORNERS, (0.1, 0.2, 0.5, 0.9), (0, 0, 1, 1)])
    boxes, problems, _ = check_boxes(table, table.image_sizes, "xyxy", lenient=False)
    assert boxes.rows.tolist() == [0, 2]
    assert [problem.kind for problem in problems] == [SHARES]


@pytest.mark.parametrize(("says", "refused"), [("xyxy", False), ("xywh", True), ("xyxy_normalized", True)])
def test_word_beside_the_boxes_that_contradicts_the_setting_is_refused(says, refused):
    table = table_of([CORNERS], said_formats=(BoxKey("bbox_mode", [4, 5], "1", says),))
    _, problems, _ = check_boxes(table, table.image_sizes, "Auto", lenient=True)
    assert [problem.kind for problem in problems] == [OTHER_FORMAT] * refused
    if refused:
        assert "2 annotations say by bbox_mode 1" in problems[0].text
        assert f'first: annotations[4]. Set bbox_format="{says}"' in problems[0].text


def test_boxes_that_reach_far_outside_are_clipped_on_request_if_half_is_inside():
    table = table_of([CORNERS, (-20, 10, 60, 50), (80, 70, 110, 120), (-40, 10, 20, 50), (60, 60, 100.5, 90)])
    boxes, problems, warnings = check_boxes(table, table.image_sizes, "xyxy", lenient=False, clip=True)
    assert boxes.rows.tolist() == [0, 1, 4]
    np.testing.assert_allclose(boxes.boxes[1], [0.1, 0, 0.5, 0.6], rtol=1e-6)  # float32
    assert boxes.clipped == 2
    assert [problem.kind for problem in problems] == ["boxes outside their image"] * 2
    assert [warning for warning in warnings if "clipped" in warning] == [
        'training: clipped 1 of 3 boxes to their images, as invalid_boxes="clip" asks: they reached outside by more '
        "than a pixel. First: training annotations[1], image 'a.jpg': bbox [-20, 10, 60, 50]."
    ]


def test_box_that_reaches_outside_is_told_how_it_could_be_clipped():
    table = table_of([CORNERS, (-20, 10, 60, 50)])
    _, problems, _ = check_boxes(table, table.image_sizes, "xyxy", lenient=False)
    assert problems[0].text.endswith('invalid_boxes="clip" clips those of which half or more is inside.')


def test_thin_boxes_are_read_as_an_explicit_format_says():
    boxes = [(x, y, 0.75, 3 + (x * y) % 30) for x in range(1, 60, 6) for y in range(2, 60, 6)]
    table = table_of(boxes)
    assert check_boxes(table, table.image_sizes, "Auto", lenient=False)[1] != []
    found, problems, warnings = check_boxes(table, table.image_sizes, "xywh", lenient=False)
    assert (len(found.rows), problems) == (len(boxes), [])
    assert "100 of 100 boxes are thinner than a pixel" in warnings[-1]
