"""Fetches a TensorFlow Hub handle: https://tfhub.dev/..., https://www.kaggle.com/models/..., or any such archive."""

import errno
import http.client
import os
import socket
import ssl
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from sagemaker_object_detection.errors import JobError, PlatformError, UserError
from sagemaker_object_detection.weights.archive import check_archive
from sagemaker_object_detection.weights.bounds import OTHER_WAYS, Progress, Transfer

_CACHE_VARIABLE = "TFHUB_CACHE_DIR"
_GZIP = b"\x1f\x8b"
_BLOCK = 2**18
_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors of the disk that is written to, among those of the network."""


def check_handle(handle: str, origin: str) -> None:
    """Raises a UserError where an http(s):// handle cannot be one, by its spelling alone."""
    try:
        parts = urlsplit(handle)
        spelled = bool(parts.hostname and parts.path.strip("/") and parts.port != 0)  # .port is a ValueError for words
    except ValueError:
        spelled = False
    if not spelled or not handle.isascii() or not handle.isprintable() or " " in handle:
        raise UserError(
            f"{origin}: is no address of a model; expected a host and a path, as in "
            "https://tfhub.dev/tensorflow/efficientdet/d0/1"
        )


def fetch_hub(handle: str, work: Path, transfer: Transfer) -> Path:
    """Fetches a handle with `tensorflow_hub.resolve`, into a folder below `work`, which it returns.

    tensorflow_hub turns the handle into an address and unpacks what that answers with. Opening the address is done
    here, by a resolver that is injected, because its own waits for a silent host for ever, takes half an archive that
    was cut between two files for a whole one, and unpacks without a limit: it is handed a file that is complete and
    was checked.

    Raises:
        UserError: there is no such model, it is refused, the host cannot be found or reached, or answers with
            something else than an archive of weights.
        PlatformError: the host is at fault or silent, the connection broke, or it takes too long.
        StoppedError: the job was told to stop.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources, which nothing here can help
        import tensorflow_hub
        from tensorflow_hub import registry
        from tensorflow_hub.compressed_module_resolver import HttpCompressedFileResolver

    class Resolver(HttpCompressedFileResolver):  # type: ignore[misc]
        def is_supported(self, handle: str) -> bool:
            return bool(self.is_http_protocol(handle))

        def _call_urlopen(self, request: urllib.request.Request) -> BinaryIO:
            archive = work / "download.tar.gz"
            with _failures_told(handle, transfer):
                _download(request, self._context, archive, transfer)
            check_archive(archive, transfer.origin, transfer.limits, work)
            return archive.open("rb")

    registry.resolver.add_implementation(Resolver())  # which is asked before those that were there
    with _hub_cache(work / "hub"):
        folder = Path(tensorflow_hub.resolve(handle))
    (work / "download.tar.gz").unlink()
    return folder


def _download(request: urllib.request.Request, context: ssl.SSLContext, archive: Path, transfer: Transfer) -> None:
    silence = transfer.limits.silence_seconds
    with urllib.request.urlopen(request, timeout=silence, context=context) as response, archive.open("wb") as file:
        size = response.headers.get("Content-Length", "")
        total = int(size) if size.isdecimal() else None
        progress = Progress(transfer, request.full_url, total)
        while block := response.read(_BLOCK):
            if file.tell() == 0 and not block.startswith(_GZIP):
                kind = response.headers.get_content_type()
                raise UserError(
                    f"{transfer.origin}: answers with {kind}, which is no .tar.gz archive; check the handle, "
                    f"{OTHER_WAYS}"
                )
            file.write(block)
            progress(len(block))
        if total is not None and file.tell() < total:  # http.client says nothing of it
            raise http.client.IncompleteRead(b"", total - file.tell())


@contextmanager
def _failures_told(handle: str, transfer: Transfer) -> Iterator[None]:
    """What goes wrong on the way to a host, as a sentence."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise _refused(error, transfer.origin) from error
    except urllib.error.URLError as error:
        raise _unreachable(error.reason, handle, transfer) from error
    except TimeoutError as error:
        raise _unreachable(error, handle, transfer) from error
    except (http.client.HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno in _LOCAL:
            raise
        raise PlatformError(
            f"{transfer.origin}: the connection broke before everything had arrived; start the job again, {OTHER_WAYS}"
        ) from error


def _refused(error: urllib.error.HTTPError, origin: str) -> JobError:
    answer = f"answers {error.code} {error.reason}".rstrip()
    if error.code in (404, 410):
        return UserError(f"{origin}: {answer}: there is no such model; check the handle, {OTHER_WAYS}")
    if error.code in (401, 403, 407):
        return UserError(
            f"{origin}: {answer}: it may not be fetched without signing in; check the handle, {OTHER_WAYS}"
        )
    if error.code >= 500 or error.code == 429:
        return PlatformError(f"{origin}: {answer}: the host cannot serve it now; start the job again, {OTHER_WAYS}")
    return UserError(f"{origin}: {answer} instead of an archive; check the handle, {OTHER_WAYS}")


def _unreachable(reason: Any, handle: str, transfer: Transfer) -> JobError:
    host, origin = urlsplit(handle).hostname, transfer.origin
    if isinstance(reason, TimeoutError):
        return PlatformError(
            f"{origin}: {host} has sent nothing for {transfer.limits.silence_seconds:g} seconds; start the job again, "
            f"{OTHER_WAYS}"
        )
    if isinstance(reason, socket.gaierror):
        return UserError(
            f"{origin}: the host {host} cannot be found ({reason.strerror}): the address is misspelt or the job has no "
            f"network; check the handle and the job's VPC, {OTHER_WAYS}"
        )
    if isinstance(reason, ssl.SSLError):
        return UserError(
            f"{origin}: no secure connection to {host} ({reason.reason}); check the handle and the job's proxy, "
            f"{OTHER_WAYS}"
        )
    told = (reason.strerror if isinstance(reason, OSError) else None) or reason
    return UserError(
        f"{origin}: {host} cannot be reached ({told}): it is not there or the job has no network; check the handle and "
        f"the job's VPC, {OTHER_WAYS}"
    )


@contextmanager
def _hub_cache(folder: Path) -> Iterator[None]:
    """tensorflow_hub's own cache in an empty folder: in any other it may wait minutes for another process's lock."""
    before = os.environ.get(_CACHE_VARIABLE)
    os.environ[_CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CACHE_VARIABLE]
        else:
            os.environ[_CACHE_VARIABLE] = before
