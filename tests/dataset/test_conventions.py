"""What is made of boxes in every known convention, and of those that only look like it (`written_conventions.py`)."""

import numpy as np
import pytest
from shared import shared
from written_conventions import PASSED, REFUSED, SETS, TOLD, objects, strong, write

from sagemaker_object_detection.dataset.annotation_file import read_annotations
from sagemaker_object_detection.dataset.check_boxes import OTHER_FORMAT, check_boxes
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
    elif boxes.verdict == TOLD:
        assert OTHER_FORMAT not in kinds
        assert problems or warnings
    else:
        assert boxes.verdict == PASSED
        assert not problems
        assert len(checked.rows) == len(boxes.boxes) - checked.repeated


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
    assert (len(problems), warnings, checked.repeated) == (invalid, [], 0)
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
