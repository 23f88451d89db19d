import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.models.targets import Targets, assign_targets

FAMILY = DEFAULT_MODEL.family
# On a grid of 1 / 8, so that overlaps are exact, ties are common, and some anchors are equal.
ANCHORS = np.array(
    [[y, x, y + size, x + size] for size in (2, 4) for y in range(0, 8, 2) for x in range(0, 8, 2)] + [[0, 0, 2, 2]],
    np.float32,
) / np.float32(8)


def assign(boxes, classes, weights, ignored=None) -> Targets:
    found = assign_targets(
        ANCHORS,
        np.asarray(boxes, np.float32),
        np.asarray(classes),
        np.asarray(weights, np.float32),
        FAMILY,
        None if ignored is None else np.asarray(ignored, np.float32),
    )
    return Targets(*(np.asarray(field) for field in found))


def slow_iou(a, b) -> float:
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    inter = height * width
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if inter else 0.0


def slow_matches(boxes, weights) -> list[int]:
    iou = [[slow_iou(box, anchor) for anchor in ANCHORS] for box in boxes]
    matches = []
    for anchor in range(len(ANCHORS)):
        overlaps = [row[anchor] for row in iou]
        best = overlaps.index(max(overlaps))
        matches.append(best if overlaps[best] >= 0.5 else -1)
    for row in reversed(range(len(boxes))):
        if weights[row] > 0:
            matches[iou[row].index(max(iou[row]))] = row
    return matches


@st.composite
def ground_truth(draw):
    """Two images of three rows: boxes on the anchors' grid, some of them padding, far outside or without area."""
    coordinate = st.integers(0, 12)

    def row():
        y0, x0, y1, x1 = (draw(coordinate) for _ in range(4))
        return [min(y0, y1) / 8, min(x0, x1) / 8, max(y0, y1) / 8, max(x0, x1) / 8]

    boxes = [[row() for _ in range(3)] for _ in range(2)]
    weights = [[draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in range(3)] for _ in range(2)]
    return boxes, weights


@settings(max_examples=150, deadline=None)
@given(ground_truth())
@pytest.mark.slow
def test_equals_the_rules_followed_one_by_one(drawn):
    boxes, weights = drawn
    found = assign(boxes, [[4, 5, 6], [7, 8, 9]], weights)
    for image in range(2):
        matches = slow_matches(boxes[image], weights[image])
        assert found.matches[image].tolist() == matches
        expected_weights = [weights[image][row] if row >= 0 else 0.0 for row in matches]
        assert found.box_weights[image].tolist() == expected_weights
        assert found.class_weights[image].tolist() == [
            weight if row >= 0 else 1.0 for weight, row in zip(expected_weights, matches, strict=True)
        ]
        assert found.class_targets[image].tolist() == [4 + 3 * image + row if row >= 0 else -1 for row in matches]


def test_anchor_takes_the_first_of_two_equal_boxes():
    box = ANCHORS[5].tolist()
    assert assign([[box, box]], [[0, 1]], [[1, 1]]).matches[0, 5] == 0


def test_second_of_two_boxes_with_the_same_best_anchor_gets_none():
    box = [0.25, 0.25, 0.375, 0.375]
    matches = assign([[box, box]], [[0, 1]], [[1, 1]]).matches[0]
    assert matches.max() == 0
    assert (matches == 0).sum() == 1


def test_padding_row_before_a_box_does_not_take_its_anchor():
    box = [0.25, 0.25, 0.375, 0.375]
    matches = assign([[box, box]], [[0, 1]], [[0, 1]]).matches[0]
    assert matches.max() == 1
    assert (matches == 1).sum() == 1


def test_box_that_meets_no_anchor_forces_the_first():
    matches = assign([[[2.0, 2.0, 2.5, 2.5]]], [[3]], [[1]]).matches[0]
    assert matches.tolist() == [0] + [-1] * (len(ANCHORS) - 1)


def test_image_without_boxes_is_all_background():
    found = assign([[[0, 0, 0, 0]]], [[0]], [[0]])
    assert (found.matches == -1).all()
    assert (found.class_targets == -1).all()
    assert (found.class_weights == 1).all()
    assert not found.box_weights.any()
    assert not found.box_targets.any()


def test_encodings_are_scaled_and_zero_for_background():
    shifted = ANCHORS[5] + np.array([0.025, 0, 0.025, 0], np.float32)
    found = assign([[shifted]], [[0]], [[1]])
    np.testing.assert_allclose(found.box_targets[0, 5], [1.0, 0, 0, 0], atol=1e-5)
    assert not found.box_targets[0, found.matches[0] < 0].any()
    unscaled = dataclasses.replace(FAMILY, box_code_scale=(1.0, 1.0, 1.0, 1.0))
    plain = assign_targets(ANCHORS, shifted[None, None], np.array([[0]]), np.ones((1, 1), np.float32), unscaled)
    np.testing.assert_allclose(np.asarray(plain.box_targets)[0, 5], [0.1, 0, 0, 0], atol=1e-6)


def test_background_that_lies_by_half_in_an_ignored_region_has_no_weight():
    random = np.random.default_rng(0)
    ignored_anchors = 0
    for _ in range(10):
        corners = random.integers(0, 9, (2, 5, 2, 2))
        rows = np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=2) / np.float32(8)
        boxes, ignored = rows[:, :3], rows[:, 3:]
        weights = random.choice([0.0, 0.5, 1.0], (2, 3))
        found = assign(boxes, [[4, 5, 6], [7, 8, 9]], weights, ignored)
        plain = assign(boxes, [[4, 5, 6], [7, 8, 9]], weights)
        for name in ("matches", "class_targets", "box_targets", "box_weights"):
            np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
        for image in range(2):
            for number, anchor in enumerate(ANCHORS):
                lies_there = max(slow_share(anchor, region) for region in ignored[image]) >= 0.5
                unknown = lies_there and plain.matches[image, number] < 0
                ignored_anchors += unknown
                expected = 0.0 if unknown else plain.class_weights[image, number]
                assert found.class_weights[image, number] == expected
    assert ignored_anchors > 20


def slow_share(anchor, region) -> float:
    """How much of the anchor's part in the image lies in the region."""
    anchor = np.clip(anchor, 0.0, 1.0)
    height = max(0.0, min(anchor[2], region[2]) - max(anchor[0], region[0]))
    width = max(0.0, min(anchor[3], region[3]) - max(anchor[1], region[1]))
    return height * width / ((anchor[2] - anchor[0]) * (anchor[3] - anchor[1]))


def test_of_an_anchor_only_what_lies_in_the_image_counts():
    corner = np.array([[-0.5, -0.5, 0.5, 0.5], [-1.0, -1.0, -0.5, -0.5]], np.float32)
    found = assign_targets(
        corner,
        np.zeros((1, 1, 4), np.float32),
        np.zeros((1, 1), int),
        np.zeros((1, 1), np.float32),
        FAMILY,
        np.array([[[0.0, 0.0, 0.5, 0.25]]], np.float32),
    )
    assert np.asarray(found.class_weights).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_dtypes_do_not_depend_on_the_classes(dtype):
    found = assign([[ANCHORS[0]]], np.array([[2]], dtype), [[1]])
    assert [field.dtype for field in found] == [np.int64, np.int64, np.float32, np.float32, np.float32]
