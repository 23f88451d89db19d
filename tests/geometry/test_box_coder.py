import numpy as np

from sagemaker_object_detection.geometry.box_coder import decode_boxes, encode_boxes

SCALE = (10.0, 10.0, 5.0, 5.0)
ANCHORS = np.array([[0.0, 0.0, 0.4, 0.2], [0.5, 0.5, 1.0, 1.0]], np.float32)


def test_an_anchor_encodes_itself_as_zero():
    np.testing.assert_allclose(encode_boxes(ANCHORS, ANCHORS, SCALE), 0.0, atol=1e-6)


def test_shift_is_in_anchor_sizes_and_growth_logarithmic():
    boxes = np.array([[0.1, 0.0, 0.5, 0.2], [0.25, 0.5, 1.25, 1.0]], np.float32)
    expected = [[2.5, 0, 0, 0], [0, 0, 5 * np.log(2), 0]]
    np.testing.assert_allclose(encode_boxes(boxes, ANCHORS, SCALE), expected, atol=1e-5)


def test_decoding_inverts_encoding_outside_the_image_too():
    random = np.random.default_rng(0)
    corner = random.uniform(-0.5, 1.0, (3, 2, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.01, 1.0, (3, 2, 2))], -1).astype(np.float32)
    np.testing.assert_allclose(decode_boxes(encode_boxes(boxes, ANCHORS, SCALE), ANCHORS, SCALE), boxes, atol=1e-5)


def test_empty_box_has_a_finite_encoding():
    encoded = np.asarray(encode_boxes(np.zeros((2, 4), np.float32), ANCHORS, SCALE))
    assert np.isfinite(encoded).all()
    np.testing.assert_allclose(encoded[0, 2], 5 * np.log(1e-8 / 0.4), rtol=1e-5)
