"""Two processes on this machine as the two hosts of a job."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Run, run_verb, write_job

from sagemaker_object_detection.job.metrics import METRICS

pytestmark = pytest.mark.slow


def free_ports(count: int) -> list[int]:
    with_ports = [socket.socket() for _ in range(count)]
    try:
        for opened in with_ports:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in with_ports]
    finally:
        for opened in with_ports:
            opened.close()


def job(root: Path, data: Path, model: Path | None, **values: object) -> Path:
    shutil.copytree(data, root / "input/data")
    if model is not None:
        shutil.copytree(model, root / "input/data/model")
    write_job(root, {"epochs": "2", "seed": "1", **values})
    return root


@contextmanager
def two_hosts(roots: list[Path]) -> Iterator[list[subprocess.Popen[str]]]:
    """The running processes of a job, the chief's first."""
    hosts = sorted(f"127.0.0.1:{port}" for port in free_ports(2))
    processes: list[subprocess.Popen[str]] = []
    try:
        for root, host in zip(roots, hosts, strict=True):
            config = {"current_host": host, "hosts": list(reversed(hosts))}
            (root / "input/config/resourceconfig.json").write_text(json.dumps(config))
            command = [sys.executable, "-u", "-m", "sagemaker_object_detection", "train", "--root", str(root)]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def on_two_hosts(roots: list[Path]) -> list[Run]:
    with two_hosts(roots) as processes:
        outputs = [process.communicate(timeout=500)[0] for process in processes]
        return [Run(r, p.returncode, o, "") for r, p, o in zip(roots, processes, outputs, strict=True)]


def losses(output: str) -> list[float]:
    regex = next(metric.regex for metric in METRICS if metric.name == "train:loss")
    return [float(found) for found in re.findall(regex, output)]


@pytest.mark.parametrize("batch_size", ["4", "3"])
def test_two_hosts_train_as_one_and_the_chief_alone_speaks_and_saves(trained, tmp_path, batch_size):
    data, model = trained.root / "input/data", trained.root / "model"
    # With statistics that stay, the hosts' halves of a batch are worth the same as the batch.
    values = {"batch_size": batch_size, "freeze_batch_norm": "True", "learning_rate": "1e-4"}
    chief, worker = on_two_hosts([job(tmp_path / name, data, model, **values) for name in ("chief", "worker")])
    assert chief.code == 0, chief.output
    assert worker.code == 0, worker.output
    alone = job(tmp_path / "alone", data, model, **values)
    expected = losses(run_verb("train", "--root", alone).output)
    assert len(expected) == 2
    assert losses(chief.output) == pytest.approx(expected, rel=1e-3)
    share = "2 replicas on 2 hosts take 2 of the"
    assert f"{share} {batch_size} images of a batch each." in chief.output

    info, single = (json.loads((root / "model/model_info.json").read_text()) for root in (chief.root, alone))
    assert info["metrics"] == pytest.approx(single["metrics"], abs=0.02)
    assert losses(worker.output) == []
    assert "Val_" not in worker.output
    assert list((worker.root / "model").iterdir()) == []
    assert not (worker.root / "output/failure").exists()


def test_what_is_wrong_with_a_job_is_said_on_every_host(sample_root, tmp_path):
    roots = [job(tmp_path / name, sample_root / "input/data", None, batch_size="0") for name in ("chief", "worker")]
    for host in on_two_hosts(roots):
        assert host.code == 2
        assert "batch_size: got '0'" in (host.root / "output/failure").read_text()


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stop_of_either_host_stops_both_and_the_chief_saves(sample_root, tmp_path, stopped):
    data = sample_root / "input/data"
    values = {"pretrained_weights": "none", "batch_size": "4", "epochs": "1000"}
    roots = [job(tmp_path / name, data, None, **values) for name in ("chief", "worker")]
    with two_hosts(roots) as processes:
        for line in processes[0].stdout:
            if "Val_mAP=" in line:
                break
        processes[stopped].send_signal(signal.SIGTERM)
        rest = processes[0].communicate(timeout=300)[0]
        processes[1].communicate(timeout=300)
    assert [process.returncode for process in processes] == [0, 0]
    assert "Stopped by a signal" in rest
    assert json.loads((roots[0] / "model/model_info.json").read_text())["epoch"] is not None
    assert list((roots[1] / "model").iterdir()) == []


def test_a_host_that_is_gone_ends_the_other_with_the_reason(sample_root, tmp_path):
    values = {"pretrained_weights": "none", "batch_size": "4", "epochs": "1000"}
    roots = [job(tmp_path / name, sample_root / "input/data", None, **values) for name in ("chief", "worker")]
    with two_hosts(roots) as processes:
        for line in processes[0].stdout:
            if "Val_mAP=" in line:
                break
        processes[1].kill()
        processes[0].communicate(timeout=300)
    assert processes[0].returncode == 3
    assert (roots[0] / "output/failure").read_text().startswith("PlatformError: another host of this job is gone")
