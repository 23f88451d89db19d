import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_object_detection.geometry.boxes import (
    from_pixel_indices,
    from_xyxy_pixels,
    to_xyxy_pixels,
    xywh_to_xyxy,
)


def test_corner_pixels_become_y_first_and_normalised() -> None:
    boxes = from_xyxy_pixels(np.array([[10, 20, 30, 50], [0, 0, 200, 100]]), np.array([[100, 200], [100, 200]]))
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, [[0.2, 0.05, 0.5, 0.15], [0.0, 0.0, 1.0, 1.0]], rtol=1e-7)


def test_coco_pixels_are_corner_and_extent() -> None:
    np.testing.assert_array_equal(xywh_to_xyxy(np.array([[10, 20, 20, 30]])), [[10, 20, 30, 50]])


def test_the_first_pixel_and_the_last_one_are_both_inside() -> None:
    found = from_pixel_indices(np.array([[1, 1, 1, 1], [1, 1, 640, 480], [3, 7, 30, 50]]))
    np.testing.assert_array_equal(found, [[0, 0, 1, 1], [0, 0, 640, 480], [2, 6, 30, 50]])


@pytest.mark.filterwarnings("error")
def test_coco_pixels_beyond_float64_are_infinite() -> None:
    np.testing.assert_array_equal(xywh_to_xyxy(np.array([[1e308, 0, 1e308, 5]])), [[1e308, 0, np.inf, 5]])


@pytest.mark.parametrize("convert", [from_xyxy_pixels, to_xyxy_pixels])
def test_no_boxes_stay_no_boxes(convert) -> None:
    assert convert(np.zeros((0, 4)), np.zeros((0, 2))).shape == (0, 4)


@given(
    box=st.tuples(*[st.floats(0, 5000)] * 4),
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
)
def test_there_and_back_is_the_same_box(box: tuple[float, ...], size: tuple[int, int]) -> None:
    there = from_xyxy_pixels(np.array([box]), np.array([size]))
    # Two roundings to float32 of values up to 5000.
    np.testing.assert_allclose(to_xyxy_pixels(there, np.array([size])), [box], rtol=1e-6, atol=1e-30)
