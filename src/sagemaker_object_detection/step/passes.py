"""The two ways of taking a training step: the whole batch at once, or in parts whose gradients are added up."""

from collections.abc import Sequence

import tensorflow as tf

from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.step.replica_step import ReplicaStep


class Whole:
    """A step that takes the whole batch at once.

    Args:
        step: what replicas compute.
        parts: the images of each of this host's replicas.
    """

    def __init__(self, step: ReplicaStep, parts: Sequence[Batch]) -> None:
        self._step = step
        count, self._share = step.replicas.count, images_of(parts[0])
        self._gradients = step.gradients_of(count, count * self._share)
        self.run = step.replicas.function(self._on_replica, parts)

    def __call__(self, parts: Sequence[Batch]) -> tf.Tensor:
        return self.run(parts)

    def _on_replica(self, batch: Batch) -> tf.Tensor:
        step = self._step
        targets, matched = step.match(batch)
        matched = step.replicas.sum_in_step(matched)
        share = step.share(batch.inputs, targets, matched, _first_image(self._share))
        gradients, moments, losses = self._gradients(step.values(), share)
        return tf.concat([losses, step.update(gradients, moments)], axis=0)


class InParts:
    """Matches are counted over the whole batch, gradients summed part by part, then applied.

    Args:
        step: what replicas compute.
        parts: the images of each of this host's replicas.
        micro_batch: how many images a replica takes at a time.
    """

    def __init__(self, step: ReplicaStep, parts: Sequence[Batch], micro_batch: int) -> None:
        self._step = step
        self._share = images_of(parts[0])
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
        squares = self._apply(parts)
        return tf.concat([tf.add_n(losses), squares], axis=0)

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
        share = step.share(images.inputs, targets, matched, _first_image(self._share) + begin)
        gradients, moments, losses = self._gradients(step.values(), share)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)
        self._moments.assign_add(moments)
        return losses

    def _apply_on_replica(self, batch: Batch) -> tf.Tensor:
        gradients = [total.read_value() for total in self._sums]
        moments = self._moments.read_value()
        squares = self._step.update(gradients, moments / self._rounds)
        with tf.control_dependencies([*gradients, moments]):
            for total in (*self._sums, self._moments):
                total.assign(tf.zeros_like(total))
        return squares


def _sum_variable(shape: Sequence[int], dtype: str) -> tf.Variable:
    """Each replica's own, until the optimizer sums them up."""
    return tf.Variable(
        tf.zeros(shape, dtype),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )


def images_of(part: Batch) -> int:
    """How many images it has, blank ones included."""
    return int(part.image_weights.shape[0])


def _first_image(share: int) -> tf.Tensor:
    """The place in the whole batch of a replica's first image, where each of them takes `share`; called on it."""
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32) * share
