import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shared import shared

ROOT = Path(__file__).resolve().parents[2]


def compare(*packs: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/compare_reference.py"), *map(str, packs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=1200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "quantities"),
    [
        ("ssd_mobilenet_v2_fpnlite_320x320", 39),
        ("ssd_mobilenet_v1_fpn_640x640", 39),
        ("ssd_resnet50_v1_fpn_640x640", 39),
        # Drop-connect leaves five quantities of the training mode that cannot be compared.
        ("ssd_efficientdet_d0_512x512", 34),
    ],
)
def test_every_family_agrees_with_the_reference_in_every_quantity(name, quantities):
    result = compare(shared(f"reference/{name}.npz"))
    assert result.returncode == 0, result.stdout
    assert f"{quantities} of {quantities} quantities agree" in result.stdout
    assert "BEYOND" not in result.stdout


def test_a_pack_of_another_model_and_a_file_that_is_no_pack_are_refused(tmp_path):
    other, text, poor = (tmp_path / f"{name}.npz" for name in ("other", "text", "poor"))
    np.savez(other, model=np.array("ssd_resnet50_v1_fpn_2048x2048"))
    text.write_text("no pack")
    np.savez(poor, model=np.array("ssd_mobilenet_v2_fpnlite_320x320"))
    result = compare(poor, other, text)
    assert result.returncode == 1
    assert f"{poor}: not a whole reference pack (KeyError: 'weight_keys'); expected every field of one" in result.stderr
    assert f"{other}: the pack is of ssd_resnet50_v1_fpn_2048x2048, which this package does not have" in result.stderr
    assert f"{text}: not a readable reference pack" in result.stderr
