"""What the tests of other runtimes share: a model's detections, held against the SavedModel's."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.artifact.export import ServingModel
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.runtimes.comparison import Found, saved_model_detect


def references(detector: Detector, max_detections: int, images: Sequence[np.ndarray]) -> list[Found]:
    """What the SavedModel of a detector finds in images."""
    module = ServingModel(detector, max_detections)

    def outputs_of(images: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        each = [module.detect(tf.constant(image[None])) for image in images]
        return [{name: value[0].numpy() for name, value in outputs.items()} for outputs in each]

    return [saved_model_detect(outputs_of)(image) for image in images]


def with_contrasts(detector: Detector) -> Detector:
    """The detector with kernels that keep the spread of what they are given (He et al., 2015), where those of a new one
    leave next to nothing of it: so that scores and boxes differ from anchor to anchor."""
    random = np.random.default_rng(0)
    for variable in detector.trainable_variables:
        if "kernel" in variable.path:
            inputs = np.prod(variable.shape[:2] if "depthwise" in variable.path else variable.shape[:-1])
            # Boxes stay near their anchors, and so in the image.
            gain = 0.1 if "box_predictor" in variable.path else 2.0
            variable.assign(random.normal(0.0, np.sqrt(gain / inputs), variable.shape))
    return detector


def pictures(count: int) -> list[np.ndarray]:
    """Soft patches of colours, of several sizes, uint8 [height, width, 3]."""
    random = np.random.default_rng(1)
    patches = [random.integers(0, 256, (6, 5, 3)).astype(np.float32) for _ in range(count)]
    sizes = [(64, 64), (90, 128), (128, 50), (200, 301)]
    return [tf.image.resize(patch, sizes[n % 4]).numpy().astype(np.uint8) for n, patch in enumerate(patches)]


def assert_same(found: Found, reference: Found, *, best: int, box: float, score: float) -> None:
    """Each of the `best` detections of the reference is found: of the same class, with corners that differ by at most
    `box` (1 spans the image) and a score that differs by at most `score`. Equal scores may stand in any order."""
    assert found.count >= best
    assert reference.count >= best
    for place in range(best):
        off = np.abs(found.boxes - reference.boxes[place]).max(axis=1)
        apart = np.abs(found.scores - reference.scores[place])
        same = (found.classes == reference.classes[place]) & (off <= box) & (apart <= score)
        assert same[: found.count].any(), (place, reference.scores[place], off.min(), apart[off.argmin()])
