"""The number format that is fast on a device, as a Keras dtype policy."""

import logging

log = logging.getLogger(__name__)


def choose_number_format(mixed_precision: bool | None, capability: tuple[int, int] | None) -> str:
    """The policy for one device; the log says it unless it is the usual one.

    NVIDIA GPUs multiply float16 matrices fast from compute capability 7.0 on, bfloat16 from 8.0 on. On a CPU bfloat16
    saves memory but no time, so Auto leaves it off there.

    Args:
        mixed_precision: the hyperparameter; None (Auto) means on where the GPU has fast bfloat16 or float16.
        capability: the GPU's compute capability; None on a CPU.

    Returns:
        "float32", "mixed_bfloat16" or "mixed_float16" (the last needs loss scaling).
    """
    version = capability or (0, 0)
    if mixed_precision is False or (mixed_precision is None and version < (7, 0)):
        return "float32"
    policy = "mixed_float16" if (7, 0) <= version < (8, 0) else "mixed_bfloat16"
    log.info("Mixed precision: %s", policy)
    if capability is None:
        log.warning(
            "mixed_precision: on a CPU 16 bits save memory but no time, and on some processors TensorFlow makes NaN of "
            "right numbers in them: leave it at Auto for float32."
        )
    return policy
