"""A GPU that TensorFlow cannot use ends the job, with the reason."""

import os
import re

import pytest
import tensorflow as tf

from sagemaker_object_detection.devices import driver, prepare
from sagemaker_object_detection.devices.driver import Driver, Gpu
from sagemaker_object_detection.devices.gpu_probe import Probe
from sagemaker_object_detection.devices.prepare import (
    TensorFlowBuild,
    prepare_devices,
    prepare_to_answer,
    smallest_memory,
    why_no_gpu,
)
from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job import memory
from sagemaker_object_detection.job.failure import exit_code

CPU_BUILD = TensorFlowBuild("2.21.0", None)
GPU_BUILD = TensorFlowBuild("2.21.0", "12.5.1")
T4 = Gpu("Tesla T4", (7, 5), 15 * 2**30)
A10G = Gpu("NVIDIA A10G", (8, 6), 22 * 2**30)
NO_GPU = "TensorFlow 2.21.0 sees no GPU, and the machine has none"
ON_PURPOSE = "; to use the CPU on purpose, set the environment variable CUDA_VISIBLE_DEVICES to -1"
SEES_NONE = "but TensorFlow 2.21.0, built for CUDA 12.5.1, sees none: "
CPU_ADVICE = (
    f"use the GPU variant of the image (build argument VARIANT=gpu), or an instance type without a GPU{ON_PURPOSE}"
)


