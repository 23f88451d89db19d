import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.catalogue import CATALOGUE
from sagemaker_object_detection.geometry.box_coder import decode_boxes, encode_boxes
from sagemaker_object_detection.models.detector import Predictions
from sagemaker_object_detection.models.postprocess import Detections, detections

BASE = CATALOGUE[0]
FAMILY = BASE.family
WHOLE = np.array([[320, 320, 3]], np.int32)
# One anchor per prediction, so that boxes can be given as they should come out.
ANCHOR = np.array([0.4, 0.4, 0.6, 0.6], np.float32)


def predict(boxes, scores) -> tuple[Predictions, np.ndarray]:
    """Predictions of boxes [B, A, 4] with scores [B, A, classes], and their anchors."""
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float64)
    anchors = np.tile(ANCHOR, (boxes.shape[1], 1))
    logits = np.concatenate([np.full((*scores.shape[:2], 1), 9.0), np.log(scores / (1 - scores))], -1)
    encodings = np.asarray(encode_boxes(boxes, anchors, FAMILY.box_code_scale))
    return Predictions(encodings, logits.astype(np.float32)), anchors


def detect(boxes, scores, true_shapes=WHOLE, base=BASE) -> Detections:
    predictions, anchors = predict(boxes, scores)
    return Detections(*(field.numpy() for field in detections(predictions, anchors, true_shapes, base)))


def slow_detections(predictions, anchors, true_shape):
    """(score, class, anchor, box) of one image, best first, as the reference's description reads."""
    raw = np.asarray(decode_boxes(predictions.box_encodings, anchors, FAMILY.box_code_scale))[0]
    scores = tf.sigmoid(predictions.class_logits)[0, :, 1:].numpy()
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
            if len(kept) < 100 and scores[anchor, label] > 1e-8 and all(iou(anchor, k) <= 0.6 for k in kept):
                kept.append(anchor)
        found += [(scores[anchor, label], label, anchor) for anchor in kept]
    found.sort(key=lambda row: -row[0])
    size = np.array([*true_shape[:2]] * 2) / 320
    result = []
    for score, label, anchor in found:
        box = np.clip(raw[anchor], 0, size)
        if (box[2] - box[0]) * (box[3] - box[1]) > 0:
            result.append((score, label, anchor, box / size))
    return result[:100]


@pytest.mark.parametrize(
    ("num_anchors", "num_classes", "true_shape", "full"),
    [(20, 3, (320, 320, 3), False), (60, 3, (320, 320, 3), True), (250, 2, (160, 240, 3), False)],
)
def test_equals_the_rules_followed_one_by_one(num_anchors, num_classes, true_shape, full):
    random = np.random.default_rng(num_anchors)
    # Some reach outside the image or lie there; many overlap.
    corner = random.uniform(-0.3, 1.1, (1, num_anchors, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.02, 0.4, (1, num_anchors, 2))], -1)
    predictions, anchors = predict(boxes, random.uniform(0.001, 0.999, (1, num_anchors, num_classes)))
    found = detections(predictions, anchors, np.array([true_shape]), BASE)
    expected = slow_detections(predictions, anchors, true_shape)
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


def test_equal_predictions_name_the_first_anchor():
    found = detect([[ANCHOR, ANCHOR, ANCHOR]], [[[0.7], [0.9], [0.9]]])
    assert found.count.tolist() == [1]
    assert found.anchor_indices[0, 0] == 1


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
