"""The verbs that need no model: what they print, and what they answer to nonsense."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run, run_verb, write_job

from sagemaker_object_detection.describe import describe_json, describe_markdown

# The command, with a stand-in for what a verb does, and with signals that arrive while a module is being imported.
COMMAND = """
import os, runpy, signal, sys, types

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == {moment!r}:
            for number in {signals}:
                os.kill(os.getpid(), number)

stand_in = types.ModuleType({module!r})
exec({source!r}, stand_in.__dict__)
sys.modules[{module!r}] = stand_in
sys.meta_path.insert(0, Strike())
runpy.run_module("sagemaker_object_detection", run_name="__main__", alter_sys=True)
"""


def run_stand_in(verb: str, source: str, *arguments: object, moment: str = "", signals: tuple[int, ...] = ()) -> Run:
    module = f"sagemaker_object_detection.{verb}"
    command = COMMAND.format(moment=moment, signals=[int(number) for number in signals], module=module, source=source)
    done = subprocess.run(
        [sys.executable, "-c", command, verb, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(Path("/nonexistent"), done.returncode, done.stdout, done.stderr)


WAITS_FOR_A_STOP = """
from sagemaker_object_detection.job.stop import StopSignal
def train(paths):
    with StopSignal() as stop:
        print(stop.requested, 60 < stop.seconds_left <= 120)
"""


@pytest.mark.parametrize(
    "signals", [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM, signal.SIGINT)]
)
def test_a_signal_that_comes_before_anything_is_imported_stops_the_job(tmp_path, signals):
    done = run_stand_in("train", WAITS_FOR_A_STOP, "--root", tmp_path, moment="argparse", signals=signals)
    assert (done.code, done.output, done.errors) == (0, "True True\n", "")


def test_a_signal_that_comes_when_the_job_is_over_does_not_hurt(tmp_path):
    source = "import os\ndef train(paths):\n    os.kill(os.getpid(), 15)\n    print('saved')\n"
    done = run_stand_in("train", source, "--root", tmp_path)
    assert (done.code, done.output, done.errors) == (0, "saved\n", "")


def test_other_verbs_are_interrupted_at_once(tmp_path):
    # A background job of a shell is started with SIGINT ignored, and so are these tests where they are one.
    source = (
        "import os, signal\nsignal.signal(2, signal.default_int_handler)\n"
        "def check(paths):\n    os.kill(os.getpid(), 2)\n    print('checked')\n"
    )
    done = run_stand_in("check", source, "--root", tmp_path)
    assert (done.code, done.output, done.errors) == (130, "", "")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full: give the job a larger volume (volume_size)"),
        (errno.EROFS, "the file system is read-only: mount it writable"),
    ],
)
def test_a_fault_of_the_machine_is_said_without_a_traceback(tmp_path, number, said):
    source = f"import os\ndef train(paths):\n    raise OSError({number}, os.strerror({number}), '/x')\n"
    done = run_stand_in("train", source, "--root", tmp_path)
    assert done.code == 3
    assert done.output == f"ERROR: PlatformError: {said}\nOSError: [Errno {number}] {os.strerror(number)}: '/x'\n"
    assert done.errors == ""


def test_a_fault_of_ours_is_said_with_its_traceback(tmp_path):
    done = run_stand_in("train", "def train(paths):\n    raise ValueError('shapes differ')\n", "--root", tmp_path)
    assert done.code == 1
    assert done.output.startswith("ERROR: AlgorithmError: ValueError: shapes differ\nThis is a fault of the container:")
    assert done.output.endswith("\nValueError: shapes differ\n")
    assert "Traceback (most recent call last):" in done.output


def test_describe_prints_the_tables():
    assert json.loads(run_verb("describe", "--format", "json").output) == describe_json()
    assert run_verb("describe").output.rstrip("\n") == describe_markdown().rstrip("\n")


def test_sample_data_is_a_job_that_check_accepts(tmp_path):
    done = run_verb("sample-data", tmp_path / "input/data", "--images", 6, "--validation-images", 3, "--seed", 11)
    assert done.code == 0
    assert done.output == f"Wrote 6 training and 3 validation images to {tmp_path}/input/data.\n"
    write_job(tmp_path, {"pretrained_weights": "none"})
    assert run_verb("check", "--root", tmp_path).code == 0


def test_sample_data_never_overwrites(tmp_path):
    (tmp_path / "mine").write_text("precious")
    done = run_verb("sample-data", tmp_path)
    assert done.code == 2
    assert (
        done.output == f"ERROR: {tmp_path} exists and is not an empty folder. Name a new folder for the sample data.\n"
    )
    assert os.listdir(tmp_path) == ["mine"]


def test_the_root_may_come_from_the_environment(tmp_path):
    write_job(tmp_path, {"epochs": "none at all"})
    done = subprocess.run(
        [sys.executable, "-m", "sagemaker_object_detection", "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "channel 'training': missing" in (tmp_path / "output/failure").read_text()


def test_predict_without_a_model_says_what_it_expected(tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
            "789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
        )
    )
    done = run_verb("predict", "--model", tmp_path, image)
    assert done.code == 2
    assert (
        f"{tmp_path}: holds no model_info.json; expected the model directory that a training job wrote" in done.errors
    )


def test_a_closed_pipe_is_no_fault_of_ours():
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "sagemaker_object_detection", "describe", "--format", "json"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write_end)
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_failure_of_an_earlier_run_does_not_outlive_the_next(tmp_path):
    write_job(tmp_path, {"epochs": "none at all"})
    assert run_verb("train", "--root", tmp_path).code == 2
    first = (tmp_path / "output/failure").read_text()
    write_job(tmp_path, {"seed": "minus one"})
    assert run_verb("train", "--root", tmp_path).code == 2
    assert "epochs" in first
    assert "epochs" not in (tmp_path / "output/failure").read_text()


@pytest.mark.parametrize("score", ["nan", "-0.1", "2", "high"])
def test_a_score_that_is_none_is_refused(score):
    run = run_verb("predict", "--model", "m", "--min-score", score, "a.jpg")
    assert run.code == 2
    assert f"argument --min-score: got '{score}'; expected a number from 0 to 1" in run.errors
