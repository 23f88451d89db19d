"""Checkpoints: a training that is killed goes on from the newest one that is whole.

A checkpoint is one file, a zip archive of `.npy` arrays as `numpy.load` reads it, whose checksums tell whether it is
whole, with `progress.json` beside the arrays. It is written under a name SageMaker does not upload, then renamed.
"""

import contextlib
import logging
import os
import re
import time
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import msgspec
import numpy as np

from sagemaker_object_detection.errors import UserError, first_line
from sagemaker_object_detection.files.whole import whole_file
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.sentences import counted, printable
from sagemaker_object_detection.training.identity import other_job, read_otherwise, settings, with_newer_rows
from sagemaker_object_detection.training.progress import Progress, State

log = logging.getLogger(__name__)

SECONDS_BETWEEN = 180.0
"""How much of an epoch may be lost."""
KEPT = 3
_NAME = re.compile(r"checkpoint-(\d{6,})\.npz")
_UNFINISHED = ".sagemaker-ignore"
"""SageMaker does not upload files whose names end so."""
_UPLOADING = ".sagemaker-uploading"
"""Stands beside a file while SageMaker uploads it."""
_PROGRESS = "progress.json"
_MAX_PROGRESS_BYTES = 64 * 2**20
"""An epoch of a thousand classes takes some 100 kB."""


class _Document(msgspec.Struct):
    """`progress.json`. `arrays`: names of the detector's weights, the optimizer's variables, the best weights."""

    identity: dict[str, str]
    progress: dict[str, Any]
    best_is_present: bool
    arrays: tuple[list[str], list[str], list[str]]

    @property
    def in_force(self) -> dict[str, str]:
        """What each hyperparameter that a job may leave to Auto was when this was written, as text by name."""
        # Before there was `in_force`, one of them was kept, under its own name.
        kept = {name: str(self.progress[name]) for name in ("freeze_batch_norm",) if name in self.progress}
        return with_newer_rows(kept | self.progress.get("in_force", {}), self.identity)


class Checkpoints:
    """The checkpoints of one job, in one folder; nothing happens where the folder is None.

    A context manager: on leaving it, what is being written is finished.

    Args:
        folder: made where it does not exist.
        identity: what the job is, as text by name; checkpoints of another one are refused.
        former: what an older version said of the same job, where that is not in `identity`.
    """

    def __init__(
        self, folder: Path | None, identity: Mapping[str, str], former: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._folder = folder
        self.identity = dict(identity)
        self._former = former
        self._last = time.monotonic()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown(wait=True)

    @property
    def due(self) -> bool:
        """Whether so much time has passed that the middle of an epoch is worth keeping."""
        return self._folder is not None and time.monotonic() - self._last >= SECONDS_BETWEEN

    def can_save(self, *, last: bool) -> bool:
        """Whether `save` would write: not without a folder, and while the one before is still being written only the
        last."""
        return self._folder is not None and (last or self._writing is None or self._writing.done())

    def save(self, state: State) -> None:
        """Writes a checkpoint while the training goes on. That it cannot be written is logged, and ends nothing."""
        if self._folder is not None:
            self._last = time.monotonic()
            self._writing = self._writer.submit(self._write, self._folder, state)

    def newest(self, variables: Sequence[Any]) -> State | None:
        """The newest checkpoint that is whole; None where there is none.

        Args:
            variables: the detector's, whose shapes its weights must have.

        Raises:
            UserError: it is another job's.
        """
        if self._folder is None:
            return None
        for leftover in self._folder.glob(f"checkpoint-*.npz{_UNFINISHED}"):
            with contextlib.suppress(OSError):
                leftover.unlink()
        found = _stored(self._folder)
        for path in reversed(found):
            try:
                stored, state = _read(path)
                _refuse_impossible(state, variables)
            except Exception as error:  # whatever a damaged file makes of its reader
                log.warning("%s is damaged (%s): it is left out.", path, printable(first_line(error)))
                continue
            progress = state.progress
            if problems := other_job(self._folder, {**stored, **progress.in_force}, self.identity, self._former):
                raise UserError(problems)
            if (told := read_otherwise(stored, self.identity)) is not None:
                log.warning("%s", told)
            log.info(
                "Resuming from %s: %s done, and %s of the next.",
                path,
                counted(progress.epoch, "epoch is", "epochs are"),
                counted(len(progress.losses), "step"),
            )
            return state
        if found:
            log.warning("No checkpoint in %s is whole: the training begins anew.", self._folder)
        return None

    def _write(self, folder: Path, state: State) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stored = _stored(folder)
            number = int(_NAME.fullmatch(stored[-1].name)[1]) + 1 if stored else 1  # type: ignore[index]
            path = folder / f"checkpoint-{number:06d}.npz"
            with whole_file(path, path.name + _UNFINISHED) as unfinished:
                self._write_file(unfinished, state)
        except Exception as error:  # of a thread: nobody else would hear of it
            reason = error.strerror if isinstance(error, OSError) else first_line(error)
            log.warning(
                "No checkpoint could be written to %s (%s): the training goes on, and a restart would begin at the one "
                "before.",
                folder,
                reason,
            )
            return
        for old in [*stored, path][:-KEPT]:
            if not old.with_name(old.name + _UPLOADING).exists():
                with contextlib.suppress(OSError):
                    old.unlink()

    def _write_file(self, path: Path, state: State) -> None:
        best = state.best_weights
        present = best is state.weights
        groups = {
            "weights": state.weights,
            "optimizer": state.optimizer,
            "best": [] if best is None or present else best,
        }
        named = {
            kind: {f"{kind}/{place}": array for place, array in enumerate(group)} for kind, group in groups.items()
        }
        document = {
            "identity": self.identity,
            "progress": state.progress,
            "best_is_present": present,
            "arrays": [list(names) for names in named.values()],
        }
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(_PROGRESS, msgspec.json.encode(document))
            for group in named.values():
                for name, array in group.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)


