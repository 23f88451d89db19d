"""The `fetch-weights` verb: base models' weights into a folder, for an image that is to need no network."""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.errors import JobError, UserError
from sagemaker_object_detection.files.disk import DISK_FAULTS
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.sentences import suggestion
from sagemaker_object_detection.weights.cache import advising, fetching_folder
from sagemaker_object_detection.weights.naming import shown
from sagemaker_object_detection.weights.sources import published, source_at
from sagemaker_object_detection.weights.tree import Weights, told_of

log = logging.getLogger(__name__)

ALL = "all"
_WAYS = "name another place with --from"


def fetch_weights(models: Sequence[str], folder: Path, place: str | None = None) -> None:
    """Leaves a complete subfolder of `folder` for each model, under its short name; one that is there is left alone.

    Args:
        models: ids or short names of base models, or "all".
        folder: what `pretrained_weights="auto"` looks in: the folder that $SAGEMAKER_OD_WEIGHTS_DIR names.
        place: where the weights of a single model lie, an address or a path; None for where the base
            models are published.

    Raises:
        UserError, PlatformError: a sentence for every model that could not be had; the others are there. Or the folder
            cannot be written to, which is told before anything is fetched.
        StoppedError: a signal came; no half model is left behind.
    """
    bases = _chosen(models)
    if place is not None and len(bases) != 1:
        raise UserError(f"--from: names the weights of one model, and there are {len(bases)}; fetch them one by one")
    if not all(os.path.lexists(folder / base.name) for base in bases):
        _check_writable(folder)
    failures: list[JobError] = []
    with StopSignal() as stop:
        for base in bases:
            try:
                _fetch(base, folder, place, stop)
            except JobError as error:
                failures.append(error)
    if failures:
        raise type(failures[0])([problem for failure in failures for problem in failure.problems])


def _chosen(names: Sequence[str]) -> list[BaseModel]:
    if list(names) == [ALL]:
        return list(catalogue.CATALOGUE)
    found = [catalogue.find(name) for name in names]
    known = [name for base in catalogue.CATALOGUE for name in (base.name, base.model_id)]
    if unknown := [name for name, base in zip(names, found, strict=True) if base is None]:
        expected = f"expected {ALL}, or one of {', '.join(base.name for base in catalogue.CATALOGUE)}"
        raise UserError([f"{name!r}: unknown; {suggestion(name, known, expected)}" for name in unknown])
    return list(dict.fromkeys(base for base in found if base is not None))


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with fetching_folder(folder):
            pass
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        raise UserError(
            f"--to: {folder} cannot be written to ({error.strerror}); expected a folder, which is made where there is "
            "none: name another one, or allow writing to it"
        ) from error


def _fetch(base: BaseModel, folder: Path, place: str | None, stop: StopSignal) -> None:
    target = folder / base.name
    if os.path.lexists(target):
        _verify_copy(target, base)
        log.info("%s: already in %s.", base.name, target)
        return
    source = source_at(place, f"{base.name} ({shown(place)})", _WAYS) if place else published(base, base.name, _WAYS)
    with fetching_folder(folder) as work:
        copy = work / base.name
        _verify(_copy(source.fetch(stop, keep=False), copy, source.origin), base)
        copy.chmod(0o755)
        try:
            copy.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            _verify_copy(target, base)  # another process was faster
    log.info("%s: in %s.", base.name, target)


def _copy(weights: Weights | None, folder: Path, origin: str) -> Weights:
    """What a job needs of a published model: its variables, and the configuration beside them."""
    if weights is None or weights.checkpoint is None:
        raise UserError(f"{origin}: is a model that was trained here; expected the weights of a published base model")
    prefix, configuration = weights.checkpoint, weights.pipeline_config
    variables = folder / ("variables" if prefix.name == "variables" else "checkpoint")
    variables.mkdir(parents=True)
    for path in prefix.parent.glob(f"{prefix.name}.*"):
        shutil.copyfile(path, variables / path.name)
    if configuration is not None:
        configuration = Path(shutil.copyfile(configuration, folder / configuration.name))
    return replace(weights, checkpoint=variables / prefix.name, pipeline_config=configuration)


def _verify_copy(target: Path, base: BaseModel) -> None:
    """Raises a UserError where the folder that is already there is not what would be put there."""
    origin = f"{base.name} ({target})"
    with advising(f"delete {target} and run fetch-weights again"):
        weights = source_at(str(target), origin, _WAYS).fetch()
        if weights is None or weights.checkpoint is None:
            raise UserError(f"{origin}: is no published base model")
        _verify(weights, base)


def _verify(weights: Weights, base: BaseModel) -> None:
    """Raises a UserError where a job could not start from the files: down to the last variable, its shape and value."""
    # Late, because it brings TensorFlow.
    from sagemaker_object_detection.devices.prepare import use_the_cpu
    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.weights.checkpoint import read_model_garden
    from sagemaker_object_detection.weights.coco_classes import COLUMNS
    from sagemaker_object_detection.weights.install import install_model_garden, stored_classes
    from sagemaker_object_detection.weights.recognition import check_architecture, configured_size

    assert weights.checkpoint is not None
    use_the_cpu()
    with told_of(weights.origin, weights.checkpoint):
        stored = read_model_garden(weights.checkpoint)
        found = check_architecture(stored, base, weights.origin)
        size, says = configured_size(weights), "the pipeline.config beside the variables"
        if size is None and weights.named_as in found:
            size, says = weights.named_as.input_size, "their name"
        if size not in (None, base.input_size):
            raise UserError(
                f"{weights.origin}: holds weights for an input of {size} pixels, as {says} says; expected those of "
                f"{base.name}: name the model that they are of, or give the address of this one's weights"
            )
        detector = build_detector(base, COLUMNS)
        classes = stored_classes(detector, stored) or COLUMNS
        if classes != COLUMNS:  # somebody has fine-tuned it
            detector = build_detector(base, classes)
        install_model_garden(detector, stored, class_columns=range(classes))
