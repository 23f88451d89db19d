"""What is no file is refused before it is opened."""

import os
from pathlib import Path

import pytest

from sagemaker_object_detection.files.regular import SpecialFileError, TooLargeFileError, is_folder, read_regular


def test_pipe_and_device_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "pipe"), (Path("/dev/null"), "device")):
        with pytest.raises(SpecialFileError) as raised:
            read_regular(path)
        assert raised.value.strerror == f"Is a {kind}"
        with pytest.raises(SpecialFileError):
            is_folder(path)


def test_folder_and_nothing_are_the_systems_own_errors(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "missing")
    assert is_folder(tmp_path)


def test_limit_is_the_largest_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert read_regular(tmp_path / "file", limit=4) == b"1234"
    with pytest.raises(TooLargeFileError, match="Has 4 bytes, and at most 3 are read"):
        read_regular(tmp_path / "file", limit=3)


def test_limit_holds_for_a_file_that_says_that_it_is_empty() -> None:
    assert Path("/proc/self/maps").stat().st_size == 0
    with pytest.raises(TooLargeFileError, match="and at most 10 are read"):
        read_regular(Path("/proc/self/maps"), 10)
