"""The variables in a checkpoint file: their names and shapes at once, their values on demand. Nothing is executed."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.sentences import listed, printable
from sagemaker_object_detection.weights.checkpoint_index import judge_checkpoint, read_index

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_READ_ERRORS = (tf.errors.OpError, ValueError, IndexError, RuntimeError, OSError)
"""What `judge_checkpoint` and TensorFlow's checkpoint reader raise for missing, foreign or damaged files."""


@dataclass(frozen=True)
class StoredVariables:
    """Arrays by name, as a file holds them."""

    source: str
    """Begins the sentences of errors."""
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    """The array of a name; raises a UserError where the file is damaged."""


def read_checkpoint(prefix: Path) -> StoredVariables:
    """Opens a checkpoint, once it is judged: every variable in it, whatever it belongs to.

    Args:
        prefix: the file's path without ".index", such as checkpoint/ckpt-0 or saved_model/variables/variables.

    Raises:
        UserError: the files are missing, damaged or no checkpoint.
    """

    def read(name: str) -> np.ndarray:
        try:
            return np.asarray(reader.get_tensor(name))
        except _READ_ERRORS as error:
            raise _unreadable(prefix, error) from error

    try:
        shapes = judge_checkpoint(prefix)
        # Not tf.train.load_checkpoint: where a folder has the name of the prefix, that reads what a file in it names.
        reader = tf.compat.v1.train.NewCheckpointReader(str(prefix))
    except _READ_ERRORS as error:
        raise _unreadable(prefix, error) from error
    return StoredVariables(printable(str(prefix)), shapes, read)


def fingerprint_of_values(stored: StoredVariables) -> str:
    """Differs where the values do, and not where they are called otherwise: a checkpoint of the Model Garden and the
    SavedModel of it have the same.

    Raises:
        UserError: the file is damaged.
    """
    arrays = (stored.read(name) for name in stored.shapes)
    digests = sorted(
        hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).digest() for array in arrays
    )
    return hashlib.sha256(b"".join(digests)).hexdigest()


def fingerprint(prefix: Path) -> str:
    """Differs where the variables do: a checkpoint's index holds a checksum of each of them.

    Raises:
        UserError: there is no index, or it cannot be read.
    """
    try:
        index = read_index(prefix)
    except OSError as error:
        raise _unreadable(prefix, error) from error
    return hashlib.sha256(index).hexdigest()


def read_model_garden(prefix: Path) -> StoredVariables:
    """The variables of a detector in a file of the Model Garden, in either form (`weights/model_garden.py`).

    What a training run left beside them is ignored: counters, the optimizer, its slots.

    Raises:
        UserError: as `read_checkpoint`, or no variable belongs to a detector.
    """
    stored = read_checkpoint(prefix)
    for root in ("model/", "_model/"):
        shapes = {
            key: shape
            for key, shape in stored.shapes.items()
            if key.startswith(root) and key.endswith(SUFFIX) and "/.OPTIMIZER_SLOT/" not in key
        }
        if shapes:
            return replace(stored, shapes=shapes)
    found = listed(sorted(stored.shapes), none="nothing")
    raise UserError(
        f"{stored.source}: holds no detector's variables, but {found}; expected the checkpoint or the "
        "SavedModel of a base model, whose variables' names begin with model/ or _model/: give those files"
    )


def _unreadable(prefix: Path, error: Exception) -> UserError:
    reason = f"{Path(error.filename).name}: {error.strerror}" if isinstance(error, OSError) else first_line(error)
    return UserError(
        f"{printable(str(prefix))}: the checkpoint cannot be read ({printable(reason)}); expected {prefix.name}.index "
        f"and every {prefix.name}.data-* file as they were written: copy the folder again"
    )
