"""ONNX files, run by ONNX Runtime, find what the SavedModel finds, whatever the size of the image."""

import json

import numpy as np
import pytest
from same_detections import assert_same, pictures, references, with_contrasts
from test_export_model import export
from tiny_models import TINY, TINY_PADDED

from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.runtimes.onnx import convert_onnx, onnx_detect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_catalogue")]
BASES = [TINY, pytest.param(TINY_PADDED, marks=pytest.mark.nightly)]
NAMES = ["circle", "square", "Dreieck ▲"]


@pytest.mark.parametrize(
    "base", [TINY, pytest.param(TINY_PADDED, marks=pytest.mark.nightly)], ids=lambda base: base.name
)
def test_detections_are_the_saved_models_for_images_of_any_size(base):
    import onnx

    detector = with_contrasts(build_detector(base, 3))
    content = convert_onnx(detector, NAMES, max_detections=7)
    detect = onnx_detect(content)
    for image, expected in zip(pictures(4), references(detector, 7, pictures(4)), strict=True):
        found = detect(image)
        assert found.boxes.shape == (7, 4)
        # The order of sums differs, and so do the last bits.
        assert_same(found, expected, best=5, box=1e-4, score=1e-4)
    properties = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    assert properties["base_model"] == base.name
    assert json.loads(properties["labels"]) == NAMES


def test_the_verb_compares_it_with_the_saved_model(trained, tmp_path, capsys):
    output, data = tmp_path / "model.onnx", trained.root / "input/data/validation"
    given = ("--model", trained.root / "model", "--format", "onnx", "--data", data, "--output", output)
    assert export(*given, "--max-loss", "0.001") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["5", "images", "SavedModel", "onnx"]
    image = np.zeros((80, 70, 3), np.uint8)
    assert onnx_detect(output.read_bytes())(image).count == 100
