"""Fetches a TensorFlow Hub handle: https://tfhub.dev/..., https://www.kaggle.com/models/..., or any such archive."""

import http.client
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3 import exceptions

from sagemaker_object_detection.errors import JobError, PlatformError, UserError, first_line
from sagemaker_object_detection.files.disk import PLATFORM_ERRNOS
from sagemaker_object_detection.sentences import MAX_SHOWN, is_printable, printable
from sagemaker_object_detection.weights import bounds
from sagemaker_object_detection.weights.archive import unpack
from sagemaker_object_detection.weights.bounds import Transfer, TransferProgress
from sagemaker_object_detection.weights.naming import ARCHIVES

_GZIP = b"\x1f\x8b"
_BLOCK = 2**18
_REDIRECTS = 10


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
    """Fetches a handle into a folder below `work`, which it returns.

    tensorflow_hub knows what address a handle stands for. Fetching and unpacking are done here, because its resolver
    waits for a silent host for ever, takes half an archive that was cut between two files for a whole one, unpacks
    without a limit, and fails on archives without entries for their folders.

    Raises:
        UserError: there is no such model, it is refused, the host cannot be found or reached, or answers with
            something else than an archive that may be unpacked.
        PlatformError: the host is at fault or silent, the connection broke, it takes too long, the disk has no room.
        StoppedError: the job was told to stop.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources, which nothing here can help
        from tensorflow_hub import compressed_module_resolver as hub

    resolver = hub.HttpCompressedFileResolver()
    address = handle
    if not urlsplit(handle).path.endswith(ARCHIVES):  # an archive's own address is not TensorFlow Hub's to be asked
        address = resolver._append_compressed_format_query(handle)
    if handle.startswith(hub._HUB_TF_GOOGLE_CN):
        address = hub._GCS_GOOGLE_CN_TEMPLATE % handle.removeprefix(hub._HUB_TF_GOOGLE_CN)
    archive, tree = work / "download.tar.gz", work / "tree"
    known_whole = _download(address, resolver._context, archive, transfer)
    tree.mkdir()
    try:
        unpack(archive, transfer.origin, tree)
    except UserError as error:
        if known_whole or not isinstance(error.__cause__, EOFError):
            raise
        raise _broken(transfer) from error
    archive.unlink()
    return tree


def _download(address: str, context: ssl.SSLContext, archive: Path, transfer: Transfer) -> bool:
    """Whether all has arrived: a host that says nothing of the size ends an answer by hanging up."""
    progress = TransferProgress(transfer, address)
    with _answer(address, context, progress, transfer) as response, archive.open("wb") as file:
        size = response.headers.get("Content-Length", "")
        progress.total = int(size) if size.isdecimal() else None
        while block := response.read(_BLOCK):
            if file.tell() == 0 and not block.startswith(_GZIP):
                kind = printable(response.headers.get("Content-Type", "nothing").partition(";")[0], MAX_SHOWN)
                raise UserError(
                    f"{transfer.origin}: answers with {kind}, which is no .tar.gz archive; check the handle, or "
                    f"{transfer.ways}"
                )
            file.write(block)
        if file.tell() == 0:
            raise _broken(transfer)
        return progress.total is not None or response.chunked


@contextmanager
def _answer(
    address: str, context: ssl.SSLContext, progress: TransferProgress, transfer: Transfer
) -> Iterator[urllib3.BaseHTTPResponse]:
    """What the address answers, after the redirects, which are followed to http:// and https:// alone.

    What goes wrong on the way, or while the answer is read, is a sentence about the host of that moment.
    """
    origin, other = transfer.origin, f"or {transfer.ways}"
    for _ in range(_REDIRECTS + 1):
        with _failures_told(address, transfer):
            transfer.check_host(address)
            with (
                _pools(address, context, progress) as pools,
                pools.request(
                    "GET",
                    address,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(connect=bounds.CONNECT_SECONDS, read=bounds.SILENCE_SECONDS),
                ) as response,
            ):
                location = response.get_redirect_location()
                if not location:
                    if response.status != 200:
                        raise _refused(response, transfer)
                    yield response
                    return
            with _failures_told(address, transfer):
                address = urljoin(address, location)
                parts = urlsplit(address)
            if parts.scheme not in ("http", "https") or "@" in parts.netloc or not is_printable(location):
                raise UserError(
                    f"{origin}: answers {response.status} and names a place that is not fetched; expected one at "
                    f"http:// or https://, of printable characters, without a user name; check the handle, {other}"
                )
    raise UserError(f"{origin}: answers {response.status} again and again, in a circle; check the handle, {other}")


def _pools(address: str, context: ssl.SSLContext, tell: Callable[[int], None]) -> urllib3.PoolManager:
    """Connections to the host of an address, through the proxy that the environment names for it.

    `tell` hears of each piece that arrives, headers and all: a timeout is for one piece, and a host that drips would be
    waited for without end.
    """

    class Response(http.client.HTTPResponse):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            raw: Any = self.fp.raw
            read = raw.readinto

            def readinto(buffer: Any) -> int | None:
                count: int | None = read(buffer)
                tell(count or 0)
                return count

            raw.readinto = readinto

    def told(pool: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": Response})
        return type("Pool", (pool,), {"ConnectionCls": connection})

    proxy = bounds.proxy_for(address)
    if proxy is None:
        pools = urllib3.PoolManager(ssl_context=context)
    else:
        signed = urllib3.make_headers(proxy_basic_auth=unquote(urllib3.util.parse_url(proxy).auth or "") or None)
        pools = urllib3.ProxyManager(proxy, proxy_headers=signed, ssl_context=context)
    pools.pool_classes_by_scheme = {
        "http": told(urllib3.HTTPConnectionPool),
        "https": told(urllib3.HTTPSConnectionPool),
    }
    return pools


@contextmanager
def _failures_told(address: str, transfer: Transfer) -> Iterator[None]:
    """What goes wrong on the way to a host, as a sentence."""
    host, origin, other = printable(urlsplit(address).hostname or ""), transfer.origin, f"or {transfer.ways}"
    try:
        yield
    except (exceptions.NameResolutionError, socket.gaierror) as error:
        raise UserError(
            f"{origin}: the host {host} cannot be found ({_reason(error)}): the address is misspelt or the job has no "
            f"network; check the handle and the job's VPC, {other}"
        ) from error
    except exceptions.SSLError as error:
        raise UserError(
            f"{origin}: no secure connection to {host} ({_reason(error)}); check the handle and the job's proxy, "
            f"{other}"
        ) from error
    except (exceptions.ConnectTimeoutError, exceptions.ProxyError) as error:
        raise UserError(
            f"{origin}: {host} cannot be reached ({_reason(error)}): it is not there or the job has no network; check "
            f"the handle and the job's VPC, {other}"
        ) from error
    except exceptions.TimeoutError as error:
        raise PlatformError(
            f"{origin}: {host} has sent nothing for {bounds.SILENCE_SECONDS:g} seconds; start again, {other}"
        ) from error
    except (ValueError, http.client.InvalidURL) as error:  # urllib3's LocationParseError is the former
        raise UserError(
            f"{origin}: is, or leads to, what cannot be an address ({printable(first_line(error))}); check the "
            f"handle, {other}"
        ) from error
    except (exceptions.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in PLATFORM_ERRNOS:  # of the disk, not of the network
            raise
        raise _broken(transfer) from error


def _reason(error: BaseException) -> str:
    """What the operating system says at the bottom of urllib3's error."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return printable(str(getattr(error, "reason", None) or getattr(error, "strerror", None) or first_line(error)))


def _broken(transfer: Transfer) -> PlatformError:
    return PlatformError(
        f"{transfer.origin}: the connection broke before everything had arrived; start again, or {transfer.ways}"
    )


def _refused(response: urllib3.BaseHTTPResponse, transfer: Transfer) -> JobError:
    origin, other, status = transfer.origin, f"or {transfer.ways}", response.status
    answer = f"answers {status} {printable(response.reason or '', MAX_SHOWN)}".rstrip()
    if status in (404, 410):
        return UserError(f"{origin}: {answer}: there is no such model; check the handle, {other}")
    if status in (401, 403, 407):
        return UserError(f"{origin}: {answer}: it may not be fetched without signing in; check the handle, {other}")
    if status >= 500 or status == 429:
        return PlatformError(f"{origin}: {answer}: the host cannot serve it now; start again, {other}")
    return UserError(f"{origin}: {answer} instead of an archive; check the handle, {other}")
