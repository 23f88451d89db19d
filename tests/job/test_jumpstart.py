"""AWS's own training script is told from every other one, by any of the clients that start it."""

import io
import json
import os
import tarfile

import pytest
from conftest import write_job

from sagemaker_object_detection.check import check
from sagemaker_object_detection.job import jumpstart
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths

PROGRAM = "transfer_learning.py"
BUCKET = "s3://jumpstart-cache-prod-eu-west-1"
KEY = "source-directory-tarballs/tensorflow/transfer_learning/od1/v2.0.1/sourcedir.tar.gz"
IN_THE_CHANNEL = "/opt/ml/input/data/code/sourcedir.tar.gz"
SAID = (
    "JumpStart's transfer_learning.py, the training script of the built-in Object Detection - TensorFlow, is not run: "
    "this container trains in its place, with the job's hyperparameters and channels. Nothing of it is fetched"
)


def archive(path, *names):
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as opened:
        for name in names:
            opened.addfile(tarfile.TarInfo(name), io.BytesIO())


def read(root, program, source):
    """The script a job is read to have, and what is noted, from values as an SDK quotes them."""
    names = {"sagemaker_program": program, "sagemaker_submit_directory": source}
    write_job(root, {name: json.dumps(text) for name, text in names.items() if text is not None})
    job = read_job(Paths(root))
    return job.script, job.notes


@pytest.mark.parametrize(
    "source",
    [
        f"{BUCKET}/{KEY}",
        f"s3://jumpstart-cache-prod-cn-north-1/{KEY}",
        f"s3://jumpstart-private-cache-prod-us-gov-west-1/{KEY}",
        f"s3://jumpstart-cache-alpha-us-west-2/{KEY}",
        f"{BUCKET}/source-directory-tarballs/tensorflow/transfer_learning/od1/prepack/v1.0.0/sourcedir.tar.gz",
    ],
)
def test_its_address_tells_it(tmp_path, source):
    assert read(tmp_path, PROGRAM, source) == (None, (SAID,))


@pytest.mark.parametrize(
    ("program", "source"),
    [
        ("train.py", f"{BUCKET}/{KEY}"),
        ("code/transfer_learning.py", f"{BUCKET}/{KEY}"),
        (PROGRAM, f"s3://mine/{KEY}"),
        (PROGRAM, f"s3://not-jumpstart-cache-prod-eu-west-1/{KEY}"),
        (PROGRAM, f"{BUCKET}/{KEY.replace('od1', 'ic')}"),
        (PROGRAM, f"{BUCKET}/{KEY.replace('tensorflow', 'pytorch')}"),
        (PROGRAM, f"{BUCKET}/{KEY.replace('transfer_learning', 'inference')}"),
        (PROGRAM, "s3://mine/job/source/sourcedir.tar.gz"),
        (PROGRAM, "file:///home/me/script"),
        (PROGRAM, None),
    ],
)
def test_anything_else_is_a_script_of_the_jobs_own(tmp_path, program, source):
    assert read(tmp_path, program, source) == (program, ())


def test_under_network_isolation_the_archive_tells_it(tmp_path):
    archive(tmp_path / "input/data/code/sourcedir.tar.gz", "./transfer_learning.py", "object_detection/__init__.py")
    assert read(tmp_path, PROGRAM, IN_THE_CHANNEL) == (None, (SAID,))


@pytest.mark.parametrize("names", [["transfer_learning.py"], ["object_detection/x.py"], ["a/transfer_learning.py"], []])
def test_another_archive_in_that_place_is_a_script_of_the_jobs_own(tmp_path, names):
    archive(tmp_path / "input/data/code/sourcedir.tar.gz", *names)
    assert read(tmp_path, PROGRAM, IN_THE_CHANNEL) == (PROGRAM, ())


def test_code_that_is_unpacked_tells_it_too(tmp_path):
    (tmp_path / "input/data/code/object_detection").mkdir(parents=True)
    (tmp_path / f"input/data/code/{PROGRAM}").touch()
    assert read(tmp_path, f"./{PROGRAM}", "/opt/ml/input/data/code") == (None, (SAID,))


