"""What the tests of both SDKs share: the SDK or a skip, no word to AWS, and no container left."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_pages import ROOT, below, blocks

from sagemaker_object_detection.describe import describe_json

ROLE = "arn:aws:iam::123456789012:role/SageMaker"
MAIN_PAGE = ROOT / "README.md"
CLIENTS_PAGE = ROOT / "scripts/README.md"
SERVING_PAGE = ROOT / "src/sagemaker_object_detection/serving/README.md"

TYPED = {
    "epochs": 1,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "pretrained_weights": "none",
    "augmentation": False,
    "early_stopping": True,
    "regularizers_l2": 2e-5,
    "seed": 3,
}
"""Hyperparameters as a user of Python writes them."""

Sent = dict[str, dict[str, Any]]
"""Requests, by operation."""


def need_sdk(major: int) -> None:
    """Skips where the SageMaker Python SDK of this major version is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("sagemaker")
    except PackageNotFoundError:
        found = "none"
    if found.split(".")[0] != str(major):
        pytest.skip(f"needs the SageMaker Python SDK v{major}, found {found}: scripts/test_clients.sh sdk{major}")


def need_compose() -> None:
    """Skips where there is no docker-compose, by which both SDKs run containers."""
    if shutil.which("docker-compose") is None:
        pytest.skip("needs docker-compose: apt-get install --no-install-recommends docker-compose")


def stay_at_home(monkeypatch: pytest.MonkeyPatch, folder: Path, endpoint: str = "http://127.0.0.1:9") -> None:
    """Settings with which the SDKs call nobody but `endpoint`, where nothing listens unless a test starts something."""
    config = folder / "sagemaker.yaml"
    config.write_text("SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n")
    for name, value in {
        "SAGEMAKER_USER_CONFIG_OVERRIDE": config,
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": config,
        "SAGEMAKER_VALIDATE_ROLE": "false",  # v3 would ask IAM what the role may do, which moto cannot say
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": folder / "none",
        "AWS_SHARED_CREDENTIALS_FILE": folder / "none",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, str(value))


@contextlib.contextmanager
def aws_on_this_machine(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Any]:
    """moto in the place of AWS, empty, with settings that lead there; boto3's default session."""
    import boto3
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # It begins with whatever an earlier server of this process was given.
        urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
        stay_at_home(monkeypatch, folder, f"http://{host}:{port}")
        session = boto3.Session()
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
        yield session
    finally:
        server.stop()


@contextlib.contextmanager
def no_container_left(folder: Path) -> Iterator[None]:
    """Removes the containers that docker-compose made for files below `folder`, however a test ends."""
    try:
        yield
    finally:
        label = "com.docker.compose.project.working_dir"
        listed = subprocess.run(
            ["docker", "ps", "-a", "--format", f'{{{{.ID}}}} {{{{.Label "{label}"}}}}'],
            capture_output=True,
            text=True,
            check=False,
        )
        rows = [line.partition(" ") for line in listed.stdout.splitlines()]
        ours = [container for container, _, place in rows if place.startswith(f"{folder}/")]
        if ours:
            subprocess.run(["docker", "rm", "-f", *ours], capture_output=True, check=False)


@contextlib.contextmanager
def requests_as_sent(session: Any) -> Iterator[Sent]:
    """The JSON bodies of the SageMaker calls of a boto3 session's clients made afterwards, by operation."""
    sent: Sent = {}

    def keep(model: Any, params: dict[str, Any], **_: object) -> None:
        sent[model.name] = json.loads(params["body"])

    session.events.register("before-call.sagemaker", keep)
    yield sent


def snippet(title: str, page: Path = CLIENTS_PAGE) -> str:
    """The Python code below a heading of a page."""
    (block,) = blocks(below(page.read_text(encoding="utf-8"), title), "python")
    return block


def described_ranges() -> dict[str, dict[str, Any]]:
    """The recommended ranges by name, as `describe` prints them."""
    return {row["Name"]: row for rows in describe_json()["ParameterRanges"].values() for row in rows}


def members(archive: Path) -> dict[str, bytes]:
    """The files of a .tar.gz by name."""
    with tarfile.open(archive) as opened:
        files = {member.name: opened.extractfile(member) for member in opened if member.isfile()}
        return {name.removeprefix("./"): file.read() for name, file in files.items() if file is not None}


def assert_is_trained(archive: Path, log: str, hyperparameters: dict[str, object]) -> None:
    """A model.tar.gz holds a model of this container, made with these values, whose figures the log ends with."""
    found = members(archive)
    assert {"1/saved_model.pb", "labels.json", "model_info.json"} <= found.keys()
    info = json.load(io.BytesIO(found["model_info.json"]))
    resolved = info["hyperparameters"]
    assert {name: resolved[name] for name in hyperparameters} == hyperparameters
    for row in describe_json()["TrainingSpecification"]["MetricDefinitions"]:
        values = re.findall(row["Regex"], log)
        assert values, f"{row['Name']} is not in the log"
        key = row["Name"].removeprefix("validation:")
        if key in info["metrics"]:
            assert float(values[-1]) == pytest.approx(info["metrics"][key], abs=5e-7)
