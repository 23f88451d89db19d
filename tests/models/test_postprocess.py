import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_object_detection.catalogue import CATALOGUE, DEFAULT_MODEL
from sagemaker_object_detection.geometry.box_coder import decode_boxes, encode_boxes
from sagemaker_object_detection.images.network_input import to_input_frame, to_network_input
from sagemaker_object_detection.models import postprocess
from sagemaker_object_detection.models.detector import Predictions
from sagemaker_object_detection.models.postprocess import Detections, detections

BASE = DEFAULT_MODEL
FAMILY = BASE.family
PADDED = next(base for base in CATALOGUE if base.family.keep_aspect_ratio)
WHOLE = np.array([[320, 320, 3]], np.int32)
# One anchor per prediction, so that boxes can be given as they should come out.
ANCHOR = np.array([0.4, 0.4, 0.6, 0.6], np.float32)


def predict(boxes, scores, base=BASE) -> tuple[Predictions, np.ndarray]:
    """Predictions of boxes [B, A, 4] with scores [B, A, classes], and their anchors."""
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float64)
    anchors = np.tile(ANCHOR, (boxes.shape[1], 1))
    background = np.full((*scores.shape[:2], int(base.family.background_column)), 9.0)
    logits = np.concatenate([background, np.log(scores / (1 - scores))], -1)
    encodings = np.asarray(encode_boxes(boxes, anchors, base.family.box_code_scale))
    return Predictions(encodings, logits.astype(np.float32)), anchors


def detect(boxes, scores, true_shapes=WHOLE, base=BASE) -> Detections:
    predictions, anchors = predict(boxes, scores, base)
    return Detections(*(field.numpy() for field in detections(predictions, anchors, true_shapes, base)))


def slow_detections(predictions, anchors, true_shape, base):
    """(score, class, anchor, box) of one image, best first, as the reference's description reads."""
    raw = np.asarray(decode_boxes(predictions.box_encodings, anchors, base.family.box_code_scale))[0]
    scores = tf.sigmoid(predictions.class_logits)[0, :, int(base.family.background_column) :].numpy()
    areas = (raw[:, 2] - raw[:, 0]) * (raw[:, 3] - raw[:, 1])

    def iou(a, b):
        height = min(raw[a, 2], raw[b, 2]) - max(raw[a, 0], raw[b, 0])
        width = min(raw[a, 3], raw[b, 3]) - max(raw[a, 1], raw[b, 1])
        inter = max(height, 0) * max(width, 0)
        return inter / (areas[a] + areas[b] - inter)

    found = []
    for label in range(scores.shape[1]):
        kept = []
        for anchor in np.argsort(-scores[:, label], kind="stable"):
            free = all(iou(anchor, other) <= base.family.nms_iou for other in kept)
            if len(kept) < 100 and scores[anchor, label] > 1e-8 and free:
                kept.append(anchor)
        found += [(scores[anchor, label], label, anchor) for anchor in kept]
    found.sort(key=lambda row: -row[0])
    size = np.array([*true_shape[:2]] * 2) / base.input_size
    result = []
    for score, label, anchor in found:
        box = np.clip(raw[anchor], 0, size)
        if (box[2] - box[0]) * (box[3] - box[1]) > 0:
            result.append((score, label, anchor, box / size))
    return result[:100]


