"""What the machine offers: the devices TensorFlow sees, and the number format that is fast on them."""

import logging

import tensorflow as tf

log = logging.getLogger(__name__)


def prepare_devices(mixed_precision: bool | None) -> str:
    """Turns memory growth on, logs the devices, and chooses the Keras dtype policy.

    Args:
        mixed_precision: the hyperparameter; None (Auto) means on where the GPU has fast bfloat16 or float16.

    Returns:
        "float32", "mixed_bfloat16" or "mixed_float16" (the last needs loss scaling).
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    if not gpus:
        log.info("Training on the CPU: TensorFlow %s sees no GPU.", tf.__version__)
    for detail in details:
        log.info("GPU: %s, compute capability %s", detail.get("device_name"), detail.get("compute_capability"))
    if len(gpus) > 1:
        log.warning("%d GPUs are visible; this version trains on the first.", len(gpus))
    policy = dtype_policy(mixed_precision, details[0].get("compute_capability") if details else None)
    if policy != "float32":
        log.info("Mixed precision: %s", policy)
    return policy


def dtype_policy(mixed_precision: bool | None, compute_capability: tuple[int, int] | None) -> str:
    """The policy for one device; `compute_capability` is None on a CPU.

    NVIDIA GPUs multiply float16 matrices fast from compute capability 7.0 on, bfloat16 from 8.0 on. On a CPU bfloat16
    saves memory but no time, so Auto leaves it off there.
    """
    capability = compute_capability or (0, 0)
    if mixed_precision is False or (mixed_precision is None and capability < (7, 0)):
        return "float32"
    return "mixed_float16" if (7, 0) <= capability < (8, 0) else "mixed_bfloat16"
