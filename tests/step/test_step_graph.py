"""What a training step asks of a GPU, counted in the graphs that TensorFlow runs on a CPU."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import child_environment

pytestmark = pytest.mark.nightly

PROGRAM = Path(__file__).parents[1] / "benchmarks/graph_size.py"
LARGEST = {
    "ssd_mobilenet_v2_fpnlite_320x320": 1760,
    "ssd_resnet50_v1_fpn_640x640": 2050,
    "ssd_efficientdet_d0_512x512": 4800,
}
"""Operations of a step, a little above what was counted; before they were 1977 to 6904."""


@pytest.mark.parametrize(
    ("name", "normalization"),
    list(itertools.product(LARGEST, ([], ["--trainable"]))),
)
def test_powers_are_raised_once_and_little_crosses_between_two_devices(name, normalization):
    """Adam raised its betas for each variable, and statistics went from one device to the other one by one."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--models", name, *normalization],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    row = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    operations, powers, updates, crossings = map(int, row[1:])
    assert powers == 2
    assert updates >= 75
    assert crossings <= 20
    assert operations <= LARGEST[name]
