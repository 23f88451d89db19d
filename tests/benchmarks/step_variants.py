"""The training steps that are compared.

Images, boxes and classes are random but fixed; every image has five boxes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.devices.replicas import find_replicas
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.images.network_input import scaled_images
from sagemaker_object_detection.models.detector import Detector, Predictions
from sagemaker_object_detection.models.losses import batch_terms, detection_losses, regularization_loss
from sagemaker_object_detection.models.targets import assign_targets
from sagemaker_object_detection.step.optimizer import build_optimizer
from sagemaker_object_detection.step.training_step import TrainingStep, choose_trainable

BOXES = 5


def find_base(spec: Mapping[str, Any]) -> BaseModel:
    base = catalogue.find(spec.get("model", catalogue.DEFAULT_MODEL.name))
    assert base is not None
    return base


def fixed_batch(base: BaseModel, batch_size: int, classes: int, boxes: int = BOXES) -> Batch:
    random = np.random.default_rng(0)
    size = base.input_size
    corners = np.sort(random.uniform(0.0, 1.0, (batch_size, boxes, 2, 2)), axis=2)
    return Batch(
        images=tf.constant(random.integers(0, 256, (batch_size, size, size, 3)), tf.uint8),
        true_shapes=tf.constant([[size, size, 3]] * batch_size, tf.int32),
        boxes=tf.constant(corners.reshape(batch_size, boxes, 4), tf.float32),
        classes=tf.constant(random.integers(0, classes, (batch_size, boxes)), tf.int64),
        box_weights=tf.ones([batch_size, boxes]),
        regions=tf.zeros([batch_size, 0, 4]),
        image_weights=tf.ones([batch_size]),
        indices=tf.range(batch_size, dtype=tf.int64),
    )


def scaled(batch: Batch, base: BaseModel) -> Batch:
    """For steps that do not scale the pixels themselves."""
    return batch._replace(images=scaled_images(batch.images, batch.true_shapes, base))


def our_step(
    detector: Detector, *, freeze_batch_norm: bool = False, only_top_layer: bool = False
) -> Callable[[Batch], tf.Tensor]:
    """The step of a job with default hyperparameters, as train.py builds it."""
    return TrainingStep(
        detector,
        build_optimizer(read({"learning_rate_schedule": "constant"}), total_steps=1000),
        choose_trainable(detector, only_top_layer=only_top_layer, freeze_batch_norm=freeze_batch_norm),
        l2=None,
        warm_up_statistics=not (freeze_batch_norm or only_top_layer),
        replicas=find_replicas(["algo-1"], "algo-1"),
    )


def bare_step(detector: Detector, *, freeze_batch_norm: bool = False) -> Callable[[Batch], tf.Tensor]:
    """The forward and backward pass alone: the loss is the sum of both outputs, the gradients go nowhere."""
    values = [variable.value for variable in _trainable(detector, freeze_batch_norm)]

    @tf.function(autograph=False)
    def passes(images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss = sum(tf.reduce_sum(output) for output in detector(images, training=True))
        return loss, tape.gradient(loss, values)

    return lambda batch: passes(batch.images)[0]


def plain_step(detector: Detector, *, freeze_batch_norm: bool = False) -> Callable[[Batch], tf.Tensor]:
    """A plain loop over the network: our targets and losses, Keras's adam, one tf.function."""
    variables = _trainable(detector, freeze_batch_norm)
    optimizer = build_optimizer(read({"learning_rate_schedule": "constant"}), total_steps=1000)
    optimizer.build(variables)

    @tf.function
    def step(batch: Batch) -> tf.Tensor:
        with tf.GradientTape() as tape:
            predictions = detector(batch.images, training=True)
            loss = total_loss(detector, predictions, batch.boxes, batch.classes, batch.box_weights)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return loss

    return step


def fit_step(detector: Detector) -> Callable[[Batch, int], float]:
    """`keras.Model.fit` over the network with our targets and losses: takes a batch and how often to train on it."""
    model = _FitModel(detector)
    model.compile(optimizer=build_optimizer(read({"learning_rate_schedule": "constant"}), total_steps=1000))

    def fit(batch: Batch, steps: int) -> float:
        data = tf.data.Dataset.from_tensors((batch.images, (batch.boxes, batch.classes, batch.box_weights))).repeat()
        return float(model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0).history["loss"][-1])

    return fit


class _FitModel(keras.Model):
    def __init__(self, detector: Detector) -> None:
        super().__init__(name="fitted")
        self.detector = detector

    def call(self, images: Any, training: bool = False) -> Any:
        return tuple(self.detector(images, training=training))

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:
        return total_loss(self.detector, Predictions(*y_pred), *y)


def total_loss(detector: Detector, predictions: Predictions, boxes: Any, classes: Any, box_weights: Any) -> Any:
    family = detector.base.family
    targets = assign_targets(detector.anchors, boxes, classes, box_weights, family)
    losses = detection_losses(predictions, targets, family)
    localization, classification = batch_terms(losses, tf.ones([boxes.shape[0]]))
    return localization + classification + regularization_loss(detector)


def _trainable(detector: Detector, freeze_batch_norm: bool) -> list[keras.Variable]:
    """As `choose_trainable`, for stock layers too."""
    for part in detector.parts:
        for layer in part.layers:
            if type(layer).__name__ == "BatchNormalization":
                layer.trainable = not freeze_batch_norm
    return [variable for part in detector.parts for variable in part.trainable_variables]
