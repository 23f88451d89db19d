"""The verbs that need no model: what they print, and what they answer to nonsense."""

import json
import os
import subprocess
import sys

from conftest import run_verb, write_job

from sagemaker_object_detection.describe import describe_json, describe_markdown


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
