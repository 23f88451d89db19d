"""What the machine offers: the devices TensorFlow sees, and the number format that is fast on them."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job.driver import (
    CPU_ON_PURPOSE,
    LIBRARY,
    Driver,
    device_files,
    driver_problem,
    hidden_by,
    read_driver,
)
from sagemaker_object_detection.job.memory import memory_limit, shared_memory
from sagemaker_object_detection.job.stop import NEVER, StopSignal
from sagemaker_object_detection.training.gpu_probe import probe_gpus

log = logging.getLogger(__name__)

SHARED_MEMORY_PER_GPU = 64 * 2**20
"""Bytes. NCCL takes segments of 9.6 MB for GPUs that cannot reach each other's memory, and Docker's 64 MB in all were
too few for four of them (NVIDIA/nccl#342, #525)."""


def prepare_devices(mixed_precision: bool | None, stop: StopSignal = NEVER) -> str:
    """Turns memory growth on, logs what is trained on in one line, and chooses the Keras dtype policy.

    Args:
        mixed_precision: the hyperparameter; None (Auto) means on where the GPU has fast bfloat16 or float16.
        stop: once it is requested nothing is waited for.

    Returns:
        "float32", "mixed_bfloat16" or "mixed_float16" (the last needs loss scaling).

    Raises:
        PlatformError: the machine has a GPU that TensorFlow does not see, or cannot compute on.
    """
    gpus = tf.config.list_physical_devices("GPU")
    tensorflow, capability = tensorflow_build(), None
    if gpus:
        _check(gpus, stop)
        _let_memory_grow(gpus)
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        capability = min((detail.get("compute_capability", (0, 0)) for detail in details), default=None)
        names = ", ".join(f"{detail.get('device_name')} ({_capability(detail)})" for detail in details)
        log.info(
            "Training on %s: %s; TensorFlow %s for CUDA %s.", _count(gpus), names, tensorflow.version, tensorflow.cuda
        )
        _warn_of_little_shared_memory(len(gpus), shared_memory())
    else:
        log.info("Training on the CPU: %s.", why_no_gpu(tensorflow))
    policy = dtype_policy(mixed_precision, capability)
    if policy != "float32":
        log.info("Mixed precision: %s", policy)
    if policy != "float32" and not gpus:
        log.warning(
            "mixed_precision: on a CPU 16 bits save memory but no time, and on some processors TensorFlow makes NaN of "
            "right numbers in them: leave it at Auto for float32."
        )
    return policy


def has_gpu() -> bool:
    """Whether TensorFlow trains on one."""
    return bool(tf.config.list_physical_devices("GPU"))


def prepare_to_answer() -> bool:
    """Turns memory growth on. A GPU that cannot be used costs a warning, and is hidden: the CPU answers as well.

    Returns:
        Whether a GPU answers.
    """
    gpus = tf.config.list_physical_devices("GPU")
    try:
        if gpus:
            _check(gpus)
        else:
            why_no_gpu(tensorflow_build())
    except PlatformError as error:
        log.warning("The CPU answers: %s", error)
        use_the_cpu()
        return False
    _let_memory_grow(gpus)
    return bool(gpus)


def use_the_cpu() -> None:
    """Hides every GPU from TensorFlow, for what needs none: it may not work. Called before anything is computed."""
    if tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")


def dtype_policy(mixed_precision: bool | None, compute_capability: tuple[int, int] | None) -> str:
    """The policy for one device; `compute_capability` is None on a CPU.

    NVIDIA GPUs multiply float16 matrices fast from compute capability 7.0 on, bfloat16 from 8.0 on. On a CPU bfloat16
    saves memory but no time, so Auto leaves it off there.
    """
    capability = compute_capability or (0, 0)
    if mixed_precision is False or (mixed_precision is None and capability < (7, 0)):
        return "float32"
    return "mixed_float16" if (7, 0) <= capability < (8, 0) else "mixed_bfloat16"


@dataclass(frozen=True)
class TensorFlowBuild:
    """Which TensorFlow this is; `cuda` is the version of CUDA it was built for, None for the CPU variant."""

    version: str
    cuda: str | None


def tensorflow_build() -> TensorFlowBuild:
    """That of the TensorFlow this process has imported."""
    built_for = tf.sysconfig.get_build_info()["cuda_version"] if tf.test.is_built_with_cuda() else None
    return TensorFlowBuild(tf.__version__, built_for)


def why_no_gpu(
    tensorflow: TensorFlowBuild, *, root: Path = Path("/"), environment: Mapping[str, str] = os.environ
) -> str:
    """Why TensorFlow rightly sees no GPU, for the log; a warning where only other containers of the machine have one.

    Args:
        root: where dev/ and proc/ of the machine lie.
        environment: what hides a GPU on purpose.

    Raises:
        PlatformError: there is a GPU, and nobody hid it: the user pays for it, and the CPU takes many times as long.
    """
    if hidden := hidden_by(environment, root):
        return f"{hidden} hides any GPU from TensorFlow {tensorflow.version}"
    driver = read_driver(root)
    if found := [str(gpu) for gpu in driver.gpus] if driver and driver.gpus else device_files(root):
        variant = f"built for CUDA {tensorflow.cuda}" if tensorflow.cuda else "the CPU variant"
        raise PlatformError(
            f"this machine has a GPU ({', '.join(found)}), but TensorFlow {tensorflow.version}, {variant}, sees none: "
            f"{_reason(tensorflow, driver, environment)}; {CPU_ON_PURPOSE}"
        )
    # What the kernel says is the same in every container of the machine, with a GPU or without.
    if elsewhere := sorted(path.name for path in (root / "proc/driver/nvidia/gpus").glob("*")):
        log.warning(
            "This machine has a GPU (%s in /proc/driver/nvidia/gpus) that this container was not given; to use it, "
            "start the container with --gpus all, or in the SDK's local mode with the instance type local_gpu",
            ", ".join(elsewhere),
        )
        return f"TensorFlow {tensorflow.version} sees no GPU, and the container was given none"
    return f"TensorFlow {tensorflow.version} sees no GPU, and the machine has none"


def smallest_memory(*, root: Path = Path("/")) -> int | None:
    """Bytes of the smallest GPU, or without one of what this container may use of the machine; None if unknown.

    Args:
        root: where sys/ of the machine lies.
    """
    if tf.config.list_physical_devices("GPU"):
        driver = read_driver()
        return min((gpu.memory for gpu in driver.gpus), default=None) if driver else None
    return memory_limit(root)


def _check(gpus: Sequence[Any], stop: StopSignal = NEVER) -> None:
    """Raises PlatformError where TensorFlow lists GPUs and cannot compute on one of them."""
    driver = read_driver()
    if driver and (problem := driver_problem(driver)):
        raise PlatformError(f"{problem}; {CPU_ON_PURPOSE}")
    if failures := probe_gpus(stop=stop).failures:
        raise PlatformError(
            f"TensorFlow lists {_count(gpus)} and cannot compute: {'; '.join(failures)}; the machine's NVIDIA driver "
            f"is {driver or 'unknown'}; start the job again, and choose another instance type if that does not help; "
            f"{CPU_ON_PURPOSE}"
        )


def _reason(tensorflow: TensorFlowBuild, driver: Driver | None, environment: Mapping[str, str]) -> str:
    """Why TensorFlow sees no GPU where there is one, and what to do."""
    if tensorflow.cuda is None:
        return "use the GPU variant of the image (build argument VARIANT=gpu), or an instance type without a GPU"
    if driver is None:
        return (
            f"the driver's {LIBRARY} is not in the container; start it with --gpus all and the environment variable "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility, which the image sets"
        )
    if problem := driver_problem(driver):
        return problem
    if not driver.gpus and (chosen := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return f'CUDA_VISIBLE_DEVICES="{chosen}" names none that there is; set it to numbers from 0 on, or leave it out'
    if not driver.gpus:
        return f"the NVIDIA driver, {driver}, finds none; start the job again"
    if not_loaded := probe_gpus().not_loaded:
        return (
            f"it cannot load {', '.join(not_loaded)}; build the image anew, whose lock file brings CUDA's libraries, "
            "or for libnvidia-ml.so.1 set NVIDIA_DRIVER_CAPABILITIES=compute,utility"
        )
    return "it does not say why; with TF_CPP_MIN_LOG_LEVEL=0 and TF_CPP_VMODULE=gpu_device=1 its log says more"


def _let_memory_grow(gpus: Sequence[Any]) -> None:
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)


def _warn_of_little_shared_memory(gpus: int, free: int | None) -> None:
    if gpus > 1 and free is not None and free < gpus * SHARED_MEMORY_PER_GPU:
        log.warning(
            "/dev/shm has %d MB, and %d GPUs may need %d MB to exchange gradients, or end with an error of NCCL; start "
            "the container with --shm-size 1g",
            free // 2**20,
            gpus,
            gpus * SHARED_MEMORY_PER_GPU // 2**20,
        )


def _count(gpus: Sequence[Any]) -> str:
    return f"{len(gpus)} GPU{'' if len(gpus) == 1 else 's'}"


def _capability(detail: Mapping[str, tuple[int, int]]) -> str:
    capability = detail.get("compute_capability")
    return "compute capability " + (".".join(map(str, capability)) if capability else "unknown")
