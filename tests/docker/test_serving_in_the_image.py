"""`docker run IMAGE serve`, as SageMaker's hosting does it: a model from a finished job, an HTTP client, SIGTERM."""

import json
import subprocess
import sys

import pytest
import requests
from containers import docker, run, running

pytestmark = pytest.mark.docker
UNPRIVILEGED = ("--read-only", "--tmpfs", "/tmp", "--user", "1234:1234")


@pytest.fixture(scope="module")
def model(trained):
    return trained.root / "model"


@pytest.fixture(scope="module", params=[(), UNPRIVILEGED], ids=["root", "unprivileged"])
def container(image, model, request):
    options = ("--network", "bridge", "--publish", "127.0.0.1::8080", "--volume", f"{model}:/opt/ml/model:ro")
    with running(image, *options, *request.param, command=["serve"]) as started:
        started.wait_for("Ready after")
        yield started


@pytest.fixture(scope="module")
def address(container):
    return "http://" + docker("port", container.name, "8080/tcp").stdout.splitlines()[0]


def test_a_model_is_served(address, model, sample_root):
    images = sorted((sample_root / "input/data/validation/images").iterdir())
    predicted = subprocess.run(
        [sys.executable, "-m", "sagemaker_object_detection", "predict", "--model", model, *images],
        capture_output=True,
        text=True,
        check=True,
    )
    assert requests.get(f"{address}/ping", timeout=60).status_code == 200
    for path, line in zip(images, predicted.stdout.splitlines(), strict=True):
        served = requests.post(
            f"{address}/invocations",
            path.read_bytes(),
            headers={"Content-Type": "application/x-image", "Accept": "application/json;verbose"},
            timeout=60,
        ).json()
        expected = json.loads(line)
        assert len(served["scores"]) > 0
        assert served["labels"] == expected["labels"]
        assert served["classes"] == expected["classes"]
        assert served["scores"] == pytest.approx(expected["scores"], abs=2e-6)


def test_what_is_no_image_is_refused(address):
    refused = requests.post(f"{address}/invocations", b"{}", headers={"Content-Type": "application/json"}, timeout=60)
    assert refused.status_code == 415
    assert refused.json()["error"].startswith("Content-Type: got 'application/json'")


def test_sigterm_ends_it_with_0(image, model):
    with running(image, "--volume", f"{model}:/opt/ml/model:ro", command=["serve"]) as started:
        started.wait_for("Listening on port 8080")
        docker("stop", "--time", 30, started.name, timeout=60)
        assert started.finish().code == 0


def test_without_a_model_the_reason_is_said_at_once(image):
    finished = run(image, command=["serve"])
    assert finished.code == 2
    assert finished.output == (
        "ERROR: /opt/ml/model: holds no model_info.json; expected the model directory that a training job wrote\n"
    )
