"""The main README's first command: the main job on a machine with nothing but Python."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.nightly
def test_the_demonstration_learns_and_prints_where_everything_is(tmp_path):
    folder = tmp_path / "demo"
    command = [ROOT / "scripts/demo.sh", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    scores = [float(found) for found in re.findall(r"Val_mAP_50=([0-9\.]+)", done.stdout)]
    metrics = json.loads((folder / "output/data/metrics.json").read_text())
    epochs, saved = metrics["epochs"], metrics["saved_epoch"]
    assert len(scores) == len(epochs) + 1 == 11
    assert scores[-1] == scores[saved] >= 0.5
    named = re.findall(r"^(model|metrics|report|picture): +(.+)$", done.stdout, re.MULTILINE)
    assert [what for what, _ in named] == ["model", "metrics", "report", *["picture"] * 6]
    for _, place in named:
        assert Path(place).exists()
