"""Two jobs on one root notice each other; what the command makes of it is in test_command_line.py."""

import errno
import fcntl
import os

import pytest

from sagemaker_object_detection.job.claim import RootError, claimed
from sagemaker_object_detection.job.paths import Paths


def test_a_root_is_claimed_once_at_a_time(tmp_path):
    (tmp_path / "input").mkdir()
    with claimed(Paths(tmp_path)):
        with pytest.raises(RootError, match="another process runs a job there"), claimed(Paths(tmp_path)):
            pass
        before = os.listdir(tmp_path)
    assert before == ["input"]
    with claimed(Paths(tmp_path)):
        pass


def test_a_file_system_without_locks_keeps_no_job_from_its_root(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / "input").mkdir()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with claimed(Paths(tmp_path)):
        pass
