"""Features that are computed once: the same training as without them, and no other images' features."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY, TINY_PADDED
from training_steps import assign, batch, calibrated, make_step, values_of

from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.step import features
from sagemaker_object_detection.step.features import KeptFeatures, keep_features

IMAGES = 4
ORDERS = ((0, 1), (2, 3), (3, 1), (0, 2), (2, 1))
"""Rows of the data set, step by step; two epochs are through after the fourth."""


@pytest.fixture(scope="module")
def detector():
    return calibrated(TINY)


def rows_of(whole, rows):
    """The batch of these images of a data set."""
    return type(whole)(*(tf.gather(column, rows) for column in whole))


def train(detector, start, kept, micro_batch=None):
    """Weights and losses after the steps of ORDERS."""
    assign(detector.variables, start)
    whole = batch(0, 3, size=IMAGES)
    # Not adam, which makes whole steps of gradients that are nothing but rounding.
    step = make_step(
        detector, only_top_layer=True, warm_up=False, micro_batch=micro_batch, features=kept, optimizer="sgd"
    )
    losses = [float(step(rows_of(whole, rows))[0]) for rows in ORDERS]
    return values_of(detector.class_predictor.variables), losses, step


def counted(detector, monkeypatch):
    """A list that gets the size of every batch whose features are computed."""
    computed, compute = [], detector.features

    def features_of(images, training=False):
        def note(count):
            computed.append(int(count))

        with tf.control_dependencies([tf.numpy_function(note, [tf.shape(images)[0]], [])]):
            return compute(tf.identity(images), training=training)

    monkeypatch.setattr(detector, "features", features_of)
    return computed


@pytest.mark.parametrize("micro_batch", [None, 1])
@pytest.mark.slow
def test_training_is_the_same_and_computes_the_features_of_an_image_once(detector, micro_batch, monkeypatch):
    start = values_of(detector.variables)
    expected, expected_losses, _ = train(detector, start, None, micro_batch)
    computed = counted(detector, monkeypatch)
    found, losses, step = train(detector, start, KeptFeatures(detector, IMAGES), micro_batch)
    assert sum(computed) == IMAGES
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert micro_batch is not None or step.traces == 1


def test_an_image_that_fills_up_a_batch_leaves_no_features(detector, monkeypatch):
    whole = batch(0, 3, size=2)
    blank = whole._replace(images=whole.images * tf.constant([1.0, 0.0])[:, None, None, None])
    filled = blank._replace(image_weights=tf.constant([1.0, 0.0]), indices=tf.constant([1, -1], tf.int64))
    computed = counted(detector, monkeypatch)
    kept = KeptFeatures(detector, 2)
    run = tf.function(kept, autograph=False)
    run(filled.inputs)
    assert computed == [2]
    found = run(whole._replace(indices=tf.constant([1, 0], tf.int64)).inputs)
    assert computed == [2, 2]  # the other image's were not known yet
    expected = tf.function(lambda images: detector(images, training=True), autograph=False)(whole.images)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)  # of about 1; other operations may be fused
    again = run(whole._replace(indices=tf.constant([1, 0], tf.int64), images=tf.zeros_like(whole.images)).inputs)
    assert computed == [2, 2]
    for one, other in zip(again, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_noisy_networks_keep_nothing(caplog):
    with caplog.at_level(logging.INFO):
        assert keep_features(build_detector(TINY_PADDED, 2), 1) is None
    assert caplog.messages == [
        "Only the class predictor is trained. What stands before it draws noise, and is computed in every step."
    ]


@pytest.mark.parametrize(
    ("missing", "told", "computed_images"),
    [
        (0, "is computed once for each of them, and stays in memory (0 MB)", IMAGES),
        (1, "would take 0 MB, of which 0 MB may be filled: it is computed in every step", 2 * len(ORDERS)),
    ],
)
def test_features_are_kept_where_memory_has_room_for_all(missing, told, computed_images, detector, monkeypatch, caplog):
    # 64 pixels: maps of 8, 4, 2, 1 and 1 cells a side with 24 channels, and 6 boxes of 4 numbers in each cell.
    size = 4 * 86 * (24 + 6 * 4)
    monkeypatch.setattr(features, "available_memory", lambda: 4 * ((IMAGES + 1) * size - missing))
    with caplog.at_level(logging.INFO):
        kept = keep_features(detector, IMAGES)
    assert caplog.messages == [
        f"Only the class predictor is trained, on images that stay as they are: what stands before it {told}."
    ]
    computed = counted(detector, monkeypatch)
    train(detector, values_of(detector.variables), kept)
    assert sum(computed) == computed_images
