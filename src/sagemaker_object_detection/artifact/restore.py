"""What a job starts from: random weights, a file of the Model Garden, or the artifact of an earlier job."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.artifact.export import SAVED_MODEL
from sagemaker_object_detection.artifact.model_info import ModelInfo, read_model_info
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.sentences import listed
from sagemaker_object_detection.weights import coco_classes
from sagemaker_object_detection.weights.checkpoint import (
    SUFFIX,
    StoredVariables,
    fingerprint,
    fingerprint_of_values,
    read_checkpoint,
    read_model_garden,
)
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
    fingerprint: str
    """Differs where the weights do."""
    new_top_layer: bool
    """Whether the class prediction layer is not among what is installed."""
    former_fingerprint: str | None = None
    """What version 0.1.0 said in place of `fingerprint`; None if it said the same."""

    @property
    def loaded(self) -> bool:
        return self.weights is not None

    def new_variables(self, detector: Detector) -> list[keras.Variable]:
        """Those of a detector that `install` leaves as they are."""
        if not self.loaded:
            return list(detector.variables)
        return list(detector.class_predictor.variables) if self.new_top_layer else []

    @property
    def origin(self) -> str:
        """Where the weights came from, as the user knows the place."""
        return "none" if self.weights is None else self.weights.origin


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
        return Start(base, lambda detector: None, None, "random weights", new_top_layer=True)
    if weights.checkpoint is not None:
        stored = read_model_garden(weights.checkpoint)
        base = choose_size(recognise_variables(stored), weights, named)
        log.info("Starting %s from the weights of %s.", base.name, weights.origin)

        def install_published(detector: Detector) -> None:
            columns = None
            if anew is False:
                columns = _class_columns(weights.origin, stored_classes(detector, stored), labels)
            install_model_garden(detector, stored, class_columns=columns)

        return Start(
            base,
            install_published,
            weights,
            fingerprint_of_values(stored),
            new_top_layer=anew is not False,
            former_fingerprint=fingerprint(weights.checkpoint),
        )
    assert weights.artifact is not None
    artifact, info = weights.artifact, read_model_info(weights.artifact)
    if named is not None and named != info.base:
        raise UserError(
            f"model_id: got {named.name!r}, but {weights.origin} holds a {info.base.name}; leave model_id out or make "
            "it agree"
        )
    columns = None if anew is True else _matched(weights.origin, info.labels, labels)
    log.info("Starting %s from the model of %s.", info.base.name, weights.origin)
    prefix = _prefix(artifact)
    install_own = partial(_install_artifact, prefix, columns)
    return Start(info.base, install_own, weights, fingerprint(prefix), new_top_layer=anew is True)


def restore_detector(artifact: Path, info: ModelInfo, number_format: str) -> Detector:
    """The detector of the model in folder `artifact`, with its weights.

    Args:
        info: what its model_info.json says.
        number_format: that of `devices.number_format`.

    Raises:
        UserError: the variables do not fit.
    """
    detector = build_detector(info.base, len(info.labels), dtype=number_format)
    _install_artifact(_prefix(artifact), range(len(info.labels)), detector)
    return detector


def _prefix(artifact: Path) -> Path:
    """Of the files of a model's variables."""
    return artifact / SAVED_MODEL / "variables" / "variables"


def _class_columns(origin: str, count: int | None, labels: Labels) -> list[int]:
    """Where the class predictor of a Model Garden file has the data's classes.

    The published files tell COCO's classes apart, which are known by name; a file that somebody fine-tuned holds
    neither names nor ids, so that only their number can be checked.
    """
    if count is None:
        raise UserError(
            f'reinitialize_top_layer: got "False", but {origin} holds no class prediction layer to keep; set it to '
            '"Auto"'
        )
    if count == coco_classes.COLUMNS and len(labels) != count:
        coco = Labels(ids=tuple(coco_classes.CLASSES), names=tuple(coco_classes.CLASSES.values()))
        return [int(coco.ids[place]) - 1 for place in _matched(origin, coco, labels, way_out="Auto")]
    if count != len(labels):
        raise UserError(
            f'reinitialize_top_layer: got "False", but {origin} tells {count} classes apart and the data has '
            f'{len(labels)}; expected the same classes: set it to "Auto" to train a new class prediction layer'
        )
    log.warning(
        "%s does not say what its %d classes are: they are taken to be the data's, in order: %s.",
        origin,
        count,
        listed(labels.names, _LISTED),
    )
    return list(range(count))


def _matched(origin: str, old: Labels, new: Labels, way_out: str = "True") -> list[int]:
    """For each new class its place among the old ones. A UserError where they are not the same classes.

    Classes are known by names, or by ids where a side has no names of its own and the names do not agree.
    """

    def is_named(labels: Labels) -> bool:
        names = list(labels.names)
        return len(set(names)) == len(names) and names != [str(index) for index in labels.ids]

    agreeing = sorted(old.names) == sorted(new.names) and len(set(old.names)) == len(old)
    by_name = agreeing or (is_named(old) and is_named(new))
    before, after = ([*map(str, labels.names if by_name else labels.ids)] for labels in (old, new))
    if sorted(before) == sorted(after):
        return [before.index(identity) for identity in after]
    added = [identity for identity in after if identity not in before]
    removed = [identity for identity in before if identity not in after]
    raise UserError(
        f"{origin}: the model's classes are not the data's: added {listed(added, _LISTED)}; removed "
        f"{listed(removed, _LISTED)}; "
        f'expected the same classes; set reinitialize_top_layer="{way_out}" to train a new class prediction layer'
    )


def _install_artifact(prefix: Path, class_columns: Sequence[int] | None, detector: Detector) -> None:
    """Reads the SavedModel's variables by name; its graph is not loaded."""
    checkpoint = read_checkpoint(prefix)
    # A checkpoint key escapes the slashes of a variable's path as ".S".
    keys = {
        key.removeprefix(_PREFIX).removesuffix(SUFFIX).replace(".S", "/"): key
        for key in checkpoint.shapes
        if key.startswith(_PREFIX) and key.endswith(SUFFIX)
    }
    stored = StoredVariables(
        checkpoint.source,
        {path: checkpoint.shapes[key] for path, key in keys.items()},
        lambda path: checkpoint.read(keys[path]),
    )
    install(detector, {variable.path: variable for variable in detector.variables}, stored, class_columns=class_columns)