@pytest.mark.parametrize(
    ("headers", "size"), [({}, 10_000), ({"comment": "x" * 10_000}, 0)], ids=["a member", "a header"]
)
def test_an_archive_that_unpacks_to_too_much_is_not_read_on(tmp_path, monkeypatch, headers, size):
    place = tmp_path / "input/data/code/sourcedir.tar.gz"
    place.parent.mkdir(parents=True)
    with tarfile.open(place, "w:gz", format=tarfile.PAX_FORMAT) as opened:
        for name in (PROGRAM, "object_detection/x.py"):
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = size, headers
            opened.addfile(member, io.BytesIO(bytes(size)))
    assert read(tmp_path, PROGRAM, IN_THE_CHANNEL) == (None, (SAID,))
    monkeypatch.setattr(jumpstart, "_MOST_BYTES", 9_000)
    assert read(tmp_path, PROGRAM, IN_THE_CHANNEL) == (PROGRAM, ())


def test_no_pipe_in_its_place_is_waited_for(tmp_path):
    for name in ("code/sourcedir.tar.gz", "sm_drivers/sourcecode.json"):
        (tmp_path / "input/data" / name).parent.mkdir(parents=True)
        os.mkfifo(tmp_path / "input/data" / name)
    assert read(tmp_path, PROGRAM, IN_THE_CHANNEL) == (PROGRAM, ())
    assert read(tmp_path, None, None) == (None, ())


@pytest.mark.parametrize("source", [f"/opt/ml/{'a' * 300}", "/opt/ml/loop"])
def test_a_source_that_cannot_be_looked_at_is_left_to_script_mode(tmp_path, source):
    (tmp_path / "loop").symlink_to("loop")
    assert read(tmp_path, PROGRAM, source) == (PROGRAM, ())


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(range(256)) * 64])
def test_what_is_no_archive_is_left_to_script_mode(tmp_path, content):
    (tmp_path / "input/data/code").mkdir(parents=True)
    (tmp_path / "input/data/code/sourcedir.tar.gz").write_bytes(content)
    assert read(tmp_path, PROGRAM, IN_THE_CHANNEL) == (PROGRAM, ())


def source_of_v3(root, **described):
    folder = root / "input/data/sm_drivers"
    folder.mkdir(parents=True)
    (folder / "sourcecode.json").write_text(json.dumps(described))


def test_a_job_of_the_sdks_v3_says_in_a_file_what_it_runs(tmp_path):
    source_of_v3(tmp_path, source_dir=f"{BUCKET}/{KEY}", entry_script=PROGRAM, command=None)
    write_job(tmp_path, {"epochs": "1"})
    assert read_job(Paths(tmp_path)).notes == (SAID,)


def test_a_command_of_v3_names_it_as_well(tmp_path):
    source_of_v3(tmp_path, source_dir=f"{BUCKET}/{KEY}", entry_script=None, command=f"python {PROGRAM} --epochs 1")
    write_job(tmp_path, {"epochs": "1"})
    assert read_job(Paths(tmp_path)).notes == (SAID,)


@pytest.mark.parametrize(
    "described", [{}, {"source_dir": None, "entry_script": None}, {"source_dir": "code", "entry_script": "train.py"}]
)
def test_another_job_of_v3_has_nothing_to_say(tmp_path, described):
    source_of_v3(tmp_path, **described)
    write_job(tmp_path, {"epochs": "1"})
    assert read_job(Paths(tmp_path)).notes == ()


def test_the_environment_names_a_script_as_well(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "mine.py")
    assert read(tmp_path, None, None) == ("mine.py", ())
    monkeypatch.setenv("SAGEMAKER_PROGRAM", PROGRAM)
    monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", f"{BUCKET}/{KEY}")
    assert read(tmp_path, None, None) == (None, (SAID,))


def test_such_a_job_is_checked_like_any_other(tmp_path):
    values = {"sagemaker_program": PROGRAM, "sagemaker_submit_directory": f"{BUCKET}/{KEY}", "epochs": "many"}
    write_job(tmp_path, {name: json.dumps(text) for name, text in values.items()})
    found = check(Paths(tmp_path))
    assert SAID in found.notes
    assert any(problem.startswith("epochs: got") for problem in found.problems)
