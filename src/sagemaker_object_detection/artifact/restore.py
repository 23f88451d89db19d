"""What a job starts from: random weights, a published checkpoint, or the artifact of an earlier job."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.artifact.export import SAVED_MODEL
from sagemaker_object_detection.artifact.model_info import read_model_info
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.weights.install import READ_ERRORS, install, install_checkpoint
from sagemaker_object_detection.weights.sources import Weights

log = logging.getLogger(__name__)

_PREFIX, _SUFFIX = "weights/", "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True)
class Start:
    """The base model, how its weights are put into a detector, and where they lie: None for random weights.

    It keeps `weights` because an archive's unpacked files live as long as that object.
    """

    base: BaseModel
    install: Callable[[Detector], None]
    weights: Weights | None

    @property
    def loaded(self) -> bool:
        return self.weights is not None


def find_start(weights: Weights | None, hyperparameters: Hyperparameters, labels: Labels) -> Start:
    """Settles which model the weights are for, before it is built.

    The class prediction layer starts anew on a published checkpoint and is kept on an artifact, unless
    `reinitialize_top_layer` says otherwise.

    Raises:
        UserError: the weights are another model's than `model_id`, or other classes' than the data's.
    """
    named = catalogue.find(hyperparameters.model_id) if hyperparameters.model_id else None
    anew = hyperparameters.reinitialize_top_layer
    if weights is None:
        base = named or catalogue.DEFAULT_MODEL
        log.info("Starting %s from random weights.", base.name)
        return Start(base, lambda detector: None, None)
    if weights.checkpoint is not None:
        base, prefix = named or catalogue.DEFAULT_MODEL, weights.checkpoint
        log.info("Starting %s from the checkpoint of %s.", base.name, weights.origin)

        def install_published(detector: Detector) -> None:
            install_checkpoint(detector, prefix, keep_class_predictor=anew is not False)

        return Start(base, install_published, weights)
    assert weights.artifact is not None
    artifact, info = weights.artifact, read_model_info(weights.artifact)
    if named is not None and named != info.base:
        raise UserError(
            f"model_id: got {named.name!r}, but {weights.origin} holds a {info.base.name}; leave model_id out or make "
            "it agree"
        )
    if anew is not True and info.labels.ids != labels.ids:
        raise UserError(_other_classes(weights.origin, info.labels, labels))
    log.info("Starting %s from the model of %s.", info.base.name, weights.origin)

    def install_own(detector: Detector) -> None:
        _install_artifact(detector, artifact, anew=anew is True)

    return Start(info.base, install_own, weights)


def _other_classes(origin: str, old: Labels, new: Labels) -> str:
    added = [name for index, name in zip(new.ids, new.names, strict=True) if index not in old.ids]
    removed = [name for index, name in zip(old.ids, old.names, strict=True) if index not in new.ids]
    return (
        f"{origin}: the model's classes are not the data's: added {', '.join(added) or 'none'}; removed "
        f'{", ".join(removed) or "none"}; expected the same classes; set reinitialize_top_layer="True" to train a new '
        "class prediction layer"
    )


def _install_artifact(detector: Detector, artifact: Path, *, anew: bool) -> None:
    """Reads the SavedModel's variables by name; its graph is not loaded."""
    prefix = artifact / SAVED_MODEL / "variables" / "variables"
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        # A checkpoint key escapes the slashes of a variable's path as ".S".
        keys = {
            key[len(_PREFIX) : -len(_SUFFIX)].replace(".S", "/"): key
            for key in reader.get_variable_to_shape_map()
            if key.startswith(_PREFIX) and key.endswith(_SUFFIX)
        }
        shapes = {path: tuple(reader.get_variable_to_shape_map()[key]) for path, key in keys.items()}
        install(
            {variable.path: variable for variable in detector.variables},
            shapes,
            lambda path: reader.get_tensor(keys[path]),
            source=f"{prefix} as weights of {detector.base.name} with {detector.num_classes} classes",
            keep=detector.class_predictor.weights if anew else (),
        )
    except READ_ERRORS as error:
        raise UserError(
            f"{prefix}: the model's weights cannot be read ({first_line(error)}); expected the files of a whole model "
            "directory"
        ) from error
