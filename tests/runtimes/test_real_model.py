"""The default model with COCO's weights, in each form, on photographs."""

import numpy as np
import pytest
import tensorflow as tf
from same_detections import assert_same, references
from shared import shared

from sagemaker_object_detection.runtimes.onnx import convert_onnx, onnx_detect
from sagemaker_object_detection.runtimes.tflite import TFLiteDetector, convert_tflite
from sagemaker_object_detection.serving.published import COCO, published_detector
from sagemaker_object_detection.weights.sources import source_at

FORMS = [
    # What the order of sums changes, what weights of 11 bits change, and what 256 levels between all layers do. Of two
    # anchors with nearly the same score the other may win, whose box differs by more.
    pytest.param("float32", 1e-4, 1e-4, marks=pytest.mark.nightly),
    pytest.param("float16", 0.1, 0.01, marks=pytest.mark.nightly),
    pytest.param("int8", 0.1, 0.15, marks=pytest.mark.nightly),
    pytest.param("onnx", 1e-4, 1e-4, marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("form", "box", "score"), FORMS)
def test_detections_are_the_saved_models(form, box, score):
    weights = source_at(str(shared("weights/scaled.tar.gz")), "the weights").fetch()
    detector = published_detector(weights)
    images = photographs()
    if form == "onnx":
        detect = onnx_detect(convert_onnx(detector, COCO.names, max_detections=100))
    else:
        content = convert_tflite(detector, COCO.names, max_detections=100, precision=form, calibration=images)
        detect = TFLiteDetector(content, detector.base)
    for image, expected in zip(images, references(detector, 100, images), strict=True):
        assert_same(detect(image), expected, best=3, box=box, score=score)


def photographs() -> list[np.ndarray]:
    folder = shared("datasets/cards/validation/images")
    return [tf.io.decode_image(path.read_bytes(), channels=3).numpy() for path in sorted(folder.iterdir())[:20]]
