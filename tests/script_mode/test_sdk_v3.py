"""The SDK's v3 runs a script past `train`: in the image `train` takes over where the script is JumpStart's."""

import json
import os
import subprocess
import sys

import pytest
from markdown_pages import ROOT

JUMPSTART = {
    "source_dir": "s3://jumpstart-cache-prod-us-west-2/source-directory-tarballs/tensorflow/transfer_learning/od1/v1.0.0/"
    "sourcedir.tar.gz",
    "entry_script": "transfer_learning.py",
}
MINE = {"source_dir": "/home/me/code", "entry_script": "transfer_learning.py"}
PROGRAMS = ("scripts/environment.py", "scripts/install_requirements.py", "distributed_drivers/torchrun_driver.py")


def run(root, program, source):
    """What a program of the SDK's prints in the image, where `train` prints that it is there."""
    drivers = root / "input/data/sm_drivers"
    path = drivers / program
    path.parent.mkdir(parents=True)
    path.write_text("print('the SDK has its way')")
    (drivers / "sourcecode.json").write_text(json.dumps(source))
    train = root / "bin/train"
    train.parent.mkdir()
    train.write_text("#!/bin/sh\necho train is here\n")
    train.chmod(0o755)
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(root),
        "PATH": f"{train.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "container"), str(ROOT / "src")]),
    }
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (PROGRAMS[0], "the SDK has its way"),
        (PROGRAMS[1], "The requirements of JumpStart's script are not installed: it is not run."),
        (PROGRAMS[2], "train is here"),
        ("distributed_drivers/basic_script_driver.py", "train is here"),
    ],
)
def test_train_takes_over_where_the_script_is_jumpstarts(tmp_path, program, said):
    assert run(tmp_path, program, JUMPSTART) == said


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("source", [MINE, {}, []])
def test_other_scripts_are_none_of_its_business(tmp_path, program, source):
    assert run(tmp_path, program, source) == "the SDK has its way"


def test_a_copy_of_the_script_is_told_what_to_do(tmp_path):
    script = tmp_path / "transfer_learning.py"
    script.write_text("import object_detection")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "container"), str(ROOT / "src")])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: No module named 'object_detection': this image trains the built-in algorithm's detectors "
        "itself. Remove the script (entry_point and source_dir, or source_code), and keep hyperparameters and channels"
    )
