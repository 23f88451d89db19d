"""Two processes on this machine as the two hosts of a job, of a tiny model."""

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
from conftest import TINY_JOB, TINY_JOB_VALUES, Run, child_environment, run_tiny, write_job

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
    write_job(root, {"epochs": "2", "seed": "1", "batch_size": "4", "passes_per_epoch": "1", **values})
    return root


TRAIN = (str(TINY_JOB), "train", "--root")
STOPPED_WHEN_THE_DATA_IS_READ = """
import os, signal, sys
from tiny_job import know_tiny_models
from sagemaker_object_detection.__main__ import main
from sagemaker_object_detection.dataset import load
original = load.load_splits
def load_splits(*arguments, **named):
    os.kill(os.getpid(), signal.SIGTERM)
    return original(*arguments, **named)
load.load_splits = load_splits
know_tiny_models()
sys.exit(main(["train", "--root", sys.argv[1]]))
"""
JOINS_ALONE = """
from sagemaker_object_detection.devices import replicas
replicas.JOIN_SECONDS = 1.0
try:
    replicas._join({addresses}, 0)
except replicas.PlatformError as error:
    print(error)
"""


@contextmanager
def two_hosts(roots: list[Path], *commands: tuple[str, ...]) -> Iterator[list[subprocess.Popen[str]]]:
    """The running processes of a job, the chief's first. Each takes its root as the last argument."""
    hosts = sorted(f"127.0.0.1:{port}" for port in free_ports(2))
    processes: list[subprocess.Popen[str]] = []
    try:
        for root, host, command in zip(roots, hosts, commands or (TRAIN, TRAIN), strict=False):
            config = {"current_host": host, "hosts": list(reversed(hosts))}
            (root / "input/config/resourceconfig.json").write_text(json.dumps(config))
            whole = [sys.executable, "-u", *command, str(root)]
            processes.append(
                subprocess.Popen(
                    whole, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=child_environment()
                )
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def on_two_hosts(roots: list[Path]) -> list[Run]:
    with two_hosts(roots) as processes:
        outputs = [process.communicate(timeout=1200)[0] for process in processes]
        return [Run(r, p.returncode, o, "") for r, p, o in zip(roots, processes, outputs, strict=True)]


def losses(output: str) -> list[float]:
    regex = next(metric.regex for metric in METRICS if metric.name == "train:loss")
    return [float(found) for found in re.findall(regex, output)]


@pytest.mark.nightly
@pytest.mark.parametrize("batch_size", ["3", "4"])
def test_two_hosts_train_as_one_and_the_chief_alone_speaks_and_saves(trained, tmp_path, batch_size):
    data, model = trained.root / "input/data", trained.root / "model"
    # With statistics that stay, the hosts' halves of a batch are worth the same as the batch.
    values = {"batch_size": batch_size, "freeze_batch_norm": "True", "learning_rate": "1e-4"}
    chief, worker = on_two_hosts([job(tmp_path / name, data, model, **values) for name in ("chief", "worker")])
    assert chief.code == 0, chief.output
    assert worker.code == 0, worker.output
    alone = job(tmp_path / "alone", data, model, **values)
    expected = losses(run_tiny("train", "--root", alone).output)
    assert len(expected) == 2
    assert losses(chief.output) == pytest.approx(expected, rel=1e-3)
    info, single = (json.loads((root / "model/model_info.json").read_text()) for root in (chief.root, alone))
    assert info["metrics"] == pytest.approx(single["metrics"], abs=0.02)
    assert_the_chief_alone_speaks_and_saves(chief, worker, batch_size)


def assert_the_chief_alone_speaks_and_saves(chief: Run, worker: Run, batch_size: str) -> None:
    assert f"2 replicas on 2 hosts take 2 of the {batch_size} images of a batch each." in chief.output
    assert len(losses(chief.output)) == 2
    assert losses(worker.output) == []
    assert "Val_" not in worker.output
    assert list((worker.root / "model").iterdir()) == []
    assert not (worker.root / "output/failure").exists()


def test_what_is_wrong_with_a_job_is_said_on_every_host(sample_root, tmp_path):
    roots = [job(tmp_path / name, sample_root / "input/data", None, batch_size="0") for name in ("chief", "worker")]
    for host in on_two_hosts(roots):
        assert host.code == 2
        assert "batch_size: got '0'" in (host.root / "output/failure").read_text()


@pytest.mark.parametrize("stopped", [pytest.param(0, marks=pytest.mark.nightly), 1])
def test_a_stop_of_either_host_stops_both_and_the_chief_saves(sample_root, tmp_path, stopped):
    data = sample_root / "input/data"
    values = {**TINY_JOB_VALUES, "epochs": "1000"}
    roots = [job(tmp_path / name, data, None, **values) for name in ("chief", "worker")]
    with two_hosts(roots) as processes:
        for line in processes[0].stdout:
            if "Val_mAP=" in line:
                break
        processes[stopped].send_signal(signal.SIGTERM)
        rest = processes[0].communicate(timeout=1200)[0]
        processes[1].communicate(timeout=1200)
    assert [process.returncode for process in processes] == [0, 0]
    assert "Stopped by a signal" in rest
    assert json.loads((roots[0] / "model/model_info.json").read_text())["epoch"] is not None
    assert list((roots[1] / "model").iterdir()) == []


@pytest.mark.nightly
def test_a_host_that_is_gone_ends_the_other_with_the_reason(sample_root, tmp_path):
    values = {**TINY_JOB_VALUES, "epochs": "1000"}
    roots = [job(tmp_path / name, sample_root / "input/data", None, **values) for name in ("chief", "worker")]
    with two_hosts(roots) as processes:
        for line in processes[0].stdout:
            if "Val_mAP=" in line:
                break
        processes[1].kill()
        processes[0].communicate(timeout=1200)
    assert processes[0].returncode == 3
    assert (roots[0] / "output/failure").read_text().startswith("PlatformError: another host of this job is gone")


GONE = "PlatformError: another host of this job is gone, and the rest cannot train on without it"
UNTRAINED = "WARNING: Stopped by a signal before the first step: there is no model to save.\n"


@pytest.mark.parametrize("wrong", [pytest.param(0, marks=pytest.mark.nightly), 1])
def test_a_host_whose_data_are_wrong_says_so_and_the_other_that_it_is_gone(sample_root, tmp_path, wrong):
    data = sample_root / "input/data"
    roots = [job(tmp_path / name, data, None, **TINY_JOB_VALUES) for name in ("chief", "worker")]
    (roots[wrong] / "input/data/training/annotations.json").write_text("{}")
    done = on_two_hosts(roots)
    assert (done[wrong].code, done[1 - wrong].code) == (2, 3)
    assert 'annotations.json has no list "images"' in (roots[wrong] / "output/failure").read_text()
    assert (roots[1 - wrong] / "output/failure").read_text().startswith(GONE)


def test_a_host_that_waits_for_the_other_can_be_stopped(sample_root, tmp_path):
    roots = [job(tmp_path / "chief", sample_root / "input/data", None, **TINY_JOB_VALUES)]
    with two_hosts(roots, TRAIN) as processes:
        waits = next(line for line in processes[0].stdout if line.startswith("Waiting for host"))
        processes[0].send_signal(signal.SIGTERM)
        rest = processes[0].communicate(timeout=60)[0]
    host = json.loads((roots[0] / "input/config/resourceconfig.json").read_text())["hosts"][0]
    assert waits == f"Waiting for host {host}.\n"
    assert (processes[0].returncode, rest) == (0, UNTRAINED)
    assert not (roots[0] / "output/failure").exists()


@pytest.mark.nightly
def test_a_worker_that_is_stopped_while_its_data_are_read_stops_both(sample_root, tmp_path):
    data = sample_root / "input/data"
    roots = [job(tmp_path / name, data, None, **TINY_JOB_VALUES) for name in ("chief", "worker")]
    with two_hosts(roots, TRAIN, ("-c", STOPPED_WHEN_THE_DATA_IS_READ)) as processes:
        outputs = [process.communicate(timeout=1200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all(output.endswith(UNTRAINED) for output in outputs)


@pytest.mark.nightly
def test_hosts_that_resume_and_are_stopped_at_once_leave_the_model_of_the_checkpoint(sample_root, tmp_path):
    values = {**TINY_JOB_VALUES, "batch_size": "4", "seed": "1", "passes_per_epoch": "1"}
    roots = [job(tmp_path / name, sample_root / "input/data", None, **values) for name in ("chief", "worker")]
    (roots[0] / "checkpoints").mkdir()
    write_job(roots[0], {**values, "epochs": "1"})
    assert run_tiny("train", "--root", roots[0]).code == 0
    shutil.rmtree(roots[0] / "model")
    write_job(roots[0], {**values, "epochs": "2"})
    with two_hosts(roots, TRAIN, ("-c", STOPPED_WHEN_THE_DATA_IS_READ)) as processes:
        outputs = [process.communicate(timeout=1200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "Speed" not in outputs[0]
    assert json.loads((roots[0] / "model/model_info.json").read_text())["epoch"] == 0


def test_host_that_leaves_before_joining_is_not_waited_for_without_end():
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    done = subprocess.run(
        [sys.executable, "-c", JOINS_ALONE.format(addresses=addresses)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == (
        "another host of this job was there, and yet did not join within 1 seconds; its own log says why: start the "
        "job again\n"
    )


def test_hosts_with_other_data_are_refused_on_all_of_them(sample_root, tmp_path):
    roots = [job(tmp_path / name, sample_root / "input/data", None, **TINY_JOB_VALUES) for name in ("chief", "worker")]
    annotations = roots[1] / "input/data/training/annotations.json"
    document = json.loads(annotations.read_text())
    document["annotations"].pop()
    annotations.write_text(json.dumps(document))
    chief, worker = on_two_hosts(roots)
    assert (chief.code, worker.code) == (2, 2)
    assert (worker.root / "output/failure").read_text() == (
        "UserError: this host's job is not the first host's: in the training data, objects differ; every host needs "
        "the whole of the same data, and the same weights and hyperparameters: see that every channel is "
        "FullyReplicated"
    )
    assert (chief.root / "output/failure").read_text() == (
        "UserError: another host of this job has other data, weights or hyperparameters than this one; its own log "
        "says which"
    )
