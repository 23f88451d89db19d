"""Where a job's weights come from: the first source that is given wins, and one that is remote is fetched later.

`find_source` looks at this machine only, so that a wrong path or address is known in a job's first second;
`Source.fetch` unpacks, and goes over the network, once everything else about the job is known to be right.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.errors import JobError, PlatformError, UserError
from sagemaker_object_detection.files.disk import DISK_FULL
from sagemaker_object_detection.files.regular import is_folder
from sagemaker_object_detection.job.paths import baked_weights
from sagemaker_object_detection.job.stop import NEVER, StoppedError, StopSignal
from sagemaker_object_detection.weights import bounds
from sagemaker_object_detection.weights.archive import check_is_archive, unpack
from sagemaker_object_detection.weights.bounds import WAYS, NoRoomError, Transfer
from sagemaker_object_detection.weights.cache import advising, fetch_into_cache, fetch_into_temporary, find_cached
from sagemaker_object_detection.weights.hub import check_handle, fetch_hub
from sagemaker_object_detection.weights.jumpstart import JumpStartModel, find_region
from sagemaker_object_detection.weights.naming import named_by, scheme_of, shown
from sagemaker_object_detection.weights.s3 import fetch_s3, split_address
from sagemaker_object_detection.weights.tree import Archive, Weights, find_in_tree, read_all, told_of, weights_in_tree

__all__ = ["Source", "Weights", "find_source", "published", "source_at"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where weights are to be had: one of `weights`, `archive` and `address` is set, or none for random weights."""

    origin: str
    """For log lines and errors: what the user gave."""
    weights: Weights | None = None
    """On this machine, ready to be read."""
    archive: Archive | None = None
    """On this machine, to be unpacked."""
    address: str | None = None
    """On another machine: http://, https:// or s3://, or the name of `jumpstart`."""
    jumpstart: JumpStartModel | None = None
    """What is at the address, if that is no address of its own."""
    others: tuple["Source", ...] = ()
    """Where else the same weights are to be had, in the order in which that is tried."""
    expected: BaseModel | None = None
    """What is fetched has to be weights of this base model; None for any, and for a model of this container."""
    named_as: BaseModel | None = None
    """As in `Weights`, as far as the name of the place tells."""
    cached: Path | None = None
    """The folder of `weights` that were fetched before."""
    ways: str = WAYS
    """Ends the sentences about what could not be fetched: what else the user can do."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every place on another machine, in the order in which they are tried."""
        return tuple(source.address for source in (self, *self.others) if source.address is not None)

    def fetch(self, stop: StopSignal = NEVER, *, keep: bool = True) -> Weights | None:
        """The weights, with their files on this machine; None for random weights.

        What comes over the network, or came before, is read to the last variable.

        Args:
            stop: heard while anything comes over the network.
            keep: whether what was fetched is kept in the cache.

        Raises:
            UserError, PlatformError: as `fetch_hub`, `fetch_s3` and `unpack` do; or what was fetched are no weights, or
                damaged ones. Of several places, one sentence with every place and its reason.
            StoppedError: `stop` was requested.
        """
        if self.archive is not None:
            archive = self.archive
            folder, temporary = fetch_into_temporary(lambda work: _unpack(archive, work, self.origin))
            try:
                return replace(weights_in_tree(folder, self.origin), unpacked=temporary)
            except BaseException:
                temporary.cleanup()
                raise
        if self.address is None:
            if self.weights is not None and self.cached is not None:
                with advising(_deletion(self.cached)):
                    read_all(self.weights)
            return self.weights
        return self._fetch_anywhere(stop, keep)

    def _fetch_anywhere(self, stop: StopSignal, keep: bool) -> Weights:
        """From the first place that has them. Each but the last may take half of the time that is left."""
        deadline, failures = time.monotonic() + bounds.TOTAL_SECONDS, list[JobError]()
        tried = list[str]()
        for source, following in zip((self, *self.others), (*self.addresses[1:], None), strict=True):
            limit = deadline if following is None else (time.monotonic() + deadline) / 2
            try:
                return source._fetch_remote(Transfer(source.origin, stop, source.ways, limit), keep)
            except JobError as error:
                if not self.others or isinstance(error, NoRoomError):
                    raise
                reason = str(error).removeprefix(f"{source.origin}: ").partition("; ")[0]
                failures.append(error)
                tried.append(f"({len(failures)}) {source.address}: {reason}")
                if following is not None:
                    log.warning("%s: %s. Trying %s.", source.origin, reason, following)
        blame = PlatformError if any(isinstance(error, PlatformError) for error in failures) else UserError
        said = self.origin.removesuffix(f" ({self.address})")
        raise blame(f"{said}: the weights cannot be fetched; {self.ways}. Tried: {'; '.join(tried)}")

    def _fetch_remote(self, transfer: Transfer, keep: bool) -> Weights:
        assert self.address is not None

        def fetch(work: Path) -> Path:
            tree = self._transferred(work, transfer)
            found = weights_in_tree(tree, self.origin)
            read_all(found)  # nothing else is worth keeping
            if self.expected is not None:
                _check_base(found, self.expected)
            return tree

        transfer.stop.check()
        try:
            folder, unpacked = fetch_into_cache(self.address, fetch) if keep else fetch_into_temporary(fetch)
        except JobError as error:
            if transfer.stop.requested:  # while a silent host was waited for
                raise StoppedError from error
            raise
        return replace(weights_in_tree(folder, self.origin, self.named_as), unpacked=unpacked)

    def _transferred(self, work: Path, transfer: Transfer) -> Path:
        assert self.address is not None
        if self.jumpstart is not None:
            arrived = self.jumpstart.fetch(work, transfer)
        elif scheme_of(self.address) == "s3":
            arrived = fetch_s3(self.address, work, transfer)
        else:
            return fetch_hub(self.address, work, transfer)
        found = find_in_tree(arrived, self.origin) if arrived.is_dir() else Archive(arrived)
        if isinstance(found, Weights):
            return arrived
        tree = _unpack(found, work, self.origin)
        found.path.unlink()
        return tree


