"""Two containers as the two hosts of a job, on a network that leads nowhere else."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import write_job
from containers import LABEL, SMALL_JOB, docker, running

pytestmark = pytest.mark.docker


@pytest.fixture
def network(engine: None) -> Iterator[str]:
    name = f"sagemaker-object-detection-test-{uuid.uuid4().hex[:12]}"
    made = docker("network", "create", "--internal", "--label", LABEL, name)
    assert made.returncode == 0, made.stderr
    try:
        yield name
    finally:
        docker("network", "rm", name)


def test_two_hosts_train_one_model_and_the_chief_saves_it(
    image: str, network: str, sample_root: Path, tmp_path: Path
) -> None:
    hosts = ["algo-1", "algo-2"]
    roots = {host: tmp_path / host for host in hosts}
    for host, root in roots.items():
        shutil.copytree(sample_root / "input/data", root / "input/data")
        write_job(root, SMALL_JOB)
        (root / "input/config/resourceconfig.json").write_text(
            json.dumps({"current_host": host, "hosts": hosts, "network_interface_name": "ethwe"})
        )
    options = {host: ("--network", network, "--network-alias", host, "--hostname", host) for host in hosts}
    with (
        running(image, *options["algo-1"], root=roots["algo-1"]) as chief,
        running(image, *options["algo-2"], root=roots["algo-2"]) as worker,
    ):
        ends = {"algo-1": chief.finish(), "algo-2": worker.finish()}
    for host, end in ends.items():
        assert end.code == 0, f"{host}: {end.output}{end.errors}"
        assert not (roots[host] / "output/failure").exists()
    assert (roots["algo-1"] / "model/1/saved_model.pb").is_file()
    assert list((roots["algo-2"] / "model").iterdir()) == []
    # One line of metrics an epoch in the job's log, to which every host's lines go, and the saved weights' once more.
    assert ends["algo-1"].output.count("Val_mAP=") == 3
    assert "Val_mAP=" not in ends["algo-2"].output + ends["algo-2"].errors
    assert "samples/sec" not in ends["algo-2"].output
