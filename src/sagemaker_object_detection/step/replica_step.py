"""What each replica computes in a training step: matching, gradients, update."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Batch, Inputs
from sagemaker_object_detection.devices.replicas import Replicas
from sagemaker_object_detection.images.network_input import scaled_images
from sagemaker_object_detection.models.batch_norm import MovingAverage
from sagemaker_object_detection.models.detector import Detector, Predictions
from sagemaker_object_detection.models.targets import Targets, assign_targets
from sagemaker_object_detection.step.features import KeptFeatures
from sagemaker_object_detection.step.gradients import LossGradients, Share, following
from sagemaker_object_detection.step.readings import part_of, squared_norms


class ReplicaStep:
    """The pieces of a step, which `passes.py` puts together for the whole batch or for parts of it.

    Args as those of `TrainingStep`; the optimizer is built, and scales the loss where the number format asks for it.
    """

    def __init__(
        self,
        detector: Detector,
        optimizer: keras.optimizers.Optimizer,
        variables: Sequence[keras.Variable],
        *,
        l2: float | None,
        warm_up_statistics: bool,
        replicas: Replicas,
        features: KeptFeatures | None,
        xla: bool,
    ) -> None:
        self.variables = list(variables)
        self.replicas = replicas
        self.xla = xla
        self._parts = [part_of(detector, variable) for variable in self.variables]
        self._detector = detector
        self._optimizer = optimizer
        self._l2 = l2
        self._warm_up_statistics = warm_up_statistics
        self.statistics = [
            variable for layer in following(detector) for variable in (layer.moving_mean, layer.moving_variance)
        ]
        """The moving means and variances that follow the batches."""
        self._predict = features or self._forward
        self._match = _compiled(self._match_batch) if xla else self._match_batch
        # What several replicas do together is not compiled.
        self.update = _compiled(self.apply) if xla and replicas.count == 1 else self.apply
        """`apply`, as it is called."""

    def values(self) -> list[tf.Tensor]:
        """What the detector's variables hold; called on a replica."""
        return [tf.convert_to_tensor(variable.value) for variable in self._detector.variables]

    def match(self, batch: Batch) -> tuple[Targets, tf.Tensor]:
        """The targets of these images, and the sum of the weights of their matches; called on a replica."""
        return self._match(batch.boxes, batch.classes, batch.box_weights, batch.regions, batch.image_weights)

    def _match_batch(
        self,
        boxes: tf.Tensor,
        classes: tf.Tensor,
        box_weights: tf.Tensor,
        regions: tf.Tensor,
        image_weights: tf.Tensor,
    ) -> tuple[Targets, tf.Tensor]:
        detector = self._detector
        targets = assign_targets(detector.anchors, boxes, classes, box_weights, detector.base.family, regions)
        return targets, tf.reduce_sum(tf.reduce_sum(targets.box_weights, axis=1) * image_weights)

    @property
    def moments_spec(self) -> tuple[list[int], str]:
        """Shape and dtype of the moments of a batch."""
        size = sum(int(variable.shape[0]) for variable in self.statistics)
        return [size], self.statistics[0].dtype if self.statistics else "float32"

    def gradients_of(self, shares: int, images: int) -> LossGradients:
        """Of a batch of at most so many images that is taken in so many shares."""
        return LossGradients(
            self._detector, self.variables, self._predict, l2=self._l2, shares=shares, images=images, xla=self.xla
        )

    def share(self, inputs: Inputs, targets: Targets, matched: tf.Tensor, first: tf.Tensor) -> Share:
        """As `LossGradients` takes it; called on a replica."""
        scale = self._optimizer.scale_loss(tf.ones([]))
        return Share(inputs, targets, matched, first, tf.convert_to_tensor(self._optimizer.iterations.value), scale)

    def _forward(self, inputs: Inputs) -> Predictions:
        images = scaled_images(inputs.images, inputs.true_shapes, self._detector.base)
        predictions: Predictions = self._detector(images, training=True)
        return predictions

    def apply(self, gradients: Sequence[tf.Tensor], moments: tf.Tensor) -> tf.Tensor:
        """Sums gradients over the replicas and updates the variables; called on each of them.

        Nothing moves before the last gradient of every replica is there: where memory runs out on the way, the step can
        be repeated.

        Args:
            gradients: this replica's.
            moments: float32 [S], of its images.

        Returns:
            the squared norms of its gradients, as in `Reading`.
        """
        scale = tf.cast(self._optimizer.scale_loss(tf.ones([])), gradients[0].dtype)
        squares = squared_norms(self._parts, gradients) / tf.square(scale)
        if self.replicas.count > 1:
            with tf.control_dependencies(gradients):  # a sum that another replica never comes to would be aborted
                moments = self.replicas.sum_in_step(tf.identity(moments)) / self.replicas.count
            if isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
                # Keras asks one replica alone whether they are finite, and there before they are summed.
                poison = self.replicas.sum_in_step(tf.add_n([tf.reduce_sum(gradient * 0.0) for gradient in gradients]))
                gradients = [gradient + poison for gradient in gradients]
        statistics = self._moved_statistics(moments)
        # What the replicas do together waits for this on all of them.
        with tf.control_dependencies([tf.group(*gradients, *statistics)]):
            if statistics:
                self.replicas.assign_in_step(self.statistics, statistics)
            self._optimizer.apply(gradients, self.variables)
        return squares

    def _moved_statistics(self, moments: tf.Tensor) -> list[tf.Tensor]:
        """What the moving statistics come to with those of the batch: all at once, which is a few operations."""
        if not self.statistics:
            return []
        momentum = tf.constant(self._detector.base.family.batch_norm_momentum)
        if self._warm_up_statistics:
            updates = tf.cast(self._optimizer.iterations, tf.float32)
            momentum = tf.minimum(momentum, (1.0 + updates) / (10.0 + updates))
        old = tf.concat([variable.value for variable in self.statistics], axis=0)
        moved = MovingAverage.moved(old, moments, momentum)
        return list(tf.split(moved, [int(variable.shape[0]) for variable in self.statistics]))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, autograph=False, jit_compile=True)
