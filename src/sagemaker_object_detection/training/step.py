"""One optimisation step: forward, matching, losses, gradients, update."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sagemaker_object_detection.catalogue import next_smaller
from sagemaker_object_detection.dataset.pipeline import Batch, Inputs
from sagemaker_object_detection.dataset.preprocess import scaled_images
from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.models.batch_norm import MovingAverage
from sagemaker_object_detection.models.detector import Detector, Predictions
from sagemaker_object_detection.training.devices import smallest_memory
from sagemaker_object_detection.training.features import KeptFeatures
from sagemaker_object_detection.training.gradients import LossGradients, Share, following
from sagemaker_object_detection.training.replicas import Replicas
from sagemaker_object_detection.training.targets import Targets, assign_targets

log = logging.getLogger(__name__)

_MEMORY_ERRORS = (
    *("resource_exhausted", "out of memory", "oom when allocating"),
    # cuDNN's and CUDA's names for it, and what their libraries say where there is no room for a handle.
    *("alloc_failed", "allocation_failed", "error_out_of_memory"),
    *("cublas_status_not_initialized", "cudnn_status_not_initialized"),
)
"""What TensorFlow says where memory runs out. While cuDNN and cuBLAS choose an algorithm or make a handle, only the
text tells (NotFoundError, InternalError, UnknownError)."""


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
    """Callable on a step's batch; returns its total loss as a scalar tensor without waiting for it.

    A step that does not fit into the device's memory is repeated with half as many images at a time, and so are those
    after it: gradients are summed over these micro-batches and divided by the matches of the whole batch. Where batch
    normalisation is frozen that is the whole batch's step up to rounding. Else every micro-batch is normalised by its
    own statistics, and the moving ones follow their mean.

    Args:
        detector: its weights are updated in place.
        optimizer: as `build_optimizer` made it.
        variables: what may move, from `choose_trainable`.
        l2: replaces the base model's L2 coefficient where it is not None.
        warm_up_statistics: True from random weights. The moving statistics then follow the rule of
            `tf.train.ExponentialMovingAverage(num_updates=n)`: momentum_n = min(momentum, (1 + n) / (10 + n)). With
            momentum 0.997 alone they would still hold mostly their initial values after a few hundred steps, and the
            model, good in training mode, would detect nothing.
        replicas: what the step is spread over. Made inside their scope.
        micro_batch: how many images a replica takes at a time; None for all of its share.
        features: what takes the detector's place, where only its class predictor moves (features.py).
        xla: whether XLA compiles the step. Each number of rows of ground truth is compiled on its own, of which there
            are few (`dataset/pipeline.py`), and only the matching depends on it.
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
        xla: bool = False,
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
        self._statistics = [
            variable for layer in following(detector) for variable in (layer.moving_mean, layer.moving_variance)
        ]
        self.replicas = replicas
        self._predict = features or self._forward
        self._taken = False
        """Whether a step has come to its end."""
        self._compile_with(xla)

    def _compile_with(self, xla: bool) -> None:
        """Settles what XLA compiles; traces of before are gone."""
        self._xla = xla
        self._match = _compiled(self._match_batch) if xla else self._match_batch
        # What several replicas do together is not compiled.
        self.update = _compiled(self.apply) if xla and self.replicas.count == 1 else self.apply
        """`apply`, as it is called."""
        self._whole: _Whole | None = None
        self._in_parts: _Accumulation | None = None

    @property
    def traces(self) -> int:
        """How often the step was traced: once, or memory and time leak."""
        return 0 if self._whole is None else int(self._whole.run.experimental_get_tracing_count())

    @property
    def state(self) -> list[np.ndarray]:
        """A copy of the optimizer's variables."""
        return [variable.numpy() for variable in self.optimizer.variables]

    @state.setter
    def state(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self.optimizer.variables, values, strict=True):
            variable.assign(value)

    def __call__(self, *parts: Batch) -> tf.Tensor:
        """Takes the step.

        Args:
            parts: the images of each of this host's replicas, all of one shape but for the rows of ground truth.

        Raises:
            UserError: it does not fit into the device's memory, even one image at a time.
        """
        while True:
            try:
                loss = self._take(parts)
            except tf.errors.OpError as error:
                # Nothing has moved yet: see `apply`.
                if _is_memory_error(error):
                    self._halve(_images(parts[0]), error)
                elif self._xla and not self._taken and self.replicas.hosts == 1:
                    log.warning("XLA cannot compile the training step (%s): it goes on without.", first_line(error))
                    self._compile_with(False)
                else:
                    raise
            else:
                self._taken = True
                return loss

    def _take(self, parts: Sequence[Batch]) -> tf.Tensor:
        if self.micro_batch is None:
            self._whole = self._whole or _Whole(self, parts)
            return self._whole(parts)
        self._in_parts = self._in_parts or _Accumulation(self, parts, self.micro_batch)
        return self._in_parts(parts)

    def _halve(self, share: int, error: Exception) -> None:
        """Makes the micro-batch half as large; `share` is how many images of a batch a replica takes."""
        present = min(self.micro_batch or share, share)
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
        moving = bool(self._statistics)
        log.info(
            "A step of %d images at a time does not fit into the device's memory: from now on it takes %d at a time, "
            "and adds up their gradients%s.",
            present,
            self.micro_batch,
            "; batch normalization uses the statistics of these" if moving else "",
        )

    def values(self) -> list[tf.Tensor]:
        """What the detector's variables hold; called on a replica."""
        return [tf.convert_to_tensor(variable.value) for variable in self.detector.variables]

    def match(self, batch: Batch) -> tuple[Targets, tf.Tensor]:
        """The targets of these images, and the sum of the weights of their matches; called on a replica."""
        return self._match(batch.boxes, batch.classes, batch.box_weights, batch.image_weights)

    def _match_batch(
        self, boxes: tf.Tensor, classes: tf.Tensor, box_weights: tf.Tensor, image_weights: tf.Tensor
    ) -> tuple[Targets, tf.Tensor]:
        targets = assign_targets(self.detector.anchors, boxes, classes, box_weights, self.detector.base.family)
        return targets, tf.reduce_sum(tf.reduce_sum(targets.box_weights, axis=1) * image_weights)

    @property
    def moments_spec(self) -> tuple[list[int], str]:
        """Shape and dtype of the moments of a batch."""
        size = sum(int(variable.shape[0]) for variable in self._statistics)
        return [size], self._statistics[0].dtype if self._statistics else "float32"

    def gradients_of(self, shares: int, images: int) -> LossGradients:
        """Of a batch of at most so many images that is taken in so many shares."""
        return LossGradients(
            self.detector, self.variables, self._predict, l2=self._l2, shares=shares, images=images, xla=self._xla
        )

    def share(self, inputs: Inputs, targets: Targets, matched: tf.Tensor, first: tf.Tensor) -> Share:
        """As `LossGradients` takes it; called on a replica."""
        scale = self.optimizer.scale_loss(tf.ones([]))
        return Share(inputs, targets, matched, first, tf.convert_to_tensor(self.optimizer.iterations.value), scale)

    def _forward(self, inputs: Inputs) -> Predictions:
        images = scaled_images(inputs.images, inputs.true_shapes, self.detector.base)
        predictions: Predictions = self.detector(images, training=True)
        return predictions

    def apply(self, gradients: Sequence[tf.Tensor], moments: tf.Tensor) -> None:
        """Sums gradients over the replicas and updates the variables; called on each of them.

        Nothing moves before the last gradient of every replica is there: where memory runs out on the way, the step can
        be repeated.

        Args:
            gradients: this replica's.
            moments: float32 [S], of its images.
        """
        if self.replicas.count > 1:
            with tf.control_dependencies(gradients):  # a sum that another replica never comes to would be aborted
                moments = self.replicas.sum_in_step(tf.identity(moments)) / self.replicas.count
            if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
                # Keras asks one replica alone whether they are finite, and there before they are summed.
                poison = self.replicas.sum_in_step(tf.add_n([tf.reduce_sum(gradient * 0.0) for gradient in gradients]))
                gradients = [gradient + poison for gradient in gradients]
        statistics = self._moved_statistics(moments)
        # What the replicas do together waits for this on all of them.
        with tf.control_dependencies([tf.group(*gradients, *statistics)]):
            if statistics:
                self.replicas.assign_in_step(self._statistics, statistics)
            self.optimizer.apply(gradients, self.variables)

    def _moved_statistics(self, moments: tf.Tensor) -> list[tf.Tensor]:
        """What the moving statistics come to with those of the batch: all at once, which is a few operations."""
        if not self._statistics:
            return []
        momentum = tf.constant(self.detector.base.family.batch_norm_momentum)
        if self._warm_up_statistics:
            updates = tf.cast(self.optimizer.iterations, tf.float32)
            momentum = tf.minimum(momentum, (1.0 + updates) / (10.0 + updates))
        old = tf.concat([variable.value for variable in self._statistics], axis=0)
        moved = MovingAverage.moved(old, moments, momentum)
        return list(tf.split(moved, [int(variable.shape[0]) for variable in self._statistics]))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, autograph=False, jit_compile=True)


