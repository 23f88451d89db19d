"""Whether XLA compiles the training step."""

import logging

import tensorflow as tf

log = logging.getLogger(__name__)

WORTHWHILE_STEPS = 5000
"""Steps from which a GPU's are compiled. Compiling takes a minute or more. A step is thousands of operations, each of
which takes some 10 microseconds to start on a GPU; compiled, it is hundreds. Nobody has measured this on a GPU yet."""


def use_xla(xla: bool | None, total_steps: int) -> bool:
    """Settles the hyperparameter, and says so where steps are compiled.

    Args:
        xla: the hyperparameter; None (Auto) means on a GPU, and in jobs that are long enough to win by it.
        total_steps: of the whole job, so that one that is restarted comes to the same.
    """
    if xla is None:
        xla = bool(tf.config.list_physical_devices("GPU")) and total_steps >= WORTHWHILE_STEPS
    if xla:
        log.info("XLA compiles the training step: the first step takes a minute or more, those after it less.")
    return xla
