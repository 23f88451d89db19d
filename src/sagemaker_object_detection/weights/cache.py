"""Keeps what was fetched from an address: a folder of the cache is complete from the moment it has its name."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from sagemaker_object_detection.errors import rewording
from sagemaker_object_detection.files.whole import work_folder
from sagemaker_object_detection.job.paths import download_cache
from sagemaker_object_detection.weights.bounds import TOTAL_SECONDS

Unpacked = tempfile.TemporaryDirectory[str]
"""A folder that is deleted with the last reference to this object."""

_ABANDONED_SECONDS = TOTAL_SECONDS + 3600.0
"""No fetch lasts that long: the time that it may take, and an hour to unpack and read what has arrived."""
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)


def find_cached(address: str) -> Path | None:
    """The folder that was fetched from this address before, or None."""
    place = _place(address)
    return place if os.path.isdir(place) else None


def fetch_into_cache(address: str, fetch: Callable[[Path], Path]) -> tuple[Path, Unpacked | None]:
    """Fetches into the cache, or where that cannot be written to into a temporary folder.

    Args:
        fetch: fills the empty folder it is given, and returns the folder below it that is to be kept. Where it raises,
            nothing is left behind.

    Returns:
        The folder that was kept, and the temporary folder that holds it unless it is in the cache.
    """
    place = _place(address)
    with ExitStack() as stack:
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            work = stack.enter_context(fetching_folder(place.parent))
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            return fetch_into_temporary(fetch)
        fetched = fetch(work)
        try:
            fetched.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was faster
                raise
    return place, None


def fetch_into_temporary(fetch: Callable[[Path], Path]) -> tuple[Path, Unpacked]:
    """`fetch_into_cache` without a cache."""
    work = tempfile.TemporaryDirectory(prefix="weights-")
    try:
        return fetch(Path(work.name)), work
    except BaseException:
        work.cleanup()
        raise


def fetching_folder(parent: Path) -> AbstractContextManager[Path]:
    """An empty folder in `parent` to fetch into; those that killed processes have left there are deleted."""
    return work_folder(parent, ".fetching-", _ABANDONED_SECONDS)


def advising(advice: str) -> AbstractContextManager[None]:
    """A way out in place of what a sentence expected and advised: a copy is better made anew than mended."""
    return rewording(lambda problem: f"{problem.rpartition('; expected ')[0] or problem}; {advice}")


def _place(address: str) -> Path:
    return download_cache() / hashlib.sha256(address.encode(errors="surrogateescape")).hexdigest()