class Machine:
    """Stands for a machine: its /dev and /proc below `root`, its driver, and what a probe of its GPUs finds."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.driver, self.probe, self.probes = None, Probe(), 0
        monkeypatch.setattr(driver, "ROOT", root)
        for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(prepare, "read_driver", lambda: self.driver)
        monkeypatch.setattr(prepare, "probe_gpus", self._probe)

    def _probe(self, stop=None):
        self.probes += 1
        return self.probe

    def has(self, *files):
        for file in files:
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            (self.root / file).touch()

    def why(self, build):
        return why_no_gpu(build)

    def refusal(self, build):
        with pytest.raises(PlatformError) as caught:
            self.why(build)
        assert exit_code(caught.value) == 3
        return str(caught.value)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def two_gpus(machine, monkeypatch):
    """TensorFlow lists two; what was done to them."""
    done = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpus, kind: done.append((kind, gpus)))
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, on: done.append((gpu, on)))
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"device_name": "Tesla T4", "compute_capability": (7, 5)},
    )
    monkeypatch.setattr(prepare, "tensorflow_build", lambda: GPU_BUILD)
    monkeypatch.setattr(prepare, "shared_memory", lambda: 2**30)
    machine.driver = Driver((12, 4), (T4, T4), version="550.54.15")
    return done


def test_a_machine_without_a_gpu_trains_on_the_cpu(machine):
    assert machine.why(CPU_BUILD) == NO_GPU
    assert machine.why(GPU_BUILD) == NO_GPU


def test_what_the_driver_leaves_without_a_gpu_is_no_gpu(machine):
    machine.has("dev/nvidiactl", "dev/nvidia-uvm", "dev/nvidia-modeset", "proc/driver/nvidia/version")
    (machine.root / "proc/driver/nvidia/gpus").mkdir()
    for machine.driver in (None, Driver((12, 4)), Driver((12, 4), failure="CUDA_ERROR_UNKNOWN")):
        assert machine.why(GPU_BUILD) == NO_GPU


@pytest.mark.parametrize("build", [CPU_BUILD, GPU_BUILD])
def test_a_container_that_was_not_given_the_gpu_of_its_machine_is_warned(machine, caplog, build):
    machine.has("proc/driver/nvidia/gpus/0000:00:1e.0/information")
    assert machine.why(build) == "TensorFlow 2.21.0 sees no GPU, and the container was given none"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages == [
        "This machine has a GPU (0000:00:1e.0 in /proc/driver/nvidia/gpus) that this container was not given; to use "
        "it, start the container with --gpus all, or in the SDK's local mode with the instance type local_gpu"
    ]


def test_the_cpu_variant_on_a_gpu_machine_is_refused_by_name(machine):
    machine.has("dev/nvidia0", "dev/nvidia10", "proc/driver/nvidia/gpus/0000:00:1e.0/information")
    assert machine.refusal(CPU_BUILD) == (
        "this machine has a GPU (/dev/nvidia0, /dev/nvidia10), but TensorFlow 2.21.0, the CPU variant, sees none: "
        f"{CPU_ADVICE}"
    )


def test_the_drivers_word_for_a_gpu_is_believed(machine):
    machine.driver = Driver((12, 4), (T4, A10G))
    assert machine.refusal(CPU_BUILD) == (
        "this machine has a GPU (Tesla T4 (compute capability 7.5), NVIDIA A10G (compute capability 8.6)), but "
        f"TensorFlow 2.21.0, the CPU variant, sees none: {CPU_ADVICE}"
    )


def test_a_container_without_libcuda_is_told_how_to_get_it(machine):
    machine.has("dev/nvidia0")
    assert machine.refusal(GPU_BUILD) == (
        f"this machine has a GPU (/dev/nvidia0), {SEES_NONE}the driver's libcuda.so.1 is not in the container; start "
        "it with --gpus all and the environment variable NVIDIA_DRIVER_CAPABILITIES=compute,utility, which the image "
        f"sets{ON_PURPOSE}"
    )
    assert machine.probes == 0


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Driver((12, 4), failure="CUDA_ERROR_UNKNOWN"), "shows no GPU and fails with CUDA_ERROR_UNKNOWN"),
        (
            Driver((12, 4), version="550.54.15"),
            "the NVIDIA driver, 550.54.15, for CUDA 12.4, finds none; start the job",
        ),
        (
            Driver((11, 4), (T4,)),
            "is too old: it is for CUDA 11.4, and Tesla T4 (compute capability 7.5) needs driver 525",
        ),
    ],
    ids=["fails", "finds none", "too old"],
)
def test_a_driver_that_is_at_fault_is_named(machine, found, reason):
    machine.has("dev/nvidia0")
    machine.driver = found
    refusal = machine.refusal(GPU_BUILD)
    assert reason in refusal
    assert refusal.count(ON_PURPOSE) == 1
    assert machine.probes == 0


def test_a_library_that_cannot_be_loaded_is_named_and_the_driver_is_not(machine):
    machine.driver = Driver((12, 4), (T4,), version="550.54.15")
    machine.probe = Probe(not_loaded=("libcusolver.so.11 (no such file)", "libcufft.so.11 (no such file)"))
    assert machine.refusal(GPU_BUILD) == (
        f"this machine has a GPU (Tesla T4 (compute capability 7.5)), {SEES_NONE}it cannot load libcusolver.so.11 (no "
        "such file), libcufft.so.11 (no such file); build the image anew, whose lock file brings CUDA's libraries, or "
        f"for libnvidia-ml.so.1 set NVIDIA_DRIVER_CAPABILITIES=compute,utility{ON_PURPOSE}"
    )


def test_where_tensorflow_gives_no_reason_the_way_to_its_log_is_told(machine):
    machine.driver = Driver((12, 4), (T4,))
    assert "TF_CPP_VMODULE=gpu_device=1" in machine.refusal(GPU_BUILD)


def test_a_gpu_that_was_hidden_on_purpose_is_left_alone(machine, monkeypatch):
    machine.has("dev/nvidia0")
    machine.driver = Driver((12, 4), (T4,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert machine.why(GPU_BUILD) == 'CUDA_VISIBLE_DEVICES="-1" hides any GPU from TensorFlow 2.21.0'
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert machine.refusal(CPU_BUILD).startswith("this machine has a GPU (Tesla T4 (compute capability 7.5)), but ")


def test_the_devices_are_logged_in_one_line(monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with caplog.at_level("INFO", prepare.__name__):
        assert prepare_devices() is None
    (line,) = caplog.messages
    assert line == f'Training on the CPU: CUDA_VISIBLE_DEVICES="-1" hides any GPU from TensorFlow {tf.__version__}.'


def test_gpus_are_tried_and_logged_with_what_they_are(machine, two_gpus, caplog):
    with caplog.at_level("INFO", prepare.__name__):
        assert prepare_devices() == (7, 5)
    card = "Tesla T4 (compute capability 7.5)"
    assert caplog.messages == [
        f"Training on 2 GPUs: {card}, {card}; TensorFlow 2.21.0 for CUDA 12.5.1.",
    ]
    assert machine.probes == 1
    assert two_gpus == [("a", True), ("b", True)]


@pytest.mark.parametrize(
    ("gpus", "free", "warns"), [(2, 2**27 - 1, True), (2, 2**27, False), (1, 0, False), (2, None, False)]
)
def test_gpus_with_too_little_shared_memory_are_warned_of(two_gpus, monkeypatch, caplog, gpus, free, warns):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b"][:gpus])
    monkeypatch.setattr(prepare, "shared_memory", lambda: free)
    prepare_devices()
    assert caplog.messages == warns * [
        "/dev/shm has 127 MB, and 2 GPUs may need 128 MB to exchange gradients, or end with an error of NCCL; start "
        "the container with --shm-size 1g"
    ]


def test_a_gpu_that_cannot_compute_ends_the_job_with_the_reason(machine, two_gpus):
    machine.probe = Probe(failures=("GPU:1 fails with InternalError: no kernel image",))
    with pytest.raises(PlatformError) as caught:
        prepare_devices()
    assert exit_code(caught.value) == 3
    assert str(caught.value) == (
        "TensorFlow lists 2 GPUs and cannot compute: GPU:1 fails with InternalError: no kernel image; the machine's "
        "NVIDIA driver is 550.54.15, for CUDA 12.4; start the job again, and choose another instance type if that does "
        f"not help{ON_PURPOSE}"
    )


def test_a_driver_that_is_too_old_ends_the_job_before_anything_is_computed(machine, two_gpus):
    machine.driver = Driver((11, 4), (T4, T4))
    with pytest.raises(PlatformError, match=r"driver is too old: it is for CUDA 11\.4"):
        prepare_devices()
    assert machine.probes == 0


def test_gpus_that_work_answer(two_gpus, caplog):
    assert prepare_to_answer()
    assert two_gpus == [("a", True), ("b", True)]
    assert caplog.messages == []


def test_where_a_gpu_does_not_work_it_is_hidden_and_the_cpu_answers(machine, two_gpus, caplog):
    machine.driver = Driver((11, 4), (T4, T4))
    assert not prepare_to_answer()
    assert two_gpus == [("GPU", [])]
    (line,) = caplog.messages
    assert re.match(r"The CPU answers: the machine's NVIDIA driver is too old: it is for CUDA 11\.4, and ", line)


def test_without_a_gpu_the_cpu_answers_without_a_word(monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not prepare_to_answer()
    assert caplog.messages == []


def test_the_job_ends_before_anything_is_loaded(machine):
    machine.driver = Driver((12, 4), (T4,))
    with pytest.raises(PlatformError, match=r"^this machine has a GPU \(Tesla T4 \(compute capability 7\.5\)\)"):
        prepare_devices()


def test_the_memory_of_a_container_is_its_limit_and_else_the_machines(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert smallest_memory() == machine
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    for limit, expected in (("max\n", machine), ("1073741824\n", 2**30)):
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(limit)
        assert smallest_memory() == expected


def test_the_memory_of_several_gpus_is_that_of_the_smallest(machine, two_gpus):
    machine.driver = Driver((12, 4), (A10G, T4))
    assert smallest_memory() == 15 * 2**30
    machine.driver = None
    assert smallest_memory() is None
