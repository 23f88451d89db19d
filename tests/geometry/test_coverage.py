import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_object_detection.catalogue import find
from sagemaker_object_detection.geometry.anchors import generate_anchors
from sagemaker_object_detection.geometry.coverage import best_anchor_iou, boxes_in_input
from sagemaker_object_detection.geometry.iou import pairwise_iou
from sagemaker_object_detection.images.network_input import to_input_frame, to_network_input

STRETCHED, FITTED = find("ssd_mobilenet_v2_fpnlite_320x320"), find("ssd_efficientdet_d0_512x512")
MODELS = [STRETCHED, find("ssd_mobilenet_v2_fpnlite_640x640"), FITTED, find("ssd_efficientdet_d3_896x896")]

TOLERANCE = 1e-5
"""Of two anchors that overlap a box equally, rounding makes one better: float32 corners below 1 are off by up to
2 ** -25, which is 8e-7 of the smallest anchor's side in 896 pixels, and there are eight of them in an overlap."""


def random_boxes(seed, count):
    """Boxes of every size from a hundredth of the image to all of it, and of every shape, cut at the image's edges."""
    random = np.random.default_rng(seed)
    centers = random.random((count, 2))
    halves = np.exp(random.uniform(np.log(0.01), 0, (count, 2))) / 2
    boxes = np.clip(np.concatenate([centers - halves, centers + halves], axis=1), 0, 1)
    return boxes.astype(np.float32), random.integers(20, 2000, (count, 2))


def best_of_all(boxes, sizes, base):
    return np.asarray(pairwise_iou(boxes_in_input(boxes, sizes, base), generate_anchors(base))).max(axis=1)


@pytest.mark.parametrize("base", MODELS, ids=lambda base: base.name)
def test_is_the_best_of_all_anchors(base):
    boxes, sizes = random_boxes(0, 100)
    found = best_anchor_iou(boxes, sizes, base)
    assert found.shape == (100,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, best_of_all(boxes, sizes, base), rtol=0, atol=TOLERANCE)


side = st.floats(0, 1, width=32)


@settings(max_examples=50, deadline=None)
@given(st.tuples(side, side, side, side), st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
def test_is_the_best_of_all_anchors_wherever_a_box_lies(corners, size):
    ymin, ymax = sorted(corners[:2])
    xmin, xmax = sorted(corners[2:])
    boxes, sizes = np.array([[ymin, xmin, ymax, xmax]], np.float32), np.array([size])
    for base in (STRETCHED, FITTED):
        np.testing.assert_allclose(
            best_anchor_iou(boxes, sizes, base), best_of_all(boxes, sizes, base), rtol=0, atol=TOLERANCE
        )


def test_more_boxes_than_are_taken_at_a_time_keep_their_order():
    boxes, sizes = random_boxes(1, 9000)
    found = best_anchor_iou(boxes, sizes, FITTED)
    for rows in (slice(0, 20), slice(4090, 4110), slice(-20, None)):
        np.testing.assert_array_equal(found[rows], best_anchor_iou(boxes[rows], sizes[rows], FITTED))


def test_known_overlaps():
    # Of 320 pixels: the smallest anchor of the first cell; a quarter of it in the same place; a line of 16 by 320.
    boxes = np.array([[-12, -12, 20, 20], [-4, -4, 12, 12], [100, 0, 116, 320]], np.float32) / 320
    found = best_anchor_iou(boxes, np.full((3, 2), 320), STRETCHED)
    np.testing.assert_allclose(found[:2], [1, 0.25], rtol=1e-5)
    assert found[2] < 0.25


@pytest.mark.parametrize("base", [STRETCHED, FITTED], ids=lambda base: base.name)
@pytest.mark.parametrize("size", [(48, 64), (64, 48), (50, 50), (1, 2000), (333, 7), (5, 6)])
def test_boxes_come_where_the_network_input_has_them(base, size):
    boxes, _ = random_boxes(2, 10)
    _, true_shape = to_network_input(np.zeros((*size, 3), np.uint8), base)
    expected = to_input_frame(boxes, true_shape, base)
    np.testing.assert_array_equal(boxes_in_input(boxes, np.tile(size, (10, 1)), base), expected)


def test_it_brings_neither_keras_nor_tensorflow():
    module = "sagemaker_object_detection.geometry.coverage"
    program = f"import sys; import {module}; print({{'keras', 'tensorflow'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
