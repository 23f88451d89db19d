"""Puts stored weights into a detector, and accounts for every variable on both sides."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.weights.model_garden import SUFFIX, checkpoint_variables

READ_ERRORS = (tf.errors.OpError, ValueError, IndexError, RuntimeError)
"""What TensorFlow's checkpoint reader raises for missing, foreign or damaged files."""

# Differences named in an error; a wrong base model has hundreds.
_LISTED = 5


def install_checkpoint(detector: Detector, prefix: Path, *, keep_class_predictor: bool = False) -> None:
    """Loads a Model Garden checkpoint. What a training run left beside the model's variables is ignored.

    Args:
        detector: its weights are replaced.
        prefix: the checkpoint's path without ".index", such as checkpoint/ckpt-0.
        keep_class_predictor: leave the class predictor at its initial values, to train other classes than the
            checkpoint's; their number may then differ too.

    Raises:
        UserError: the checkpoint cannot be read, or is not of this base model and number of classes.
    """
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = {
            key: tuple(shape) for key, shape in reader.get_variable_to_shape_map().items() if _is_model_variable(key)
        }
        install(
            checkpoint_variables(detector),
            shapes,
            reader.get_tensor,
            source=f"{prefix} as weights of {detector.base.name} with {detector.num_classes} classes",
            keep=detector.class_predictor.weights if keep_class_predictor else (),
        )
    except READ_ERRORS as error:
        raise UserError(
            f"{prefix}: the checkpoint cannot be read ({first_line(error)}); expected {prefix.name}.index and every "
            f"{prefix.name}.data-* file as published: copy the checkpoint folder again"
        ) from error


def install(
    variables: Mapping[str, keras.Variable],
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], np.ndarray],
    *,
    source: str,
    keep: Collection[keras.Variable] = (),
) -> None:
    """Assigns stored arrays to variables by name. Nothing is assigned unless everything fits and can be read.

    Args:
        variables: name -> variable, every variable of the detector.
        shapes: name -> shape of every stored array.
        read: the stored array of a name; called once everything is known to fit.
        source: begins the error, such as "ckpt-0 as weights of ssd_..._320x320 with 3 classes".
        keep: variables that stay as they are, whatever is stored for them.

    Raises:
        UserError: a variable is missing, left over, or of another shape; one sentence lists them.
    """
    kept = {id(variable) for variable in keep}
    wanted = {name: variable for name, variable in variables.items() if id(variable) not in kept}
    missing = sorted(wanted.keys() - shapes.keys())
    left_over = sorted(shapes.keys() - variables.keys())
    wrong = [
        f"{_short(name)} {list(shapes[name])} instead of {list(variable.shape)}"
        for name, variable in wanted.items()
        if name in shapes and tuple(shapes[name]) != tuple(variable.shape)
    ]
    differences = [
        _listed("missing", [_short(name) for name in missing]),
        _listed("left over", [_short(name) for name in left_over]),
        _listed("of another shape", wrong),
    ]
    found = [difference for difference in differences if difference]
    if found:
        raise UserError(
            f"{source}: the variables do not fit: {'; '.join(found)}; expected exactly the variables of that model: "
            "give weights of the same base model, or name their base model as model_id"
        )
    # All are read before the first is assigned: a damaged file leaves the detector whole.
    arrays = {name: read(name) for name in wanted}
    for name, variable in wanted.items():
        variable.assign(arrays[name])


def _is_model_variable(key: str) -> bool:
    """Whether a checkpoint key holds a model's variable, and not an optimizer's, a counter or the object graph."""
    return key.startswith("model/") and key.endswith(SUFFIX) and "/.OPTIMIZER_SLOT/" not in key


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{len(names)} {what}: {', '.join(names[:_LISTED])}{more}"


def _short(name: str) -> str:
    return name.removesuffix(SUFFIX)
