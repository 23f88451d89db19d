"""Tiny detectors and batches for tests of the training step, and a memory that is full when a test says so."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY, add_backbones

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.devices.replicas import Replicas
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.models.detector import Detector, Predictions, build_detector
from sagemaker_object_detection.step import passes
from sagemaker_object_detection.step.features import KeptFeatures
from sagemaker_object_detection.step.optimizer import build_optimizer, layer_shares
from sagemaker_object_detection.step.training_step import TrainingStep, choose_trainable

add_backbones()
ALONE = Replicas(tf.distribute.get_strategy())


def batch(
    seed: int, boxes: int, size: int = 2, rows: int = 4, base: BaseModel = TINY, regions: Sequence[list[float]] = ()
) -> Batch:
    """`size` images of noise, each with `boxes` real ones among `rows` rows of ground truth, the first also with
    `regions` to ignore."""
    side = base.input_size
    random = np.random.default_rng(seed)
    corners = np.zeros((size, rows, 4), np.float32)
    top_left = random.uniform(0.0, 0.5, (size, boxes, 2))
    corners[:, :boxes] = np.concatenate([top_left, top_left + random.uniform(0.2, 0.5, (size, boxes, 2))], axis=2)
    weights = np.zeros((size, rows), np.float32)
    weights[:, :boxes] = 1.0
    return Batch(
        images=tf.constant(random.normal(size=(size, side, side, 3)), tf.float32),
        true_shapes=tf.constant([[side, side, 3]] * size, tf.int32),
        boxes=tf.constant(corners),
        classes=tf.constant(random.integers(0, 2, (size, rows)), tf.int64),
        box_weights=tf.constant(weights),
        regions=tf.constant([list(regions), *[[[0.0] * 4] * len(regions)] * (size - 1)], tf.float32)
        if regions
        else tf.zeros([size, 0, 4]),
        image_weights=tf.ones([size]),
        indices=tf.range(size, dtype=tf.int64),
    )


def share_of(whole: Batch, low: int, high: int) -> Batch:
    """Images `low` up to `high` of a batch; past its end, blank ones of weight 0, as the pipeline has them."""
    missing = max(0, high - len(whole.image_weights))
    filled = (tf.pad(x, [[0, missing]] + [[0, 0]] * (len(x.shape) - 1)) for x in whole)
    return Batch(*(x[low:high] for x in filled))


def calibrated(base: BaseModel, dtype: str = "float32") -> Detector:
    """A detector in which neither features nor gradients vanish: He's initial kernels, statistics of real maps."""
    detector = build_detector(base, 2, dtype=dtype)
    for variable in detector.trainable_variables:
        if len(variable.shape) == 4:
            fan_in = np.prod(variable.shape[:2] if "depthwise" in variable.name else variable.shape[:3])
            kernel = variable.numpy()
            variable.assign(kernel / kernel.std() * np.sqrt(2 / fan_in))
    detector.moving_average.momentum = 0.0
    detector(batch(99, 0, size=4, base=base).images, training=True)
    detector.moving_average.momentum = base.family.batch_norm_momentum
    return detector


def make_step(
    detector: Detector,
    *,
    replicas: Replicas = ALONE,
    only_top_layer: bool = False,
    freeze: bool = False,
    warm_up: bool = True,
    l2: float | None = None,
    micro_batch: int | None = None,
    features: KeptFeatures | None = None,
    xla: bool = False,
    **values: str,
) -> TrainingStep:
    """The step of a job with these hyperparameters, whose kernels were loaded but for the class predictor's. Called in
    the replicas' scope."""
    given = {"learning_rate": "0.01", "learning_rate_schedule": "constant", "relative_learning_rate": "0.02", **values}
    hyperparameters = read(given)
    variables = choose_trainable(detector, only_top_layer=only_top_layer, freeze_batch_norm=freeze)
    shares = layer_shares(variables, detector.class_predictor.variables, hyperparameters)
    optimizer = build_optimizer(hyperparameters, 10, shares)
    return TrainingStep(
        detector,
        optimizer,
        variables,
        l2=l2,
        warm_up_statistics=warm_up,
        replicas=replicas,
        micro_batch=micro_batch,
        features=features,
        xla=xla,
    )


class Memory:
    """How many images a detector can take at once; with more, its backward pass runs out of memory halfway.

    Args:
        first_image: only those images of a batch fail that begin there or later: on a replica that is not the first.
        error: what the failing operation raises. A MemoryError is a ResourceExhaustedError outside, any other an
            UnknownError.
    """

    def __init__(self, detector: Detector, *, first_image: int = 0, error: Exception | None = None) -> None:
        self.images = 1000
        self._first_image = first_image
        self._error = error
        backbone, pyramid, heads = detector.parts

        @tf.custom_gradient
        def guarded(x: tf.Tensor) -> Any:
            first = tf.convert_to_tensor(detector.noise.first_image.value)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                # By now the gradients of pyramid and heads are there.
                with tf.control_dependencies([tf.numpy_function(self._take, [tf.shape(upstream)[0], first], [])]):
                    return tf.identity(upstream)

            return tf.identity(x), gradient

        def call(images: tf.Tensor, training: bool = False) -> Predictions:
            taps = [guarded(tap) for tap in backbone(images, training=training)]
            return Predictions(*heads(pyramid(taps[-3:], training=training), training=training))

        changed: Any = detector
        changed.call = call

    def _take(self, images: int, first: int) -> None:
        if images > self.images and first >= self._first_image:
            raise self._error or MemoryError(f"OOM when allocating tensor with shape[{images}]")


MEMORY_ERRORS: dict[type[tf.errors.OpError], str] = {
    tf.errors.ResourceExhaustedError: "OOM when allocating tensor with shape[8,256,80,80] by allocator GPU_0_bfc",
    tf.errors.NotFoundError: "No algorithm worked!  Error messages: Profiling failure on CUDNN engine 0: "
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8557823 bytes.",
    tf.errors.InternalError: "Failed to create cuBLAS handle: CUBLAS_STATUS_ALLOC_FAILED",
    tf.errors.UnknownError: "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED in tensorflow/core",
}
"""What TensorFlow raises where a GPU's memory runs out."""


def raise_instead(monkeypatch: pytest.MonkeyPatch, error: type[tf.errors.OpError], text: str) -> None:
    """Lets a step whose operations fail with an UnknownError fail with this one."""
    for kind in (passes.Whole, passes.InParts):
        take = kind.__call__

        def failing(self: Any, parts: Any, take: Any = take) -> tf.Tensor:
            try:
                return take(self, parts)
            except tf.errors.UnknownError:
                raise error(None, None, text) from None

        monkeypatch.setattr(kind, "__call__", failing)


def values_of(variables: Sequence[Any]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def movements(values: Sequence[np.ndarray], start: Sequence[np.ndarray]) -> list[float]:
    return [float(np.linalg.norm(after - before)) for after, before in zip(values, start, strict=True)]


def deviation(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], start: Sequence[np.ndarray]) -> float:
    """How far two trainings' weights are apart, relative to their movement: of the variable where it is largest."""
    pairs = zip(movements(found, expected), movements(expected, start), strict=True)
    return max(0.0 if difference == 0.0 else difference / max(movement, 1e-300) for difference, movement in pairs)
