"""Where a job's weights come from: the first source that is given wins, and one that is remote is fetched later.

`find_source` looks at this machine only, so that a wrong path or address is known in a job's first second;
`Source.fetch` unpacks, and goes over the network, once everything else about the job is known to be right.
"""

import errno
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.paths import baked_weights
from sagemaker_object_detection.weights.archive import check_is_archive, unpack
from sagemaker_object_detection.weights.bounds import LIMITS, WAYS, Limits, StoppedError, Transfer
from sagemaker_object_detection.weights.cache import Unpacked, fetch_into_cache, fetch_into_temporary, find_cached
from sagemaker_object_detection.weights.hub import check_handle, fetch_hub
from sagemaker_object_detection.weights.s3 import fetch_s3, split_address

log = logging.getLogger(__name__)

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
ARTIFACT_MARK = "model_info.json"
"""The file that marks a model directory of this container."""
_SAVED_MODELS = ("saved_model/variables", "variables")
"""Where the variables of a SavedModel lie in a published archive, and in one of TensorFlow Hub."""
_CONFIGURATION = "pipeline.config"


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
    unpacked: Unpacked | None = field(default=None, repr=False, compare=False)
    """Where an archive was unpacked: it is deleted with the last reference to this object."""


@dataclass(frozen=True)
class Source:
    """Where weights are to be had: one of `weights`, `archive` and `address` is set, or none for random weights."""

    origin: str
    """For log lines and errors: what the user gave."""
    weights: Weights | None = None
    """On this machine, ready to be read."""
    archive: Path | None = None
    """On this machine, to be unpacked."""
    address: str | None = None
    """On another machine: http://, https:// or s3://."""

    def fetch(
        self, stop_requested: Callable[[], bool] = lambda: False, limits: Limits = LIMITS, *, keep: bool = True
    ) -> Weights | None:
        """The weights, with their files on this machine; None for random weights.

        Args:
            stop_requested: asked while anything comes over the network.
            keep: whether what was fetched is kept in the cache.

        Raises:
            UserError, PlatformError: as `fetch_hub`, `fetch_s3` and `unpack` do; or what was fetched are no weights.
            StoppedError: `stop_requested` said so.
        """
        if self.archive is not None:
            return self._located(*fetch_into_temporary(lambda work: self._unpack(work, limits)))
        if self.address is None:
            return self.weights
        if stop_requested():
            raise StoppedError
        transfer = Transfer(self.origin, stop_requested, limits)
        return self._located(*self._transferred(self.address, transfer, keep=keep))

    def _transferred(self, address: str, transfer: Transfer, *, keep: bool) -> tuple[Path, Unpacked | None]:
        def fetch(work: Path) -> Path:
            tree = (fetch_s3 if _scheme(address) == "s3" else fetch_hub)(address, work, transfer)
            self._located(tree)  # nothing else is worth keeping
            return tree

        return fetch_into_cache(address, fetch) if keep else fetch_into_temporary(fetch)

    def _unpack(self, work: Path, limits: Limits) -> Path:
        assert self.archive is not None
        unpack(self.archive, self.origin, limits, work)
        return work

    def _located(self, folder: Path, unpacked: Unpacked | None = None) -> Weights:
        found = _in_tree(folder, self.origin)
        if found is None:
            raise _no_weights(folder, self.origin)
        return replace(found, unpacked=unpacked)


def find_source(pretrained_weights: str, model_channel: Path | None, model_id: str | None = None) -> Source:
    """The source of the weights to start from; the first that is given, of the model channel and `pretrained_weights`.

    Args:
        pretrained_weights: "auto", "none", a TensorFlow Hub or Kaggle handle, an s3:// address, or the path of a folder
            or a .tar.gz archive. "auto" is the folder in the image, then TensorFlow Hub's copy.
        model_channel: folder of the `model` channel, or None where the job has none.
        model_id: the base model that "auto" looks for; None for the default one.

    Raises:
        UserError: nothing is there, or what is there is no tree of weights, may not be read, or is no archive; or an
            address is none.
    """
    if model_channel is not None:
        return _on_this_machine(model_channel, f'channel "model" ({model_channel})')
    word = pretrained_weights.lower()
    if word == "none":
        return Source('pretrained_weights="none"')
    if word != "auto":
        return source_at(pretrained_weights, f'pretrained_weights="{pretrained_weights}"')
    base = catalogue.find(model_id or catalogue.DEFAULT_MODEL.name) or catalogue.DEFAULT_MODEL
    baked = baked_weights() / base.name
    if os.path.exists(baked):
        return _on_this_machine(baked, f'pretrained_weights="auto" ({baked})')
    return source_at(base.hub_handle, f'pretrained_weights="auto" ({base.hub_handle})')


