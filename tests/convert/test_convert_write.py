"""A conversion that does not come to its end leaves nothing behind."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
from written_sets import PROGRAM, WRITERS, converted, expected, read_back, snapshot, write_coco

from sagemaker_object_detection.convert import convert, write


@pytest.fixture
def source(tmp_path):
    return write_coco(tmp_path / "source")


def run(capsys, arguments, target):
    """Exit code, stdout, stderr."""
    code = PROGRAM.main([*arguments, "--to", str(target)])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_signal_at_any_image_leaves_nothing(number, at, source, tmp_path, capsys, monkeypatch):
    calls = []

    def link(one, other):
        calls.append(other)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return original(one, other)

    original = os.link
    monkeypatch.setattr(os, "link", link)
    before = snapshot(tmp_path)
    handler = signal.getsignal(number)
    assert run(capsys, source, tmp_path / "job/input/training") == (130, "", "")
    assert len(calls) == at
    assert snapshot(tmp_path) == before
    assert signal.getsignal(number) == handler


def test_ctrl_c_while_the_source_is_read_ends_quietly(source, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "check", interrupted)
    assert run(capsys, source, tmp_path / "new") == (130, "", "")
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_the_machines_fault_and_leaves_nothing(source, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    before = snapshot(tmp_path)
    code, out, err = run(capsys, [*source, "--copy"], tmp_path / "job/training")
    assert (code, out) == (3, "")
    assert err.startswith("PlatformError: the disk is full")
    assert snapshot(tmp_path) == before


def test_what_cannot_be_linked_is_copied(source, tmp_path, capsys, monkeypatch):
    def elsewhere(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", elsewhere)
    assert converted(capsys, source, tmp_path / "new")[-1] == "images copied: 3"
    assert read_back(tmp_path / "new") == expected()


def test_an_image_that_is_gone_meanwhile_is_told_and_nothing_is_left(source, tmp_path, capsys, monkeypatch):
    def gone(*_):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a.jpg")

    monkeypatch.setattr(shutil, "copyfile", gone)
    before = snapshot(tmp_path)
    assert run(capsys, [*source, "--copy"], tmp_path / "new") == (
        2,
        "",
        f"UserError: --to: {tmp_path}/new cannot be written (a.jpg: No such file or directory). Name a folder in a "
        "place that may be written to, and let every image be readable.\n",
    )
    assert snapshot(tmp_path) == before


def test_a_fault_of_ours_is_shown_with_its_place_and_leaves_nothing(source, tmp_path, capsys, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(write, "_place", broken)
    before = snapshot(tmp_path)
    code, out, err = run(capsys, source, tmp_path / "job/new")
    assert (code, out) == (1, "")
    assert err.startswith("Traceback")
    assert "AlgorithmError: ZeroDivisionError" in err
    assert snapshot(tmp_path) == before


def test_a_folder_that_holds_something_is_refused_before_anything_is_read(tmp_path, capsys):
    arguments = ["coco", "nowhere.json", "--images", "nowhere"]
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    for target in (tmp_path, tmp_path / "file", tmp_path / "link"):
        assert run(capsys, arguments, target) == (
            2,
            "",
            f"UserError: --to: {target} exists and is not an empty folder. Name a new one.\n",
        )


def test_an_empty_folder_becomes_the_data_set(source, tmp_path, capsys, monkeypatch):
    (tmp_path / "here").mkdir()
    converted(capsys, source, tmp_path / "here")
    assert read_back(tmp_path / "here") == expected()
    monkeypatch.chdir(tmp_path)
    assert PROGRAM.main([*source, "--to", "relative"]) == 0
    assert read_back(tmp_path / "relative") == expected()


def test_a_place_that_cannot_be_written_is_told(source, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(capsys, source, tmp_path / "file/new") == (
        2,
        "",
        f"UserError: --to: {tmp_path}/file/new cannot be written ({tmp_path}/file/new: Not a directory). Name a folder "
        "in a place that may be written to, and let every image be readable.\n",
    )


def test_the_folders_get_the_modes_that_new_ones_get(source, tmp_path, capsys):
    (tmp_path / "usual").mkdir()
    converted(capsys, source, tmp_path / "new")
    for folder in ("new", "new/images", "new/images/sub"):
        assert (tmp_path / folder).stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_reader_who_goes_away_is_no_fault(source, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, PROGRAM.__file__, *source, "--to", str(tmp_path / "new")],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert read_back(tmp_path / "new") == expected()


def test_names_that_the_terminal_has_no_letters_for_are_no_fault(tmp_path):
    arguments = write_coco(tmp_path / "source", names=("白", "dog"))
    done = subprocess.run(
        [sys.executable, PROGRAM.__file__, *arguments, "--to", str(tmp_path / "new")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\nclasses: \\u767d (id 7) 1, dog (id 14) 2\n" in done.stdout
    assert read_back(tmp_path / "new") == expected(names=("白", "dog"))


@pytest.mark.parametrize("target", ["", "."])
def test_the_current_folder_is_not_replaced(target, source, tmp_path, capsys, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, said, complaint = run(capsys, source, target)
    assert (code, said, complaint) == (2, "", "UserError: --to: is empty, or the current folder. Name a new one.\n")
    assert os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_into_the_source(name, tmp_path, capsys):
    arguments = WRITERS[name](tmp_path)
    images = {"voc": "JPEGImages", "yolo": "images", "labelme": "sub"}.get(name, "pictures")
    source = "" if name == "labelme" else f"/{images}"
    before = snapshot(tmp_path)
    code, said, complaint = run(capsys, arguments, tmp_path / images / "sub/new")
    assert (code, said) == (2, "")
    assert complaint == (
        f"UserError: --to: {tmp_path}/{images}/sub/new lies in {tmp_path}{source}, which is not to be changed. Name "
        "one elsewhere.\n"
    )
    assert snapshot(tmp_path) == before
