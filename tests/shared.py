"""Where the optional shared test material lies: photographs, reference figures. Tests that need it skip without it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SHARED_DIR = Path(os.environ.get("SHARED_DIR", Path(__file__).resolve().parents[2] / "shared"))


def shared(relative: str) -> Path:
    """The path below SHARED_DIR; skips the calling test, saying what is missing, where there is none."""
    path = SHARED_DIR / relative
    if not path.exists():
        pytest.skip(f"needs {relative} below SHARED_DIR ({SHARED_DIR}), which is not there")
    return path


def fake_driver(folder: Path) -> Path:
    """The folder, with a libcuda.so.1 and a libnvidia-ml.so.1 that claim one "Fake H100" on which nothing computes.

    The environment variable FAKE_DRIVER is the version of CUDA that they claim, 11040 for 11.4; without it 12.9.
    """
    script = shared("gpu/fake_driver/build.sh")
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, to compile what stands for the NVIDIA driver")
    subprocess.run(["sh", script, folder], check=True)
    return folder
