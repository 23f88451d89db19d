"""A detector as an ONNX file that does what the SavedModel's `serving_default` does: resizing, network, suppression.

tf2onnx translates TensorFlow's graph; ONNX has every operation of it, NonMaxSuppression too. It is the converter that
the ONNX project keeps for TensorFlow.
"""

import json
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.artifact.network_file import OPSET
from sagemaker_object_detection.images.network_input import to_network_input
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.models.postprocess import detections
from sagemaker_object_detection.runtimes.comparison import Found


def convert_onnx(detector: Detector, labels: Sequence[str], *, max_detections: int) -> bytes:
    """The contents of an .onnx file. labels: the classes' names, which are in its metadata as `labels`, a JSON list.

    Input `input_tensor` uint8 [1, height, width, 3], RGB. Outputs detection_boxes [1, D, 4], ymin xmin ymax xmax,
    normalised to the image; detection_scores, detection_classes [1, D], counted from 1; num_detections [1].
    """
    import onnx
    import tf2onnx

    base = detector.base

    @tf.function(autograph=False)
    def detect(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        image, true_shape = to_network_input(input_tensor[0], base)
        predictions = detector(image[None], training=False)
        found = detections(predictions, detector.anchors, true_shape[None], base, max_detections)
        real = tf.sequence_mask(found.count, max_detections, tf.float32)
        return {
            "detection_boxes": found.boxes,
            "detection_scores": found.scores,
            "detection_classes": (tf.cast(found.classes, tf.float32) + 1.0) * real,
            "num_detections": tf.cast(found.count, tf.float32),
        }

    signature = [tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")]
    model, _ = tf2onnx.convert.from_function(detect, input_signature=signature, opset=OPSET)
    onnx.helper.set_model_props(model, {"base_model": base.name, "labels": json.dumps(list(labels))})
    return bytes(model.SerializeToString())


def onnx_detect(model: bytes, threads: int = 0) -> Callable[[np.ndarray], Found]:
    """Runs an .onnx file on this machine's CPU. threads: 0 for as many as there are cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def detect(image: np.ndarray) -> Found:
        outputs = dict(zip(names, session.run(None, {"input_tensor": image[None]}), strict=True))
        return Found(
            outputs["detection_boxes"][0],
            outputs["detection_scores"][0],
            outputs["detection_classes"][0].astype(np.int32) - 1,
            int(outputs["num_detections"][0]),
        )

    return detect
