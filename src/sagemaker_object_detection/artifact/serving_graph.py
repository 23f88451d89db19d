"""The SavedModel of a detector, without the values of its weights: tracing it takes seconds, on a loaded machine most
of the time that a stop leaves, and writing weights does not."""

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

_VARIABLES = "variables"
_PREFIX = f"{_VARIABLES}/variables"
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""What TensorFlow calls the graph of objects among a checkpoint's tensors."""
_WEIGHTS = "weights"
_FINGERPRINT = "fingerprint.pb"
"""It has a hash of the weights, and nothing needs it (tf.saved_model.load)."""


class ServingGraph:
    """What `tf.saved_model.save` writes of a module whose variables are all in its attribute `weights`, a dictionary.

    Args:
        folder: where it may write, a folder that is not there yet.
    """

    def __init__(self, module: tf.Module, signatures: Any, folder: Path) -> None:
        tf.saved_model.save(module, str(folder), signatures=signatures)
        self._files = {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.parent.name != _VARIABLES and path.name != _FINGERPRINT
        }
        self._folders = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_dir()]
        self._objects = tf.train.load_checkpoint(str(folder / _PREFIX)).get_tensor(_OBJECTS)
        keys = _keys(self._objects)
        self._variables = {keys[path]: variable for path, variable in module.weights.items()}

    def write(self, folder: Path) -> None:
        """The same with the present values of the variables, into a folder that is not there yet."""
        folder.mkdir()
        for below in self._folders:
            (folder / below).mkdir()
        for path, content in self._files.items():
            (folder / path).write_bytes(content)
        with tf.device("CPU:0"):
            tensors = {key: tf.convert_to_tensor(variable) for key, variable in self._variables.items()}
            tensors[_OBJECTS] = tf.constant(self._objects)
            shard = folder / f"{_PREFIX}.unmerged"
            whole = [""] * len(tensors)
            tf.raw_ops.SaveV2(
                prefix=str(shard), tensor_names=list(tensors), shape_and_slices=whole, tensors=list(tensors.values())
            )
            # As TensorFlow's own saving does, which gives the files their names.
            tf.raw_ops.MergeV2Checkpoints(
                checkpoint_prefixes=[str(shard)], destination_prefix=str(folder / _PREFIX), delete_old_dirs=False
            )


def _keys(objects: bytes) -> dict[str, str]:
    """What the checkpoint calls each variable, by its key in the dictionary."""
    nodes = TrackableObjectGraph.FromString(objects).nodes
    (weights,) = (nodes[child.node_id] for child in nodes[0].children if child.local_name == _WEIGHTS)
    return {child.local_name: nodes[child.node_id].attributes[0].checkpoint_key for child in weights.children}
