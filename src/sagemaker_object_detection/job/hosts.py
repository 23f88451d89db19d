"""Waiting for the other hosts of a job: they do not all start at the same moment, and one may never come.

TensorFlow waits for them as well, but deaf to every signal, and it does not say for whom. So the hosts meet here first.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job.stop import NEVER, StopSignal

log = logging.getLogger(__name__)

HOST_SECONDS = 300.0
"""How long the hosts of a job are waited for; SageMaker starts them within seconds of each other."""
_PAUSE_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
"""How long a host is asked before the next one is: a name may have an address where nothing answers yet."""


def await_hosts(
    hosts: Iterable[str], reach: Callable[[str], Any] = socket.gethostbyname, stop: StopSignal = NEVER
) -> None:
    """Wait until every host has been reached once.

    Args:
        reach: raises an OSError where a host is not there; by default, where its name has no address.

    Raises:
        PlatformError: for each host that was not reached in `HOST_SECONDS`.
        StoppedError: `stop` was requested before.
    """
    deadline = time.monotonic() + HOST_SECONDS
    missing, said = list(hosts), False
    while True:
        obstacles: dict[str, OSError] = {}
        for host in missing:
            stop.check()
            try:
                reach(host)
            except OSError as error:
                obstacles[host] = error
        missing = list(obstacles)
        if not missing:
            return
        if time.monotonic() > deadline:
            raise PlatformError([_sentence(host, error) for host, error in obstacles.items()])
        if not said:
            log.info("Waiting for host%s %s.", "" if len(missing) == 1 else "s", ", ".join(missing))
            said = True
        time.sleep(_PAUSE_SECONDS)


def meet(addresses: Sequence[str], own: str, stop: StopSignal) -> None:
    """Wait until every host of the job has come as far as this one.

    Each listens on its own port and connects to those of the others. A host that has met all of them gives its port to
    TensorFlow, which answers there in its stead: for a moment nobody does, so whoever is refused asks again.

    Args:
        addresses: "name:port" of every host.
        own: which of them is this one.

    Raises:
        PlatformError: for each host that did not come in `HOST_SECONDS`, or this one's port cannot be opened.
        StoppedError: `stop` was requested before.
    """
    both = socket.has_dualstack_ipv6()
    try:
        # Connections need not be accepted: the operating system makes them. None of them outlives the socket, so that
        # the port is free at once.
        listener = socket.create_server(
            ("", _split(own)[1]), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=128
        )
    except OSError as error:
        raise PlatformError(
            f"host {own}: its port, where the hosts of a job speak with each other, cannot be opened "
            f"({_reason(error)}); start the job again"
        ) from None
    with listener:
        others = [address for address in addresses if address != own]
        await_hosts(others, lambda other: socket.create_connection(_split(other), _CONNECT_SECONDS).close(), stop)


def _split(address: str) -> tuple[str, int]:
    name, _, port = address.rpartition(":")
    return name, int(port)


def _sentence(host: str, error: OSError) -> str:
    problem = "its name has no address" if isinstance(error, socket.gaierror) else "does not answer"
    return (
        f"host {host}: {problem} after {HOST_SECONDS:.0f} seconds ({_reason(error)}); start the job again, and look at "
        "that host's log if it happens again"
    )


def _reason(error: OSError) -> str:
    # Python adds the address to some of them, and a name that has none counts from -1 downwards.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
