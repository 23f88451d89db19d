"""The main README's own lines, run by a shell: a first result, then a job, its prediction and an answer over HTTP."""

import itertools
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from conftest import TINY_JOB, child_environment
from markdown_pages import README, below, blocks, commands

PAGE = README.read_text(encoding="utf-8")
PYTHON = f"""#!/bin/sh
[ "$1 $2" = "-m sagemaker_object_detection" ] || exit 9
shift 2
exec {sys.executable} {TINY_JOB} "$@"
"""
"""This Python, with the tests' tiny models in the catalogue."""


@pytest.fixture
def folder(tmp_path):
    """An empty folder with what a clone has after the set-up."""
    for name, text in (("bin/python", PYTHON), ("scripts/setup.sh", "#!/bin/sh\n"), (".venv/bin/activate", "")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def start(block: str, folder: Path) -> "subprocess.Popen[str]":
    environment = child_environment()
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    return subprocess.Popen(
        ["sh", "-e", "-c", block],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(block: str, folder: Path) -> str:
    process = start(block, folder)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def port_of(process: "subprocess.Popen[str]") -> str:
    """The port of a server, once it answers."""
    assert process.stdout is not None
    lines = list(itertools.takewhile(lambda line: "Ready after" not in line, process.stdout))
    return re.search(r"Listening on port (\d+)", "".join(lines))[1]


@pytest.mark.slow
def test_main_readme_leads_from_nothing_to_an_answer(folder):
    (first,) = blocks(below(PAGE, "A first result within a minute"), "sh")
    said = run(first, folder)
    assert "Wrote 240 training and 48 validation images to trial/job/input/data." in said
    assert said.endswith("\n0 problems.\n")

    job, served = blocks(below(PAGE, "Train, predict, serve"), "sh")
    asked = '{"pretrained_weights": "none", "epochs": "20"'
    assert asked in job
    said = run(job.replace(asked, '{"pretrained_weights": "none", "model_id": "tiny", "epochs": "1"'), folder)
    assert "[Epoch 0]" in said
    *_, answer, warning = said.splitlines()
    assert json.loads(answer)["image"] == "trial/job/input/data/validation/images/00000.jpg"
    assert "no box is drawn, because no score reaches --min-score 0.3" in warning  # after one epoch
    assert len(list((folder / "trial/pictures").iterdir())) == 1

    serve, curl = commands(served)
    header, photo, address = curl[curl.index("-H") + 1], curl[curl.index("--data-binary") + 1], curl[-1]
    process = start(f"exec {' '.join(serve)} --port 0", folder)
    try:
        port = port_of(process)
        request = urllib.request.Request(
            address.replace("localhost:8080", f"127.0.0.1:{port}"),
            (folder / photo.removeprefix("@")).read_bytes(),
            dict([header.split(": ")]),
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response).keys() == {"normalized_boxes", "classes", "scores"}
    finally:
        process.kill()
        process.communicate()
