"""What a training step asks of a GPU, counted in the graphs that TensorFlow runs on a CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import child_environment

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parents[1] / "benchmarks/graph_size.py"


@pytest.mark.parametrize("normalization", [[], ["--trainable"]], ids=["frozen", "following"])
def test_powers_are_raised_once_and_little_crosses_between_two_devices(normalization):
    """Adam's 921 powers and the 304 statistics that went from one device to the other, one by one, are gone."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--models", "ssd_mobilenet_v2_fpnlite_320x320", *normalization],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    row = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    operations, powers, updates, crossings = map(int, row[1:])
    assert powers == 2
    assert updates >= 80
    assert crossings <= 20
    assert operations < 3000
