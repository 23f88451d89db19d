"""Floating-point operations of a forward pass, as TensorFlow's profiler counts them: a multiply-add is two."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def forward_flops(forward: Callable[[Any], Any], batch_size: int, image_size: int) -> float:
    """Operations per image of `forward` on images float32 [batch_size, image_size, image_size, 3]."""
    images = tf.TensorSpec([batch_size, image_size, image_size, 3], tf.float32)
    graph = tf.function(forward, autograph=False).get_concrete_function(images).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    counted = tf.compat.v1.profiler.profile(graph, options={**options, "output": "none"})
    return float(counted.total_float_ops) / batch_size
