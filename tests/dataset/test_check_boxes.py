"""When boxes are taken for boxes of the other format: on either side of every boundary."""

from pathlib import Path

import numpy as np
import pytest

from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.check_boxes import INVERTED, OTHER_FORMAT, check_boxes

# Of an image of 100 x 100 pixels, as numbers that make sense as corners, as COCO's extents, as both or as neither.
CORNERS, EXTENTS, BOTH, NEITHER = (60, 60, 90, 90), (50, 50, 20, 20), (10, 10, 60, 60), (90, 90, 80, 80)


@pytest.mark.parametrize(
    ("boxes", "lenient", "kinds"),
    [
        ([EXTENTS] * 10 + [CORNERS], False, {OTHER_FORMAT}),
        ([EXTENTS] * 9 + [CORNERS], False, {INVERTED}),
        ([EXTENTS] * 10 + [NEITHER], False, {OTHER_FORMAT}),
        ([EXTENTS] + [BOTH] * 99, False, {OTHER_FORMAT}),
        ([EXTENTS] + [BOTH] * 9, True, {OTHER_FORMAT}),
        ([EXTENTS] + [BOTH] * 10, True, set()),
        ([CORNERS] + [BOTH] * 10, False, set()),
    ],
)
def test_other_format_is_recognised_by_boxes_that_only_fit_it(boxes, lenient, kinds):
    count = len(boxes)
    table = AnnotationTable(
        channel="training",
        folder=Path(),
        file_names=["a.jpg"],
        image_rows=np.arange(1),
        image_sizes=np.array([[100, 100]]),
        box_rows=np.arange(count),
        box_images=np.zeros(count, np.int64),
        bboxes=np.array(boxes, np.float64),
        box_categories=np.zeros(count, np.int64),
        category_ids=[1],
        categories=None,
        origins=[None],
    )
    _, problems, _ = check_boxes(table, table.image_sizes, "xyxy", lenient=lenient)
    assert {problem.kind for problem in problems} == kinds
