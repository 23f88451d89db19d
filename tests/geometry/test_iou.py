import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_object_detection.geometry.iou import pairwise_iou


def test_known_overlaps():
    boxes = np.array([[0, 0, 2, 2], [0, 0, 0, 0], [5, 5, 6, 6]], np.float32)
    others = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [0, 2, 2, 4]], np.float32)
    expected = [[1.0, 1 / 7, 0.0], [0.0] * 3, [0.0] * 3]
    np.testing.assert_allclose(pairwise_iou(boxes, others), expected, rtol=1e-6)


def test_leading_axes_stay():
    boxes = np.zeros((5, 2, 4), np.float32)
    assert pairwise_iou(boxes, np.zeros((3, 4), np.float32)).shape == (5, 2, 3)


corner = st.integers(0, 8)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(corner, corner, corner, corner), min_size=1, max_size=5))
def test_equals_counting_unit_cells(rows):
    boxes = np.array([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in rows], np.float32)
    cells = [{(y, x) for y in range(int(y0), int(y1)) for x in range(int(x0), int(x1))} for y0, x0, y1, x1 in boxes]
    expected = [[len(a & b) / len(a | b) if a & b else 0.0 for b in cells] for a in cells]
    np.testing.assert_allclose(pairwise_iou(boxes, boxes), expected, rtol=1e-6)