@pytest.mark.parametrize(
    ("num_anchors", "num_classes", "true_shape", "full", "base"),
    [
        (20, 3, (320, 320, 3), False, BASE),
        (60, 3, (320, 320, 3), True, BASE),
        (250, 2, (160, 240, 3), False, BASE),
        (60, 3, (512, 384, 3), True, PADDED),
        (60, 3, (64, 512, 3), False, PADDED),
    ],
)
def test_equals_the_rules_followed_one_by_one(num_anchors, num_classes, true_shape, full, base):
    random = np.random.default_rng(num_anchors)
    # Some reach outside the image or lie there; many overlap.
    corner = random.uniform(-0.3, 1.1, (1, num_anchors, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.02, 0.4, (1, num_anchors, 2))], -1)
    predictions, anchors = predict(boxes, random.uniform(0.001, 0.999, (1, num_anchors, num_classes)), base)
    found = detections(predictions, anchors, np.array([true_shape]), base)
    expected = slow_detections(predictions, anchors, true_shape, base)
    count = len(expected)
    assert found.count.numpy().tolist() == [count]
    assert (count == 100) == full
    scores, classes, indices, rows = zip(*expected, strict=True)
    np.testing.assert_allclose(found.scores[0, :count], scores, rtol=1e-6)
    assert found.classes[0, :count].numpy().tolist() == list(classes)
    assert found.anchor_indices[0, :count].numpy().tolist() == list(indices)
    np.testing.assert_allclose(found.boxes[0, :count], rows, atol=1e-6)
    for field in (found.boxes, found.scores, found.classes, found.anchor_indices):
        assert not field[0, count:].numpy().any()


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(
    ("spread", "levels", "all_looked_at"),
    [
        (1.0, None, False),
        (1.0, 50, False),  # equal scores, also between anchors that are looked at and others
        (0.0, None, True),  # so crowded that the best anchors keep too few
        (0.0, 3, True),
    ],
)
def test_the_best_anchors_give_what_all_anchors_give(images, spread, levels, all_looked_at, monkeypatch):
    random = np.random.default_rng(images)
    corner = 0.5 + spread * random.uniform(-0.5, 0.4, (images, 900, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.15, 0.2, (images, 900, 2))], -1)
    scores = random.uniform(0.001, 0.999, (images, 900, 4))
    if levels is not None:
        scores = np.ceil(scores * levels) / (levels + 1)
    predictions, anchors = predict(boxes, scores)
    shapes = np.tile(WHOLE, (images, 1))
    looks = []
    original = postprocess._best
    monkeypatch.setattr(postprocess, "_best", lambda *given: looks.append(given[0].shape[1]) or original(*given))
    found = detections(predictions, anchors, shapes, BASE, 20)
    assert looks == ([400, 900] if all_looked_at else [400])
    monkeypatch.setattr(postprocess, "LOOKED_AT", 900)
    expected = detections(predictions, anchors, shapes, BASE, 20)
    assert looks[-1] == 900
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.count, expected.count)
    if levels is None:
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_overlap_is_of_boxes_before_clipping():
    # Inside the image the two are the same; as predicted their IoU is 1 / 2.
    boxes = [[[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.5, 2.0]]]
    found = detect(boxes, [[[0.9], [0.8]]])
    assert found.count.tolist() == [2]
    np.testing.assert_allclose(found.boxes[0, 1], [0, 0, 0.5, 1], atol=1e-6)


def test_classes_do_not_suppress_each_other():
    found = detect([[ANCHOR, ANCHOR]], [[[0.9, 1e-9], [1e-9, 0.8]]])
    assert found.count.tolist() == [2]
    assert found.classes[0, :2].tolist() == [0, 1]
    assert found.anchor_indices[0, :2].tolist() == [0, 1]


def test_scores_are_kept_down_to_the_references_threshold():
    boxes = [[[0.0, 0.0, 0.2, 0.2], [0.4, 0.4, 0.6, 0.6], [0.7, 0.7, 0.9, 0.9]]]
    found = detect(boxes, [[[2e-8], [0.5e-8], [1e-3]]])
    assert found.anchor_indices[0, : found.count[0]].tolist() == [2, 0]


def test_overlap_at_the_threshold_is_kept_and_one_above_dropped():
    boxes = [[[0, 0, 0.5, 1.0], [0, 0, 0.5, 0.75]]]  # IoU 3 / 4
    for iou, count in ((0.76, 2), (0.74, 1)):
        base = dataclasses.replace(BASE, family=dataclasses.replace(FAMILY, nms_iou=iou))
        assert detect(boxes, [[[0.9], [0.8]]], base=base).count.tolist() == [count]