def checkpoint_problems(folder: Path, hyperparameters: Hyperparameters | None) -> list[str]:
    """What can be known of a job's checkpoints in its first second: whether they are its own, as far as the
    hyperparameters tell (None: they are not known), and whether more of them can be written."""
    try:
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    except OSError as error:  # a name that is too long, a loop of links
        return [
            f"checkpoints: {folder} cannot be a folder ({error.strerror}); expected one such as /opt/ml/checkpoints"
        ]
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        return [
            f"checkpoints: {folder} cannot be written; expected a folder this process may write to: mount it writable, "
            "or run the container as root"
        ]
    if hyperparameters is None:
        return []
    for path in reversed(_stored(folder)):
        with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
            document = _document(archive, path)
            present = settings(hyperparameters)
            return other_job(folder, {**document.identity, **document.in_force}, present)
    return []


def kept_settings(folder: Path | None) -> dict[str, str]:
    """What the newest checkpoint that can be read says its job left to Auto and what that came to, as text by name; for
    what is needed before a checkpoint can be read as a whole. Empty where there is none."""
    for path in reversed(_stored(folder) if folder is not None else []):
        with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
            return msgspec.json.decode(archive.read(_PROGRESS), type=_Document).in_force
    return {}


def has_checkpoints(folder: Path | None) -> bool:
    """Whether there is anything to go on from."""
    return folder is not None and bool(_stored(folder))


def _stored(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; of what bears their names only files, as a pipe would not end."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = {int(match[1]): folder / name for name in names if (match := _NAME.fullmatch(name))}
    return [found[number] for number in sorted(found) if found[number].is_file()]


def _read(path: Path) -> tuple[dict[str, str], State]:
    """What the job is that a checkpoint is of, and what it holds."""
    with zipfile.ZipFile(path) as archive:
        document = _document(archive, path)
        progress = msgspec.convert({**document.progress, "in_force": document.in_force}, Progress)
        weights, optimizer, best = ([_array(archive, name) for name in names] for names in document.arrays)
    if document.best_is_present:
        best = weights
    return document.identity, State(progress, weights, optimizer, best or None)


def _document(archive: zipfile.ZipFile, path: Path) -> _Document:
    """`progress.json`, of a file that takes no more memory than it has bytes.

    Raises:
        ValueError: it unpacks to more, or names an array twice, which none that is written here does.
    """
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("it is compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("it unpacks to more than it has")
    if archive.getinfo(_PROGRESS).file_size > _MAX_PROGRESS_BYTES:
        raise ValueError(f"{_PROGRESS} has no end")
    document = msgspec.json.decode(archive.read(_PROGRESS), type=_Document)
    names = [name for group in document.arrays for name in group]
    if len(set(names)) != len(names):
        raise ValueError("it names an array twice")
    return document


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # the checksum is looked at when the end is reached
            raise ValueError(f"{name} is longer than it says")
    return array


def _refuse_impossible(state: State, variables: Sequence[Any]) -> None:
    """Raises a ValueError where a checkpoint contradicts itself or the detector it is for."""
    progress, shapes = state.progress, [tuple(variable.shape) for variable in variables]
    numbers = [epoch.number for epoch in progress.epochs]
    best_exists = state.best_weights is not None
    if not (
        numbers == list(range(progress.epoch))
        and -1 <= progress.best.epoch < max(1, progress.epoch)
        and best_exists == bool(numbers)
        and (progress.micro_batch is None or progress.micro_batch >= 1)
        and (progress.loss_limit is None or progress.loss_limit > 0.0)
    ):
        raise ValueError("its progress contradicts itself")
    for weights in (state.weights, state.best_weights) if best_exists else (state.weights,):
        if [value.shape for value in weights or ()] != shapes or not all(
            np.isfinite(value).all() for value in weights or ()
        ):
            raise ValueError("its weights are not the detector's")
