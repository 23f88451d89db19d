import errno
import os
import tempfile
from pathlib import Path

import pytest

from sagemaker_object_detection.errors import AlgorithmError, PlatformError, ScriptError, UserError
from sagemaker_object_detection.job.failure import MAX_CHARACTERS, exit_code, failure_text, write_failure
from sagemaker_object_detection.job.paths import Paths, prepare_outputs


def os_error(number):
    return OSError(number, os.strerror(number), "/opt/ml/model/x")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x"), 2),
        (AlgorithmError("x"), 1),
        (PlatformError("x"), 3),
        (ValueError("x"), 1),
        (KeyboardInterrupt(), 1),
        (FileNotFoundError("x"), 1),
        (os_error(errno.ENOENT), 1),
        (MemoryError(), 3),
        *[(os_error(number), 3) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)],
        # what TensorFlow 2.21's ResourceExhaustedError says when it writes to /dev/full
        (RuntimeError("{{function_node WriteFile}} /dev/full; No space left on device [Op:WriteFile]"), 3),
    ],
)
def test_the_exit_code_tells_whose_fault_it_is(error, code):
    assert exit_code(error) == code


def test_the_users_mistakes_are_listed_without_a_trace():
    assert failure_text(UserError("epochs: wrong")) == "UserError: epochs: wrong"
    assert failure_text(UserError(["one", "two"])) == "UserError: 1 of 2: one\n2 of 2: two"


def test_a_special_kind_of_user_error_is_still_called_one():
    class DataError(UserError):
        pass

    assert failure_text(DataError("bad box")) == "UserError: bad box"


def test_an_error_of_a_traced_function_gives_its_cause_and_not_its_trace():
    error = AttributeError("in user code:\n\n    File x.py, line 1\n\n    AttributeError: no such thing\n")
    assert failure_text(error).splitlines()[0] == "AlgorithmError: AttributeError: AttributeError: no such thing"


def test_a_fault_of_the_platform_says_what_to_do():
    assert failure_text(os_error(errno.ENOSPC)) == (
        "PlatformError: the disk is full: give the job a larger volume (volume_size)\n"
        "OSError: [Errno 28] No space left on device: '/opt/ml/model/x'"
    )
    assert failure_text(MemoryError()) == (
        "PlatformError: the machine's memory is full: choose an instance type with more\nMemoryError: no message"
    )


def test_a_machine_without_a_folder_for_temporary_files_is_to_blame(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])
    with pytest.raises(FileNotFoundError) as raised:
        tempfile.mkdtemp()
    assert exit_code(raised.value) == 3
    first, _ = failure_text(raised.value).splitlines()
    assert first == (
        "PlatformError: no folder for temporary files can be written to: mount one, as docker run does with "
        "--tmpfs /tmp"
    )


def test_a_fault_of_ours_begins_with_its_cause_and_ends_with_a_short_trace():
    def fail(depth):
        if depth:
            fail(depth - 1)
        raise ValueError("shapes differ\nand a second line")

    with pytest.raises(ValueError, match="shapes differ") as caught:
        fail(9)
    lines = failure_text(caught.value).splitlines()
    assert lines[:2] == [
        "AlgorithmError: ValueError: shapes differ",
        "This is a fault of the container: please report it with the log.",
    ]
    assert len(lines) == 5
    assert all(line.startswith(__file__) and line.endswith(" in fail") for line in lines[2:])


@pytest.mark.parametrize("length", [10, 100, 1000, 5000])
def test_a_long_list_is_cut_between_problems_and_says_how_many_are_missing(length):
    text = failure_text(UserError([f"{number:03} {'é' * length}" for number in range(400)]))
    lines = text.splitlines()
    assert len(text) <= MAX_CHARACTERS
    assert lines[0].startswith("UserError: 1 of 400: 000 ééé")
    assert lines[-1] == f"... and {400 - (len(lines) - 1)} more. The log lists them all."
    if length < 900:
        for number, line in enumerate(lines[1:-1], 2):
            assert line == f"{number} of 400: {number - 1:03} {'é' * length}"


def test_a_list_that_just_fits_is_not_cut():
    sentences = ["a" * 400, "b" * (MAX_CHARACTERS - len("UserError: 1 of 2: \n2 of 2: ") - 400)]
    assert failure_text(UserError(sentences)) == f"UserError: 1 of 2: {sentences[0]}\n2 of 2: {sentences[1]}"


@pytest.mark.parametrize("error", [UserError("x" * 9999), AlgorithmError("x" * 9999), ValueError("x" * 9999)])
def test_a_long_sentence_is_cut(error):
    text = failure_text(error)
    assert len(text) <= MAX_CHARACTERS
    assert "xxx... (the rest is in the log)" in text


def test_the_file_is_whole_utf8_and_nothing_else_is_left(tmp_path):
    paths = Paths(tmp_path)
    write_failure(paths.failure, UserError("bild-ü-\udcff.png " + "界" * 2000))
    text = paths.failure.read_bytes().decode()
    assert text.startswith("UserError: bild-ü-\\udcff.png 界")
    assert len(text) == MAX_CHARACTERS
    assert os.listdir(paths.failure.parent) == ["failure"]


@pytest.mark.parametrize(
    "error",
    [
        UserError("界" * 9999),
        UserError(["界" * 300] * 99),
        PlatformError("界" * 9999),
        AlgorithmError("界" * 9999),
        ValueError("界" * 9999),
        OSError(errno.ENOSPC, "界" * 9999),
        ScriptError("界" * 9999, 1),
        ScriptError("It failed.", 1, cause=["界" * 300] * 99, trace=["界" * 300] * 99),
    ],
)
def test_the_file_and_the_platforms_prefix_fit_into_what_sagemaker_shows(tmp_path, error):
    write_failure(Paths(tmp_path).failure, error)
    text = (tmp_path / "output/failure").read_bytes().decode()
    assert 200 < len(text) <= 1024 - 64  # characters, of any number of bytes


def test_a_disk_that_fills_up_leaves_no_half_of_the_file(tmp_path, monkeypatch, caplog):
    def write_half(path, data):
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise os_error(errno.ENOSPC)

    monkeypatch.setattr(Path, "write_bytes", write_half)
    write_failure(Paths(tmp_path).failure, UserError("x" * 100))
    assert not (tmp_path / "output/failure").exists()
    assert caplog.messages == [f"cannot write {tmp_path}/output/failure: No space left on device"]


def test_preparing_a_run_removes_the_failure_file_of_an_earlier_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: 0)
    write_failure(Paths(tmp_path).failure, UserError("x"))
    prepare_outputs(Paths(tmp_path))
    assert list((tmp_path / "output").iterdir()) == [tmp_path / "output/data"]


def test_a_failure_file_that_cannot_be_written_is_only_logged(tmp_path, caplog):
    (tmp_path / "output").touch()
    write_failure(Paths(tmp_path).failure, UserError("x"))
    assert caplog.messages == [f"cannot write {tmp_path}/output/failure: File exists"]
