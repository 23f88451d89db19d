import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.models.detector import Predictions, build_detector
from sagemaker_object_detection.models.losses import (
    DetectionLosses,
    batch_terms,
    classification_per_anchor,
    detection_losses,
    localization_per_anchor,
    regularization_loss,
)
from sagemaker_object_detection.models.targets import Targets

FAMILY = DEFAULT_MODEL.family
RANDOM = np.random.default_rng(3)
CLASSES = np.array([[-1, 0, 2, -1], [1, -1, -1, -1]], np.int32)
WEIGHTS = np.array([[1, 1, 0.5, 1], [1, 1, 1, 1]], np.float32)
BOX_WEIGHTS = np.where(CLASSES >= 0, WEIGHTS, 0).astype(np.float32)
LOGITS = RANDOM.normal(0, 3, (2, 4, 4)).astype(np.float32)
ENCODINGS = RANDOM.normal(0, 2, (2, 4, 4)).astype(np.float32)
BOX_TARGETS = RANDOM.normal(0, 2, (2, 4, 4)).astype(np.float32)
PREDICTIONS = Predictions(ENCODINGS, LOGITS)
TARGETS = Targets(CLASSES, CLASSES, WEIGHTS, BOX_TARGETS, BOX_WEIGHTS)


def plain_focal(logits, classes, weights, *, background, gamma, alpha=0.25):
    """The paper's formula, per anchor, in float64."""
    target = np.zeros(logits.shape)
    for place in zip(*np.nonzero(classes >= 0), strict=True):
        target[(*place, classes[place] + background)] = 1
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    p_t = np.where(target == 1, p, 1 - p)
    alpha_t = np.where(target == 1, alpha, 1 - alpha)
    return (-alpha_t * (1 - p_t) ** gamma * np.log(p_t)).sum(-1) * weights


@pytest.mark.parametrize(("background", "gamma"), [(True, 2.0), (False, 1.5)])
def test_classification_is_the_focal_loss(background, gamma):
    family = dataclasses.replace(FAMILY, background_column=background, focal_gamma=gamma)
    found = classification_per_anchor(PREDICTIONS, TARGETS, family)
    expected = plain_focal(LOGITS, CLASSES, WEIGHTS, background=int(background), gamma=gamma)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_confident_logits_lose_nothing_or_their_size():
    logits = np.full((1, 2, 2), -200.0, np.float32)
    logits[0, 0, 1] = 200.0
    targets = TARGETS._replace(class_targets=np.array([[0, 0]], np.int32), class_weights=np.ones((1, 2), np.float32))
    found = classification_per_anchor(Predictions(None, logits), targets, FAMILY)
    np.testing.assert_allclose(found, [[0.0, 0.25 * 200]], rtol=1e-6)


def test_localization_is_quadratic_then_linear_and_weighted():
    error = np.abs(ENCODINGS - BOX_TARGETS).astype(np.float64)
    expected = np.where(error <= 1, 0.5 * error**2, error - 0.5).sum(-1) * BOX_WEIGHTS
    np.testing.assert_allclose(localization_per_anchor(PREDICTIONS, TARGETS), expected, rtol=1e-5)


def test_sums_are_per_image():
    losses = detection_losses(PREDICTIONS, TARGETS, FAMILY)
    np.testing.assert_allclose(losses.matched, [1.5, 1.0])
    localization = np.asarray(localization_per_anchor(PREDICTIONS, TARGETS))
    np.testing.assert_allclose(losses.localization, localization.sum(1), rtol=1e-6)
    classification = np.asarray(classification_per_anchor(PREDICTIONS, TARGETS, FAMILY))
    np.testing.assert_allclose(losses.classification, classification.sum(1), rtol=1e-6)


def test_gradient_is_finite_without_ground_truth_and_at_extreme_logits():
    background = np.full((1, 4), -1, np.int32)
    none = np.zeros((1, 4), np.float32)
    targets = Targets(background, background, np.ones((1, 4), np.float32), np.zeros((1, 4, 4), np.float32), none)
    logits = tf.constant(np.array([-100, -5, 0, 100] * 4, np.float32).reshape(1, 4, 4))
    encodings = tf.zeros((1, 4, 4))
    for gamma in (2.0, 1.5):
        family = dataclasses.replace(FAMILY, focal_gamma=gamma)
        with tf.GradientTape() as tape:
            tape.watch([logits, encodings])
            losses = detection_losses(Predictions(encodings, logits), targets, family)
            total = tf.reduce_sum(losses.classification + losses.localization)
        to_logits, to_encodings = tape.gradient(total, [logits, encodings])
        assert np.isfinite(to_logits.numpy()).all()
        assert (to_logits.numpy()[logits.numpy() >= 0] > 0).all()
        assert not to_encodings.numpy().any()
        assert losses.matched.numpy() == [0.0]


def test_regularization_sums_squares_of_kernels_only():
    detector = build_detector(DEFAULT_MODEL, 1)
    kernels = [variable.numpy().astype(np.float64) for variable in detector.regularized_kernels]
    squares = sum((kernel**2).sum() for kernel in kernels)
    assert float(regularization_loss(detector)) == pytest.approx(2e-5 * squares, rel=1e-5)
    assert float(regularization_loss(detector, 0.5)) == pytest.approx(0.5 * squares, rel=1e-5)
    assert float(regularization_loss(detector, 0.0)) == 0.0
    assert {variable.name for variable in detector.regularized_kernels} == {"kernel", "depthwise_kernel"}


def test_batch_terms_divide_by_all_matches_and_leave_out_filling_images() -> None:
    losses = DetectionLosses(
        *(np.array(column, np.float32) for column in ([8.0, 4.0, 99.0], [3.0, 6.0, 99.0], [1, 2, 9]))
    )
    localization, classification = batch_terms(losses, np.array([1.0, 1.0, 0.0], np.float32))
    assert [float(localization), float(classification)] == pytest.approx([12 / (4 * 3), 9 / 3])


def test_batch_terms_of_images_without_objects_divide_by_one() -> None:
    losses = DetectionLosses(*(np.array(column, np.float32) for column in ([0.0], [5.0], [0.0])))
    localization, classification = batch_terms(losses, np.ones(1, np.float32))
    assert (float(localization), float(classification)) == (0.0, 5.0)
