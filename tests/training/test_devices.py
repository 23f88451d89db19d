"""Which number format is chosen for which device, and that a GPU TensorFlow does not see ends the job."""

import os
import time

import pytest
import tensorflow as tf

from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job.failure import exit_code
from sagemaker_object_detection.training import devices
from sagemaker_object_detection.training.devices import (
    TensorFlowBuild,
    dtype_policy,
    prepare_devices,
    smallest_memory,
    why_no_gpu,
)

CPU_BUILD = TensorFlowBuild("2.21.0", None)
GPU_BUILD = TensorFlowBuild("2.21.0", "12.5.1")
NO_GPU = "TensorFlow 2.21.0 sees no GPU, and the machine has none"
OR_ELSE = (
    ", or choose an instance type without a GPU; to use the CPU on purpose, set the environment variable "
    "CUDA_VISIBLE_DEVICES to -1"
)
CPU_ADVICE = f"use the GPU variant of the image (build argument VARIANT=gpu), started with --gpus all{OR_ELSE}"


@pytest.mark.parametrize(
    ("mixed_precision", "capability", "policy"),
    [
        (None, None, "float32"),
        (None, (6, 1), "float32"),
        (None, (7, 5), "mixed_float16"),
        (None, (8, 6), "mixed_bfloat16"),
        (None, (9, 0), "mixed_bfloat16"),
        (True, None, "mixed_bfloat16"),
        (True, (7, 0), "mixed_float16"),
        (False, (9, 0), "float32"),
    ],
)
def test_policy(mixed_precision, capability, policy):
    assert dtype_policy(mixed_precision, capability) == policy


class Machine:
    """Stands for a machine: its /dev and /proc below `root`, and an environment whose PATH has its nvidia-smi."""

    def __init__(self, folder):
        self.root, self.programs = folder / "root", folder / "programs"
        self.programs.mkdir()
        self.environment = {"PATH": f"{self.programs}{os.pathsep}{os.defpath}"}

    def has(self, *files, text=""):
        for file in files:
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            (self.root / file).write_text(text)

    def nvidia_smi(self, script):
        program = self.programs / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def why(self, build, **options):
        return why_no_gpu(build, root=self.root, environment=self.environment, **options)

    def refusal(self, build):
        with pytest.raises(PlatformError) as caught:
            self.why(build)
        assert exit_code(caught.value) == 3
        return str(caught.value)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_machine_without_a_gpu_trains_on_the_cpu(machine):
    assert machine.why(CPU_BUILD) == NO_GPU
    assert machine.why(GPU_BUILD) == NO_GPU


def test_what_the_driver_leaves_without_a_gpu_is_no_gpu(machine):
    machine.has("dev/nvidiactl", "dev/nvidia-uvm", "dev/nvidia-modeset", "proc/driver/nvidia/version")
    (machine.root / "proc/driver/nvidia/gpus").mkdir()
    machine.nvidia_smi("echo 'No devices found'")
    assert machine.why(GPU_BUILD) == NO_GPU


@pytest.mark.parametrize("script", ["exit 9", "echo GPU; exit 9", "echo 'NVIDIA-SMI has failed'", "kill -9 $$"])
def test_an_nvidia_smi_that_lists_nothing_is_no_gpu(machine, script):
    machine.nvidia_smi(script)
    assert machine.why(GPU_BUILD) == NO_GPU


def test_an_nvidia_smi_that_cannot_be_run_is_no_gpu(machine):
    machine.nvidia_smi("")
    (machine.programs / "nvidia-smi").write_bytes(b"\x7fELF")
    assert machine.why(GPU_BUILD) == NO_GPU


def test_an_nvidia_smi_that_hangs_is_not_waited_for(machine):
    machine.nvidia_smi("exec sleep 60")
    before = time.monotonic()
    assert machine.why(GPU_BUILD, patience=0.1) == NO_GPU
    assert time.monotonic() - before < 10


def test_the_cpu_variant_on_a_gpu_machine_is_refused_by_name(machine):
    machine.has("dev/nvidia0", "dev/nvidia10", "proc/driver/nvidia/gpus/0000:00:1e.0/information")
    assert machine.refusal(CPU_BUILD) == (
        "this machine has a GPU (/dev/nvidia0, /dev/nvidia10), but TensorFlow 2.21.0, the CPU variant, sees none; "
        f"{CPU_ADVICE}"
    )


def test_a_container_that_was_not_given_the_gpu_says_so(machine):
    machine.has("proc/driver/nvidia/gpus/0000:00:1e.0/information")
    assert machine.refusal(GPU_BUILD) == (
        "this machine has a GPU (/proc/driver/nvidia/gpus/0000:00:1e.0), but TensorFlow 2.21.0, built for CUDA 12.5.1, "
        "sees none; start the container with --gpus all, and the NVIDIA container toolkit installed on the machine"
        f"{OR_ELSE}"
    )


