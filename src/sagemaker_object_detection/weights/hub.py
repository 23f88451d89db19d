"""Fetches a TensorFlow Hub handle: https://tfhub.dev/..., https://www.kaggle.com/models/..., or any such archive."""

import http.client
import io
import socket
import ssl
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from sagemaker_object_detection.errors import JobError, PlatformError, UserError, first_line
from sagemaker_object_detection.files.disk import PLATFORM_ERRNOS
from sagemaker_object_detection.weights.archive import unpack
from sagemaker_object_detection.weights.bounds import Progress, Transfer

_GZIP = b"\x1f\x8b"
_BLOCK = 2**18
_NOT_FOLLOWED = "is not allowed"
"""How urllib's sentence about a redirect that it refuses ends."""


def check_handle(handle: str, origin: str) -> None:
    """Raises a UserError where an http(s):// handle cannot be one, by its spelling alone."""
    try:
        parts = urlsplit(handle)
        if "@" in parts.netloc:
            raise UserError(
                f"{origin}: holds a user name or a password, which are not sent anywhere; expected an address without "
                "them: remove them, or copy the archive to S3 or into a folder and give its place there"
            )
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

    tensorflow_hub knows what address a handle stands for. Fetching and unpacking are done here, by a resolver that is
    registered meanwhile, because its own waits for a silent host for ever, takes half an archive that was cut between
    two files for a whole one, unpacks without a limit, and fails on archives without entries for their folders.

    Raises:
        UserError: there is no such model, it is refused, the host cannot be found or reached, or answers with
            something else than an archive that may be unpacked.
        PlatformError: the host is at fault or silent, the connection broke, it takes too long, the disk has no room.
        StoppedError: the job was told to stop.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources, which nothing here can help
        import tensorflow_hub
        from tensorflow_hub import compressed_module_resolver as hub
        from tensorflow_hub import registry

    class Resolver(hub.HttpCompressedFileResolver):  # type: ignore[misc]
        def is_supported(self, handle: str) -> bool:
            return bool(self.is_http_protocol(handle))

        def __call__(self, handle: str) -> str:
            address = self._append_compressed_format_query(handle)
            if handle.startswith(hub._HUB_TF_GOOGLE_CN):
                address = hub._GCS_GOOGLE_CN_TEMPLATE % handle.removeprefix(hub._HUB_TF_GOOGLE_CN)
            return str(_fetch(address, self._context, work, transfer))

    resolver = Resolver()
    registry.resolver.add_implementation(resolver)  # which is asked before those that were there
    try:
        return Path(tensorflow_hub.resolve(handle))
    finally:
        registry.resolver._impls.remove(resolver)  # there is no public way, and it would keep `transfer` for good


def _fetch(address: str, context: ssl.SSLContext, work: Path, transfer: Transfer) -> Path:
    archive, tree = work / "download.tar.gz", work / "tree"
    with _failures_told(address, transfer):
        known_whole = _download(address, context, archive, transfer)
    tree.mkdir()
    try:
        unpack(archive, transfer.origin, transfer.limits, tree)
    except UserError as error:
        if known_whole or not isinstance(error.__cause__, EOFError):
            raise
        raise _broken(transfer) from error
    archive.unlink()
    return tree


def _download(address: str, context: ssl.SSLContext, archive: Path, transfer: Transfer) -> bool:
    """Whether all has arrived: a host that says nothing of the size ends an answer by hanging up."""
    progress = Progress(transfer, address)
    opener = _opener(context, progress)
    with opener.open(address, timeout=transfer.limits.silence_seconds) as response, archive.open("wb") as file:
        size = response.headers.get("Content-Length", "")
        progress.total = int(size) if size.isdecimal() else None
        while block := response.read(_BLOCK):
            if file.tell() == 0 and not block.startswith(_GZIP):
                raise UserError(
                    f"{transfer.origin}: answers with {response.headers.get_content_type()}, which is no .tar.gz "
                    f"archive; check the handle, or {transfer.ways}"
                )
            file.write(block)
        if file.tell() < (1 if progress.total is None else progress.total):  # http.client says nothing of it
            raise http.client.IncompleteRead(b"")
        return progress.total is not None or response.chunked


