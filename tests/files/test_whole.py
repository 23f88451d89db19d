"""Files and folders that are whole or not there."""

import os
from pathlib import Path

import pytest

from sagemaker_object_detection.files.whole import whole_file, whole_folder, work_folder


def test_file_replaces_what_was_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with whole_file(path) as unfinished:
        unfinished.write_text("new")
        assert (unfinished.parent, path.read_text()) == (tmp_path, "old")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_link_under_the_other_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "file.unfinished").symlink_to(tmp_path / "target")
    with whole_file(tmp_path / "file", "file.unfinished") as unfinished:
        unfinished.write_text("new")
    assert ((tmp_path / "target").read_text(), (tmp_path / "file").read_text()) == ("kept", "new")
    assert not (tmp_path / "file").is_symlink()


def test_file_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def write() -> None:
        with whole_file(path, "a.json.part") as unfinished:
            assert unfinished == tmp_path / "a.json.part"
            unfinished.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert (os.listdir(tmp_path), path.read_text()) == (["a.json"], "old")


@pytest.mark.parametrize("exists", [False, True])
def test_folder_appears_or_is_filled(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "new/data"
    if exists:
        target.mkdir(parents=True)
        kept = target.stat().st_ino
    with whole_folder(target) as complete:
        (complete / "images").mkdir()
        (complete / "annotations.json").touch()
        assert not (target / "images").exists()
    assert sorted(os.listdir(target)) == ["annotations.json", "images"]
    assert os.listdir(tmp_path / "new") == ["data"]
    assert not exists or target.stat().st_ino == kept


@pytest.mark.parametrize("exists", [False, True])
def test_folder_that_fails_leaves_nothing_behind(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "new/data"
    if exists:
        target.mkdir(parents=True)

    def write() -> None:
        with whole_folder(target) as complete:
            (complete / "images").mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert os.listdir(tmp_path) == (["new"] if exists else [])
    assert not exists or os.listdir(target) == []


def test_work_folder_removes_what_killed_processes_left(tmp_path: Path) -> None:
    for name, age in (("old", 100), ("young", 10)):
        (tmp_path / f".work-{name}").mkdir()
        os.utime(tmp_path / f".work-{name}", times=(os.stat(tmp_path).st_mtime - age,) * 2)
    with work_folder(tmp_path, ".work-", abandoned=50.0) as work:
        assert sorted(os.listdir(tmp_path)) == sorted([".work-young", work.name])
    assert os.listdir(tmp_path) == [".work-young"]
