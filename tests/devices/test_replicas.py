"""What a host settles with the others before it trains; tests/e2e/test_hosts.py lets two of them do it."""

import socket

import pytest
import tensorflow as tf
from conftest import requested_stop

from sagemaker_object_detection.devices import replicas
from sagemaker_object_detection.devices.replicas import Replicas, find_replicas
from sagemaker_object_detection.errors import PlatformError
from sagemaker_object_detection.job.stop import StoppedError

STOP = requested_stop()


def test_a_single_host_looks_for_nobody_not_even_itself(monkeypatch):
    def refuse(*arguments, **named):
        raise AssertionError(arguments)

    for name in ("getaddrinfo", "gethostbyname", "create_server", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    found = find_replicas(["algo-1"], "algo-1")
    assert (found.hosts, found.host, found.is_chief) == (1, 0, True)


def test_stop_before_meeting_leaves_the_others_alone():
    with pytest.raises(StoppedError):
        find_replicas(["algo-1", "algo-2"], "algo-1", STOP)
    assert find_replicas(["algo-1"], "algo-1", STOP).hosts == 1


def test_the_hosts_meet_where_they_will_speak_and_a_stop_ends_that(monkeypatch, caplog):
    met = []

    def meet(addresses, own, stop):
        met.append((addresses, own, stop))
        stop.check()

    monkeypatch.setattr(replicas, "meet", meet)
    with caplog.at_level("INFO"), pytest.raises(StoppedError):
        find_replicas(["algo-1", "algo-2:77"], "algo-2:77", STOP)
    assert met == [(["algo-1:8890", "algo-2:77"], "algo-2:77", STOP)]
    assert caplog.messages == ["Host 2 of 2 (algo-2:77)."]


@pytest.mark.parametrize("error", [tf.errors.UnavailableError, tf.errors.AbortedError])
def test_a_host_that_leaves_while_the_detector_is_made_is_to_blame(error):
    with pytest.raises(PlatformError) as caught, Replicas(tf.distribute.get_strategy(), hosts=2).scope():
        raise error(None, None, "Socket closed")
    assert str(caught.value) == (
        "another host of this job is gone, and the rest cannot train on without it; its own log says why: start the "
        "job again"
    )


def test_where_there_is_no_other_host_none_is_blamed():
    with pytest.raises(tf.errors.UnavailableError), Replicas(tf.distribute.get_strategy()).scope():
        raise tf.errors.UnavailableError(None, None, "Socket closed")
