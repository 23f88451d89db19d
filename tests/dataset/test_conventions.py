"""What is made of boxes in every known convention, and of those that only look like it (`written_conventions.py`)."""

from dataclasses import replace

import numpy as np
import pytest
from shared import shared
from written_conventions import MIXED, PASSED, REFUSED, SETS, TOLD, objects, strong, write

from sagemaker_object_detection.dataset.annotation_file import read_annotations
from sagemaker_object_detection.dataset.check_boxes import EMPTY, OTHER_FORMAT, TWO_FORMATS, check_boxes
from sagemaker_object_detection.dataset.conventions import (
    BY_SETTING,
    CONVENTIONS,
    CORNERS,
    ORDERS,
    UNITS,
    Convention,
    Unit,
)
from sagemaker_object_detection.dataset.judgement import judge_conventions
from sagemaker_object_detection.hyperparameters.table import BBOX_FORMATS


@pytest.mark.parametrize("lenient", [False, True], ids=["error", "drop"])
@pytest.mark.parametrize("boxes", SETS, ids=lambda boxes: boxes.name)
def test_verdict_on_a_set(boxes, lenient):
    checked, problems, warnings = check_boxes(boxes.table, boxes.sizes, "Auto", lenient=lenient)
    kinds = {problem.kind for problem in problems}
    if boxes.verdict == REFUSED:
        assert kinds == {OTHER_FORMAT}
        assert str(boxes.likely) in problems[0].text
        assert problems[0].text.count("would be") == 3
    elif boxes.verdict == MIXED:
        assert [problem.kind for problem in problems] == [TWO_FORMATS]
        assert f"look like {boxes.likely}" in problems[0].text
        assert problems[0].text.count("would be") == 3
    elif boxes.verdict == TOLD:
        assert OTHER_FORMAT not in kinds
        assert problems or warnings
    else:
        assert boxes.verdict == PASSED
        assert not problems
        assert len(checked.rows) == len(boxes.boxes)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_convention_reads_what_it_writes(convention):
    boxes = objects(40)
    sizes = boxes.sizes[boxes.images].astype(np.float64)
    read = convention.to_xyxy_pixels(write(convention, boxes.boxes, sizes), sizes)
    # Four decimals of a share of 800 pixels, twice.
    np.testing.assert_allclose(read, boxes.boxes, atol=0.1)


def test_every_value_of_the_hyperparameter_is_a_convention():
    assert sorted(BY_SETTING) == sorted(BBOX_FORMATS)


@pytest.mark.parametrize("setting", [name for name in BBOX_FORMATS if name != "xyxy"])
def test_declared_convention_is_converted(setting):
    right = objects()
    boxes = strong(BY_SETTING[setting], right)
    checked, problems, warnings = check_boxes(boxes.table, boxes.sizes, setting, lenient=False)
    expected, _, _ = check_boxes(right.table, right.sizes, "xyxy", lenient=False)
    assert (problems, warnings) == ([], [])
    np.testing.assert_allclose(checked.boxes, expected.boxes, atol=2e-4)


@pytest.mark.parametrize("setting", [name for name in BBOX_FORMATS if name != "xyxy"])
def test_corners_are_recognised_whatever_is_declared(setting):
    boxes = objects()
    _, problems, warnings = check_boxes(boxes.table, boxes.sizes, setting, lenient=True)
    told = [problem.text for problem in problems] or warnings
    assert 'Set bbox_format="xyxy"' in told[0]


def test_order_that_shares_do_not_tell_is_asked_for():
    boxes = strong(BY_SETTING["yxyx_normalized"], objects())
    _, problems, _ = check_boxes(boxes.table, boxes.sizes, "Auto", lenient=False)
    assert 'Set bbox_format="xyxy_normalized" or "yxyx_normalized"' in problems[0].text


@pytest.mark.parametrize("setting", ["xyxy_percent", "yxyx_percent"])
def test_explicit_pixels_are_believed_where_only_the_place_of_boxes_speaks_against_them(setting):
    boxes = strong(BY_SETTING[setting], objects(sizes=np.array([[1500, 2000]])))
    checked, problems, warnings = check_boxes(boxes.table, boxes.sizes, "xyxy", lenient=False)
    assert problems == []
    assert len(warnings) >= 1
    assert "in percent of the image" in warnings[0]
    assert len(checked.rows) == len(boxes.boxes)


def test_ways_that_fit_every_box_are_told_unless_the_format_is_set():
    boxes = objects(sizes=np.array([[512, 512]]))
    _, _, warnings = check_boxes(boxes.table, boxes.sizes, "Auto", lenient=False)
    assert len(warnings) == 1
    assert (
        "every box (400) fits its image as [xmin, ymin, xmax, ymax] in pixels, but also as TensorFlow's" in warnings[0]
    )
    assert check_boxes(boxes.table, boxes.sizes, "xyxy", lenient=False)[2] == []


def test_boxes_of_smaller_copies_that_do_not_reach_their_edges_are_a_warning():
    base = objects()
    sizes = base.sizes[base.images].astype(np.float64)
    within = (base.boxes[:, 2:] <= 0.97 * sizes[:, ::-1]).all(axis=1)
    judgement = judge_conventions(base.boxes[within] / 2, sizes[within], CORNERS, base.images[within])
    assert judgement.likely is not None
    assert "copies 0.5 times" in str(judgement.likely)
    assert (judgement.sure, judgement.confined) == (False, True)


