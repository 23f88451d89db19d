"""One optimisation step, compiled once: forward, matching, losses, gradients, update."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.training.losses import batch_terms, detection_losses, regularization_loss
from sagemaker_object_detection.training.replicas import Replicas
from sagemaker_object_detection.training.targets import assign_targets


def choose_trainable(detector: Detector, *, only_top_layer: bool, freeze_batch_norm: bool) -> list[keras.Variable]:
    """Marks what is frozen on the detector and returns the variables that may move.

    With `only_top_layer` these are exactly the class prediction layer's, and every batch normalisation keeps its
    statistics; with `freeze_batch_norm` statistics, scale and offset stay as they were loaded. What no prediction
    depends on never moves.
    """
    for layer in detector.batch_norms:
        layer.trainable = not (freeze_batch_norm or only_top_layer)
    if only_top_layer:
        return detector.class_predictor.trainable_variables
    return [variable for part in detector.parts for variable in part.trainable_variables]


class TrainingStep:
    """Callable on a `Batch`; returns the step's total loss as a scalar tensor without waiting for it.

    Args:
        detector: its weights are updated in place.
        optimizer: as `build_optimizer` made it.
        variables: what may move, from `choose_trainable`.
        l2: replaces the base model's L2 coefficient where it is not None.
        warm_up_statistics: True from random weights. The moving statistics then follow the rule of
            `tf.train.ExponentialMovingAverage(num_updates=n)`: momentum_n = min(momentum, (1 + n) / (10 + n)). With
            momentum 0.997 alone they would still hold mostly their initial values after a few hundred steps, and the
            model, good in training mode, would detect nothing.
        replicas: what the step is spread over; the batch is this host's share. Made inside their scope.
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
    ) -> None:
        if detector.dtype_policy.name == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(variables)
        self._detector = detector
        self._optimizer = optimizer
        self._variables = list(variables)
        self._l2 = l2
        self._warm_up_statistics = warm_up_statistics
        self._replicas = replicas
        self._compiled = tf.function(lambda batch: replicas.run(self._step, batch), autograph=False)

    @property
    def traces(self) -> int:
        """How often the step was traced: once, or memory and time leak."""
        return self._compiled.experimental_get_tracing_count()

    def __call__(self, batch: Batch) -> tf.Tensor:
        return self._compiled(batch)

    def _step(self, batch: Batch) -> tf.Tensor:
        detector, family = self._detector, self._detector.base.family
        if self._warm_up_statistics:
            updates = tf.cast(self._optimizer.iterations, tf.float32)
            warm = tf.minimum(family.batch_norm_momentum, (1.0 + updates) / (10.0 + updates))
            detector.moving_average.momentum.assign(warm)
        detector.noise.begin_step(self._optimizer.iterations)
        targets = assign_targets(detector.anchors, batch.boxes, batch.classes, batch.box_weights, family)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self._variables])
            predictions = detector(batch.images, training=True)
            losses = detection_losses(predictions, targets, family)
            localization, classification = batch_terms(losses, batch.image_weights, self._replicas.sum_in_step)
            # Gradients and losses are summed over the replicas, and every one of them has the same kernels.
            regularization = regularization_loss(detector, self._l2) / self._replicas.count
            total = localization + classification + regularization
            scaled = self._optimizer.scale_loss(total)
        gradients = tape.gradient(scaled, [variable.value for variable in self._variables])
        self._optimizer.apply(gradients, self._variables)
        return total
