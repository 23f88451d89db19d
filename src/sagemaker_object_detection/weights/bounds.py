"""What bounds the fetching and unpacking of weights, so that a silent host or a malicious archive ends early."""

import logging
import shutil
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.sentences import printable

log = logging.getLogger(__name__)
# It logs a traceback with whatever a host has written in place of headers. What it fails at, it raises as well.
logging.getLogger("urllib3").setLevel(logging.ERROR)

WAYS = (
    'put the weights on the "model" channel, give a TensorFlow Hub handle, an s3:// address or a path as '
    "pretrained_weights, bake them into the image with fetch-weights, or set "
    'pretrained_weights="none" to start from random weights'
)
"""What else a job's user can do: ends the sentences about what could not be fetched."""
_SECONDS_BETWEEN_LINES = 30.0


MAX_ENTRIES = 10_000
MAX_BYTES = 10 * 2**30
"""What no weights come near: the largest published archive unpacks to a dozen files of 0.6 GB together."""
CONNECT_SECONDS = 10.0
"""How long the name service may take for a host's name, and then each of its addresses to accept a connection."""
SILENCE_SECONDS = 30.0
"""How long a host may send nothing."""
TOTAL_SECONDS = 30 * 60.0
"""How long a fetch may take, from however many places it is tried."""


class NoRoomError(PlatformError):
    """The disk has no room for weights, wherever they come from."""


@dataclass(frozen=True)
class Transfer:
    """One fetch over the network: what it is for, what bounds it, and whether it has become pointless."""

    origin: str
    """Begins the sentences of errors: what the user gave."""
    stop: StopSignal
    ways: str
    """Ends the sentences of errors: what else the user can do, as `WAYS` says it to a job's."""
    deadline: float = field(default_factory=lambda: time.monotonic() + TOTAL_SECONDS)
    """When it has taken too long, by the monotonic clock."""

    def check_host(self, address: str) -> None:
        """Asks the name service for the host of an address, or for the proxy that leads there.

        The system's own call for this cannot be interrupted, and on a network that swallows its questions it waits for
        most of a minute, for each name.

        Raises:
            socket.gaierror: the name is unknown, or nobody answers.
            UnicodeError: it cannot be a name.
            StoppedError: the job was told to stop.
        """
        failures: list[Exception] = []
        host = urlsplit(proxy_for(address) or address).hostname or ""

        def ask() -> None:
            try:
                socket.getaddrinfo(host, None)
            except (OSError, UnicodeError) as error:
                failures.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        until = time.monotonic() + CONNECT_SECONDS
        while asking.is_alive() and time.monotonic() < until:
            self.stop.check()
            asking.join(0.1)
        if asking.is_alive():
            raise socket.gaierror(
                socket.EAI_AGAIN, f"the name service has not answered for {CONNECT_SECONDS:g} seconds"
            )
        if failures:
            raise failures[0]


def proxy_for(address: str) -> str | None:
    """The proxy that the environment names for an http(s):// address, as an address; None to go there directly."""
    parts = urlsplit(address)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


class TransferProgress:
    """Is told of every piece that arrives; says now and then how far it is.

    Args:
        total: bytes that are expected; None where that is not known, or not yet.
    """

    def __init__(self, transfer: Transfer, address: str, total: int | None = None) -> None:
        self.total = total
        self._transfer, self._address = transfer, printable(address)
        self._received = 0
        self._begun = self._told = time.monotonic()
        log.info("Fetching %s%s.", self._address, f" ({_megabytes(total)})" if total is not None else "")

    def __call__(self, count: int) -> None:
        """`count` more bytes have arrived; less than none where some have to be fetched again.

        Raises:
            StoppedError: the job was told to stop.
            UserError: more has arrived than weights can be.
            PlatformError: it takes too long.
        """
        transfer, now = self._transfer, time.monotonic()
        self._received += count
        transfer.stop.check()
        if self._received > MAX_BYTES:
            raise UserError(
                f"{transfer.origin}: more than {_megabytes(MAX_BYTES)} have arrived, which are no weights; check "
                f"the address, or {transfer.ways}"
            )
        if now > transfer.deadline:
            raise PlatformError(
                f"{transfer.origin}: only {_megabytes(self._received)} have arrived in {(now - self._begun) / 60:.0f} "
                f"minutes; start again, or {transfer.ways}"
            )
        if now - self._told > _SECONDS_BETWEEN_LINES:
            self._told = now
            of = f" of {_megabytes(self.total)}" if self.total is not None else ""
            log.info("Fetching %s: %s%s.", self._address, _megabytes(self._received), of)


class Tally:
    """Counts the files that are about to be written, before the first one is.

    Args:
        what: begins the sentences of errors.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._entries = self.bytes = 0

    def add(self, size: int) -> None:
        """One more file or folder, of `size` bytes. Raises a UserError where weights cannot be that many or large."""
        self._entries += 1
        self.bytes += size
        if self._entries > MAX_ENTRIES:
            found = f"holds more than {MAX_ENTRIES} files and folders"
        elif self.bytes > MAX_BYTES:
            found = f"holds more than {_megabytes(MAX_BYTES)}"
        else:
            return
        raise UserError(f"{self._what} {found}, which are no weights; give the files of one model alone")

    def check_room(self, folder: Path) -> None:
        """Raises a NoRoomError where the disk of `folder` has no room for what was counted."""
        free = shutil.disk_usage(folder).free
        if self.bytes > free:
            raise NoRoomError(
                f"{self._what} takes {_megabytes(self.bytes)}, and {folder} has {_megabytes(free)} left; give the job "
                "a larger volume"
            )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
