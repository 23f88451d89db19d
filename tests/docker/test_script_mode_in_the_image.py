"""Script mode in real containers: Python as process 1, sagemaker-training installed, no network."""

import json
import time
from pathlib import Path

import pytest
from containers import UNPRIVILEGED, docker, run, running
from script_jobs import JOBS, STOPPED_JOBS, ScriptJob

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_in_script_mode(job: ScriptJob, image: str, tmp_path: Path) -> None:
    job.write(tmp_path)
    job.check(tmp_path, "/opt/ml", run(image, root=tmp_path).code)


@pytest.mark.parametrize("job", STOPPED_JOBS, ids=lambda job: job.name)
def test_docker_stop_reaches_the_script(job: ScriptJob, image: str, tmp_path: Path) -> None:
    job.write(tmp_path)
    with running(image, root=tmp_path) as container:
        deadline = time.monotonic() + 120
        while not (tmp_path / "output/data/ready").exists():
            assert time.monotonic() < deadline, docker("logs", container.name).stdout
            time.sleep(0.05)
        docker("stop", "--time", 60, container.name, timeout=90)
        finished = container.finish()
    job.check(tmp_path, "/opt/ml", finished.code)
    assert finished.seconds < 60  # nobody waited for the end of the grace period


def test_one_host_is_not_looked_up_and_its_name_is_passed_on(image: str, tmp_path: Path) -> None:
    source = """
        import os
        with open(os.environ["SM_MODEL_DIR"] + "/seen", "w") as file:
            file.write(os.environ["SM_HOSTS"] + os.environ["SM_CHANNELS"] + os.environ["SM_CHANNEL_TRAINING"])
    """
    ScriptJob("", files={"train.py": source}).write(tmp_path)
    for name, content in {
        "resourceconfig": {"current_host": "algo-1-abc", "hosts": ["algo-1-abc"], "network_interface_name": "eth0"},
        "inputdataconfig": {"training": {"TrainingInputMode": "File"}},
    }.items():
        (tmp_path / f"input/config/{name}.json").write_text(json.dumps(content))
    finished = run(image, root=tmp_path)
    assert finished.code == 0, finished.errors
    assert (tmp_path / "model/seen").read_text() == '["algo-1-abc"]["training"]/opt/ml/input/data/training'
    assert finished.seconds < 60


def test_as_another_user_with_a_read_only_root_and_read_only_code(image: str, tmp_path: Path) -> None:
    job = ScriptJob("", program="train.sh", files={"train.sh": '#!/bin/sh\necho done > "$SM_MODEL_DIR/seen"\n'})
    job.write(tmp_path / "ml")
    (tmp_path / "ml/code").rename(tmp_path / "code")
    (tmp_path / "ml").chmod(0o777)
    options = (*UNPRIVILEGED, "--volume", f"{tmp_path}/code:/opt/ml/code:ro")
    finished = run(image, *options, root=tmp_path / "ml")
    assert finished.code == 2
    assert "/opt/ml/code/train.sh cannot be run, and its run bits cannot be set" in finished.output
    (tmp_path / "code/train.sh").chmod(0o755)
    finished = run(image, *options, root=tmp_path / "ml")
    assert finished.code == 0, finished.output + finished.errors
    assert (tmp_path / "ml/model/seen").read_text() == "done\n"
