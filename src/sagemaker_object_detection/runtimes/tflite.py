"""A detector as a TensorFlow Lite file (LiteRT, as it is called now), with its post-processing inside.

The converter is TensorFlow's own, from which LiteRT's package has not moved it. So is the interpreter: it warns that
LiteRT's has taken its place, but it comes with the TensorFlow that this package is pinned to.

The graph takes pixels and ends with TFLite_Detection_PostProcess, the custom operation that every TensorFlow Lite
runtime has, laid out as the reference's `export_tflite_graph_tf2.py` does it: the converter puts the operation where
the graph calls a function that says it implements it.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.geometry.box_coder import center_and_size
from sagemaker_object_detection.images.network_input import scale_pixels, to_raw_input
from sagemaker_object_detection.models.detector import Detector, Predictions
from sagemaker_object_detection.models.postprocess import LOOKED_AT, SCORE_THRESHOLD
from sagemaker_object_detection.runtimes.comparison import Found
from sagemaker_object_detection.runtimes.tflite_metadata import OUTPUTS, with_metadata

PRECISIONS = ("float32", "float16", "int8")


class _MobileModel(tf.Module):
    """Pixels float32 [1, S, S, 3], 0..255, to the outputs of TFLite_Detection_PostProcess: see OUTPUTS."""

    def __init__(self, detector: Detector, max_detections: int) -> None:
        super().__init__()
        base = detector.base
        self.weights = {variable.path: variable.value for variable in detector.variables}
        self._base = base
        self._anchors = np.stack(center_and_size(detector.anchors), axis=-1)
        self._candidates = min(len(detector.anchors), LOOKED_AT * max_detections)
        self._predict: Callable[[tf.Tensor], Predictions] = lambda images: detector(images, training=False)
        self._suppress = _suppression(base, detector.num_classes, max_detections)
        size = base.input_size
        self.detect = tf.function(
            self._detect,
            input_signature=[tf.TensorSpec([1, size, size, 3], tf.float32, name="image")],
            autograph=False,
        )

    def _detect(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        family = self._base.family
        predictions = self._predict(scale_pixels(image, family))
        scores = tf.sigmoid(predictions.class_logits)
        best = tf.reduce_max(scores[0, :, family.background_column :], axis=-1)
        _, rows = tf.math.top_k(best, self._candidates)
        found = self._suppress(
            tf.gather(predictions.box_encodings, rows, axis=1),
            tf.gather(scores, rows, axis=1),
            tf.gather(tf.constant(self._anchors), rows),
        )
        return dict(zip(OUTPUTS, found, strict=True))


def _suppression(
    base: BaseModel, num_classes: int, max_detections: int
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
    """What stands for TFLite_Detection_PostProcess until the converter puts that there.

    It takes box encodings [1, A, 4], scores [1, A, K] (with a background column, if the family has one) and anchors
    [A, 4], y, x, height, width, and returns boxes [1, D, 4], classes [1, D], scores [1, D] and their number [1].
    """
    y, x, height, width = base.family.box_code_scale
    attributes: dict[str, int | float | bool] = {
        "max_detections": max_detections,
        "detections_per_class": max_detections,
        "max_classes_per_detection": 1,  # of the other kind of suppression
        "use_regular_nms": True,
        "nms_score_threshold": SCORE_THRESHOLD,
        "nms_iou_threshold": base.family.nms_iou,
        "num_classes": num_classes,
        "y_scale": y,
        "x_scale": x,
        "h_scale": height,
        "w_scale": width,
    }
    fields = {bool: "b", int: "i", float: "f"}
    texts = [
        f'attr {{ key: "{name}" value {{ {fields[type(value)]}: {str(value).lower()} }} }}'
        for name, value in attributes.items()
    ]

    @tf.function(experimental_implements=" ".join(['name: "TFLite_Detection_PostProcess"', *texts]))
    def suppress(box_encodings: tf.Tensor, scores: tf.Tensor, anchors: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rows = tf.zeros([1, max_detections])
        return tf.zeros([1, max_detections, 4]), rows, rows, tf.zeros([1])

    return suppress


def convert_tflite(
    detector: Detector,
    labels: Sequence[str],
    *,
    max_detections: int,
    precision: str = "float32",
    calibration: Iterable[np.ndarray] = (),
) -> bytes:
    """The contents of a .tflite file, with metadata.

    Args:
        labels: the classes' names.
        precision: of PRECISIONS. "float16" halves the file: weights are float16, and a CPU computes in float32. "int8"
            computes in integers, and its input is uint8.
        calibration: images for "int8", uint8 [height, width, 3]: what values the layers have is seen on them.
    """
    base = detector.base
    module = _MobileModel(detector, max_detections)

    def representative() -> Iterable[list[np.ndarray]]:
        for image in calibration:
            pixels = to_raw_input(image, base)[0].numpy()
            # So that the input's steps are whole levels, from 0 to 255, whatever the images are like.
            pixels[0, 0], pixels[0, 1] = 0.0, 255.0
            yield [pixels[None]]

    with tempfile.TemporaryDirectory() as folder:
        # By way of a SavedModel: of a function alone, the converter would see the operation's stand-in.
        tf.saved_model.save(module, folder, signatures=module.detect)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.allow_custom_ops = True
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.representative_dataset = representative
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
        content = bytes(converter.convert())
    return with_metadata(content, base.name, _description(base), labels)


def _description(base: BaseModel) -> str:
    size, fits = base.input_size, base.family.keep_aspect_ratio
    fit = "its aspect ratio kept, at the top left and padded" if fits else "stretched"
    return f"{base.name}, fine-tuned. An image is resized to {size} x {size} pixels, {fit}."


class TFLiteDetector:
    """Runs a .tflite file on this machine's CPU.

    Args:
        model: the file's contents.
        base: the base model, which says how an image becomes the input.
        threads: None for as many as TensorFlow Lite likes.
    """

    def __init__(self, model: bytes, base: BaseModel, threads: int | None = None) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"(?s).*tf\.lite\.Interpreter is deprecated")
            interpreter = tf.lite.Interpreter(model_content=model, num_threads=threads)
        self._run = interpreter.get_signature_runner()
        self._base = base
        (self._input,) = self._run.get_input_details().items()

    def __call__(self, image: np.ndarray) -> Found:
        """The detections in an image, uint8 [height, width, 3]."""
        pixels, true_shape = (part.numpy() for part in to_raw_input(image, self._base))
        name, details = self._input
        if details["dtype"] == np.uint8:
            pixels = np.round(pixels).astype(np.uint8)
        outputs = self._run(**{name: pixels[None]})
        # The operation neither clips boxes nor knows of padding.
        frame = np.tile(true_shape[:2] / np.float32(self._base.input_size), 2).astype(np.float32)
        boxes = np.clip(outputs["detection_boxes"][0] / frame, 0.0, 1.0)
        real = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (np.arange(len(boxes)) < outputs["num_detections"][0])
        order = np.argsort(~real, kind="stable")
        return Found(
            boxes[order],
            outputs["detection_scores"][0][order],
            outputs["detection_classes"][0][order].astype(np.int32),
            int(real.sum()),
        )
