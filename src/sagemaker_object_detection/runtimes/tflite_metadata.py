"""What a .tflite file says of itself: TensorFlow Lite's metadata, by which MediaPipe and the Task Library use a model.

Without it they refuse a detector: it tells them how an image becomes the input, which output is which, and what the
classes are called. It is a flatbuffer of its own (metadata_schema.fbs of google-ai-edge/mediapipe, "M001") in a buffer
of the model's, and a zip archive with the label file behind the model.

It is written with flatbuffers, which TensorFlow brings, slot by slot as that schema numbers them. The library for it,
tflite-support, has had no release since 2023; MediaPipe's writer is not whole in its wheels for Linux (1.2.3 lacks
`_pywrap_metadata_version`), and would bring OpenCV. The tests read the file with MediaPipe.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import number_types

LABELS = "labels.txt"
METADATA = "TFLITE_METADATA"
OUTPUTS = {
    "detection_boxes": "location",
    "detection_classes": "category",
    "detection_scores": "score",
    "num_detections": "number of detections",
}
"""The outputs of TFLite_Detection_PostProcess in its order, and what the libraries call them."""
_FLAGS = {np.dtype(np.int8): number_types.Int8Flags, np.dtype(np.int32): number_types.Int32Flags}
_VERSION = "1.2.0"
"""Of the schema: the first that has groups of tensors."""
_FEATURE, _IMAGE, _BOXES = np.int8(1), np.int8(2), np.int8(3)  # ContentProperties
_VALUE_LABELS = np.int8(3)  # AssociatedFileType
_RGB, _BOUNDARIES, _NORMALIZATION = np.int8(1), np.int8(1), np.int8(1)


def with_metadata(model: bytes, name: str, description: str, labels: Sequence[str]) -> bytes:
    """A .tflite file that says what it is.

    Args:
        model: the file, with a signature whose outputs are called as OUTPUTS has them.
        name, description: for people.
        labels: the classes' names by class index. A line break in one becomes a space, since each is a line.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    (graph,), (signature,) = content.subgraphs, content.signatureDefs
    places = {output.name.decode(): output.tensorIndex for output in signature.outputs}
    # The converter has them by their names; libraries of before there were signatures go by the order.
    graph.outputs = np.array([places[output] for output in OUTPUTS], np.int32)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_metadata(name, description), np.uint8)
    entry.name, entry.buffer = METADATA, len(content.buffers)
    content.buffers.append(buffer)
    content.metadata = [*(content.metadata or ()), entry]
    whole = io.BytesIO()
    whole.write(flatbuffer_utils.convert_object_to_bytearray(content))
    with zipfile.ZipFile(whole, "a") as archive:  # stored, as the libraries map it into memory
        archive.writestr(zipfile.ZipInfo(LABELS), "\n".join(" ".join(label.split()) for label in labels))
    return whole.getvalue()


def _metadata(name: str, description: str) -> bytes:
    """The flatbuffer. Numbers are slots: the position of a field in its table."""
    two = {0: np.int32(2), 1: np.int32(2)}  # ValueRange: dimension 2 counts the boxes
    boxes = {0: np.array([1, 0, 3, 2], np.uint32), 1: _BOUNDARIES}  # where left, top, right and bottom are
    # Pixels from 0 to 255 are what the graph takes.
    normalization = {0: np.array([0.0], np.float32), 1: np.array([1.0], np.float32)}
    image = {
        0: "image",
        1: "RGB pixels from 0 to 255.",
        3: {0: _IMAGE, 1: {0: _RGB}},
        4: [{0: _NORMALIZATION, 1: normalization}],
    }
    contents: dict[str, dict[int, Any]] = {
        "location": {3: {0: _BOXES, 1: boxes, 2: two}},
        "category": {3: {0: _FEATURE, 1: {}, 2: two}, 6: [{0: LABELS, 2: _VALUE_LABELS}]},
        "score": {3: {0: _FEATURE, 1: {}, 2: two}},
        "number of detections": {3: {0: _FEATURE, 1: {}}},
    }
    outputs = [{0: output, **contents[output]} for output in OUTPUTS.values()]
    group = {0: "detection_result", 1: list(OUTPUTS.values())[:3]}
    graph = {2: [image], 3: outputs, 8: [group]}
    builder = flatbuffers.Builder(0)
    root = _write(builder, {0: name, 1: description, 3: [graph], 7: _VERSION})
    builder.Finish(root, b"M001")
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, value: Any) -> int:
    """Where a text, a vector of numbers, a vector of texts or tables, or a table (fields by slot) has been written."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, list):
        offsets = [_write(builder, part) for part in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    return _write_table(builder, value)


def _write_table(builder: flatbuffers.Builder, fields: Mapping[int, Any]) -> int:
    # What a table refers to stands before it.
    written = {
        slot: value if isinstance(value, np.generic) else _write(builder, value) for slot, value in fields.items()
    }
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, value in written.items():
        if isinstance(value, np.generic):
            builder.PrependSlot(_FLAGS[value.dtype], slot, value.item(), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    return int(builder.EndObject())
