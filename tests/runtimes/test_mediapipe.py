"""MediaPipe, by which phones run detectors, reads a file's metadata and finds what the SavedModel finds."""

import numpy as np
import pytest
from same_detections import pictures, references, with_contrasts
from tiny_models import TINY

from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.runtimes.tflite import convert_tflite

pytestmark = [pytest.mark.runtimes, pytest.mark.usefixtures("tiny_catalogue")]
NAMES = ["circle", "square", "Dreieck ▲"]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_objects_have_the_labels_and_boxes_of_the_saved_model(precision, tmp_path):
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    detector = with_contrasts(build_detector(TINY, 3))
    # Of the input's size: MediaPipe resizes in its own way.
    image, *others = pictures(8)
    content = convert_tflite(detector, NAMES, max_detections=20, precision=precision, calibration=[image, *others])
    (tmp_path / "model.tflite").write_bytes(content)
    options = vision.ObjectDetectorOptions(BaseOptions(model_asset_path=str(tmp_path / "model.tflite")), max_results=20)
    with vision.ObjectDetector.create_from_options(options) as running:
        found = running.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, image)).detections
    (expected,) = references(detector, 20, [image])
    level = 1e-4 if precision == "float32" else 0.08
    categories = [(category, one.bounding_box) for one in found for category in one.categories]  # by box
    inside = 0
    for category, box in categories:
        named = np.array([NAMES[index] == category.category_name for index in expected.classes])
        apart = np.where(named, np.abs(expected.scores - category.score), np.inf)
        assert apart.min() <= level
        near = expected.boxes[apart <= level]
        # What reaches outside is clipped here, and moved by MediaPipe.
        if precision == "float32" and (near > 0.0).all() and (near < 1.0).all():
            corners = np.array([box.origin_y, box.origin_x, box.origin_y + box.height, box.origin_x + box.width])
            assert np.abs(near * 64 - corners).max(axis=1).min() <= 2.0  # whole pixels, each side cut off
            inside += 1
    assert len(categories) == 20
    assert inside > 0 or precision == "int8"
