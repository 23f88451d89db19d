"""What a folder of weights looks like: the forms in which models are published, packed and written by this container.

Names that begin with a dot, and `__MACOSX`, are what desktops leave in folders and archives: they are not looked at.
"""

import glob
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.errors import UserError, rewording
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.sentences import listed, printable
from sagemaker_object_detection.weights.bounds import Tally
from sagemaker_object_detection.weights.cache import Unpacked
from sagemaker_object_detection.weights.naming import ARCHIVES, named_by

ARTIFACT_MARK = "model_info.json"
"""The file that marks a model directory of this container."""
MAX_MARK_BYTES = 64 * 2**20
"""Of that file, which has a label, an id and some figures for each class."""
_ARTIFACT_VARIABLES = "1/variables/variables"
_SAVED_MODELS = ("saved_model/variables", "variables")
"""Where the variables of a SavedModel lie in a published archive, and in one of TensorFlow Hub."""


@dataclass(frozen=True)
class Weights:
    """Files with weights: either `artifact` or `checkpoint` is set."""

    origin: str
    """For log lines and errors: what the user gave."""
    artifact: Path | None = None
    """Model directory of an earlier job of this algorithm: the folder that holds model_info.json."""
    checkpoint: Path | None = None
    """Prefix of a file with the variables of a Model Garden detector, in either form that it has: .../checkpoint/ckpt-0
    or .../variables/variables."""
    pipeline_config: Path | None = None
    """What lies beside the checkpoint and may say more of it, or may be wrong."""
    named_as: BaseModel | None = None
    """The base model that the handle, the folder or the archive is named for; None where no name says so."""
    unpacked: Unpacked | None = field(default=None, repr=False, compare=False)
    """Where an archive was unpacked: it is deleted with the last reference to this object."""


@dataclass(frozen=True)
class Archive:
    """The one archive that a folder holds in place of weights."""

    path: Path
    named_as: BaseModel | None = None
    """As in `Weights`."""


def find_in_tree(
    folder: Path,
    origin: str,
    named_as: BaseModel | None = None,
    or_archive: str = ", or one .tar.gz or .tgz of these",
) -> Weights | Archive:
    """The weights or the one archive in a folder, or in the only one of its subfolders that holds any.

    Published archives hold one folder with a model; those of JumpStart's family hold a SavedModel in the folder 1,
    beside files about it (`__models_info__.json`).

    Args:
        origin: begins the sentences of errors.
        named_as: what the place is named for, unless a folder or an archive in it is named for another model.
        or_archive: ends what a sentence expects.

    Raises:
        UserError: the folder holds neither, or several.
    """
    found: dict[Path, Weights | Archive] = {}
    tally, seen, level = Tally(f"{origin}: the folder"), set[str](), [(folder, named_as)]
    shown = folder
    while level:
        below = []
        for place, name in level:
            if (path := os.path.realpath(place)) in seen:  # a link may lead back
                continue
            seen.add(path)
            if (hit := _weights_at(place, origin, name)) is not None:
                found[place] = hit
                continue
            entries = _entries(place)
            for _ in entries:
                tally.add(0)
            archives = [entry for entry in entries if entry.name.endswith(ARCHIVES) and entry.is_file()]
            if len(archives) == 1:
                found[archives[0]] = Archive(archives[0], named_by(archives[0].name) or name)
                continue
            folders = [entry for entry in entries if entry.is_dir()]
            if place == shown and len(entries) == len(folders) == 1:
                shown = folders[0]
            below += [(entry, named_by(entry.name) or name) for entry in folders]
        level = below
    if len(found) == 1:
        return found.popitem()[1]
    if found:
        places = listed([str(place.relative_to(folder)) for place in found])
        raise UserError(
            f"{origin}: found weights in several places: {places}; expected those of one model: give one alone"
        )
    names = listed([entry.name for entry in _entries(shown)], none="nothing")
    raise UserError(
        f"{origin}: found {names}, which are no weights; expected "
        f"{ARTIFACT_MARK} (a model of this algorithm), checkpoint/ckpt-0.index (a Model Garden checkpoint), "
        f"{'' if or_archive else 'or '}variables/variables.index (a SavedModel of one){or_archive}"
    )


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, without what desktops leave there."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name != "__MACOSX")


def _weights_at(folder: Path, origin: str, named_as: BaseModel | None) -> Weights | None:
    """The weights that lie in a folder itself. Raises a UserError where a file of them is no plain file."""
    if (folder / ARTIFACT_MARK).is_file():
        _check_plain(folder / _ARTIFACT_VARIABLES, origin)
        return Weights(origin, artifact=folder, named_as=named_as)
    checkpoint = _checkpoint_in(folder)
    if checkpoint is None:
        return None
    _check_plain(checkpoint, origin)
    configuration = folder / "pipeline.config"
    return Weights(
        origin,
        checkpoint=checkpoint,
        pipeline_config=configuration if configuration.is_file() else None,
        named_as=named_as,
    )


def weights_in_tree(folder: Path, origin: str, named_as: BaseModel | None = None) -> Weights:
    """`find_in_tree` in what was an archive: one in it is refused."""
    found = find_in_tree(folder, origin, named_as, or_archive="")
    if isinstance(found, Archive):
        raise UserError(
            f"{origin}: the archive holds another one, {_below(found.path, folder)}; expected the files of a model in "
            "it: give the inner archive instead"
        )
    return found


def _below(path: Path, folder: Path) -> str:
    return printable(str(path.relative_to(folder)))


def read_all(weights: Weights) -> None:
    """Raises a UserError where the files are damaged anywhere: TensorFlow checks the checksum of each variable."""
    # Late, because it brings TensorFlow.
    from sagemaker_object_detection.weights.checkpoint import read_checkpoint, read_model_garden

    if weights.artifact is not None:
        try:
            described = isinstance(
                strict_json.parse(read_regular(weights.artifact / ARTIFACT_MARK, MAX_MARK_BYTES)), dict
            )
        except JsonError:
            described = False
        if not described:
            raise UserError(
                f"{weights.origin}: {ARTIFACT_MARK} describes no model; expected the file as a training job wrote it: "
                "copy the model again"
            )
        prefix, read = weights.artifact / _ARTIFACT_VARIABLES, read_checkpoint
    else:
        assert weights.checkpoint is not None
        prefix, read = weights.checkpoint, read_model_garden
    with told_of(weights.origin, prefix):
        stored = read(prefix)
        for name in stored.shapes:
            stored.read(name)


def told_of(origin: str, prefix: Path) -> AbstractContextManager[None]:
    """Sentences about the files at `prefix` speak of what the user gave: the files may be gone by then."""
    return rewording(lambda problem: problem.replace(printable(str(prefix)), origin))


def _check_plain(prefix: Path, origin: str) -> None:
    """Raises a UserError where a file of a checkpoint is a pipe, a device or a folder: reading might wait for ever."""
    for path in sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.*")):
        if path.exists() and not path.is_file():
            raise UserError(
                f"{origin}: {_below(path, prefix.parents[1])} is no plain file; expected the files of a checkpoint as "
                "they were written: copy the folder again"
            )


def _checkpoint_in(folder: Path) -> Path | None:
    for place in (folder / "checkpoint", folder):
        numbers = [index.stem.removeprefix("ckpt-") for index in place.glob("ckpt-*.index")]
        if numbers := [number for number in numbers if number.isdecimal()]:
            return place / f"ckpt-{max(numbers, key=int)}"
    for name in _SAVED_MODELS:
        if (folder / name / "variables.index").is_file():
            return folder / name / "variables"
    return None
