"""What the machine offers: the devices TensorFlow sees, and the number format that is fast on them."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job.memory import memory_limit

log = logging.getLogger(__name__)

NVIDIA_SMI_SECONDS = 20.0
"""nvidia-smi takes seconds where the driver has to wake the GPUs up, and hangs where one of them is broken."""
_ON_PURPOSE = "to use the CPU on purpose, set the environment variable CUDA_VISIBLE_DEVICES to -1"


def prepare_devices(mixed_precision: bool | None) -> str:
    """Turns memory growth on, logs what is trained on in one line, and chooses the Keras dtype policy.

    Args:
        mixed_precision: the hyperparameter; None (Auto) means on where the GPU has fast bfloat16 or float16.

    Returns:
        "float32", "mixed_bfloat16" or "mixed_float16" (the last needs loss scaling).

    Raises:
        PlatformError: the machine has a GPU that TensorFlow does not see.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    tensorflow = tensorflow_build()
    if gpus:
        names = ", ".join(f"{detail.get('device_name')} ({_capability(detail)})" for detail in details)
        count = f"{len(gpus)} GPU{'' if len(gpus) == 1 else 's'}"
        log.info("Training on %s: %s; TensorFlow %s for CUDA %s.", count, names, tensorflow.version, tensorflow.cuda)
    else:
        log.info("Training on the CPU: %s.", why_no_gpu(tensorflow))
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
    tensorflow: TensorFlowBuild,
    *,
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    patience: float = NVIDIA_SMI_SECONDS,
) -> str:
    """Why TensorFlow rightly sees no GPU, for the log.

    Args:
        root: where dev/ and proc/ of the machine lie.
        environment: what hides a GPU on purpose, and the PATH on which nvidia-smi is.
        patience: seconds to wait for nvidia-smi.

    Raises:
        PlatformError: there is a GPU, and nobody hid it: the user pays for it, and the CPU takes many times as long.
    """
    if hidden := _hidden_by(environment):
        return f"{hidden} hides any GPU from TensorFlow {tensorflow.version}"
    device_files = sorted(str(path.relative_to(root)) for path in (root / "dev").glob("nvidia[0-9]*"))
    driver_files = sorted(str(path.relative_to(root)) for path in (root / "proc/driver/nvidia/gpus").glob("*"))
    listed = [
        re.sub(r" \(UUID:.*", "", line).strip()
        for line in _nvidia_smi(["-L"], environment, patience)
        if re.match(r"GPU \d", line)
    ]
    found = [f"/{path}" for path in device_files or driver_files]
    found += [f"nvidia-smi: {line}" for line in listed]
    if not found:
        return f"TensorFlow {tensorflow.version} sees no GPU, and the machine has none"
    variant = f"built for CUDA {tensorflow.cuda}" if tensorflow.cuda else "the CPU variant"
    raise PlatformError(
        f"this machine has a GPU ({', '.join(found)}), but TensorFlow {tensorflow.version}, {variant}, sees none; "
        f"{_advice(tensorflow, root, in_container=bool(device_files or listed))}, or choose an instance type without a "
        f"GPU; {_ON_PURPOSE}"
    )


def smallest_memory(
    *, root: Path = Path("/"), environment: Mapping[str, str] = os.environ, patience: float = NVIDIA_SMI_SECONDS
) -> int | None:
    """Bytes of the smallest GPU, or without one of what this container may use of the machine; None if unknown.

    Args:
        root, environment, patience: as for `why_no_gpu`.
    """
    if tf.config.list_physical_devices("GPU"):
        query = ["--query-gpu=memory.total", "--format=csv,noheader,nounits"]  # MiB
        sizes = [int(line) * 2**20 for line in _nvidia_smi(query, environment, patience) if line.strip().isdigit()]
        return min(sizes, default=None)
    return memory_limit(root)


def _advice(tensorflow: TensorFlowBuild, root: Path, *, in_container: bool) -> str:
    if tensorflow.cuda is None:
        return "use the GPU variant of the image (build argument VARIANT=gpu), started with --gpus all"
    if not in_container:  # only /proc tells, which every container of the machine sees
        return "start the container with --gpus all, and the NVIDIA container toolkit installed on the machine"
    driver = _driver_version(root)
    is_there = f"it is {driver}" if driver else "nvidia-smi shows its version"
    return (
        f"see that the machine's NVIDIA driver is one for CUDA {tensorflow.cuda} or newer ({is_there}), and that the "
        "container was started with --gpus all (TF_CPP_MIN_LOG_LEVEL=0 logs what TensorFlow could not load)"
    )


def _hidden_by(environment: Mapping[str, str]) -> str | None:
    """The setting that hides every GPU: CUDA ignores what follows the first device that does not exist."""
    cuda = environment.get("CUDA_VISIBLE_DEVICES")
    if cuda is not None and cuda.split(",")[0].strip() in ("", "-1", "NoDevFiles"):
        return f'CUDA_VISIBLE_DEVICES="{cuda}"'
    nvidia = environment.get("NVIDIA_VISIBLE_DEVICES")
    if nvidia is not None and nvidia.strip() in ("", "none", "void"):
        return f'NVIDIA_VISIBLE_DEVICES="{nvidia}"'
    return None


def _nvidia_smi(arguments: Sequence[str], environment: Mapping[str, str], patience: float) -> list[str]:
    """The lines that nvidia-smi prints; none where it is missing, fails or hangs."""
    command = shutil.which("nvidia-smi", path=environment.get("PATH", os.defpath))
    if command is None:
        return []
    try:
        process = subprocess.Popen(
            [command, *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return []
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()  # and not waited for: one that is stuck in the driver does not even end now
        return []
    return output.decode(errors="replace").splitlines()


def _driver_version(root: Path) -> str | None:
    try:
        text = (root / "proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        return None
    match = re.search(r"\b\d+\.\d+(\.\d+)*\b", text)
    return match[0] if match else None


def _capability(detail: Mapping[str, tuple[int, int]]) -> str:
    capability = detail.get("compute_capability")
    return "compute capability " + (".".join(map(str, capability)) if capability else "unknown")
