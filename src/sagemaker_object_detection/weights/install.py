"""Puts stored weights into a detector, and accounts for every variable on both sides."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.geometry.anchors import anchors_per_cell
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.sentences import listed
from sagemaker_object_detection.weights.checkpoint import SUFFIX, StoredVariables
from sagemaker_object_detection.weights.model_garden import model_garden_variables


def install_model_garden(
    detector: Detector, stored: StoredVariables, *, class_columns: Sequence[int] | None = None
) -> None:
    """Loads a Model Garden file, in either of its forms.

    Args:
        detector: its weights are replaced.
        stored: from `read_model_garden`.
        class_columns: as `install`.

    Raises:
        UserError: the variables are not exactly those of this base model.
    """
    variables = model_garden_variables(detector, stored.shapes)
    install(detector, variables, stored, class_columns=class_columns)


def stored_classes(detector: Detector, stored: StoredVariables) -> int | None:
    """How many classes the class predictor of a Model Garden file has; None where it has none that could be kept.

    Args:
        detector: of the file's base model, with any number of classes.
        stored: from `read_model_garden`.
    """
    variables = model_garden_variables(detector, stored.shapes)
    bias = next(name for name, variable in variables.items() if variable is detector.class_predictor.bias)
    anchors, family = anchors_per_cell(detector.base.family), detector.base.family
    shape = stored.shapes.get(bias, ())
    if len(shape) != 1 or shape[0] % anchors or shape[0] // anchors <= family.background_column:
        return None
    return shape[0] // anchors - family.background_column


def install(
    detector: Detector,
    variables: Mapping[str, keras.Variable],
    stored: StoredVariables,
    *,
    class_columns: Sequence[int] | None,
) -> None:
    """Assigns stored arrays to variables by name. Nothing is assigned unless everything fits and can be read.

    Args:
        detector: whose variables they are.
        variables: name -> variable, every variable of the detector.
        stored: arrays by the same names.
        class_columns: for each of the detector's classes, its place among the stored ones, from 0 on; None leaves the
            class predictor at its initial values, whatever the number of stored classes, or with none at all.

    Raises:
        UserError: a variable is missing, left over, of another shape, no number or not finite; one sentence lists them.
    """
    predictor = {id(variable) for variable in detector.class_predictor.weights}
    top = {name for name, variable in variables.items() if id(variable) in predictor}
    if class_columns is not None:
        stored = _with_columns(detector, variables, stored, class_columns)
    # A class predictor that is not wanted may have any number of classes, or be left out; it may not be half of one.
    unwanted = top if class_columns is None else set()
    optional = unwanted if not unwanted & stored.shapes.keys() else set()

    def fits(name: str) -> bool:
        ours, theirs = tuple(variables[name].shape), tuple(stored.shapes[name])
        return ours[:-1] == theirs[:-1] if name in unwanted and len(theirs) == len(ours) else ours == theirs

    expected, present = variables.keys() - optional, stored.shapes.keys()
    _refuse(
        detector,
        stored,
        {
            "missing": sorted(expected - present),
            "left over": sorted(present - variables.keys()),
            "of another shape": [
                f"{name} {list(stored.shapes[name])} instead of {list(variables[name].shape)}"
                for name in variables
                if name in present and not fits(name)
            ],
        },
    )
    # All are read before the first is assigned: a damaged file leaves the detector whole.
    arrays = {name: stored.read(name) for name in variables if name not in unwanted}
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    _refuse(
        detector,
        stored,
        {
            "no floating-point numbers": sorted(arrays.keys() - numbers.keys()),
            "not finite": [name for name, array in sorted(numbers.items()) if not np.isfinite(array).all()],
        },
    )
    for name, array in arrays.items():
        variables[name].assign(array)


def _refuse(detector: Detector, stored: StoredVariables, differences: Mapping[str, Sequence[str]]) -> None:
    """One error for all of the differences; nothing where there are none."""
    found = [f"{len(names)} {what}: {listed(names)}" for what, names in differences.items() if names]
    if found:
        raise UserError(
            f"{stored.source} as weights of {detector.base.name}: the variables do not fit: "
            f"{'; '.join(found).replace(SUFFIX, '')}; "
            "expected exactly the variables of that model: give a whole file of it"
        )


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
        last = stored.shapes.get(name, ())[-1:]
        if id(variable) in by_class and last and last[0] % anchors == 0 and last[0] // anchors > max(columns):
            array = stored.read(name)
            by_anchor = array.reshape(*array.shape[:-1], anchors, -1)
            arrays[name] = np.take(by_anchor, columns, axis=-1).reshape(*array.shape[:-1], -1)
    return StoredVariables(
        stored.source,
        {**stored.shapes, **{name: array.shape for name, array in arrays.items()}},
        lambda name: arrays[name] if name in arrays else stored.read(name),
    )
