"""The devices a training step is spread over: one, the GPUs of a host, or those of several hosts."""

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context as eager

from sagemaker_object_detection.dataset.pipeline import Batch, prefetched
from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job.hosts import meet
from sagemaker_object_detection.job.stop import NEVER, StopSignal

log = logging.getLogger(__name__)

_PACKAGE = "sagemaker_object_detection"
PORT = 8890
"""Where the hosts of a job speak with each other."""
_FAREWELL_SECONDS = 2.0
"""The chief is there for so long after the others have said that they are, for them to hear that it is too."""
JOIN_SECONDS = 60.0
"""How long TensorFlow may take to join hosts that are all there; it takes less than one."""


class Replicas:
    """Copies of the detector that train in step, and this host's share of them.

    The reference's way, which is TensorFlow's own: every replica takes its part of the batch, gradients are summed over
    all of them, so that all weights stay equal; batch statistics are each replica's own.
    """

    def __init__(self, strategy: tf.distribute.Strategy, hosts: int = 1, host: int = 0) -> None:
        self._strategy = strategy
        self.hosts = hosts
        self.host = host
        self.count = int(strategy.num_replicas_in_sync)
        """Replicas on all hosts together."""

    @property
    def is_chief(self) -> bool:
        """Whether this is the host that validates, logs and saves."""
        return self.host == 0

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Variables that are made inside have a copy on every replica: every host makes them, or none can."""
        with self.blamed(), self._strategy.scope():
            yield

    def images_per_replica(self, batch_size: int) -> int:
        """How many images of a batch each replica takes; the last ones may have to fill up."""
        return -(-batch_size // self.count)

    def share(self, batch_size: int) -> tuple[int, int]:
        """This host's images of a batch: their first place, and the place after their last; it may lie past the end."""
        local = self.images_per_replica(batch_size) * self.count // self.hosts
        return self.host * local, (self.host + 1) * local

    def distributed(self, batches: tf.data.Dataset) -> Iterator[tuple[Batch, ...]]:
        """The parts of this host's replicas in each step, on their devices, one step ahead.

        Args:
            batches: endless; every element is what one replica takes of a step, in the replicas' order.
        """
        if self.count == self.hosts:
            yield from ((batch,) for batch in prefetched(batches))
            return
        endless = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        for batch in self._strategy.distribute_datasets_from_function(lambda context: endless):
            columns = [self._strategy.experimental_local_results(column) for column in batch]
            yield tuple(Batch(*part) for part in zip(*columns, strict=True))

    def function(self, step: Callable[..., tf.Tensor], parts: Sequence[Batch], *others: tf.TensorSpec) -> Any:
        """A tf.function of parts like these: the sum of what `step` returns on every replica for its own part.

        Args:
            step: takes a part, and what all replicas are given alike, of which `others` are the specs.
        """

        def on_replicas(parts: Sequence[Batch], *given: tf.Tensor) -> tf.Tensor:
            if self.count == 1:
                return step(parts[0], *given)
            first = self.host * len(parts)
            own = self._strategy.experimental_distribute_values_from_function(
                lambda context: parts[context.replica_id_in_sync_group - first]
            )
            found = self._strategy.run(step, args=(own, *given))
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, found, axis=None)

        signature = (tuple(part.spec for part in parts), *others)
        return tf.function(on_replicas, input_signature=signature, autograph=False)

    def sum_in_step(self, value: tf.Tensor) -> tf.Tensor:
        """Inside of what `function` runs: the sum over all replicas, on each of them."""
        if self.count == 1:
            return value
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)

    def assign_in_step(self, variables: Sequence[keras.Variable], values: Sequence[tf.Tensor]) -> None:
        """Inside of what `function` runs: assigns to each replica's copies what that replica computed, which has to be
        the same on all of them. A plain assignment would send every value from one device to the others."""
        if self.count == 1:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            return

        def on_all(strategy: tf.distribute.Strategy, values: Sequence[Any]) -> None:
            for variable, value in zip(variables, values, strict=True):
                strategy.extended.update(
                    variable.value, lambda copy, value: copy.assign(value), args=(value,), group=False
                )

        tf.distribute.get_replica_context().merge_call(on_all, args=(values,))

    def any(self, flag: bool) -> bool:
        """Whether any host says so. With several hosts, all of them have to ask at the same point."""
        return self.ask(flag)()

    def ask(self, flag: bool) -> Callable[[], bool]:
        """As `any`, without waiting for the others: what comes back does that, and tells the answer."""
        if self.hosts == 1:
            return lambda: flag
        total = self._sum(tf.constant(float(flag)))
        return lambda: float(total) > 0.0

    def tell(self, data: bytes) -> bytes:
        """The chief's data, on every host; called on all of them."""
        if self.hosts == 1:
            return data
        size = int(self._chiefs([tf.constant(len(data) if self.is_chief else 0)])[0])
        own = np.frombuffer(data, np.uint8).astype(np.int32) if self.is_chief else np.zeros(size, np.int32)
        return self._chiefs([tf.constant(own)])[0].numpy().astype(np.uint8).tobytes()

    def take_from_chief(self, variables: Sequence[Any]) -> None:
        """Makes variables hold on every host what they hold on the chief; called on all of them."""
        if self.hosts == 1:
            return
        values = self._chiefs([tf.convert_to_tensor(variable.numpy()) for variable in variables])
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _chiefs(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        def first_replicas() -> list[tf.Tensor]:
            is_first = tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group, 0)
            return [tf.where(is_first, value, tf.zeros_like(value)) for value in values]

        @tf.function(autograph=False)
        def total() -> list[tf.Tensor]:
            strategy = self._strategy
            return [
                strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in strategy.run(first_replicas)
            ]

        return total()

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Raises a PlatformError where it was another host that left."""
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
            if self.hosts == 1:
                raise
            raise PlatformError(
                "another host of this job is gone, and the rest cannot train on without it; its own log says why: "
                "start the job again"
            ) from error

    def wait(self) -> None:
        """Until every host is here. Where hosts share a machine, the first one to leave ends the others."""
        self.any(False)
        if self.hosts > 1 and self.is_chief:
            time.sleep(_FAREWELL_SECONDS)

    def log_share(self, batch_size: int, *, frozen: bool) -> None:
        """Says once how a batch is divided, where it is."""
        if self.count == 1:
            return
        each = self.images_per_replica(batch_size)
        idle = self.count - -(-batch_size // each)
        log.info(
            "%d replicas on %d host%s take %d of the %d images of a batch each%s.",
            self.count,
            self.hosts,
            "" if self.hosts == 1 else "s",
            each,
            batch_size,
            f"; {idle} of them have none" if idle else "",
        )
        if not frozen:
            log.info("Batch normalization uses the statistics of each replica's own images.")

    @tf.function(autograph=False)
    def _sum(self, value: tf.Tensor) -> tf.Tensor:
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(lambda: value), axis=None)


def find_replicas(hosts: Sequence[str], current_host: str, stop: StopSignal = NEVER) -> Replicas:
    """Settles what to train on. Called before anything else is computed: TensorFlow asks for that.

    Args:
        hosts: every host of the job, in the order all of them agree on; a name may carry a port of its own.
        current_host: this one.

    Raises:
        StoppedError: `stop` was requested before every host was there.
        PlatformError: another host did not come.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    if len(hosts) > 1:
        addresses = [host if ":" in host else f"{host}:{PORT}" for host in hosts]
        index = list(hosts).index(current_host)
        log.info("Host %d of %d (%s).", index + 1, len(hosts), current_host)
        meet(addresses, addresses[index], stop)
        strategy = _join(addresses, index)
        if index > 0:
            logging.getLogger(_PACKAGE).setLevel(logging.WARNING)  # the chief says everything once, metrics above all
        return Replicas(strategy, len(hosts), index)
    return Replicas(tf.distribute.MirroredStrategy() if gpus > 1 else tf.distribute.get_strategy())


def _join(addresses: Sequence[str], index: int) -> tf.distribute.Strategy:
    """One strategy with the other hosts, all of which were here a moment ago."""
    # What the strategy itself would set, and a bound: without one it waits for a host that has left since, and neither
    # signals nor other threads of Python are heard meanwhile. TensorFlow has no public name for this.
    eager.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=int(JOIN_SECONDS * 1000),
        coordinated_jobs=[coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=len(addresses))],
    )
    eager.context().coordination_service.cluster_register_with_barrier = True
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": addresses}), task_type="worker", task_id=index, rpc_layer="grpc"
    )
    # Making it, TensorFlow takes SIGTERM for itself, and a stop would never be heard of again.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except (tf.errors.DeadlineExceededError, tf.errors.UnavailableError) as error:
        raise PlatformError(
            f"another host of this job was there, and yet did not join within {JOIN_SECONDS:.0f} seconds; its own log "
            "says why: start the job again"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler)
