"""A job on a machine that has no room for its largest image: it is named, and nothing is killed."""

import json
from pathlib import Path

import pytest
from conftest import run_verb
from PIL import Image

from sagemaker_object_detection.sample_data import write_sample_data

pytestmark = pytest.mark.slow


def test_an_image_that_memory_has_no_room_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample_data(tmp_path / "input/data", images=6, validation_images=2, seed=1)
    training = tmp_path / "input/data/training"
    content = json.loads((training / "annotations.json").read_text())
    large = content["images"][2]
    large |= {"width": 4000, "height": 3000}
    # Half transparent, so that it takes 28 bytes a pixel.
    Image.new("RGBA", (4000, 3000), (90, 200, 30, 128)).save(training / "images" / large["file_name"], format="PNG")
    (training / "annotations.json").write_text(json.dumps(content))
    monkeypatch.setenv("TF_MKL_ALLOC_MAX_BYTES", "200000000")
    done = run_verb("check", "--root", tmp_path)
    (problem,) = [line for line in done.output.splitlines() if "memory has no room" in line]
    assert f"{large['file_name']}' is 4000 wide and 3000 high" in problem
    assert "it may take 354 MB, of 200 MB for all that is computed" in problem
    assert done.code == 2
    assert "Traceback" not in done.output + done.errors
