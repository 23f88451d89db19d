"""`docker run IMAGE serve`, as SageMaker's hosting does it: a model from a finished job, an HTTP client, SIGTERM."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from conftest import run_verb
from containers import UNPRIVILEGED, ContainerJob, docker, running

pytestmark = [pytest.mark.docker, pytest.mark.smoke]


def test_a_model_is_served_until_docker_stop(image: str, container_job: ContainerJob) -> None:
    model = container_job.root / "model"
    images = sorted((container_job.root / "input/data/validation/images").iterdir())
    predicted = run_verb("predict", "--model", model, *images)
    assert predicted.code == 0, predicted.errors
    options = ("--network", "bridge", "--publish", "127.0.0.1::8080", "--volume", f"{model}:/opt/ml/model:ro")
    with running(image, *options, *UNPRIVILEGED, command=["serve"]) as container:
        container.wait_for("Ready after")
        address = "http://" + docker("port", container.name, "8080/tcp").stdout.splitlines()[0]
        assert requests.get(f"{address}/ping", timeout=60).status_code == 200
        for path, line in zip(images, predicted.output.splitlines(), strict=True):
            assert_same_detections(invoke(address, path), json.loads(line))
        docker("stop", "--time", 30, container.name, timeout=60)
        assert container.finish().code == 0


def invoke(address: str, image: Path) -> dict[str, Any]:
    headers = {"Content-Type": "application/x-image", "Accept": "application/json;verbose"}
    answer = requests.post(f"{address}/invocations", image.read_bytes(), headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def assert_same_detections(served: dict[str, Any], predicted: dict[str, Any]) -> None:
    assert served["labels"] == predicted["labels"]
    assert served["classes"] == predicted["classes"] != []
    for name in ("scores", "normalized_boxes"):
        # The sixth decimal, which is the last one, rounded up by one and down by the other.
        np.testing.assert_allclose(served[name], predicted[name], rtol=0, atol=2e-6)