def find_source(pretrained_weights: str, model_channel: Path | None, model_id: str | None = None) -> Source:
    """The source of the weights to start from; the first that is given, of the model channel and `pretrained_weights`.

    Args:
        pretrained_weights: "auto", "none", a TensorFlow Hub or Kaggle handle, an s3:// address, or the path of a folder
            or an archive. "auto" is the folder in the image, then what `published` says.
        model_channel: folder of the `model` channel, or the file that lies in its place; None where the job has none.
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
        return source_at(pretrained_weights, f'pretrained_weights="{shown(pretrained_weights)}"')
    base = catalogue.find(model_id or catalogue.DEFAULT_MODEL.name) or catalogue.DEFAULT_MODEL
    baked = baked_weights() / base.name
    if os.path.exists(baked):
        return _on_this_machine(baked, f'pretrained_weights="auto" ({baked})')
    return published(base, 'pretrained_weights="auto"')


def published(base: BaseModel, said: str, ways: str = WAYS) -> Source:
    """The source of a base model's published weights: TensorFlow Hub, the Model Garden's archive, JumpStart's bucket.

    A copy of any that was fetched before comes first.

    Args:
        said: what the user gave; with the place it begins the sentences of errors.
        ways: ends those about what could not be fetched.

    Raises:
        UserError: a copy that was fetched before cannot be read.
    """
    weights, sources = base.weights, list[Source]()
    jumpstart = JumpStartModel(weights.jumpstart_id, find_region())
    for place in (weights.hub_handle, weights.archive, str(jumpstart)):
        source = _remote(place, named_by(weights.tarball), f"{said} ({place})", ways)
        if source.address is None:
            return source
        sources.append(replace(source, expected=base))
    return replace(sources[0], others=(sources[1], replace(sources[2], jumpstart=jumpstart)))


def source_at(place: str, origin: str, ways: str = WAYS) -> Source:
    """The source at an address or a path.

    Args:
        origin: begins the sentences of errors; an address in it as `shown` gives it.
        ways: ends those about what could not be found or fetched.

    Raises:
        UserError: as `find_source`.
    """
    scheme = scheme_of(place)
    if scheme is None:
        return _on_this_machine(Path(place), origin, ways)
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
    return _remote(address, named_by(address), origin, ways)


def _remote(address: str, named_as: BaseModel | None, origin: str, ways: str) -> Source:
    """The copy of an address that was fetched before, or else the address."""
    cached = find_cached(address)
    if cached is None:
        return Source(origin, address=address, named_as=named_as, ways=ways)
    log.info("Using the copy of %s that was fetched before: %s. Delete it to fetch anew.", shown(address), cached)
    with advising(_deletion(cached)), _unreadable_told(origin):
        return Source(origin, weights=weights_in_tree(cached, origin, named_as), cached=cached)


def _check_base(weights: Weights, expected: BaseModel) -> None:
    """Raises a UserError where weights are not those of a base model."""
    # Late, because it brings TensorFlow.
    from sagemaker_object_detection.weights.checkpoint import read_model_garden
    from sagemaker_object_detection.weights.recognition import check_architecture

    if weights.checkpoint is None:
        raise UserError(
            f"{weights.origin}: holds a model that was trained here; expected the weights of {expected.name}"
        )
    with told_of(weights.origin, weights.checkpoint):
        check_architecture(read_model_garden(weights.checkpoint), expected, weights.origin)


def _deletion(cached: Path) -> str:
    return f"delete {cached}, which was fetched before, to fetch it anew"


def _on_this_machine(path: Path, origin: str, ways: str = WAYS) -> Source:
    """The weights in a folder, or an archive, or the one archive that a folder holds."""
    with _unreadable_told(origin):
        try:
            folder = is_folder(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # a path with a zero byte is a ValueError
            raise UserError(f"{origin}: there is no such folder or file; {ways}") from None
        named_as = named_by(str(path))
        found = find_in_tree(path, origin, named_as) if folder else Archive(path, named_as)
        if isinstance(found, Weights):
            return Source(origin, weights=found)
        check_is_archive(found.path, origin)
        return Source(origin, archive=found)


def _unpack(archive: Archive, work: Path, origin: str) -> Path:
    """Unpacks below `work`, into a folder that has in it what the archive's name said."""
    tree = work / "unpacked"
    target = tree / archive.named_as.name if archive.named_as else tree
    target.mkdir(parents=True)
    unpack(archive.path, origin, target)
    return tree


@contextmanager
def _unreadable_told(origin: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise UserError(
            f"{origin}: cannot be read ({error.strerror}); expected a folder or an archive that the job may read: "
            "correct the path or its permissions"
        ) from error
