"""What a server or `predict` can answer with: a job's model, or a published base model that nobody trained."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.artifact.model_info import FILE_NAME, ModelInfo, read_model_info
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.disk import blaming
from sagemaker_object_detection.sentences import shown
from sagemaker_object_detection.serving.settings import MODEL_ID
from sagemaker_object_detection.weights import coco_classes
from sagemaker_object_detection.weights.sources import Source, Weights, source_at

if TYPE_CHECKING:
    from sagemaker_object_detection.artifact.export import ServingModel
    from sagemaker_object_detection.models.detector import Detector

log = logging.getLogger(__name__)

COCO = Labels(ids=tuple(coco_classes.CLASSES), names=tuple(coco_classes.CLASSES.values()))
"""What published base models tell apart."""
_EXPECTED = (
    "expected the model directory that a training job wrote, or the files or the archive of a published base model"
)
_VARIABLES = "variables/variables.index"


def find_model(folder: Path) -> ModelInfo | Source:
    """What lies in the folder, before TensorFlow is imported: a job's model, or where published weights are.

    A published model may be a checkpoint or a SavedModel, as `weights/tree.py` knows them, an archive of one, or what
    JumpStart has for inference: the SavedModel in a folder that is called by a number, beside a script.

    Raises:
        UserError: neither is there.
    """
    if os.path.lexists(folder / FILE_NAME):
        return read_model_info(folder)
    with blaming(lambda error: f"{folder}: cannot be read ({error.strerror}); {_EXPECTED}"):
        numbers = sorted(
            (path for path in folder.glob("[0-9]*/") if path.name.isdecimal()), key=lambda path: int(path.name)
        )
        versions = [path for path in numbers if (path / _VARIABLES).is_file()]
    try:
        return source_at(str(versions[-1] if versions else folder), str(folder))
    except UserError as error:
        reasons = "; ".join(problem.removeprefix(f"{folder}: ") for problem in error.problems)
        raise UserError(f"{folder}: holds no {FILE_NAME}; {_EXPECTED}. As the latter: {reasons}") from error


def load_published(weights: Weights) -> "tuple[ServingModel, Labels]":
    """The module that answers with a published base model (`artifact.export.ServingModel`), and COCO's classes.

    Raises:
        UserError: as `published_detector`.
    """
    from sagemaker_object_detection.artifact.export import ServingModel

    return ServingModel(published_detector(weights)), COCO


def published_detector(weights: Weights, number_format: str = "float32") -> "Detector":
    """The detector of a published base model, which tells COCO's classes apart.

    Only variables are read: no graph of the files is loaded, and nothing of theirs is executed.

    Raises:
        UserError: the files are of no base model, damaged, or tell other classes apart than COCO's.
    """
    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.weights.checkpoint import read_model_garden
    from sagemaker_object_detection.weights.install import install_model_garden, stored_classes
    from sagemaker_object_detection.weights.recognition import choose_size, recognise_variables

    assert weights.checkpoint is not None
    stored = read_model_garden(weights.checkpoint)
    base = choose_size(recognise_variables(stored), weights, _named(), MODEL_ID)
    detector = build_detector(base, len(COCO), dtype=number_format)
    count = stored_classes(detector, stored)
    if count != coco_classes.COLUMNS:
        raise UserError(
            f"{weights.origin}: tells {count or 'no'} classes apart, and does not say which; expected a published base "
            f"model, with COCO's {coco_classes.COLUMNS}, or the model directory that a training job of this container "
            "wrote: train it further here"
        )
    install_model_garden(detector, stored, class_columns=[int(index) - 1 for index in COCO.ids])
    log.info("%s is %s as it was published, with COCO's %d classes.", weights.origin, base.name, len(COCO))
    return detector


def _named() -> catalogue.BaseModel | None:
    text = os.environ.get(MODEL_ID, "").strip()
    if not text:
        return None
    named = catalogue.find(text)
    if named is None:
        raise UserError(
            f"{MODEL_ID}: got {shown(text)} in the environment; expected one of "
            f"{', '.join(base.name for base in catalogue.CATALOGUE)}"
        )
    return named
