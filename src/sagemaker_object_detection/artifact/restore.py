"""What a job starts from: random weights, a file of the Model Garden, or the artifact of an earlier job."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.artifact.export import SAVED_MODEL
from sagemaker_object_detection.artifact.model_info import read_model_info
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.weights import coco_classes
from sagemaker_object_detection.weights.checkpoint import SUFFIX, StoredVariables, read_checkpoint, read_model_garden
from sagemaker_object_detection.weights.install import install, install_model_garden, stored_classes
from sagemaker_object_detection.weights.recognition import choose_size, recognise_variables
from sagemaker_object_detection.weights.sources import Weights

log = logging.getLogger(__name__)

_PREFIX = "weights/"
_LISTED = 20


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

    The class prediction layer starts anew on a published base model and is kept on an artifact, unless
    `reinitialize_top_layer` says otherwise.

    Raises:
        UserError: the weights are no base model's or another one's than `model_id`, or of other classes than the
            data's. `install` raises it too, where a variable does not fit.
    """
    named = catalogue.find(hyperparameters.model_id) if hyperparameters.model_id else None
    anew = hyperparameters.reinitialize_top_layer
    if weights is None:
        base = named or catalogue.DEFAULT_MODEL
        log.info("Starting %s from random weights.", base.name)
        return Start(base, lambda detector: None, None)
    if weights.checkpoint is not None:
        stored = read_model_garden(weights.checkpoint)
        base = choose_size(recognise_variables(stored), weights, named)
        log.info("Starting %s from the weights of %s.", base.name, weights.origin)

        def install_published(detector: Detector) -> None:
            columns = None
            if anew is False:
                columns = _class_columns(weights.origin, stored_classes(detector, stored), labels)
            install_model_garden(detector, stored, class_columns=columns)

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


def _class_columns(origin: str, count: int | None, labels: Labels) -> list[int]:
    """Where the class predictor of a Model Garden file has the data's classes.

    The published files tell COCO's classes apart, which are known by name; a file that somebody fine-tuned holds
    neither names nor ids, so that only their number can be checked.
    """
    if count is None:
        raise UserError(
            f'reinitialize_top_layer: got "False", but {origin} holds no class prediction layer; set it to "Auto"'
        )
    if count != coco_classes.COLUMNS:
        if count != len(labels):
            raise UserError(
                f'reinitialize_top_layer: got "False", but {origin} tells {count} classes apart and the data has '
                f'{len(labels)}; expected the same classes: set it to "Auto" to train a new class prediction layer'
            )
        log.warning(
            "%s does not say what its %d classes are: they are taken to be the data's, in order: %s.",
            origin,
            count,
            ", ".join(labels.names),
        )
        return list(range(count))
    ids = {name: index for index, name in coco_classes.CLASSES.items()}
    if set(labels.names) == ids.keys():
        return [ids[name] - 1 for name in labels.names]
    if set(labels.ids) == coco_classes.CLASSES.keys():
        return [int(index) - 1 for index in labels.ids]
    coco = Labels(ids=tuple(ids), names=tuple(ids))
    raise UserError(_other_classes(origin, coco, Labels(ids=labels.names, names=labels.names), way_out="Auto"))


def _other_classes(origin: str, old: Labels, new: Labels, way_out: str = "True") -> str:
    added = [name for index, name in zip(new.ids, new.names, strict=True) if index not in old.ids]
    removed = [name for index, name in zip(old.ids, old.names, strict=True) if index not in new.ids]
    return (
        f"{origin}: the model's classes are not the data's: added {_listed(added)}; removed {_listed(removed)}; "
        f'expected the same classes; set reinitialize_top_layer="{way_out}" to train a new class prediction layer'
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "none") + more


def _install_artifact(detector: Detector, artifact: Path, *, anew: bool) -> None:
    """Reads the SavedModel's variables by name; its graph is not loaded."""
    checkpoint = read_checkpoint(artifact / SAVED_MODEL / "variables" / "variables")
    # A checkpoint key escapes the slashes of a variable's path as ".S".
    keys = {
        key.removeprefix(_PREFIX).removesuffix(SUFFIX).replace(".S", "/"): key
        for key in checkpoint.shapes
        if key.startswith(_PREFIX) and key.endswith(SUFFIX)
    }
    install(
        {variable.path: variable for variable in detector.variables},
        StoredVariables(
            checkpoint.source,
            {path: checkpoint.shapes[key] for path, key in keys.items()},
            lambda path: checkpoint.read(keys[path]),
        ),
        f"weights of {detector.base.name} with {detector.num_classes} classes",
        keep=detector.class_predictor.weights if anew else (),
    )
