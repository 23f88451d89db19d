"""Puts stored weights into a detector, and accounts for every variable on both sides."""

from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.geometry.anchors import anchors_per_cell
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.weights.checkpoint import SUFFIX, StoredVariables
from sagemaker_object_detection.weights.model_garden import model_garden_variables

# Differences named in an error; a wrong base model has hundreds.
_LISTED = 5


def install_model_garden(
    detector: Detector, stored: StoredVariables, *, class_columns: Sequence[int] | None = None
) -> None:
    """Loads a Model Garden file, in either of its forms.

    Args:
        detector: its weights are replaced.
        stored: from `read_model_garden`.
        class_columns: for each of the detector's classes, its place among the stored ones, from 0 on; None leaves the
            class predictor at its initial values, whatever the number of stored classes.

    Raises:
        UserError: the variables are not exactly those of this base model.
    """
    variables = model_garden_variables(detector, stored.shapes)
    if class_columns is not None:
        stored = _with_columns(detector, variables, stored, class_columns)
    keep = detector.class_predictor.weights if class_columns is None else ()
    install(variables, stored, f"weights of {detector.base.name}", keep=keep)


def stored_classes(detector: Detector, stored: StoredVariables) -> int | None:
    """How many classes the class predictor of a Model Garden file has; None where it has none.

    Args:
        detector: of the file's base model, with any number of classes.
        stored: from `read_model_garden`.
    """
    variables = model_garden_variables(detector, stored.shapes)
    bias = next(name for name, variable in variables.items() if variable is detector.class_predictor.bias)
    if bias not in stored.shapes:
        return None
    family = detector.base.family
    return stored.shapes[bias][0] // anchors_per_cell(family) - family.background_column


def install(
    variables: Mapping[str, keras.Variable],
    stored: StoredVariables,
    what: str,
    *,
    keep: Collection[keras.Variable] = (),
) -> None:
    """Assigns stored arrays to variables by name. Nothing is assigned unless everything fits and can be read.

    Args:
        variables: name -> variable, every variable of the detector.
        stored: arrays by the same names.
        what: what they are wanted as, for the error.
        keep: variables that stay as they are, whatever is stored for them.

    Raises:
        UserError: a variable is missing, left over, or of another shape; one sentence lists them.
    """
    kept = {id(variable) for variable in keep}
    wanted = {name: variable for name, variable in variables.items() if id(variable) not in kept}
    shapes = stored.shapes
    wrong = [
        f"{_short(name)} {list(shapes[name])} instead of {list(variable.shape)}"
        for name, variable in wanted.items()
        if name in shapes and tuple(shapes[name]) != tuple(variable.shape)
    ]
    differences = [
        _listed("missing", [_short(name) for name in sorted(wanted.keys() - shapes.keys())]),
        _listed("left over", [_short(name) for name in sorted(shapes.keys() - variables.keys())]),
        _listed("of another shape", wrong),
    ]
    found = [difference for difference in differences if difference]
    if found:
        raise UserError(
            f"{stored.source} as {what}: the variables do not fit: {'; '.join(found)}; expected exactly the variables "
            "of that model: give a whole file of it"
        )
    # All are read before the first is assigned: a damaged file leaves the detector whole.
    arrays = {name: stored.read(name) for name in wanted}
    for name, variable in wanted.items():
        variable.assign(arrays[name])


def _with_columns(
    detector: Detector, variables: Mapping[str, keras.Variable], stored: StoredVariables, class_columns: Sequence[int]
) -> StoredVariables:
    """The class predictor's last axis is (anchors of a cell, columns): takes the columns of the detector's classes."""
    family = detector.base.family
    anchors = anchors_per_cell(family)
    background = [0] if family.background_column else []
    columns = background + [column + family.background_column for column in class_columns]
    by_class = {id(variable) for variable in detector.class_predictor.weights if variable.name != "depthwise_kernel"}
    arrays = {}
    for name, variable in variables.items():
        if id(variable) in by_class and name in stored.shapes and stored.shapes[name][-1] % anchors == 0:
            array = stored.read(name)
            by_anchor = array.reshape(*array.shape[:-1], anchors, -1)
            arrays[name] = np.take(by_anchor, columns, axis=-1).reshape(*array.shape[:-1], -1)
    return stored.with_arrays(arrays)


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{len(names)} {what}: {', '.join(names[:_LISTED])}{more}"


def _short(name: str) -> str:
    return name.removesuffix(SUFFIX)
