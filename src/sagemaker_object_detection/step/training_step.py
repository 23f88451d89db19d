"""One optimisation step, taken whole, or in parts where memory is too small for that."""

import logging
from collections.abc import Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from sagemaker_object_detection.catalogue import next_smaller
from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.devices.prepare import smallest_memory
from sagemaker_object_detection.devices.replicas import Replicas
from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.step.features import KeptFeatures
from sagemaker_object_detection.step.passes import InParts, Whole, images_of
from sagemaker_object_detection.step.readings import PARTS, part_of
from sagemaker_object_detection.step.replica_step import ReplicaStep

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
    """Callable on a step's batch; returns what `Reading` makes of it, without waiting for it.

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
        self.replicas = replicas
        self._replica_step = partial(
            ReplicaStep,
            detector,
            optimizer,
            self.variables,
            l2=l2,
            warm_up_statistics=warm_up_statistics,
            replicas=replicas,
            features=features,
        )
        self._taken = False
        """Whether a step has come to its end."""
        self._compile_with(xla)

    def _compile_with(self, xla: bool) -> None:
        """Settles whether XLA compiles; traces of before are gone."""
        if xla:
            log.info("XLA compiles the training step: the first step takes a minute or more, those after it less.")
        self.on_replica = self._replica_step(xla=xla)
        self._whole: Whole | None = None
        self._in_parts: InParts | None = None

    @property
    def traces(self) -> int:
        """How often the step was traced: once, or memory and time leak."""
        return 0 if self._whole is None else int(self._whole.run.experimental_get_tracing_count())

    @property
    def state(self) -> list[np.ndarray]:
        """A copy of the optimizer's variables."""
        return [variable.numpy() for variable in self.optimizer.variables]

    def movement(self, before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> tuple[float, ...]:
        """How far what may move of each of `PARTS` came, relative to its norm before; 0 where nothing may.

        Args:
            before, after: values of the detector's variables.
        """
        own = {id(variable) for variable in self.variables}
        squares = np.zeros((2, len(PARTS)))
        for variable, old, new in zip(self.detector.variables, before, after, strict=True):
            if id(variable) in own:
                moved_and_was = [np.square(value, dtype=np.float64).sum() for value in (new - old, old)]
                squares[:, part_of(self.detector, variable)] += moved_and_was
        return tuple(np.sqrt(squares[0] / np.maximum(squares[1], 1e-30)).tolist())

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
                # Nothing has moved yet: see `ReplicaStep.apply`.
                if _is_memory_error(error):
                    self._halve(images_of(parts[0]), error)
                elif self.on_replica.xla and not self._taken and self.replicas.hosts == 1:
                    log.warning("XLA cannot compile the training step (%s): it goes on without.", first_line(error))
                    self._compile_with(False)
                else:
                    raise
            else:
                self._taken = True
                return loss

    def _take(self, parts: Sequence[Batch]) -> tf.Tensor:
        if self.micro_batch is None:
            self._whole = self._whole or Whole(self.on_replica, parts)
            return self._whole(parts)
        self._in_parts = self._in_parts or InParts(self.on_replica, parts, self.micro_batch)
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
        moving = bool(self.on_replica.statistics)
        log.info(
            "A step of %d images at a time does not fit into the device's memory: from now on it takes %d at a time, "
            "and adds up their gradients%s.",
            present,
            self.micro_batch,
            "; batch normalization uses the statistics of these" if moving else "",
        )


def _is_memory_error(error: tf.errors.OpError) -> bool:
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return True
    text = str(error).lower()
    return any(sign in text for sign in _MEMORY_ERRORS)
