"""The devices that TensorFlow sees, and why it sees no GPU where there is one."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from sagemaker_object_detection.devices import driver as nvidia
from sagemaker_object_detection.devices.driver import (
    CPU_ON_PURPOSE,
    LIBRARY,
    Driver,
    device_files,
    driver_problem,
    hidden_by,
    read_driver,
)
from sagemaker_object_detection.devices.gpu_probe import probe_gpus
from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job.memory import limit_tensorflow, memory_limit, shared_memory
from sagemaker_object_detection.job.stop import NEVER, StopSignal

log = logging.getLogger(__name__)

SHARED_MEMORY_PER_GPU = 64 * 2**20
"""Bytes. NCCL takes segments of 9.6 MB for GPUs that cannot reach each other's memory, and Docker's 64 MB in all were
too few for four of them (NVIDIA/nccl#342, #525)."""


def prepare_devices(stop: StopSignal = NEVER, doing: str = "Training") -> tuple[int, int] | None:
    """Bounds what TensorFlow takes of the machine's memory, lets that of a GPU grow, and logs on what is computed.

    Args:
        stop: once it is requested nothing is waited for.
        doing: what is done there, in the log.

    Returns:
        The compute capability of the GPUs, of the oldest one; None on a CPU.

    Raises:
        PlatformError: the machine has a GPU that TensorFlow does not see, or cannot compute on.
    """
    limit_tensorflow()
    gpus, tensorflow = tf.config.list_physical_devices("GPU"), tensorflow_build()
    if not gpus:
        log.info("%s on the CPU: %s.", doing, why_no_gpu(tensorflow))
        return None
    _check(gpus, stop)
    _let_memory_grow(gpus)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = ", ".join(f"{detail.get('device_name')} ({_capability(detail)})" for detail in details)
    build = tensorflow.version, tensorflow.cuda
    log.info("%s on %s: %s; TensorFlow %s for CUDA %s.", doing, _count(gpus), names, *build)
    _warn_of_little_shared_memory(len(gpus), shared_memory())
    return min(detail.get("compute_capability", (0, 0)) for detail in details)


def prepare_to_answer() -> bool:
    """As `prepare_devices`, but a GPU that cannot be used costs a warning, and is hidden: the CPU answers as well.

    Returns:
        Whether a GPU answers.
    """
    limit_tensorflow()
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
    """Hides every GPU from TensorFlow, for what needs none: it may not work. Bounds the memory as well. Called before
    anything is computed."""
    limit_tensorflow()
    if tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")


@dataclass(frozen=True)
class TensorFlowBuild:
    """Which TensorFlow this is; `cuda` is the version of CUDA it was built for, None for the CPU variant."""

    version: str
    cuda: str | None


def tensorflow_build() -> TensorFlowBuild:
    """That of the TensorFlow this process has imported."""
    built_for = tf.sysconfig.get_build_info()["cuda_version"] if tf.test.is_built_with_cuda() else None
    return TensorFlowBuild(tf.__version__, built_for)


def why_no_gpu(tensorflow: TensorFlowBuild) -> str:
    """Why TensorFlow rightly sees no GPU, for the log; a warning where only other containers of the machine have one.

    Raises:
        PlatformError: there is a GPU, and nobody hid it: the user pays for it, and the CPU takes many times as long.
    """
    if hidden := hidden_by():
        return f"{hidden} hides any GPU from TensorFlow {tensorflow.version}"
    driver = read_driver()
    if found := [str(gpu) for gpu in driver.gpus] if driver and driver.gpus else device_files():
        variant = f"built for CUDA {tensorflow.cuda}" if tensorflow.cuda else "the CPU variant"
        raise PlatformError(
            f"this machine has a GPU ({', '.join(found)}), but TensorFlow {tensorflow.version}, {variant}, sees none: "
            f"{_reason(tensorflow, driver)}; {CPU_ON_PURPOSE}"
        )
    # What the kernel says is the same in every container of the machine, with a GPU or without.
    if elsewhere := sorted(path.name for path in (nvidia.ROOT / "proc/driver/nvidia/gpus").glob("*")):
        log.warning(
            "This machine has a GPU (%s in /proc/driver/nvidia/gpus) that this container was not given; to use it, "
            "start the container with --gpus all, or in the SDK's local mode with the instance type local_gpu",
            ", ".join(elsewhere),
        )
        return f"TensorFlow {tensorflow.version} sees no GPU, and the container was given none"
    return f"TensorFlow {tensorflow.version} sees no GPU, and the machine has none"


def smallest_memory() -> int | None:
    """Bytes of the smallest GPU, or without one of what this container may use of the machine; None if unknown."""
    if tf.config.list_physical_devices("GPU"):
        driver = read_driver()
        return min((gpu.memory for gpu in driver.gpus), default=None) if driver else None
    return memory_limit()


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


def _reason(tensorflow: TensorFlowBuild, driver: Driver | None) -> str:
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
    if not driver.gpus and (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
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


def _capability(detail: dict[str, Any]) -> str:
    capability = detail.get("compute_capability")
    return "compute capability " + (".".join(map(str, capability)) if capability else "unknown")
