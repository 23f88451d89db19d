"""What libcuda says of a machine, and for which GPUs its driver is new enough."""

import ctypes

import pytest
from shared import fake_driver

from sagemaker_object_detection.devices import driver
from sagemaker_object_detection.devices.driver import (
    CPU_ON_PURPOSE,
    Driver,
    Gpu,
    device_files,
    device_text,
    driver_problem,
    find_driver_problem,
    hidden_by,
    read_driver,
)

T4 = Gpu("Tesla T4", (7, 5), 15 * 2**30)
V100 = Gpu("Tesla V100-SXM2-16GB", (7, 0), 16 * 2**30)
A10G = Gpu("NVIDIA A10G", (8, 6), 22 * 2**30)
H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), 80 * 2**30)
ADVICE = (
    "choose an instance type with a newer one, or for an endpoint a newer InferenceAmiVersion, or build the image with "
    "NVIDIA's cuda-compat (build_image.sh --cuda-compat)"
)
KERNEL = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\nGCC version: 7.3.1\n"
OPEN_KERNEL = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs-builder@U16)\n"


class Cuda:
    """Stands for libcuda: `failing` maps a function to the code with which it fails."""

    def __init__(self, version, *gpus, **failing):
        self.version, self.gpus, self.failing = version, gpus, failing

    def __getattr__(self, name):
        return lambda *arguments: self.failing.get(name) or getattr(self, f"_{name}")(*arguments) or 0

    def _cuInit(self, flags): ...  # noqa: N802

    def _cuDriverGetVersion(self, number):  # noqa: N802
        number._obj.value = self.version

    def _cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = len(self.gpus)

    def _cuDeviceGet(self, device, index):  # noqa: N802
        device._obj.value = index

    def _cuDeviceGetName(self, name, size, device):  # noqa: N802
        name.value = self.gpus[device.value].name.encode()[: size - 1]

    def _cuDeviceTotalMem_v2(self, memory, device):  # noqa: N802
        memory._obj.value = self.gpus[device.value].memory

    def _cuDeviceGetAttribute(self, value, attribute, device):  # noqa: N802
        value._obj.value = self.gpus[device.value].compute_capability[attribute - 75]

    def _cuGetErrorName(self, code, name):  # noqa: N802
        names = {
            3: b"CUDA_ERROR_NOT_INITIALIZED",
            100: b"CUDA_ERROR_NO_DEVICE",
            803: b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        }
        name._obj.value = names.get(code)


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """One without files of a driver, and nothing that hides a GPU."""
    monkeypatch.setattr(driver, "ROOT", tmp_path)
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def read(monkeypatch):
    """Reads the driver of a machine whose libcuda this is."""

    def read_library(cuda):
        monkeypatch.setattr(ctypes, "CDLL", lambda library: cuda)
        return read_driver()

    return read_library


def test_without_libcuda_there_is_no_driver(monkeypatch):
    def load(library):
        assert library == "libcuda.so.1"
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert read_driver() is None


def test_versions_and_gpus_are_read(read):
    assert read(Cuda(12040, T4, A10G)) == Driver((12, 4), (T4, A10G))
    assert str(Driver((12, 4), (T4,))) == "for CUDA 12.4"


@pytest.mark.parametrize(("text", "version"), [(KERNEL, "470.57.02"), (OPEN_KERNEL, "550.54.15"), ("NVRM\n", None)])
def test_the_kernel_tells_the_version_of_its_module(read, tmp_path, text, version):
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(text)
    assert read(Cuda(11040)).version == version


def test_a_driver_that_finds_no_gpu_has_not_failed(read):
    found = read(Cuda(12040, cuInit=100))
    assert (found.gpus, found.failure) == ((), None)
    assert driver_problem(found) is None
    assert driver_problem(Driver((11, 4))) is None