class _Arrivals(io.RawIOBase):
    """What arrives over a connection, each piece of which is told, headers and all.

    A timeout is for one piece: a host that drips would be waited for without end.
    """

    def __init__(self, raw: io.RawIOBase, tell: Callable[[int], None]) -> None:
        self._raw, self._tell = raw, tell

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)
        self._tell(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http:// and https:// alone; urllib's own knows ftp:// too."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()  # urllib would read all of an answer that nobody wants
        parts = urlsplit(newurl)
        if parts.scheme not in ("http", "https") or "@" in parts.netloc:
            raise urllib.error.HTTPError(newurl, code, _NOT_FOLLOWED, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(context: ssl.SSLContext, tell: Callable[[int], None]) -> urllib.request.OpenerDirector:
    class Response(http.client.HTTPResponse):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.fp = io.BufferedReader(_Arrivals(self.fp.detach(), tell))

    class Handler(urllib.request.AbstractHTTPHandler):
        def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> http.client.HTTPResponse:
            def connection(host: str, **more: Any) -> http.client.HTTPConnection:
                made: http.client.HTTPConnection = http_class(host, **more)
                made.response_class = Response
                return made

            return super().do_open(connection, req, **options)

    class HttpHandler(Handler, urllib.request.HTTPHandler):
        pass

    class HttpsHandler(Handler, urllib.request.HTTPSHandler):
        pass

    return urllib.request.build_opener(HttpHandler(), HttpsHandler(context=context), _Redirects())


@contextmanager
def _failures_told(address: str, transfer: Transfer) -> Iterator[None]:
    """What goes wrong on the way to a host, as a sentence."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise _refused(error, transfer) from error
    except urllib.error.URLError as error:
        raise _unreachable(error.reason, address, transfer) from error
    except TimeoutError as error:
        raise _unreachable(error, address, transfer) from error
    except (ValueError, http.client.InvalidURL) as error:
        raise UserError(
            f"{transfer.origin}: is, or leads to, what cannot be an address ({first_line(error)}); check the handle, "
            f"or {transfer.ways}"
        ) from error
    except (http.client.HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno in PLATFORM_ERRNOS:  # of the disk, not of the network
            raise
        raise _broken(transfer) from error


def _broken(transfer: Transfer) -> PlatformError:
    return PlatformError(
        f"{transfer.origin}: the connection broke before everything had arrived; start again, or {transfer.ways}"
    )


def _refused(error: urllib.error.HTTPError, transfer: Transfer) -> JobError:
    origin, other, reason = transfer.origin, f"or {transfer.ways}", str(error.reason)
    if reason.startswith(_Redirects.inf_msg):
        return UserError(f"{origin}: answers {error.code} again and again, in a circle; check the handle, {other}")
    if 300 <= error.code < 400 and reason.endswith(_NOT_FOLLOWED):
        return UserError(
            f"{origin}: answers {error.code} and names a place that is not fetched; expected one at http:// or "
            f"https://, without a user name; check the handle, {other}"
        )
    answer = f"answers {error.code} {reason}".rstrip()
    if error.code in (404, 410):
        return UserError(f"{origin}: {answer}: there is no such model; check the handle, {other}")
    if error.code in (401, 403, 407):
        return UserError(f"{origin}: {answer}: it may not be fetched without signing in; check the handle, {other}")
    if error.code >= 500 or error.code == 429:
        return PlatformError(f"{origin}: {answer}: the host cannot serve it now; start again, {other}")
    return UserError(f"{origin}: {answer} instead of an archive; check the handle, {other}")


def _unreachable(reason: Any, address: str, transfer: Transfer) -> JobError:
    host, origin, other = urlsplit(address).hostname, transfer.origin, f"or {transfer.ways}"
    if isinstance(reason, TimeoutError):
        return PlatformError(
            f"{origin}: {host} has sent nothing for {transfer.limits.silence_seconds:g} seconds; start again, {other}"
        )
    if isinstance(reason, socket.gaierror):
        return UserError(
            f"{origin}: the host {host} cannot be found ({reason.strerror}): the address is misspelt or the job has no "
            f"network; check the handle and the job's VPC, {other}"
        )
    if isinstance(reason, ssl.SSLError):
        return UserError(
            f"{origin}: no secure connection to {host} ({reason.reason}); check the handle and the job's proxy, {other}"
        )
    told = (reason.strerror if isinstance(reason, OSError) else None) or reason
    return UserError(
        f"{origin}: {host} cannot be reached ({told}): it is not there or the job has no network; check the handle and "
        f"the job's VPC, {other}"
    )
