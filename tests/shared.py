"""Where the optional shared test material lies: photographs, reference figures. Tests that need it skip without it."""

import os
from pathlib import Path

import pytest

SHARED_DIR = Path(os.environ.get("SHARED_DIR", Path(__file__).resolve().parents[2] / "shared"))


def shared(relative: str) -> Path:
    """The path below SHARED_DIR; skips the calling test, saying what is missing, where there is none."""
    path = SHARED_DIR / relative
    if not path.exists():
        pytest.skip(f"needs {relative} below SHARED_DIR ({SHARED_DIR}), which is not there")
    return path