@pytest.mark.parametrize(
    ("function", "code", "failure"),
    [
        ("cuInit", 803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        ("cuDeviceGetCount", 3, "CUDA_ERROR_NOT_INITIALIZED"),
        ("cuDeviceGet", 4711, "error 4711"),
    ],
)
def test_a_driver_that_fails_says_with_what(read, function, code, failure):
    found = read(Cuda(12040, T4, **{function: code}))
    assert (found.gpus, found.failure) == ((), failure)
    assert driver_problem(found) == (
        f"the machine's NVIDIA driver (for CUDA 12.4) shows no GPU and fails with {failure}; start the job again, "
        "choose another instance type, or build the image without cuda-compat if it has it"
    )


@pytest.mark.parametrize(
    ("gpus", "cuda", "needed"),
    [
        ((T4,), (11, 4), "525 or newer, for CUDA 12.0"),
        ((V100,), (11, 8), "525 or newer, for CUDA 12.0"),
        ((A10G,), (12, 0), None),
        ((T4,), (12, 2), None),
        ((T4, H100), (11, 4), "555 or newer, for CUDA 12.5"),
        ((H100, T4), (12, 4), "555 or newer, for CUDA 12.5"),
        ((H100,), (12, 5), None),
        ((H100,), (13, 0), None),
    ],
)
def test_the_most_demanding_gpu_decides_which_driver_is_needed(gpus, cuda, needed):
    demanding = H100 if H100 in gpus else gpus[0]
    found = Driver(cuda, gpus, version="470.57.02")
    problem = needed and (
        f"the machine's NVIDIA driver is too old: it is 470.57.02, for CUDA {cuda[0]}.{cuda[1]}, and {demanding} "
        f"needs driver {needed}; {ADVICE}"
    )
    assert driver_problem(found) == problem


@pytest.fixture
def cuda(monkeypatch):
    """TensorFlow brings CUDA, and this is what the driver says."""

    def found(said):
        monkeypatch.setattr(driver, "has_cuda", lambda: True)
        monkeypatch.setattr(driver, "read_driver", lambda: said)

    return found


def test_the_problem_of_a_machine_is_found_where_a_gpu_is_meant_to_be_used(cuda, monkeypatch):
    old = Driver((11, 4), (T4,), version="470.57.02")
    cuda(old)
    assert find_driver_problem() == f"{driver_problem(old)}; {CPU_ON_PURPOSE}"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert find_driver_problem() is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(driver, "has_cuda", lambda: False)
    assert find_driver_problem() is None


def test_a_driver_on_a_machine_without_a_device_is_no_problem(tmp_path, cuda):
    failing = Driver((12, 4), failure="CUDA_ERROR_UNKNOWN")
    cuda(failing)
    assert find_driver_problem() is None
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    assert device_files() == ["/dev/nvidia0", "/dev/nvidia10"]
    assert find_driver_problem() == f"{driver_problem(failing)}; {CPU_ON_PURPOSE}"


def test_devices_are_told_before_tensorflow_is_there(cuda, monkeypatch):
    monkeypatch.setattr(driver, "has_cuda", lambda: False)
    for cores, told in (({0}, "CPU, 1 core"), ({0, 3}, "CPU, 2 cores")):
        monkeypatch.setattr("os.sched_getaffinity", lambda process, cores=cores: cores)
        assert device_text() == told
    cuda(Driver((12, 4), (T4, T4, H100)))
    assert device_text() == (
        "2 x Tesla T4 (compute capability 7.5), 15 GiB; 1 x NVIDIA H100 80GB HBM3 (compute capability 9.0), 80 GiB"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert device_text() == "CPU, 2 cores"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    cuda(None)
    assert device_text() == "CPU, 2 cores"


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
def test_settings_that_hide_every_gpu(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert hidden_by() == f'{name}="{value}"'


@pytest.mark.parametrize(
    ("name", "value"),
    [("CUDA_VISIBLE_DEVICES", "0"), ("CUDA_VISIBLE_DEVICES", "GPU-1"), ("NVIDIA_VISIBLE_DEVICES", "all")],
)
def test_settings_that_hide_none(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert hidden_by() is None


def test_gpus_that_a_container_engine_brings_itself_are_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "void")
    assert hidden_by() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert hidden_by() == 'CUDA_VISIBLE_DEVICES="-1"'


def test_a_library_is_called_as_cuda_h_declares_it(tmp_path, monkeypatch):
    libraries = fake_driver(tmp_path)
    monkeypatch.setenv("FAKE_DRIVER", "11040")
    load = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda library: load(str(libraries / library)))
    assert read_driver() == Driver((11, 4), (Gpu("Fake H100", (9, 0), 80 * 2**30),))
