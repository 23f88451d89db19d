"""Files that are whole or not there."""

import errno
import os
import threading
from pathlib import Path

import pytest

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving.whole_files import lines_to, whole_file, writing

REST = "expected a file that may be written, or a path where one can be made"


def test_lines_become_a_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lines"
    with lines_to("--output", path) as write:
        write("é")
        write("b")
        assert not path.exists()
    assert path.read_bytes() == "é\nb\n".encode()
    assert os.listdir(tmp_path / "new") == ["lines"]


@pytest.mark.parametrize("earlier", [None, "earlier"])
def test_what_fails_leaves_what_was_there(tmp_path: Path, earlier: str | None) -> None:
    path = tmp_path / "lines"
    if earlier:
        path.write_text(earlier)

    def interrupted() -> None:
        with lines_to("--output", path) as write:
            write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == ({"lines": earlier} if earlier else {})


def test_without_a_path_lines_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with lines_to("--output", None) as write:
        write("a")
        assert capsys.readouterr().out == "a\n"


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "file/in", "Not a directory"),
        (tmp_path / ("a" * 300), "File name too long"),
    ):
        with pytest.raises(UserError) as caught, lines_to("--output", path):
            pytest.fail("begins")
        assert str(caught.value) == f"--output: '{path}' cannot be written ({reason}); {REST}"


def test_what_the_block_raises_is_not_blamed_on_the_path(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="another"), whole_file("--output", tmp_path / "a"):
        raise PermissionError(errno.EACCES, "another")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE])
def test_a_full_disk_and_a_closed_pipe_are_not_blamed_on_the_path(number: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="reason") as caught, writing("--output", tmp_path):
        raise OSError(number, "reason")
    assert caught.value.errno == number


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "inner" / "file")
    with lines_to("--output", tmp_path / "link") as write:
        write("a")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "inner" / "file").read_text() == "a\n"


def test_a_pipe_is_written_itself(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    with lines_to("--output", pipe) as write:
        write("a")
    reader.join()
    assert read == ["a\n"]
    assert pipe.is_fifo()


def test_a_read_only_place_is_told_though_nothing_can_be_removed_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "open", fail)
    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(UserError) as caught, lines_to("--output", tmp_path / "a"):
        pytest.fail("begins")
    assert str(caught.value) == f"--output: '{tmp_path}/a' cannot be written (Read-only file system); {REST}"
