"""Writes the model directory: a SavedModel any TensorFlow Serving can load, the labels, and what the model is.

model/1/                 SavedModel with two signatures
model/code/inference.py  the handler for SageMaker's TensorFlow Serving container
model/labels.json        class names and category ids; their position is the class index
model/model_info.json    written last: where it stands, the model is whole
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.artifact import inference
from sagemaker_object_detection.artifact.handler import handler_source
from sagemaker_object_detection.artifact.inference import LABELS_FILE
from sagemaker_object_detection.artifact.model_info import FILE_NAME, write_info
from sagemaker_object_detection.artifact.serving_graph import ServingGraph
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.files.whole import work_folder
from sagemaker_object_detection.geometry.box_coder import decode_boxes
from sagemaker_object_detection.images.decoding import decode
from sagemaker_object_detection.images.exif import exif_orientation
from sagemaker_object_detection.images.headers import SAMPLE_BITS
from sagemaker_object_detection.images.network_input import to_network_input
from sagemaker_object_detection.models.detector import Detector, Predictions
from sagemaker_object_detection.models.postprocess import MAX_DETECTIONS, detections

SAVED_MODEL = "1"
ASSETS = "assets.extra"
"""In a SavedModel: for files that TensorFlow has nothing to do with."""
CODE = "code"
_HANDLER = "inference.py"
"""As the container imports it. `code/` beside the SavedModel: inside, it would not be looked for
(aws/sagemaker-python-sdk#831)."""
_HOST = "CPU:0"
"""Where images are decoded and resized, also if a GPU computes the rest: it decodes none, and would be sent the whole
images."""
_WORK = ".export-"
_UNFINISHED = "saved-model"
"""No number: should the process be killed, a server would take a folder that is called so for a model."""


class Predicts(Protocol):
    """What `ServingModel` needs of a detector."""

    @property
    def base(self) -> BaseModel: ...

    @property
    def anchors(self) -> np.ndarray: ...

    @property
    def variables(self) -> Sequence[Any]: ...

    def __call__(self, images: Any, training: bool) -> Predictions: ...


class ServingModel(tf.Module):
    """The detector with its pre- and post-processing, as the reference exporter lays its outputs out, with D =
    `max_detections` detections of an image at most.

    `weights` maps each variable's path to the variable, so that the SavedModel's checkpoint names every weight by its
    path (`weights/<path>`), which is what incremental training reads. The Keras model itself is kept out of the
    module's attributes: TensorFlow would save every variable a second time under it.
    """

    def __init__(
        self, detector: Predicts, max_detections: int = MAX_DETECTIONS, sample_bits: int = SAMPLE_BITS
    ) -> None:
        super().__init__()
        self.weights = {variable.path: variable.value for variable in detector.variables}
        self._base = detector.base
        self._anchors = detector.anchors
        self._sample_bits = sample_bits
        self._max_detections = max_detections
        self._predict: Callable[[tf.Tensor], Predictions] = lambda images: detector(images, training=False)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")])
    def detect(self, input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        """One RGB image of any size, uint8 [1, height, width, 3]. Outputs are those of the reference exporter, B = 1:
        those of `_outputs`, and raw_detection_boxes [B, A, 4], normalised to the network input, padding included, and
        raw_detection_scores [B, A, K].
        """
        with tf.device(_HOST):
            image, true_shape = to_network_input(input_tensor[0], self._base)
        predictions = self._predict(image[None])
        return self._outputs(predictions, true_shape[None]) | {
            "raw_detection_boxes": decode_boxes(
                predictions.box_encodings, self._anchors, self._base.family.box_code_scale
            ),
            "raw_detection_scores": tf.sigmoid(predictions.class_logits),
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def detect_encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """B encoded images (JPEG or PNG), string [B], turned as their EXIF orientation says, and so are boxes. Samples
        of 16 bits are scaled as those of the training images were. Outputs as `_outputs` says: the raw ones would be
        megabytes of JSON for every image.
        """
        base = self._base

        def prepare(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = decode(encoded, exif_orientation(encoded), sample_bits=self._sample_bits)
            return to_network_input(image, base)

        size = base.input_size
        signature = (tf.TensorSpec([size, size, 3], tf.float32), tf.TensorSpec([3], tf.int32))
        with tf.device(_HOST):
            images, true_shapes = tf.map_fn(prepare, image_bytes, fn_output_signature=signature)
        return self._outputs(self._predict(images), true_shapes)

    def _outputs(self, predictions: Predictions, true_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The reference exporter's names, dtypes and 1-based classes; boxes are ymin xmin ymax xmax, normalised.

        detection_boxes [B, D, 4], detection_scores, detection_classes, detection_anchor_indices [B, D],
        detection_multiclass_scores [B, D, K], num_detections [B]; all float32.
        """
        found = detections(predictions, self._anchors, true_shapes, self._base, self._max_detections)
        raw_scores = tf.sigmoid(predictions.class_logits)
        real = tf.sequence_mask(found.count, tf.shape(found.scores)[1], tf.float32)
        return {
            "detection_boxes": found.boxes,
            "detection_scores": found.scores,
            "detection_classes": (tf.cast(found.classes, tf.float32) + 1.0) * real,
            "detection_anchor_indices": tf.cast(found.anchor_indices, tf.float32),
            "detection_multiclass_scores": tf.gather(raw_scores, found.anchor_indices, batch_dims=1) * real[..., None],
            "num_detections": tf.cast(found.count, tf.float32),
        }


class Exporter:
    """Writes a detector as a model.

    Args:
        model: the folder, which need not be there.
        sample_bits: of the 16 of a sample, as `images.decoding.decode_stored` has them.
    """

    def __init__(
        self,
        detector: Detector,
        model: Path,
        max_detections: int = MAX_DETECTIONS,
        sample_bits: int = SAMPLE_BITS,
    ) -> None:
        self._detector, self._model = detector, model
        self._max_detections, self._sample_bits = max_detections, sample_bits
        self._graph: ServingGraph | None = None

    def prepare(self) -> None:
        """Does all that can be done before the weights are known, once."""
        if self._graph is None:
            self._model.mkdir(parents=True, exist_ok=True)
            with work_folder(self._model, _WORK, abandoned=0.0) as temporary:
                self._graph = self._trace(temporary)

    def write(self, labels: Labels, info: Mapping[str, Any]) -> None:
        """Writes the artifact: under a temporary name first, then renamed, `model_info.json` last.

        What an earlier run left there under the same names is replaced.
        """
        model = self._model
        self.prepare()
        assert self._graph is not None
        with work_folder(model, _WORK, abandoned=0.0) as temporary:
            self._graph.write(temporary / _UNFINISHED)
            write_info(temporary / LABELS_FILE, {"labels": list(labels.names), "category_ids": list(labels.ids)})
            write_info(temporary / FILE_NAME, info)
            (temporary / CODE).mkdir()
            (temporary / CODE / _HANDLER).write_bytes(handler_source())
            for path in (temporary, *temporary.rglob("*")):
                path.chmod(0o777 if path.is_dir() else 0o666)
            # Without its model_info.json a model is not whole, so that this goes first and comes last.
            for name in (FILE_NAME, SAVED_MODEL, CODE, LABELS_FILE):
                if os.path.lexists(model / name):
                    (model / name).rename(temporary / f"replaced-{name}")
            (temporary / _UNFINISHED).rename(model / SAVED_MODEL)
            for name in (CODE, LABELS_FILE, FILE_NAME):
                (temporary / name).rename(model / name)

    def _trace(self, temporary: Path) -> ServingGraph:
        module = ServingModel(self._detector, self._max_detections, self._sample_bits)
        signatures = {"serving_default": module.detect, inference.SIGNATURE: module.detect_encoded}
        return ServingGraph(module, signatures, temporary / _UNFINISHED)
