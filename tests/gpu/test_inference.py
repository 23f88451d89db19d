"""A GPU runs validation and the served model, but for what is listed here."""

import gc
from collections.abc import Iterable, Iterator

import pytest
import tensorflow as tf
from findings import findings
from networks import DTYPES, FAMILIES, three_images
from placement import operations_of, pinned
from traced_functions import traced_functions

from sagemaker_object_detection.artifact.export import ServingModel
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.evaluation.evaluator import Evaluator
from sagemaker_object_detection.images.decoding import decode
from sagemaker_object_detection.images.exif import exif_orientation
from sagemaker_object_detection.images.network_input import to_network_input
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.models.postprocess import LOOKED_AT, MAX_DETECTIONS

pytestmark = pytest.mark.gpu_wheels
IMAGES = 3
"""At a time."""


@pytest.fixture(scope="module", params=DTYPES)
def dtype(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=FAMILIES.values(), ids=[*FAMILIES])
def detector(request, dtype) -> Iterator[Detector]:
    yield build_detector(request.param, 2, dtype=dtype)
    gc.collect()  # a graph refers to itself


def suppression(detector: Detector, images: int) -> dict[str, int]:
    """No GPU suppresses overlapping boxes class by class: the boxes of the best anchors and their scores of both
    classes go to the host, and 100 boxes for each class come back. The slice that is pinned adds a dimension to the
    boxes before. If the best anchors do not settle it, all go, in a branch whose arguments they are."""
    best = LOOKED_AT * MAX_DETECTIONS
    assert best < len(detector.anchors)
    copied = {
        f"StridedSlice: input float32 [{images}, {best}, 4]": 1,
        f"CombinedNonMaxSuppression: scores float32 [{images}, {best}, 2]": 1,
    }
    if images > 1:  # else that is not much
        copied |= {f"Minimum: x float32 [{images}, 200, 4]": 2, f"GatherV2: params float32 [{images}, 200, 4]": 2}
    pinned_ones = all_pinned({"CombinedNonMaxSuppression", "StridedSlice"})
    return pinned_ones | {f"on the host: {name}": count for name, count in copied.items()}


def all_pinned(kinds: Iterable[str]) -> dict[str, int]:
    return {f"pinned: {kind}": 1 for kind in kinds}


def test_validation(tmp_path, detector) -> None:
    with traced_functions() as graphs:
        Evaluator(detector, three_images(tmp_path), l2=None)()
    (graph,) = graphs
    assert findings(operations_of(graph)) == suppression(detector, IMAGES)


def test_serving_of_pixels(detector) -> None:
    model, side = ServingModel(detector), detector.base.input_size
    assert findings(operations_of(model.detect.get_concrete_function().graph)) == {
        **suppression(detector, 1),
        **all_pinned(pixels_preprocessing(detector.base)),
        f"on the host: StridedSlice: input float32 [{side}, {side}, 3]": 1,  # the network input
    }


def test_serving_of_encoded_images(detector) -> None:
    model, side = ServingModel(detector), detector.base.input_size
    # Its own signature leaves the number of images open, so that every size would be unknown.
    detect = tf.function(model.detect_encoded.python_function, autograph=False)
    found = findings(operations_of(detect.get_concrete_function(tf.TensorSpec([IMAGES], tf.string)).graph))
    network_input = [name for name in found if name.endswith(f"float32 [{IMAGES}, {side}, {side}, 3]")]
    assert len(network_input) == 1
    assert found == {
        **suppression(detector, IMAGES),
        **all_pinned(encoded_preprocessing(detector.base)),
        network_input[0]: 1,
    }


def pixels_preprocessing(base: BaseModel) -> set[str]:
    """The kinds of operations that make a network input of pixels."""

    def prepare(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return to_network_input(pixels[0], base)

    return pinned_kinds(prepare, tf.TensorSpec([1, None, None, 3], tf.uint8))


def encoded_preprocessing(base: BaseModel) -> set[str]:
    """The kinds of operations that make network inputs of encoded images."""

    def prepare(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return to_network_input(decode(encoded, exif_orientation(encoded)), base)

    def prepare_all(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        signature = (tf.TensorSpec([base.input_size, base.input_size, 3], tf.float32), tf.TensorSpec([3], tf.int32))
        return tf.map_fn(prepare, encoded, fn_output_signature=signature)

    return pinned_kinds(prepare_all, tf.TensorSpec([IMAGES], tf.string))


def pinned_kinds(prepare, *arguments: tf.TensorSpec) -> set[str]:
    def on_cpu(*given: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.device("CPU:0"):
            return prepare(*given)

    return pinned(operations_of(tf.function(on_cpu, autograph=False).get_concrete_function(*arguments).graph))