def test_a_driver_that_may_be_too_old_is_named(machine):
    machine.has("dev/nvidia0")
    machine.has(
        "proc/driver/nvidia/version",
        text="NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\n",
    )
    machine.nvidia_smi("[ \"$*\" = -L ] && echo 'GPU 0: Tesla T4 (UUID: GPU-5a2c1e6d)'")
    assert machine.refusal(GPU_BUILD) == (
        "this machine has a GPU (/dev/nvidia0, nvidia-smi: GPU 0: Tesla T4), but TensorFlow 2.21.0, built for CUDA "
        "12.5.1, sees none; see that the machine's NVIDIA driver is one for CUDA 12.5.1 or newer (it is 470.57.02), "
        "and that the container was started with --gpus all (TF_CPP_MIN_LOG_LEVEL=0 logs what TensorFlow could not "
        f"load){OR_ELSE}"
    )


def test_nvidia_smi_alone_is_believed(machine):
    machine.nvidia_smi("echo 'GPU 0: NVIDIA A10G (UUID: GPU-1)'; echo 'GPU 1: NVIDIA A10G (UUID: GPU-2)'")
    assert machine.refusal(CPU_BUILD) == (
        "this machine has a GPU (nvidia-smi: GPU 0: NVIDIA A10G, nvidia-smi: GPU 1: NVIDIA A10G), but TensorFlow "
        f"2.21.0, the CPU variant, sees none; {CPU_ADVICE}"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CUDA_VISIBLE_DEVICES", ""),
        ("CUDA_VISIBLE_DEVICES", "-1"),
        ("CUDA_VISIBLE_DEVICES", "-1,0"),
        ("CUDA_VISIBLE_DEVICES", "NoDevFiles"),
        ("NVIDIA_VISIBLE_DEVICES", "none"),
        ("NVIDIA_VISIBLE_DEVICES", "void"),
        ("NVIDIA_VISIBLE_DEVICES", ""),
    ],
)
def test_a_gpu_that_was_hidden_on_purpose_is_left_alone(machine, name, value):
    machine.has("dev/nvidia0")
    machine.nvidia_smi("echo 'GPU 0: Tesla T4 (UUID: GPU-1)'")
    machine.environment[name] = value
    assert machine.why(GPU_BUILD) == f'{name}="{value}" hides any GPU from TensorFlow 2.21.0'


@pytest.mark.parametrize(
    ("name", "value"),
    [("CUDA_VISIBLE_DEVICES", "0"), ("CUDA_VISIBLE_DEVICES", "GPU-1"), ("NVIDIA_VISIBLE_DEVICES", "all")],
)
def test_settings_that_show_a_gpu_hide_none(machine, name, value):
    machine.has("dev/nvidia0")
    machine.environment[name] = value
    assert machine.refusal(CPU_BUILD).startswith("this machine has a GPU (/dev/nvidia0), but ")


def test_the_devices_are_logged_in_one_line(monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with caplog.at_level("INFO", devices.__name__):
        assert prepare_devices(None) == "float32"
    (line,) = caplog.messages
    assert line == f'Training on the CPU: CUDA_VISIBLE_DEVICES="-1" hides any GPU from TensorFlow {tf.__version__}.'


def test_gpus_are_logged_with_what_they_are(monkeypatch, caplog):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, on: None)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"device_name": "Tesla T4", "compute_capability": (7, 5)},
    )
    monkeypatch.setattr(devices, "tensorflow_build", lambda: GPU_BUILD)
    with caplog.at_level("INFO", devices.__name__):
        assert prepare_devices(None) == "mixed_float16"
    card = "Tesla T4 (compute capability 7.5)"
    assert caplog.messages == [
        f"Training on 2 GPUs: {card}, {card}; TensorFlow 2.21.0 for CUDA 12.5.1.",
        "Mixed precision: mixed_float16",
    ]


def test_the_job_ends_before_anything_is_loaded(machine, monkeypatch):
    machine.nvidia_smi("echo 'GPU 0: Tesla T4 (UUID: GPU-1)'")
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", machine.environment["PATH"])
    with pytest.raises(PlatformError, match=r"^this machine has a GPU \(.*nvidia-smi: GPU 0: Tesla T4\)"):
        prepare_devices(None)


def test_the_memory_of_a_container_is_its_limit_and_else_the_machines(tmp_path):
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert smallest_memory(root=tmp_path) == machine
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    for limit, expected in (("max\n", machine), ("1073741824\n", 2**30)):
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(limit)
        assert smallest_memory(root=tmp_path) == expected


def test_the_memory_of_several_gpus_is_that_of_the_smallest(machine, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0", "GPU:1"])
    assert smallest_memory(environment={"PATH": "/nonexistent"}) is None
    machine.nvidia_smi('test "$1" = --query-gpu=memory.total && printf "16384\\n15360\\n"')
    assert smallest_memory(environment=machine.environment) == 15 * 2**30
