"""The README's first command: the main job on a machine with nothing but Python."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


# The README's ten epochs take a quarter of an hour on a slow machine: those are for the night.
EPOCHS, LEAST = (10, 0.5) if os.environ.get("CI_NIGHTLY") == "1" else (4, 0.2)


@pytest.mark.slow
def test_the_demonstration_learns_and_prints_where_everything_is(tmp_path):
    folder = tmp_path / "demo"
    command = [ROOT / "scripts/demo.sh", *(["--epochs", str(EPOCHS)] if EPOCHS != 10 else []), folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    scores = [float(found) for found in re.findall(r"Val_mAP_50=([0-9\.]+)", done.stdout)]
    metrics = json.loads((folder / "output/data/metrics.json").read_text())
    epochs, saved = metrics["epochs"], metrics["saved_epoch"]
    assert len(scores) == len(epochs) + 1 == EPOCHS + 1
    assert scores[-1] == scores[saved] >= LEAST
    named = re.findall(r"^(model|metrics|report|picture): +(.+)$", done.stdout, re.MULTILINE)
    assert [what for what, _ in named] == ["model", "metrics", "report", *["picture"] * 6]
    for _, place in named:
        assert Path(place).exists()
