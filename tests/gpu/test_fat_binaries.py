"""The locked libraries have code for every GPU of SageMaker's instances, under the drivers that a job asks for."""

import struct
import sysconfig
from functools import cache
from pathlib import Path

import pytest
from fat_binaries import Capability, Code, fat_binaries

from sagemaker_object_detection.devices.driver import Driver, Gpu, driver_problem

gpu_wheels = pytest.mark.gpu_wheels
WHEELS = Path(sysconfig.get_path("purelib"))
GPUS = {"V100": (7, 0), "T4": (7, 5), "A100": (8, 0), "A10G": (8, 6), "L4": (8, 9), "H100": (9, 0)}
"""Of p3, g4dn, p4d, g5, g6 and p5, with their compute capabilities."""
EVERY_GPU = pytest.mark.parametrize("capability", GPUS.values(), ids=GPUS)
NEWEST_PTX = (8, 5)
"""What driver 555 compiles."""
CUDA_OF_PTX = {(8, 3): (12, 3), (8, 4): (12, 4), (8, 5): (12, 5)}
"""The CUDA whose driver is the first to compile a version of PTX (PTX ISA, "Release Notes")."""
OF_NVIDIA = {
    "libcublas",
    "libcublasLt",
    "libcudnn_adv",
    "libcudnn_cnn",
    "libcudnn_engines_precompiled",
    "libcudnn_engines_runtime_compiled",
    "libcudnn_ops",
    "libcufft",
    "libcupti",
    "libcurand",
    "libcusolver",
    "libcusparse",
    "libnccl",
}
OF_TENSORFLOW = {"libtensorflow_cc", "libtensorflow_framework"}


@cache
def code_in(folder: str) -> dict[str, list[list[Code]]]:
    """The fat binaries of every library below a folder of the wheels, by its name; those without any are left out."""
    paths = sorted((WHEELS / folder).rglob("*.so*"))
    libraries = {path.name.split(".so")[0]: list(fat_binaries(path)) for path in paths}
    return {name: found for name, found in libraries.items() if found}


def newest_ptx_for(capability: Capability) -> tuple[int, int] | None:
    """PTX counts on the H100 alone, for which a job asks for a driver that compiles it."""
    return NEWEST_PTX if capability >= (9, 0) else None


@gpu_wheels
@EVERY_GPU
def test_nvidias_libraries_have_code_for(capability):
    """Each of them, somewhere: many of their kernels are made for one architecture."""
    libraries = code_in("nvidia")
    assert libraries.keys() >= OF_NVIDIA
    lacking = {
        name
        for name in OF_NVIDIA
        if not any(code.runs_on(capability, newest_ptx=None) for found in libraries[name] for code in found)
    }
    assert lacking == set()


@gpu_wheels
@EVERY_GPU
def test_each_kernel_of_tensorflow_has_code_for(capability):
    libraries = code_in("tensorflow")
    assert libraries.keys() >= OF_TENSORFLOW
    ptx = newest_ptx_for(capability)
    lacking = {
        name: sum(not any(code.runs_on(capability, ptx) for code in found) for found in libraries[name])
        for name in libraries
    }
    assert lacking == dict.fromkeys(libraries, 0)


@gpu_wheels
@EVERY_GPU
def test_a_job_asks_for_a_driver_that_compiles_what_has_no_machine_code(capability):
    needed = [
        min(code.version for code in found if code.is_ptx)
        for found in code_in("tensorflow")["libtensorflow_cc"]
        if not any(code.runs_on(capability, newest_ptx=None) for code in found)
    ]
    gpu = Gpu("the GPU", capability, memory=16 * 2**30)
    enough = CUDA_OF_PTX[max(needed)] if needed else (12, 0)
    assert driver_problem(Driver(cuda=enough, gpus=(gpu,))) is None
    before = (enough[0], enough[1] - 1) if enough[1] > 0 else (11, 8)
    assert "driver" in str(driver_problem(Driver(cuda=before, gpus=(gpu,))))


def entry(kind: int, architecture: int, version: tuple[int, int], code: bytes = b"code") -> bytes:
    major, minor = version
    header = struct.pack("<HHIQQHHI", kind, 0x101, 64, len(code), 0, minor, major, architecture)
    return header.ljust(64, b"\0") + code


def fat_binary(*entries: bytes) -> bytes:
    content = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(content)) + content


def test_every_entry_of_every_fat_binary_is_read(tmp_path):
    library = tmp_path / "library.so"
    library.write_bytes(
        b"program"
        + fat_binary(entry(2, 75, (1, 7)), entry(1, 90, (8, 5), b"longer code"))
        + struct.pack("<I", 0xBA55ED50)  # a program that looks for fat binaries
        + b"program"
        + fat_binary(entry(64, 80, (1, 0)), entry(2, 120, (1, 8)))
    )
    assert list(fat_binaries(library)) == [
        [Code(False, (7, 5), (1, 7)), Code(True, (9, 0), (8, 5))],
        [Code(False, (12, 0), (1, 8))],
    ]


@pytest.mark.parametrize(
    ("damaged", "sentence"),
    [
        (fat_binary(entry(2, 75, (1, 7)))[:-1], "reaches past the end"),
        (fat_binary(entry(2, 75, (1, 7)), b"rest"), "ends within an entry"),
        (fat_binary(entry(2, 75, (1, 7)).replace(b"code", b"")), "an entry of another layout"),
    ],
)
def test_another_layout_is_no_fat_binary_without_code(tmp_path, damaged, sentence):
    library = tmp_path / "library.so"
    library.write_bytes(damaged)
    with pytest.raises(ValueError, match=sentence):
        list(fat_binaries(library))


@pytest.mark.parametrize(
    ("code", "device", "newest_ptx", "runs"),
    [
        (Code(False, (8, 0), (1, 7)), (8, 9), None, True),
        (Code(False, (8, 9), (1, 7)), (8, 6), None, False),
        (Code(False, (8, 0), (1, 7)), (9, 0), (8, 5), False),
        (Code(True, (8, 0), (8, 5)), (9, 0), (8, 5), True),
        (Code(True, (8, 0), (8, 6)), (9, 0), (8, 5), False),
        (Code(True, (8, 0), (7, 0)), (9, 0), None, False),
        (Code(True, (9, 0), (8, 5)), (8, 9), (8, 5), False),
    ],
)
def test_which_devices_run_a_code(code, device, newest_ptx, runs):
    assert code.runs_on(device, newest_ptx) is runs
