"""The `fetch-weights` verb: base models' weights into a folder, for an image that is to need no network."""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.errors import JobError, UserError
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.job.text import nearest
from sagemaker_object_detection.weights.sources import Source, Weights, source_at

log = logging.getLogger(__name__)

ALL = "all"


def fetch_weights(models: Sequence[str], folder: Path, place: str | None = None) -> None:
    """Leaves a complete subfolder of `folder` for each model, under its short name; one that is there is left alone.

    Args:
        models: ids or short names of base models, or "all".
        folder: what `pretrained_weights="auto"` looks in: the folder that $SAGEMAKER_OD_WEIGHTS_DIR names.
        place: where the weights of a single model lie, an address or a path; None for the catalogue's own handles.

    Raises:
        UserError, PlatformError: a sentence for every model that could not be had; the others are there.
        StoppedError: a signal came; no half model is left behind.
    """
    bases = _chosen(models)
    if place is not None and len(bases) != 1:
        raise UserError(f"--from: names the weights of one model, and there are {len(bases)}; fetch them one by one")
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
    found = {name: catalogue.find(name) for name in names}
    known = [name for base in catalogue.CATALOGUE for name in (base.name, base.model_id)]
    unknown = [name for name, base in found.items() if base is None]
    if unknown:
        guesses = {name: nearest(name, known) for name in unknown}
        raise UserError(
            [
                f"{name!r}: unknown; {f'did you mean {guess}?' if guess else f'expected {ALL}, or one of {_names()}'}"
                for name, guess in guesses.items()
            ]
        )
    return list(dict.fromkeys(base for base in found.values() if base is not None))


def _names() -> str:
    return ", ".join(base.name for base in catalogue.CATALOGUE)


def _fetch(base: BaseModel, folder: Path, place: str | None, stop: StopSignal) -> None:
    target = folder / base.name
    if target.exists():
        _verify(source_at(str(target), f"{base.name} ({target})"), base)
        log.info("%s: already in %s.", base.name, target)
        return
    source = source_at(place or base.hub_handle, f"{base.name} ({place or base.hub_handle})")
    weights = source.fetch(lambda: stop.requested, keep=False)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as work:
        copy = Path(work) / base.name
        _copy(weights, copy, source.origin)
        _verify(source_at(str(copy), source.origin), base)
        copy.chmod(0o755)
        copy.rename(target)
    log.info("%s: in %s.", base.name, target)


def _copy(weights: Weights | None, folder: Path, origin: str) -> None:
    """What a job needs of a published model: its variables, and the configuration beside them."""
    if weights is None or weights.checkpoint is None:
        raise UserError(f"{origin}: is a model that was trained here; expected the weights of a published base model")
    prefix = weights.checkpoint
    variables = folder / ("variables" if prefix.name == "variables" else "checkpoint")
    variables.mkdir(parents=True)
    for path in prefix.parent.glob(f"{prefix.name}.*"):
        shutil.copyfile(path, variables / path.name)
    if weights.pipeline_config is not None:
        shutil.copyfile(weights.pipeline_config, folder / weights.pipeline_config.name)


def _verify(source: Source, base: BaseModel) -> None:
    """Raises a UserError where the files are damaged anywhere, or of another base model."""
    # Late, because it brings TensorFlow.
    from sagemaker_object_detection.weights.checkpoint import read_model_garden
    from sagemaker_object_detection.weights.recognition import recognise_variables

    weights = source.fetch()
    if weights is None or weights.checkpoint is None:
        raise UserError(f"{source.origin}: holds no published base model; delete it and fetch it again")
    stored = read_model_garden(weights.checkpoint)
    found = recognise_variables(stored)
    if base not in found:
        raise UserError(
            f"{source.origin}: holds the weights of {' or '.join(other.name for other in found)}, not of {base.name}; "
            "name that model, or give the address of this one's weights"
        )
    for name in stored.shapes:
        stored.read(name)  # TensorFlow checks each one's checksum