def test_box_outside_the_true_image_makes_room_for_the_next():
    boxes = [[[0.6, 0.0, 0.9, 0.5], [0.1, 0.1, 0.3, 0.3]]]
    found = detect(boxes, [[[0.9], [0.8]]], np.array([[160, 320, 3]]))
    assert found.count.tolist() == [1]
    assert found.anchor_indices[0, 0] == 1
    np.testing.assert_allclose(found.boxes[0, 0], [0.2, 0.1, 0.6, 0.3], atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    sides=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    box=st.tuples(*[st.floats(0, 0.9)] * 2, *[st.floats(0.05, 1)] * 2),
    base=st.sampled_from([BASE, PADDED]),
)
def test_detections_lead_back_to_the_frame_of_the_image(sides, box, base):
    ymin, xmin, height, width = box
    box = np.array([[ymin, xmin, min(1, ymin + height), min(1, xmin + width)]], np.float32)
    true_shape = to_network_input(tf.zeros([*sides, 3], tf.uint8), base)[1]
    in_input = to_input_frame(tf.constant(box), true_shape, base).numpy()
    found = detect(in_input[None], [[[0.9]]], true_shape[None], base)
    assert found.count.tolist() == [1]
    # A few roundings of float32 in [0, 1], next to an image that may be a 512th part of the input.
    np.testing.assert_allclose(found.boxes[0, :1], box, atol=1e-6 * base.input_size / true_shape[:2].numpy().min())


def test_equal_predictions_name_the_first_anchor():
    found = detect([[ANCHOR, ANCHOR, ANCHOR]], [[[0.7], [0.9], [0.9]]])
    assert found.count.tolist() == [1]
    assert found.anchor_indices[0, 0] == 1


@pytest.mark.parametrize("limit", [30, 250])
def test_another_number_of_detections_is_kept(limit):
    random = np.random.default_rng(limit)
    corner = random.uniform(0, 0.95, (2, 400, 2))
    boxes = np.concatenate([corner, corner + 0.02], -1)
    predictions, anchors = predict(boxes, random.uniform(0.001, 0.999, (2, 400, 2)))
    shapes = np.tile(WHOLE, (2, 1))
    most, found = (detections(predictions, anchors, shapes, BASE, count) for count in (800, limit))
    assert found.boxes.shape == (2, limit, 4)
    assert found.count.numpy().tolist() == [limit, limit]
    for name in ("boxes", "scores", "classes", "anchor_indices"):
        np.testing.assert_array_equal(getattr(found, name), getattr(most, name)[:, :limit], err_msg=name)
    # Anchors are looked for a hundred detections at a time.
    scores = tf.sigmoid(predictions.class_logits)[..., 1:]
    own = tf.gather(tf.gather(scores, found.anchor_indices, batch_dims=1), found.classes, batch_dims=2)
    np.testing.assert_array_equal(own, found.scores)
    np.testing.assert_allclose(tf.gather(boxes, found.anchor_indices, batch_dims=1), found.boxes, atol=1e-5)


def test_works_with_any_batch_size_in_a_traced_function():
    predictions, anchors = predict(np.tile(ANCHOR, (3, 4, 1)), np.full((3, 4, 2), 0.5))
    signature = (tf.TensorSpec((None, 4, 4)), tf.TensorSpec((None, 4, 3)), tf.TensorSpec((None, 3), tf.int32))
    traced = tf.function(
        lambda encodings, logits, shapes: detections(Predictions(encodings, logits), anchors, shapes, BASE),
        input_signature=signature,
    )
    found = traced(*predictions, np.tile(WHOLE, (3, 1)))
    assert found.count.numpy().tolist() == [2, 2, 2]
    assert found.boxes.shape == (3, 100, 4)
    assert (found.classes.dtype, found.anchor_indices.dtype, found.count.dtype) == (tf.int32, tf.int32, tf.int32)
