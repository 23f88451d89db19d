"""The gradients of a detector's loss, as a function of its variables' values alone.

It reads and moves no variable but those of kept features (features.py), which only a single replica has. So one trace
serves every replica, each of which hands in the values it has, and nothing has to be undone where memory runs out.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Inputs
from sagemaker_object_detection.models.detector import Detector, Predictions
from sagemaker_object_detection.models.losses import batch_terms, detection_losses, regularization_loss
from sagemaker_object_detection.models.targets import Targets


class Share(NamedTuple):
    """Images of a step's batch that are differentiated at a time, and what they have to know of the whole."""

    inputs: Inputs
    targets: Targets
    matched: tf.Tensor
    """float32 []: the matches of the whole batch."""
    first: tf.Tensor
    """int32 []: the place in the batch of the first of these images."""
    step: tf.Tensor
    """Integer []: number of the step."""
    loss_scale: tf.Tensor
    """float32 []: what gradients are multiplied by, so that float16 holds them."""


class Derivatives(NamedTuple):
    """What images add to a step."""

    gradients: list[tf.Tensor]
    """Of the scaled loss, one for each variable that may move."""
    moments: tf.Tensor
    """float32 [S]: their mean and variance at every batch normalization that follows its batches."""
    losses: tf.Tensor
    """[2]: their share of the batch's total loss, and of the regularisation in it."""


class LossGradients:
    """Callable on the detector's variables' values, in the order of `detector.variables`, and a `Share`.

    Args:
        variables: those that may move.
        l2: replaces the base model's L2 coefficient where it is not None.
        predict: the forward pass of a training step.
        shares: into how many of them a batch is divided: each pays its part of the regularisation.
        images: how many images a batch has at most.
        xla: whether XLA compiles it.
    """

    def __init__(
        self,
        detector: Detector,
        variables: Sequence[keras.Variable],
        predict: Callable[[Inputs], Predictions],
        *,
        l2: float | None,
        shares: int,
        images: int,
        xla: bool,
    ) -> None:
        self._detector = detector
        self._variables = list(variables)
        self._predict = predict
        self._l2 = l2
        self._shares = shares
        self._images = images
        self._traced = tf.function(self._differentiate, autograph=False, jit_compile=xla or None)
        self._concrete: Callable[..., Derivatives] | None = None

    def __call__(self, values: Sequence[tf.Tensor], share: Share) -> Derivatives:
        if tf.config.functions_run_eagerly():
            return self._traced(values, share)
        if self._concrete is None:
            # A tf.function would be traced anew on every replica.
            self._concrete = self._traced.get_concrete_function(*tf.nest.map_structure(_spec, (values, share)))
        found: Derivatives = self._concrete(values, share)
        return found

    def _differentiate(self, values: Sequence[tf.Tensor], share: Share) -> Derivatives:
        detector, family = self._detector, self._detector.base.family
        held = list(zip(detector.variables, values, strict=True))
        by_variable = {id(variable): value for variable, value in held}
        moving = [by_variable[id(variable)] for variable in self._variables]
        with (
            keras.StatelessScope(state_mapping=held),
            detector.moving_average.collected() as moments,
            tf.GradientTape(watch_accessed_variables=False) as tape,
        ):
            tape.watch(moving)
            detector.noise.begin_step(share.step, share.first, self._images)
            predictions = self._predict(share.inputs)
            losses = detection_losses(predictions, share.targets, family)
            localization, classification = batch_terms(losses, share.inputs.image_weights, share.matched)
            # Gradients and losses are summed over the shares, and every one of them has the same kernels.
            regularization = regularization_loss(detector, self._l2) / self._shares
            loss = localization + classification + regularization
            scaled = loss * tf.cast(share.loss_scale, loss.dtype)
        found = [moment for layer in following(detector) for moment in moments[layer]]
        moved = tf.concat(found, axis=0) if found else tf.zeros([0])
        return Derivatives(tape.gradient(scaled, moving), moved, tf.stack([loss, regularization]))


def following(detector: Detector) -> list[keras.layers.Layer]:
    """The batch normalizations whose moving statistics follow the batches."""
    return [layer for layer in detector.batch_norms if layer.trainable]


def _spec(value: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec(value.shape, value.dtype)
