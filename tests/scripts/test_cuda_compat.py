"""NVIDIA's cuda-compat: how it gets into the image, and on which hosts the image's start script uses it."""

import os
import subprocess
from pathlib import Path

import pytest
from shell_scripts import SCRIPTS, caller

START = SCRIPTS.parent / "container/train"
COMPAT, DRIVER = "/usr/local/cuda/compat", "/proc/driver/nvidia/version"
KERNEL = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue Jul 13 16:14:05 UTC 2021\nGCC version:  gcc 7.3.1\n"
OPEN_KERNEL = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@U16-A24-23-2)\n"


def test_the_package_is_what_the_builder_sees_and_is_gone_afterwards(tmp_path):
    package = tmp_path / "cuda-compat-12-9_575.57.08-1_amd64.deb"
    package.write_text("the package")
    done, calls = caller(tmp_path)("build_image.sh", "--cuda-compat", package)
    assert done.returncode == 0, done.stderr
    assert "--build-arg CUDA_COMPAT=cuda-compat.deb" in calls[1]
    assert "cuda-compat: the package" in calls
    assert not (SCRIPTS.parent / "container/cuda-compat.deb").exists()


def test_without_the_option_the_builder_sees_none(tmp_path):
    _, calls = caller(tmp_path)("build_image.sh")
    assert "CUDA_COMPAT" not in calls[1]


class Host:
    """The start script with places of its own for the image's cuda-compat and the kernel's word on the driver."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.compat = folder, folder / "compat"
        script = START.read_text().replace(COMPAT, str(self.compat)).replace(DRIVER, str(folder / "version"))
        (folder / "train").write_text(script)
        (folder / "python").write_text('#!/bin/sh\necho "${LD_LIBRARY_PATH-unset}"\n')
        for name in ("train", "python"):
            (folder / name).chmod(0o755)

    def has_compat(self, version: str) -> None:
        self.compat.mkdir()
        (self.compat / f"libcuda.so.{version}").touch()
        (self.compat / "libcuda.so.1").symlink_to(f"libcuda.so.{version}")

    def has_driver(self, text: str) -> None:
        (self.folder / "version").write_text(text)

    def library_path(self, **environment: str) -> str:
        """LD_LIBRARY_PATH as Python gets it."""
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [self.folder / "train"], env={"PATH": path, **environment}, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.strip()


@pytest.fixture
def host(tmp_path):
    assert COMPAT in START.read_text()
    assert DRIVER in START.read_text()
    return Host(tmp_path)


@pytest.mark.parametrize("kernel", [KERNEL, OPEN_KERNEL], ids=["closed", "open"])
@pytest.mark.parametrize(
    ("driver", "used"),
    [
        ("470.57.02", True),
        ("535.54.03", True),
        ("575.9.1", True),
        ("575.57.08", False),
        ("575.57.10", False),
        ("580.105.08", False),
        ("1000.1", False),
    ],
)
def test_it_is_used_under_an_older_driver_alone(host, kernel, driver, used):
    host.has_compat("575.57.08")
    host.has_driver(kernel.format(driver))
    assert host.library_path() == (str(host.compat) if used else "unset")


def test_it_comes_before_the_folders_that_are_set_already(host):
    host.has_compat("575.57.08")
    host.has_driver(KERNEL.format("470.57.02"))
    assert host.library_path(LD_LIBRARY_PATH="/usr/local/nvidia/lib64") == f"{host.compat}:/usr/local/nvidia/lib64"


def test_an_image_without_it_and_a_host_without_a_driver_are_left_alone(host):
    host.has_driver(KERNEL.format("470.57.02"))
    assert host.library_path() == "unset"
    (host.folder / "version").unlink()
    host.has_compat("575.57.08")
    assert host.library_path() == "unset"


def test_a_driver_that_does_not_tell_its_version_is_left_alone(host):
    host.has_compat("575.57.08")
    host.has_driver("NVRM version: unknown\n")
    assert host.library_path() == "unset"
