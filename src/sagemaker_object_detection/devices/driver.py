"""The NVIDIA driver, asked through its library libcuda: no nvidia-smi, no TensorFlow, nothing computed.

TensorFlow lists the GPUs of a driver that is too old all the same, and fails in its first operation.
"""

import ctypes
import importlib.util
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path("/")
"""Where dev/ and proc/ of the machine lie."""
LIBRARY = "libcuda.so.1"
"""The NVIDIA container runtime puts the machine's own into a container that is to compute."""
CPU_ON_PURPOSE = "to use the CPU on purpose, set the environment variable CUDA_VISIBLE_DEVICES to -1"

# CUdevice_attribute and CUresult of NVIDIA's cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NO_DEVICE = "CUDA_ERROR_NO_DEVICE"
_MAX_NAME = 256


@dataclass(frozen=True)
class Gpu:
    """memory: bytes in all."""

    name: str
    compute_capability: tuple[int, int]
    memory: int

    def __str__(self) -> str:
        return f"{self.name} (compute capability {_dotted(self.compute_capability)})"


@dataclass(frozen=True)
class Driver:
    """What libcuda says.

    cuda: the newest version of CUDA that the driver runs, (12, 4) for 12.4.
    gpus: those it shows to this process.
    failure: CUDA's name for the error with which it shows none; None where it works, with or without a GPU.
    version: the kernel's part of it, such as "550.54.15"; None where the kernel does not say.
    """

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...] = ()
    failure: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.version}, for CUDA {_dotted(self.cuda)}" if self.version else f"for CUDA {_dotted(self.cuda)}"


@dataclass(frozen=True)
class _Requirement:
    """The oldest driver for GPUs of `compute_capability` and above."""

    compute_capability: tuple[int, int]
    cuda: tuple[int, int]
    version: str


_REQUIREMENTS = (
    # Most kernels of TensorFlow 2.21 have no machine code for 9.0, but PTX of version 8.5, which CUDA 12.5 is the first
    # to translate. tests/gpu counts them.
    _Requirement((9, 0), (12, 5), "555"),
    # Machine code of any CUDA 12 runs with any driver for CUDA 12 (NVIDIA, "CUDA Compatibility", minor versions).
    _Requirement((0, 0), (12, 0), "525"),
)


class _CudaError(Exception):
    """A call failed; the argument is CUDA's name for the error."""


def read_driver() -> Driver | None:
    """The driver this process would use; None without libcuda, where there is none or the container was given none."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    number, version = ctypes.c_int(), _kernel_version()
    cuda.cuDriverGetVersion(ctypes.byref(number))
    newest = (number.value // 1000, number.value % 1000 // 10)
    try:
        return Driver(newest, _gpus(cuda), version=version)
    except _CudaError as error:
        failure = str(error)
        return Driver(newest, failure=None if failure == _NO_DEVICE else failure, version=version)


def driver_problem(driver: Driver) -> str | None:
    """Why CUDA 12 cannot compute on the driver's GPUs, as a sentence; None where it can, or there are none."""
    if driver.failure is not None:
        return (
            f"the machine's NVIDIA driver ({driver}) shows no GPU and fails with {driver.failure}; start the job "
            "again, choose another instance type, or build the image without cuda-compat if it has it"
        )
    if not driver.gpus:
        return None
    gpu = max(driver.gpus, key=lambda gpu: gpu.compute_capability)
    needed = next(row for row in _REQUIREMENTS if gpu.compute_capability >= row.compute_capability)
    if driver.cuda >= needed.cuda:
        return None
    return (
        f"the machine's NVIDIA driver is too old: it is {driver}, and {gpu} needs driver {needed.version} or newer, "
        f"for CUDA {_dotted(needed.cuda)}; choose an instance type with a newer one, or for an endpoint a newer "
        "InferenceAmiVersion, or build the image with NVIDIA's cuda-compat (build_image.sh --cuda-compat)"
    )


def usable_driver() -> Driver | None:
    """The driver, if this process is meant to use a GPU: TensorFlow brings CUDA, and nobody hides every GPU."""
    return read_driver() if hidden_by() is None and has_cuda() else None


def find_driver_problem() -> str | None:
    """`driver_problem` of this machine, before TensorFlow is imported; None too where no GPU is meant to be used."""
    driver = usable_driver()
    # A library without a device is a driver that someone installed on a machine without a GPU.
    if driver is None or not (driver.gpus or device_files()):
        return None
    problem = driver_problem(driver)
    return f"{problem}; {CPU_ON_PURPOSE}" if problem else None


def device_text() -> str:
    """What a job will train on, as far as it is known before TensorFlow is imported: GPUs with their memory, and how
    many there are of each, or the CPU with the cores that this process may use."""
    if (driver := usable_driver()) and driver.gpus:
        counts = Counter(f"{gpu}, {gpu.memory / 2**30:.0f} GiB" for gpu in driver.gpus)
        return "; ".join(f"{count} x {text}" for text, count in counts.items())
    cores = len(os.sched_getaffinity(0))
    return f"CPU, {cores} core{'' if cores == 1 else 's'}"


def device_files() -> list[str]:
    """The GPUs that this container was given, such as "/dev/nvidia0"."""
    return sorted(f"/{path.relative_to(ROOT)}" for path in (ROOT / "dev").glob("nvidia[0-9]*"))


def has_cuda() -> bool:
    """Whether NVIDIA's libraries are installed, which the GPU variant of TensorFlow brings."""
    return importlib.util.find_spec("nvidia") is not None


def hidden_by() -> str | None:
    """The setting that hides every GPU: CUDA ignores what follows the first device that does not exist.

    Container engines that bring the GPUs themselves set NVIDIA_VISIBLE_DEVICES to "void" (CDI), so that this one counts
    only if there are no device files.
    """
    cuda = os.environ.get("CUDA_VISIBLE_DEVICES")
    if cuda is not None and cuda.split(",")[0].strip() in ("", "-1", "NoDevFiles"):
        return f'CUDA_VISIBLE_DEVICES="{cuda}"'
    nvidia = os.environ.get("NVIDIA_VISIBLE_DEVICES")
    if nvidia is not None and nvidia.strip() in ("", "none", "void") and not device_files():
        return f'NVIDIA_VISIBLE_DEVICES="{nvidia}"'
    return None


def _gpus(cuda: Any) -> tuple[Gpu, ...]:
    def call(name: str, *arguments: object) -> None:
        if code := getattr(cuda, name)(*arguments):
            raise _CudaError(_error_name(cuda, code))

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        call("cuDeviceGetAttribute", ctypes.byref(value), number, device)
        return value.value

    call("cuInit", 0)
    count = ctypes.c_int()
    call("cuDeviceGetCount", ctypes.byref(count))
    gpus = []
    for index in range(count.value):
        device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(_MAX_NAME)
        call("cuDeviceGet", ctypes.byref(device), index)
        call("cuDeviceGetName", name, _MAX_NAME, device)
        call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        capability = attribute(_CAPABILITY_MAJOR), attribute(_CAPABILITY_MINOR)
        gpus.append(Gpu(name.value.decode(errors="replace"), capability, memory.value))
    return tuple(gpus)


def _error_name(cuda: Any, code: int) -> str:
    name = ctypes.c_char_p()
    cuda.cuGetErrorName(code, ctypes.byref(name))
    return name.value.decode() if name.value else f"error {code}"


def _kernel_version() -> str | None:
    try:
        text = (ROOT / "proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        return None
    match = re.search(r"\b\d+\.\d+(\.\d+)*\b", text)
    return match[0] if match else None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