def _is_memory_error(error: tf.errors.OpError) -> bool:
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return True
    text = str(error).lower()
    return any(sign in text for sign in _MEMORY_ERRORS)


def _images(part: Batch) -> int:
    """How many images it has, blank ones included."""
    return int(part.image_weights.shape[0])


def first_image(share: int) -> tf.Tensor:
    """The place in the whole batch of a replica's first image, where each of them takes `share`; called on it."""
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32) * share


class _Whole:
    """A step that takes the whole batch at once."""

    def __init__(self, step: TrainingStep, parts: Sequence[Batch]) -> None:
        self._step = step
        count, self._share = step.replicas.count, _images(parts[0])
        self._gradients = step.gradients_of(count, count * self._share)
        self.run = step.replicas.function(self._on_replica, parts)

    def __call__(self, parts: Sequence[Batch]) -> tf.Tensor:
        return self.run(parts)

    def _on_replica(self, batch: Batch) -> tf.Tensor:
        step = self._step
        targets, matched = step.match(batch)
        matched = step.replicas.sum_in_step(matched)
        share = step.share(batch.inputs, targets, matched, first_image(self._share))
        gradients, moments, loss = self._gradients(step.values(), share)
        step.update(gradients, moments)
        return loss


class _Accumulation:
    """A step in parts: matches are counted over the whole batch, gradients summed part by part, then applied."""

    def __init__(self, step: TrainingStep, parts: Sequence[Batch], micro_batch: int) -> None:
        self._step = step
        self._share = _images(parts[0])
        self._size = min(micro_batch, self._share)
        self._rounds = -(-self._share // self._size)
        count = step.replicas.count
        # The last replica's last round may reach past the end of the batch.
        images = (count - 1) * self._share + self._rounds * self._size
        self._gradients = step.gradients_of(count * self._rounds, images)
        with step.replicas.scope():
            self._sums = [_sum_variable(variable.shape, variable.dtype) for variable in step.variables]
            self._moments = _sum_variable(*step.moments_spec)
        function = step.replicas.function
        self._count = function(self._count_on_replica, parts)
        self._add = function(self._add_on_replica, parts, tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.float32))
        self._apply = function(self._apply_on_replica, parts)

    def __call__(self, parts: Sequence[Batch]) -> tf.Tensor:
        matched = self._count(parts)
        losses = [self._add(parts, tf.constant(number), matched) for number in range(self._rounds)]
        self._apply(parts)
        return tf.add_n(losses)

    def _count_on_replica(self, batch: Batch) -> tf.Tensor:
        """The matches of this replica's images."""
        return self._step.match(batch)[1]

    def _add_on_replica(self, batch: Batch, number: tf.Tensor, matched: tf.Tensor) -> tf.Tensor:
        step, size = self._step, self._size
        missing = size * self._rounds - self._share
        # The last round is filled up with its first images again, at no weight: blank ones would move the statistics.
        weights = tf.concat([batch.image_weights, tf.zeros([missing])], axis=0)
        filled = Batch(*(tf.concat([x, x[:missing]], axis=0) for x in batch))._replace(image_weights=weights)
        begin = number * size
        images = Batch(*(tf.ensure_shape(x[begin : begin + size], [size, *x.shape[1:]]) for x in filled))
        targets, _ = step.match(images)
        share = step.share(images.inputs, targets, matched, first_image(self._share) + begin)
        gradients, moments, loss = self._gradients(step.values(), share)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)
        self._moments.assign_add(moments)
        return loss

    def _apply_on_replica(self, batch: Batch) -> tf.Tensor:
        gradients = [total.read_value() for total in self._sums]
        moments = self._moments.read_value()
        self._step.update(gradients, moments / self._rounds)
        with tf.control_dependencies([*gradients, moments]):
            for total in (*self._sums, self._moments):
                total.assign(tf.zeros_like(total))
        return tf.zeros([])


def _sum_variable(shape: Sequence[int], dtype: str) -> tf.Variable:
    """Each replica's own, until the optimizer sums them up."""
    return tf.Variable(
        tf.zeros(shape, dtype),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )
