import os
import subprocess
from pathlib import Path

COMMAND = Path(__file__).parents[2] / "container/train"


def test_python_takes_the_process_over_and_gets_every_argument(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho $$\nfor argument; do echo "$argument"; done\n')
    python.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen([COMMAND, "--root", "a b"], env=environment, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=30)
    assert output.splitlines() == [
        str(process.pid),
        "-P",
        "-u",
        "-m",
        "sagemaker_object_detection",
        "train",
        "--root",
        "a b",
    ]