def test_line_of_the_report():
    boxes = objects()
    checked, _, _ = check_boxes(boxes.table, boxes.sizes, "Auto", lenient=False)
    assert checked.conventions.startswith(
        "boxes read as [xmin, ymin, xmax, ymax] in pixels; 400 of 400 fit; the next best"
    )


@pytest.mark.parametrize("part", ["training", "validation"])
@pytest.mark.parametrize(("name", "invalid"), [("bccd", 1), ("cards", 0)])
def test_published_sets_are_as_they_are_declared(name, invalid, part):
    table, problems = read_annotations(part, shared(f"datasets/{name}/{part}"))
    assert (table is not None, problems) == (True, [])
    checked, problems, warnings = check_boxes(table, table.image_sizes, "Auto", lenient=False)
    assert (len(problems), warnings, int(checked.repeated.sum())) == (invalid, [], 0)
    assert len(checked.rows) == len(table.bboxes) - invalid


def test_judging_many_boxes_works_on_a_sample_and_counts_all():
    base = objects(200_000)
    sizes = base.sizes[base.images].astype(np.float64)
    judgement = judge_conventions(strong(BY_SETTING["cxcywh"], base).boxes, sizes, CORNERS, base.images)
    assert str(judgement.likely) == "YOLO's [centre x, centre y, width, height] in pixels"
    assert len(judgement.fits) == 200_000


def test_numbers_beyond_float64_are_no_warning_of_numpy(recwarn):
    boxes = np.array([[1e308, -1e308, 1e308, 1e308]] * 30)
    judge_conventions(boxes, np.full((30, 2), 100.0), CORNERS, np.arange(30) // 3)
    judge_conventions(np.zeros((0, 4)), np.zeros((0, 2)), CORNERS, np.zeros(0, np.int64))
    assert not recwarn.list


def test_unit_of_a_copy_has_no_setting():
    assert Convention(ORDERS[0], Unit("in the pixels of copies of 9 x 9", full=9.0)).setting is None
    assert Convention(ORDERS[-1], UNITS[0]).setting is None


@pytest.mark.parametrize("name", ["bccd", "cards"])
@pytest.mark.parametrize("setting", ["xywh", "cxcywh", "yxyx", "xyxy_percent", "xyxy_thousandths", "xywh_normalized"])
def test_part_of_a_published_set_in_another_way_is_named(name, setting):
    table, _ = read_annotations("training", shared(f"datasets/{name}/training"))
    sizes = table.image_sizes[table.box_images].astype(np.float64)
    boxes, part = table.bboxes.copy(), table.box_images % 3 == 0
    boxes[part] = write(BY_SETTING[setting], boxes, sizes)[part]
    _, problems, _ = check_boxes(replace(table, bboxes=boxes), table.image_sizes, "Auto", lenient=True)
    assert [problem.kind for problem in problems] == [TWO_FORMATS]
    assert f"look like {BY_SETTING[setting]}" in problems[0].text


def test_part_in_percent_is_believed_to_be_pixels_if_that_is_set():
    boxes = next(each for each in SETS if each.name == f"1/2 {BY_SETTING['xyxy_percent']}")
    _, problems, warnings = check_boxes(boxes.table, boxes.sizes, "xyxy", lenient=False)
    assert problems == []
    assert "in percent of the image" in warnings[0]
    _, problems, _ = check_boxes(boxes.table, boxes.sizes, "Auto", lenient=False)
    assert problems[0].text.endswith('set bbox_format="xyxy".')


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("setting", ["Auto", "xywh", "cxcywh_normalized"])
def test_points_are_told_as_empty_boxes(setting, lenient):
    base = objects()
    extent = base.boxes[:, :2] if setting == "Auto" else np.zeros((400, 2))
    points = replace(base, boxes=np.concatenate([base.boxes[:, :2], extent], axis=1))
    _, problems, _ = check_boxes(points.table, points.sizes, setting, lenient=lenient)
    assert [problem.kind for problem in problems] == [EMPTY]
    assert "400 of 400 boxes are empty" in problems[0].text


def test_ties_survive_a_bad_box_and_drop_is_not_offered_for_what_fits_another_order():
    square = objects(sizes=np.array([[512, 512]]))
    boxes = square.boxes.copy()
    boxes[7] = [90, 90, 30, 95]
    _, problems, warnings = check_boxes(replace(square, boxes=boxes).table, square.sizes, "Auto", lenient=False)
    assert "399 of 400 boxes fit their images as [xmin, ymin, xmax, ymax] in pixels" in warnings[0]
    assert "about as many (399) as TensorFlow's" in warnings[0]
    assert "or set invalid_boxes" in problems[0].text
    sizes = square.sizes.copy()
    sizes[square.images[7]] = [600, 512]
    boxes[7] = [400, 300, 590, 500]
    boxes[4:7] = [100, 100, 200, 200]
    _, problems, _ = check_boxes(replace(square, boxes=boxes).table, sizes, "Auto", lenient=False)
    assert len(problems) == 1
    assert "invalid_boxes" not in problems[0].text
    _, problems, _ = check_boxes(replace(square, boxes=boxes[:, [1, 0, 3, 2]]).table, sizes, "Auto", lenient=False)
    assert problems == []
