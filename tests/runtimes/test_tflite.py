"""TensorFlow Lite files, run by TensorFlow Lite, find what the SavedModel finds."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import once
from same_detections import assert_same, pictures, references, with_contrasts
from tiny_models import TINY, TINY_PADDED

from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.runtimes.tflite import PRECISIONS, TFLiteDetector, convert_tflite
from sagemaker_object_detection.runtimes.tflite_metadata import LABELS, OUTPUTS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_catalogue")]
NAMES = ["circle", "square of\ntwo lines", "triangle"]


@pytest.fixture
def detector() -> Detector:
    return with_contrasts(build_detector(TINY, 3))


@pytest.fixture
def files(detector, tmp_path_factory) -> dict[str, bytes]:
    """The model in each precision."""

    def make(folder: Path) -> dict[str, bytes]:
        return {
            precision: convert_tflite(detector, NAMES, max_detections=20, precision=precision, calibration=pictures(8))
            for precision in PRECISIONS
        }

    return once(tmp_path_factory, "tflite", make)


@pytest.mark.parametrize(
    ("precision", "box", "score"),
    # float32: the order of sums differs. float16: weights have 11 bits. int8: a score has 256 levels, as every value
    # between layers has.
    [("float32", 1e-5, 1e-5), ("float16", 0.005, 0.005), ("int8", 0.1, 0.1)],
)
def test_detections_are_the_saved_models(detector, files, precision, box, score):
    detect = TFLiteDetector(files[precision], TINY)
    for image, expected in zip(pictures(4), references(detector, 20, pictures(4)), strict=True):
        assert_same(detect(image), expected, best=5, box=box, score=score)


def test_float16_and_int8_are_smaller(files):
    sizes = {precision: len(content) for precision, content in files.items()}
    # What is not weights takes most of so small a file.
    assert max(sizes["int8"], sizes["float16"]) < 0.75 * sizes["float32"]


def test_int8_takes_levels_of_pixels_as_they_are(files):
    (details,) = interpreter(files["int8"]).get_input_details()
    assert details["dtype"] == np.uint8
    assert details["quantization"] == (1.0, 0)


def test_outputs_stand_in_the_order_of_the_libraries(files):
    for content in files.values():
        running = interpreter(content)
        names = [output["name"] for output in running.get_output_details()]
        shapes = [tuple(output["shape"]) for output in running.get_output_details()]
        assert shapes == [(1, 20, 4), (1, 20), (1, 20), (1,)], names
        assert running.get_signature_list()["serving_default"]["outputs"] == sorted(OUTPUTS)


def test_labels_lie_behind_the_model_one_in_each_line(files):
    with zipfile.ZipFile(io.BytesIO(files["float32"])) as archive:
        assert archive.read(LABELS).decode().split("\n") == ["circle", "square of two lines", "triangle"]
        assert archive.getinfo(LABELS).compress_type == zipfile.ZIP_STORED


def test_a_padded_models_boxes_are_in_the_frame_of_the_image():
    detector = with_contrasts(build_detector(TINY_PADDED, 3))
    detect = TFLiteDetector(convert_tflite(detector, NAMES, max_detections=7), TINY_PADDED)
    images = pictures(4)
    for image, expected in zip(images, references(detector, 7, images), strict=True):
        found = detect(image)
        assert found.boxes.shape == (7, 4)
        assert_same(found, expected, best=5, box=1e-4, score=1e-4)


def interpreter(content: bytes) -> tf.lite.Interpreter:
    with pytest.warns(UserWarning, match="ai_edge_litert"):
        return tf.lite.Interpreter(model_content=content)
