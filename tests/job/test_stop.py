import math
import os
import signal

import pytest

from sagemaker_object_detection.job import stop as stop_module
from sagemaker_object_detection.job.stop import NEVER, StoppedError, StopSignal


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stop_module, "time", clock)
    return clock


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_starts_the_countdown_and_a_second_changes_nothing(clock, number):
    with StopSignal() as stop:
        assert (stop.requested, stop.seconds_left) == (False, math.inf)
        os.kill(os.getpid(), number)
        assert (stop.requested, stop.seconds_left) == (True, 120.0)
        clock.now += 100
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.seconds_left == 20.0
        clock.now += 100
        assert stop.seconds_left == 0.0


def test_the_handlers_are_restored_even_after_an_error():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(ZeroDivisionError), StopSignal():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_what_an_outer_one_has_seen_is_handed_on_and_later_signals_change_nothing(clock):
    with StopSignal() as outer:
        with StopSignal() as inner:
            assert not inner.requested
        os.kill(os.getpid(), signal.SIGTERM)
        clock.now += 50
        os.kill(os.getpid(), signal.SIGINT)
        with StopSignal() as inner:
            assert (inner.requested, inner.seconds_left) == (True, 70.0)
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.seconds_left == 70.0
        os.kill(os.getpid(), signal.SIGTERM)
        assert outer.seconds_left == 70.0


def test_the_time_counts_from_the_signal_though_python_hears_of_it_later(clock):
    with StopSignal() as stop:
        before = signal.signal(signal.SIGTERM, lambda number, frame: None)  # as if its handler were not run
        os.kill(os.getpid(), signal.SIGTERM)
        while not stop.requested:
            pass
        clock.now += 100
        signal.signal(signal.SIGTERM, before)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.seconds_left == 20.0


def test_what_cannot_go_on_is_ended_by_a_stop_and_by_nothing_else():
    NEVER.check()
    with StopSignal() as stop:
        stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError):
            stop.check()
    assert not NEVER.requested
