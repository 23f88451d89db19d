"""Waiting for the other hosts of a job."""

import socket

import pytest
from conftest import StopWhen

from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job import hosts
from sagemaker_object_detection.job.hosts import HOST_SECONDS, await_hosts, meet
from sagemaker_object_detection.job.stop import NEVER, StoppedError

UNKNOWN = socket.gaierror(-2, "Name or service not known")
REFUSED = ConnectionRefusedError(111, "Connection refused")


class Clock:
    """Time that passes while somebody sleeps, and in no other way."""

    def __init__(self):
        self.now = 0.0
        self.while_asleep = lambda: None

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.while_asleep()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(hosts, "time", clock)
    return clock


def absent(error):
    def reach(host):
        raise error

    return reach


def test_hosts_are_waited_for_until_all_are_reached(caplog, clock):
    missing = {"algo-2": 2, "algo-3": 1}
    reached = []

    def reach(host):
        if missing.get(host, 0):
            missing[host] -= 1
            raise UNKNOWN
        reached.append(host)

    with caplog.at_level("INFO"):
        await_hosts(["algo-1", "algo-2", "algo-3"], reach)
    assert caplog.messages == ["Waiting for hosts algo-2, algo-3."]
    assert (reached, clock.now) == (["algo-1", "algo-3", "algo-2"], 2.0)


def test_nobody_speaks_of_waiting_where_all_are_there(caplog):
    with caplog.at_level("INFO"):
        await_hosts(["algo-1"], lambda host: None)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (UNKNOWN, "its name has no address after 300 seconds (Name or service not known)"),
        (REFUSED, "does not answer after 300 seconds (Connection refused)"),
        (TimeoutError("timed out"), "does not answer after 300 seconds (timed out)"),
    ],
)
def test_a_host_that_never_comes_is_the_platforms_fault(caplog, clock, error, problem):
    with caplog.at_level("INFO"), pytest.raises(PlatformError) as caught:
        await_hosts(["algo-1"], absent(error))
    assert str(caught.value) == (
        f"host algo-1: {problem}; start the job again, and look at that host's log if it happens again"
    )
    assert HOST_SECONDS < clock.now < HOST_SECONDS + 5
    assert caplog.messages == ["Waiting for host algo-1."]


def test_every_host_that_never_came_is_named_and_no_other(clock):

    def reach(host):
        if host != "algo-2":
            raise REFUSED

    with pytest.raises(PlatformError) as caught:
        await_hosts(["algo-1", "algo-2", "algo-3"], reach)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["host algo-1", "host algo-3"]


def test_a_stop_ends_the_waiting(clock):
    with pytest.raises(StoppedError):
        await_hosts(["a", "b"], absent(REFUSED), StopWhen(lambda: clock.now >= 3))
    assert clock.now == 3


def test_by_default_a_host_is_there_when_its_name_has_an_address():
    await_hosts(["127.0.0.1"])


# Real sockets


def free_port():
    with socket.socket() as opened:
        opened.bind(("", 0))
        return opened.getsockname()[1]


def test_hosts_meet_when_both_listen_and_the_port_is_free_for_tensorflow_at_once(clock):
    port = free_port()
    own = f"127.0.0.1:{port}"
    with socket.socket() as peer:  # has its port, and does not answer before it listens
        peer.bind(("127.0.0.1", 0))
        other = f"127.0.0.1:{peer.getsockname()[1]}"

        def while_asleep():
            socket.create_connection(("127.0.0.1", port), timeout=10).close()  # as the peer does
            peer.listen()

        clock.while_asleep = while_asleep
        meet([own, other], own, NEVER)
        assert clock.now == 1.0
        socket.create_server(("127.0.0.1", port)).close()


def test_a_stop_ends_the_meeting_and_frees_the_port(clock):
    port = free_port()
    own = f"127.0.0.1:{port}"
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        other = f"127.0.0.1:{peer.getsockname()[1]}"
        with pytest.raises(StoppedError):
            meet([own, other], own, StopWhen(lambda: clock.now >= 1))
    socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_somebody_else_has():
    with socket.create_server(("", 0)) as taken:
        own = f"algo-1:{taken.getsockname()[1]}"
        with pytest.raises(PlatformError) as caught:
            meet([own, "algo-2:1"], own, NEVER)
    assert str(caught.value) == (
        f"host {own}: its port, where the hosts of a job speak with each other, cannot be opened (Address already in "
        "use); start the job again"
    )


def test_a_machine_without_version_6_of_the_internet_protocol(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    own = f"127.0.0.1:{free_port()}"
    meet([own], own, NEVER)
