"""What bounds a fetch, on both sides of every bound, by a clock that a test sets."""

import logging
import shutil
from types import SimpleNamespace

import pytest
from made_weights import bounded

from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.job.stop import NEVER
from sagemaker_object_detection.weights import bounds
from sagemaker_object_detection.weights.bounds import Tally, Transfer, TransferProgress


@pytest.fixture(autouse=True)
def _small():
    with bounded(MAX_ENTRIES=2, MAX_BYTES=2_000_000, TOTAL_SECONDS=120.0):
        yield


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(bounds, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def progress(total=None):
    return TransferProgress(Transfer("origin", NEVER, "do without"), "s3://bucket/key", total)


def test_progress_is_told_every_half_minute_at_most(clock, caplog):
    caplog.set_level(logging.INFO, bounds.__name__)
    arrived = progress(total=2_000_000)
    for clock.now in (1001.0, 1030.0, 1031.0, 1032.0, 1061.0, 1062.0):
        arrived(100_000)
    assert caplog.messages == [
        "Fetching s3://bucket/key (2.0 MB).",
        "Fetching s3://bucket/key: 0.3 MB of 2.0 MB.",
        "Fetching s3://bucket/key: 0.6 MB of 2.0 MB.",
    ]


def test_fetch_may_take_all_of_its_time_and_no_longer(clock):
    arrived = progress()
    for clock.now in (1060.0, 1120.0):
        arrived(1)
    clock.now = 1120.5
    with pytest.raises(PlatformError, match=r"^origin: only 0\.0 MB have arrived in 2 minutes; start again, or do wi"):
        arrived(1)


def test_as_much_may_arrive_as_weights_can_be_and_no_more(clock):
    arrived = progress()
    arrived(2_000_000)
    arrived(-1)  # to be fetched again
    arrived(1)
    with pytest.raises(UserError, match=r"^origin: more than 2\.0 MB have arrived, which are no weights; check the"):
        arrived(1)


@pytest.mark.parametrize(
    ("sizes", "fault"),
    [
        ([0, 0], ""),
        ([0, 0, 0], "what holds more than 2 files and folders, which are no weights"),
        ([1_000_000, 1_000_000], ""),
        ([1_000_000, 1_000_001], r"what holds more than 2\.0 MB, which are no weights"),
    ],
)
def test_files_are_counted_and_added_up(sizes, fault):
    tally = Tally("what")
    for size in sizes[:-1]:
        tally.add(size)
    if not fault:
        tally.add(sizes[-1])
        return
    with pytest.raises(UserError, match=f"^{fault}; give the files of one model alone$"):
        tally.add(sizes[-1])


def test_disk_may_be_filled_to_its_last_byte(tmp_path, monkeypatch):
    tally = Tally("what")
    tally.add(1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    tally.check_room(tmp_path)
    tally.add(1)
    with pytest.raises(PlatformError, match=r"^what takes 1\.0 MB, and .* has 1\.0 MB left; give the job a larger vol"):
        tally.check_room(tmp_path)
