"""One optimisation step, compiled once: forward, matching, losses, gradients, update."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from sagemaker_object_detection.catalogue import next_smaller
from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.training.devices import smallest_memory
from sagemaker_object_detection.training.features import KeptFeatures
from sagemaker_object_detection.training.losses import batch_terms, detection_losses, regularization_loss
from sagemaker_object_detection.training.replicas import Replicas
from sagemaker_object_detection.training.targets import Targets, assign_targets

log = logging.getLogger(__name__)


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

    A step that does not fit into the device's memory is repeated with half as many images at a time, and so are those
    after it: gradients are summed over these micro-batches and divided by the matches of the whole batch. Where batch
    normalisation is frozen that is the whole batch's step up to rounding.

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
        micro_batch: how many images a replica takes at a time; None for all of its share.
        features: what takes the detector's place, where only its class predictor moves (features.py).
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
        micro_batch: int | None = None,
        features: KeptFeatures | None = None,
    ) -> None:
        if detector.dtype_policy.name == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(variables)
        self.micro_batch = micro_batch
        self.detector = detector
        self.optimizer = optimizer
        self.variables = list(variables)
        self._l2 = l2
        self._warm_up_statistics = warm_up_statistics
        self.replicas = replicas
        self._predict = features or (lambda batch: detector(batch.images, training=True))
        self._copy_statistics = tf.function(self._statistics_now, autograph=False)
        self._whole = tf.function(lambda batch: replicas.run(self._step, batch), autograph=False)
        self._in_parts: Callable[[Batch], tf.Tensor] | None = None

    @property
    def traces(self) -> int:
        """How often the step was traced: once, or memory and time leak."""
        return self._whole.experimental_get_tracing_count()

    @property
    def state(self) -> list[np.ndarray]:
        """A copy of the optimizer's variables."""
        return [variable.numpy() for variable in self.optimizer.variables]

    @state.setter
    def state(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self.optimizer.variables, values, strict=True):
            variable.assign(value)

    def __call__(self, batch: Batch) -> tf.Tensor:
        """Takes the step.

        Raises:
            UserError: it does not fit into the device's memory, even one image at a time.
        """
        while True:
            # The forward pass moves them; nothing else has moved where memory runs out. Copying waits for nothing.
            statistics = self._copy_statistics()
            try:
                if self.micro_batch is None:
                    return self._whole(batch)
                self._in_parts = self._in_parts or _Accumulation(self, batch, self.micro_batch)
                return self._in_parts(batch)
            except tf.errors.ResourceExhaustedError as error:
                for variable, value in zip(self._moving_statistics, statistics, strict=True):
                    variable.assign(value)
                self._halve(len(batch.image_weights), error)

    @property
    def _moving_statistics(self) -> list[keras.Variable]:
        moving = [layer for layer in self.detector.batch_norms if layer.trainable]
        return [variable for layer in moving for variable in (layer.moving_mean, layer.moving_variance)]

    def _statistics_now(self) -> list[tf.Tensor]:
        return [tf.identity(variable) for variable in self._moving_statistics]

    def _halve(self, share: int, error: Exception) -> None:
        """Makes the micro-batch half as large; `share` is how many images of a batch this host takes."""
        present = self.micro_batch or self.replicas.images_per_replica(share * self.replicas.hosts)
        base = self.detector.base
        if present == 1:
            smaller, memory = next_smaller(base), smallest_memory()
            size = f" ({memory / 2**30:.1f} GiB)" if memory else ""
            advice = f"choose {smaller.name}, or an instance" if smaller else "choose an instance"
            raise UserError(
                f"model_id: a training step of {base.name} does not fit into the device's memory{size} even with one "
                f"image of {base.input_size}x{base.input_size} at a time; {advice} with more memory"
            ) from error
        if self.replicas.hosts > 1:
            # The others wait in the middle of their step, and cannot be told.
            raise UserError(
                f"batch_size: {present} images do not fit into the memory of a device; set batch_size to "
                f"{present // 2 * self.replicas.count}, or choose an instance with more memory"
            ) from error
        self.micro_batch, self._in_parts = -(-present // 2), None
        moving = bool(self._moving_statistics)
        log.info(
            "A step of %d images at a time does not fit into the device's memory: from now on it takes %d at a time, "
            "and adds up their gradients%s.",
            present,
            self.micro_batch,
            "; batch normalization uses the statistics of these" if moving else "",
        )

    def _step(self, batch: Batch) -> tf.Tensor:
        gradients, total = self.gradients(batch, self.replicas.sum_in_step, first_image(batch.image_weights.shape[0]))
        self.apply(gradients)
        return total

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Sums gradients over the replicas and updates the variables."""
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer) and self.replicas.count > 1:
            # Keras asks one replica alone whether they are finite, and there before they are summed.
            poison = self.replicas.sum_in_step(tf.add_n([tf.reduce_sum(gradient * 0.0) for gradient in gradients]))
            gradients = [gradient + poison for gradient in gradients]
        # Nothing moves before the last of them is there: where memory runs out on the way, the step can be repeated.
        with tf.control_dependencies([tf.group(*gradients)]):
            self.optimizer.apply(gradients, self.variables)

    def gradients(
        self, batch: Batch, in_whole_batch: Callable[[tf.Tensor], tf.Tensor], first: tf.Tensor, parts: int = 1
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The gradients of these images' share of the batch's loss, scaled as the optimizer has it, and that share.

        Args:
            batch: this replica's images, or one of the `parts` it takes one after the other.
            in_whole_batch: makes the matches of these images those of the whole batch.
            first: the place in the whole batch of the first image.
        """
        detector, family = self.detector, self.detector.base.family
        if self._warm_up_statistics:
            updates = tf.cast(self.optimizer.iterations, tf.float32)
            warm = tf.minimum(family.batch_norm_momentum, (1.0 + updates) / (10.0 + updates))
            detector.moving_average.momentum.assign(warm)
        detector.noise.begin_step(self.optimizer.iterations, first)
        targets = _targets(detector, batch)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self.variables])
            predictions = self._predict(batch)
            losses = detection_losses(predictions, targets, family)
            localization, classification = batch_terms(losses, batch.image_weights, in_whole_batch)
            # Gradients and losses are summed over replicas and parts, and every one of them has the same kernels.
            regularization = regularization_loss(detector, self._l2) / (self.replicas.count * parts)
            total = localization + classification + regularization
            scaled = self.optimizer.scale_loss(total)
        return tape.gradient(scaled, [variable.value for variable in self.variables]), total