def source_at(place: str, origin: str) -> Source:
    """The source at an address or a path.

    Args:
        origin: begins the sentences of errors.

    Raises:
        UserError: as `find_source`.
    """
    scheme = _scheme(place)
    if scheme is None:
        return _on_this_machine(Path(place), origin)
    if scheme == "s3":
        split_address(place, origin)
    elif scheme in ("http", "https"):
        check_handle(place, origin)
    else:
        raise UserError(
            f"{origin}: addresses of this kind are not fetched; expected a TensorFlow Hub or Kaggle handle "
            "(https://...), s3://bucket/key, or a path without a scheme"
        )
    # tensorflow_hub knows its scheme in small letters only.
    address = f"{scheme}://{place.partition('://')[2]}"
    cached = find_cached(address)
    if cached is None:
        return Source(origin, address=address)
    log.info("Using the copy of %s that was fetched before: %s. Delete it to fetch anew.", address, cached)
    return _on_this_machine(cached, origin)


def _scheme(place: str) -> str | None:
    scheme, separator, _ = place.partition("://")
    return scheme.lower() if separator else None


def _on_this_machine(path: Path, origin: str) -> Source:
    """The weights in a folder, or an archive, or the one archive that a folder holds."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a path with a zero byte is a ValueError
        raise UserError(f"{origin}: there is no such folder or file; {WAYS}") from None
    except OSError as error:
        raise _unreadable(origin, error) from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # opening a pipe would wait for ever
        raise UserError(f"{origin}: is a pipe, a device or a socket; expected a folder or a .tar.gz archive; {WAYS}")
    try:
        if stat.S_ISDIR(mode):
            found = _in_tree(path, origin)
            if found is not None:
                return Source(origin, weights=found)
            archives = sorted(path.glob("*.tar.gz"))
            if len(archives) != 1 or not archives[0].is_file():
                raise _no_weights(path, origin)
            path = archives[0]
        check_is_archive(path, origin)
        return Source(origin, archive=path)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise
        raise _unreadable(origin, error) from error


def _unreadable(origin: str, error: OSError) -> UserError:
    return UserError(
        f"{origin}: cannot be read ({error.strerror}); expected a folder or an archive that the job may read: correct "
        "the path or its permissions"
    )


def _in_tree(folder: Path, origin: str) -> Weights | None:
    """The weights in a folder, or in its only subfolder: published archives hold one folder named for the model."""
    while True:
        if (folder / ARTIFACT_MARK).is_file():
            return Weights(origin, artifact=folder)
        checkpoint = _checkpoint_in(folder)
        if checkpoint is not None:
            configuration = folder / _CONFIGURATION
            return Weights(
                origin, checkpoint=checkpoint, pipeline_config=configuration if configuration.is_file() else None
            )
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir():
            return None
        folder = entries[0]


def _checkpoint_in(folder: Path) -> Path | None:
    for place in (folder / "checkpoint", folder):
        numbered = {
            int(number): place / f"ckpt-{number}"
            for number in (index.stem.removeprefix("ckpt-") for index in place.glob("ckpt-*.index"))
            if number.isdecimal()
        }
        if numbered:
            return numbered[max(numbered)]
    for name in _SAVED_MODELS:
        if (folder / name / "variables.index").is_file():
            return folder / name / "variables"
    return None


def _no_weights(folder: Path, origin: str) -> UserError:
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    found = f"{', '.join(names[:5])}{more}" if names else "nothing"
    return UserError(
        f"{origin}: found {found}, which are no weights; expected {ARTIFACT_MARK} (a model of this algorithm), "
        "checkpoint/ckpt-0.index (a Model Garden checkpoint), variables/variables.index (a SavedModel of one), or one "
        ".tar.gz of these"
    )
