"""The network of a model as an ONNX file beside its SavedModel, with which a CPU answers faster.

ONNX Runtime computes the network; what is before and behind it, from the encoded image to its detections, stays the
code that the SavedModel was traced from.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf

from sagemaker_object_detection.artifact.export import ASSETS, SAVED_MODEL
from sagemaker_object_detection.artifact.model_info import ModelInfo, read_model_info
from sagemaker_object_detection.artifact.restore import restore_detector
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.errors import first_line
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.files.whole import whole_file
from sagemaker_object_detection.geometry.anchors import generate_anchors
from sagemaker_object_detection.models.detector import Detector, Predictions
from sagemaker_object_detection.sentences import printable

log = logging.getLogger(__name__)

OPSET = 17
"""Of ONNX 1.12, which onnxruntime reads from its version 1.12 on, and OpenVINO does too."""
_NAME = "network-{}.onnx"
_INDEX = "variables/variables.index"
"""It has a checksum of every weight."""
_MAX_BYTES = 2**28
_INPUT, _OUTPUTS = "images", ("box_encodings", "class_logits")
_TOLERANCE = 1e-3
"""Of predictions, which are up to 10 from 0; the order of sums alone makes 1e-4 of it."""
_MAX_REASON = 200


class Network:
    """A detector in what it computes, and in nothing else: normalised images float32 [B, S, S, 3] -> Predictions.

    Raises ValueError if the contents are no ONNX file, or one of another network than `base` has with these classes.
    """

    variables = ()
    """The file has them."""

    def __init__(self, contents: bytes, base: BaseModel, num_classes: int) -> None:
        self.base = base
        self.anchors = generate_anchors(base)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is an exception
        # A thread that waits for work in a loop takes it from TensorFlow's threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.load_model_format", "ONNX")  # and not by how the file begins
        self._shapes = [(len(self.anchors), 4), (len(self.anchors), base.family.background_column + num_classes)]
        # What a file declares is not what it does: it has to answer, and two images, as one may be all that it takes.
        images = np.zeros([2, base.input_size, base.input_size, 3], np.float32)
        try:
            # A second try would be printed, among the answers of `predict`.
            self._session = onnxruntime.InferenceSession(
                contents, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self._run(images)
        except ValueError:
            raise
        except Exception as error:  # it has a class of its own for each fault
            raise ValueError(f"{type(error).__name__}: {first_line(error)}") from error

    def __call__(self, images: tf.Tensor, training: bool = False) -> Predictions:
        outputs = tf.numpy_function(self._run, [images], [tf.float32, tf.float32], stateful=False)
        for output, shape in zip(outputs, self._shapes, strict=True):
            output.set_shape([None, *shape])
        return Predictions(*outputs)

    def _run(self, images: np.ndarray) -> list[np.ndarray]:
        outputs = [np.asarray(output) for output in self._session.run(_OUTPUTS, {_INPUT: images})]
        found = [(output.dtype.name, *output.shape) for output in outputs]
        if found != (expected := [("float32", len(images), *shape) for shape in self._shapes]):
            raise ValueError(f"its outputs are {found}; expected {expected}")
        return outputs


def read_network(model: Path, info: ModelInfo) -> Network | None:
    """The network of the model in folder `model`; None if it has no such file, or, with a warning, if the file is
    damaged or of other weights than the SavedModel's."""
    path = min((model / SAVED_MODEL / ASSETS).glob(_NAME.format("*")), default=None)  # a job writes one
    if path is None:
        return None
    try:
        contents = read_regular(path, _MAX_BYTES)
        if path.name != _name(model, contents):
            raise ValueError("it is damaged, or was made of other weights than those beside it")
        return Network(contents, info.base, len(info.labels))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        log.warning(
            "%s is not used (%s): TensorFlow computes the network, which takes longer. Copy the model directory "
            "again, or remove the file.",
            path,
            printable(reason or "", _MAX_REASON),
        )
        return None


def convert_network(detector: Detector) -> bytes:
    """The contents of the file: input images float32 [B, S, S, 3], outputs as `Predictions` has them."""
    import tf2onnx  # which takes half a second to import, and serving does not need it

    @tf.function(autograph=False)
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(_OUTPUTS, detector(images, training=False), strict=True))

    size = detector.base.input_size
    signature = [tf.TensorSpec([None, size, size, 3], tf.float32, name=_INPUT)]
    model, _ = tf2onnx.convert.from_function(predict, input_signature=signature, opset=OPSET)
    return bytes(model.SerializeToString())


def write_network(model: Path) -> Path:
    """Makes the file of the model in folder `model`, once its network is known to be the SavedModel's, and returns its
    path. Raises ValueError otherwise, and FileExistsError where there is a folder for it already."""
    info = read_model_info(model)
    detector = restore_detector(model, info, "float32")
    contents = convert_network(detector)
    network = Network(contents, info.base, len(info.labels))
    size = info.base.input_size
    images = tf.random.stateless_uniform([2, size, size, 3], (0, 0), -1.0, 1.0)
    off = max(
        float(np.abs(ours - theirs).max())
        for ours, theirs in zip(network(images), detector(images, training=False), strict=True)
    )
    if not off <= _TOLERANCE:
        raise ValueError(f"its predictions are off by {off:.3g}")
    path = model / SAVED_MODEL / ASSETS / _name(model, contents)
    path.parent.mkdir()  # not a link that somebody has put there, nor a folder with another file
    with whole_file(path) as unfinished:
        unfinished.write_bytes(contents)
    for opened in (path.parent, path):
        opened.chmod(0o777 if opened.is_dir() else 0o666)
    return path


def _name(model: Path, contents: bytes) -> str:
    """What the file is called: by its contents and by the weights, so that it is never taken for that of others."""
    index = read_regular(model / SAVED_MODEL / _INDEX, _MAX_BYTES)
    return _NAME.format(hashlib.sha256(index + contents).hexdigest()[:32])
