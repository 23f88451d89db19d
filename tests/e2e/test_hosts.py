"""Two processes on this machine as the two hosts of a job."""

import json
import re
import shutil
import socket
import subprocess
import sys
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


def on_two_hosts(roots: list[Path]) -> list[Run]:
    hosts = sorted(f"127.0.0.1:{port}" for port in free_ports(2))
    processes = []
    try:
        for root, host in zip(roots, hosts, strict=True):
            config = {"current_host": host, "hosts": list(reversed(hosts))}
            (root / "input/config/resourceconfig.json").write_text(json.dumps(config))
            command = [sys.executable, "-m", "sagemaker_object_detection", "train", "--root", str(root)]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        ended = [process.communicate(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [
        Run(root, process.returncode, output, errors)
        for root, process, (output, errors) in zip(roots, processes, ended, strict=True)
    ]


def losses(output: str) -> list[float]:
    regex = next(metric.regex for metric in METRICS if metric.name == "train:loss")
    return [float(found) for found in re.findall(regex, output)]


@pytest.mark.parametrize("batch_size", ["4", "3"])
def test_two_hosts_train_as_one_and_the_chief_alone_speaks_and_saves(trained, tmp_path, batch_size):
    data, model = trained.root / "input/data", trained.root / "model"
    # With statistics that stay, the hosts' halves of a batch are worth the same as the batch.
    values = {"batch_size": batch_size, "freeze_batch_norm": "True", "learning_rate": "1e-4"}
    chief, worker = on_two_hosts([job(tmp_path / name, data, model, **values) for name in ("chief", "worker")])
    assert chief.code == 0, chief.output + chief.errors
    assert worker.code == 0, worker.output + worker.errors
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
