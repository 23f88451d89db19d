"""Real jobs in real containers: what `docker run` prints, leaves behind and ends with."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import write_job
from containers import PROJECT, SMALL_JOB, UNPRIVILEGED, ContainerJob, docker, everything_below, run, running

from sagemaker_object_detection.job.metrics import METRICS

pytestmark = pytest.mark.docker


@pytest.fixture
def root(sample_root: Path, tmp_path: Path) -> Path:
    """A folder for /opt/ml with data, ten images to train on and five to validate with."""
    shutil.copytree(sample_root / "input/data", tmp_path / "input/data")
    return tmp_path


@pytest.mark.smoke
def test_a_job_without_a_network_trains_and_leaves_a_whole_model(
    container_job: ContainerJob, sample_root: Path
) -> None:
    root, log = container_job.root, container_job.end.output
    assert sorted(path.name for path in root.iterdir()) == ["input", "model", "output"]
    assert everything_below(root / "input/data").keys() == everything_below(sample_root / "input/data").keys()
    assert sorted(path.name for path in (root / "model").iterdir()) == ["1", "code", "labels.json", "model_info.json"]
    assert (root / "model/1/saved_model.pb").stat().st_size > 0
    assert sorted(path.name for path in (root / "output").iterdir()) == ["data", "tensorboard"]
    left = sorted(path.name for path in (root / "output/data").iterdir())
    assert left == ["data_report.json", "metrics.json", "report", "report.html"]
    assert "The model is in /opt/ml/model.\n" in log
    assert "The report is in /opt/ml/output/data/report.html.\n" in log
    assert log.endswith("Endpoints on a CPU will compute the network by ONNX Runtime, from a file in the model.\n")
    assert [path.suffix for path in (root / "model/1/assets.extra").iterdir()] == [".onnx"]


@pytest.mark.smoke
def test_the_published_regexes_read_the_containers_log_as_the_metrics_file_has_it(container_job: ContainerJob) -> None:
    recorded = json.loads((container_job.root / "output/data/metrics.json").read_text())
    saved = json.loads((container_job.root / "model/model_info.json").read_text())
    log = container_job.end.output + container_job.end.errors  # SageMaker reads both streams
    for metric in METRICS:
        seen = [float(value) for value in re.findall(metric.regex, log)]
        if metric.key == "loss":
            expected = [epoch["loss"] for epoch in recorded["epochs"]]
        else:
            expected = [epoch["validation"][metric.key] for epoch in recorded["epochs"]]
            expected.append(saved["metrics"][metric.key])  # the last value is that of the weights which were saved
            assert saved["metrics"][metric.key] == expected[saved["epoch"]]
        assert len(seen) == len(expected) == (2 if metric.key == "loss" else 3)
        assert seen == pytest.approx(expected, abs=5.1e-7)  # six decimals


def test_what_root_wrote_anyone_may_remove(image: str, container_job: ContainerJob, tmp_path: Path) -> None:
    for folder in ("model", "output"):
        shutil.copytree(container_job.root / folder, tmp_path / folder)
    tmp_path.chmod(0o755)
    removed = run(
        image, "--user", "4321:4321", command=["sh", "-c", "rm -r /opt/ml/model/* /opt/ml/output/*"], root=tmp_path
    )
    assert removed.code == 0, removed.errors
    assert sorted(everything_below(tmp_path)) == ["model", "output"]


@pytest.mark.smoke
def test_wrong_hyperparameters_end_within_seconds_and_say_why(image: str, root: Path) -> None:
    write_job(root, {**SMALL_JOB, "epochs": "many", "learning_rte": "0.1"})
    finished = run(image, root=root)
    assert finished.code == 2
    failure = (root / "output/failure").read_text()
    assert failure.startswith("UserError: 1 of 2: epochs: got 'many'")
    assert "2 of 2: learning_rte: unknown; did you mean learning_rate?" in failure
    assert list((root / "model").iterdir()) == []
    # Where nothing else runs it is under two seconds; the rest is room for a busy machine.
    assert finished.seconds < 15


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--user", "1234:1234"),
            "1. /opt/ml/model: cannot be created (Permission denied); expected a folder this process may",
        ),
        (
            ("--read-only", "--tmpfs", "/tmp"),
            "ERROR: /opt/ml/model: cannot be created (Read-only file system); mount /opt/ml writable: the model",
        ),
    ],
    ids=["another user", "read-only root"],
)
def test_a_container_that_may_not_write_to_opt_ml_says_so(image: str, options: tuple[str, ...], sentence: str) -> None:
    finished = run(image, *options)
    assert finished.code == 2
    assert sentence in finished.output


@pytest.mark.smoke
def test_a_stopped_job_saves_its_model_within_the_grace_period(image: str, root: Path) -> None:
    write_job(root, {**SMALL_JOB, "epochs": "1000"})
    with running(image, root=root) as container:
        container.wait_for("Val_mAP=")
        container.wait_for("[Epoch 1], Speed")
        stopped = docker("stop", "--time", "120", container.name, timeout=180)
        assert stopped.returncode == 0, stopped.stderr
        finished = container.finish()
    assert finished.code == 0, finished.output + finished.errors
    assert "Stopped by a signal" in finished.output
    left = re.search(r"Saving the model; (\d+) seconds are left", finished.output)
    assert left is not None
    assert int(left.group(1)) > 60
    info = json.loads((root / "model/model_info.json").read_text())
    assert info["epoch"] is not None
    assert (root / "model/1/saved_model.pb").is_file()
    assert float(re.findall(r"Val_mAP=([0-9\.]+)", finished.output)[-1]) == pytest.approx(
        info["metrics"]["mAP"], abs=1e-6
    )


def test_a_job_runs_as_another_user_with_a_read_only_root(image: str, root: Path) -> None:
    write_job(root, {**SMALL_JOB, "epochs": "1"})
    root.chmod(0o777)
    finished = run(image, *UNPRIVILEGED, root=root)
    assert finished.code == 0, finished.output + finished.errors
    assert (root / "model/1/saved_model.pb").stat().st_uid == 1234
    assert "Val_mAP=" in finished.output


def test_a_job_that_is_killed_for_its_memory_leaves_an_earlier_model_whole(
    image: str, container_job: ContainerJob, root: Path
) -> None:
    shutil.copytree(container_job.root / "model", root / "model")
    before = everything_below(root / "model")
    write_job(root, {**SMALL_JOB, "epochs": "1000"})
    finished = run(image, "--memory", "500m", "--memory-swap", "500m", root=root)
    assert finished.code == 137
    assert finished.oom_killed
    after = everything_below(root / "model")
    assert {name: (stat.st_size, stat.st_mtime_ns) for name, stat in after.items()} == {
        name: (stat.st_size, stat.st_mtime_ns) for name, stat in before.items()
    }
    assert [path.name for path in (root / "output/data").rglob("*")] == ["data_report.json"]


def test_one_command_builds_makes_data_trains_and_says_where_the_model_is(image: str, tmp_path: Path) -> None:
    command = [f"{PROJECT}/scripts/train_docker.sh", "--variant", "cpu", f"{tmp_path}/ml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    lines = [f"model:    {tmp_path}/ml/model", f"metrics:  {tmp_path}/ml/output/data/metrics.json"]
    lines.append(f"report:   {tmp_path}/ml/output/data/report.html")
    assert done.stdout.splitlines()[-3:] == lines
    assert (tmp_path / "ml/model/1/saved_model.pb").is_file()
    assert len(json.loads((tmp_path / "ml/output/data/metrics.json").read_text())["epochs"]) == 3
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 2
    assert again.stderr == (f"train_docker: {tmp_path}/ml/input is there already; remove it, or name another folder\n")