def first_image(share: int) -> tf.Tensor:
    """The place in the whole batch of a replica's first image, where each of them takes `share`; called on it."""
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32) * share


def _targets(detector: Detector, batch: Batch) -> Targets:
    batch = batch.without_padding()
    return assign_targets(detector.anchors, batch.boxes, batch.classes, batch.box_weights, detector.base.family)


class _Accumulation:
    """A step in parts: matches are counted over the whole batch, gradients summed part by part, then applied."""

    def __init__(self, step: TrainingStep, batch: Batch, micro_batch: int) -> None:
        self._step = step
        share = step.replicas.images_per_replica(len(batch.image_weights) * step.replicas.hosts)
        self._micro_batch = min(micro_batch, share)
        self._parts = -(-share // micro_batch)
        with step.replicas.scope():
            # Each replica's own, until the optimizer sums them up.
            self._sums = [
                tf.Variable(
                    tf.zeros(variable.shape, variable.dtype),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for variable in step.variables
            ]
        run = step.replicas.run
        self._count = tf.function(lambda batch: run(self._count_on_replica, batch), autograph=False)
        self._add = tf.function(
            lambda batch, part, matched: run(partial(self._add_on_replica, part=part, matched=matched), batch),
            autograph=False,
        )
        self._apply = tf.function(lambda batch: run(self._apply_on_replica, batch), autograph=False)

    def __call__(self, batch: Batch) -> tf.Tensor:
        matched = self._count(batch)
        losses = [self._add(batch, tf.constant(part), matched) for part in range(self._parts)]
        self._apply(batch)
        return tf.add_n(losses)

    def _count_on_replica(self, batch: Batch) -> tf.Tensor:
        """The matches of this replica's images."""
        detector = self._step.detector
        targets = _targets(detector, batch)
        return tf.reduce_sum(tf.reduce_sum(targets.box_weights, axis=1) * batch.image_weights)

    def _add_on_replica(self, batch: Batch, part: tf.Tensor, matched: tf.Tensor) -> tf.Tensor:
        size, share = self._micro_batch, batch.image_weights.shape[0]
        missing = size * self._parts - share
        filled = (tf.pad(x, [[0, missing]] + [[0, 0]] * (len(x.shape) - 1)) for x in batch)
        begin = part * size
        images = Batch(*(tf.slice(x, [begin] + [0] * (len(x.shape) - 1), [size, *x.shape[1:]]) for x in filled))
        gradients, total = self._step.gradients(
            images, lambda count: tf.cast(matched, count.dtype), first_image(share) + begin, self._parts
        )
        for accumulated, gradient in zip(self._sums, gradients, strict=True):
            accumulated.assign_add(gradient)
        return total

    def _apply_on_replica(self, batch: Batch) -> tf.Tensor:
        gradients = [accumulated.read_value() for accumulated in self._sums]
        self._step.apply(gradients)
        with tf.control_dependencies(gradients):
            for accumulated in self._sums:
                accumulated.assign(tf.zeros_like(accumulated))
        return tf.zeros([])
