"""The jobs of AWS's notebook move over with the image changed and nothing else: SDK v2, local mode and requests.

Runs in the environment of SDK v2: scripts/test_clients.sh sdk2.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jumpstart_bucket
import pytest
from client_tests import ROLE, Sent, members, need_compose, need_sdk, no_container_left, requests_as_sent
from notebook import DATA, METRICS, Notebook, query
from platform_tree import run_as_sent

pytestmark = pytest.mark.clients
pytest_plugins = ["jumpstart_fixtures"]
OUTPUT = "s3://mine/jumpstart-example-od-training/output"
SAID = "JumpStart's transfer_learning.py, the training script of the built-in Object Detection - TensorFlow, is not run"
QUICK = {"epochs": "1", "passes_per_epoch": "1"}
"""What is changed besides the image: these tests wait for the job."""


@pytest.fixture
def notebook(jumpstart: Any, image: str, tmp_path: Path) -> Iterator[Notebook]:
    """The notebook in local mode."""
    need_sdk(2)
    need_compose()
    import boto3
    from sagemaker.local import LocalSession

    (tmp_path / "containers").mkdir()
    session = LocalSession(boto_session=boto3.DEFAULT_SESSION, default_bucket="mine")
    session.config = {"local": {"container_root": str(tmp_path / "containers")}}
    with no_container_left(tmp_path):
        yield Notebook(image, session, OUTPUT)


@pytest.fixture
def recorded(jumpstart: Any, image: str) -> Iterator[tuple[Notebook, Sent]]:
    """The notebook as it is run in AWS, and its requests."""
    need_sdk(2)
    import boto3
    from sagemaker.session import Session

    with requests_as_sent(boto3.DEFAULT_SESSION) as sent:
        yield Notebook(image, Session(boto_session=boto3.DEFAULT_SESSION), OUTPUT, "ml.p3.2xlarge"), sent


def trained(archive: Path) -> dict[str, Any]:
    """model_info.json of a model.tar.gz."""
    found: dict[str, Any] = json.loads(members(archive)["model_info.json"])
    return found


def fetch(s3: Any, address: str, to: Path) -> Path:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    s3.download_file(bucket, key, str(to))
    return to


def test_the_training_job_and_the_incremental_one(
    notebook: Notebook, jumpstart: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = notebook.estimator(**QUICK)
    first.fit({"training": DATA}, logs=True)
    log = capfd.readouterr().out
    assert SAID in log
    assert "Val_localization=" in log
    info = trained(fetch(jumpstart, first.model_data, tmp_path / "first.tar.gz"))
    assert info["base_model"] == "ssd_mobilenet_v2_fpnlite_320x320"
    assert info["hyperparameters"]["relative_learning_rate"] == 0.002  # the recipe: nothing of it was given
    second = notebook.estimator(first.model_data, **QUICK)
    second.fit({"training": DATA}, logs=True)
    assert SAID in capfd.readouterr().out
    again = trained(fetch(jumpstart, second.model_data, tmp_path / "second.tar.gz"))
    assert again["labels"] == info["labels"]


def test_the_recorded_training_job_runs_without_a_network(
    recorded: tuple[Notebook, Sent], image: str, jumpstart: Any, tmp_path: Path
) -> None:
    notebook, sent = recorded
    notebook.estimator(**QUICK).fit({"training": DATA}, wait=False)
    log = run_as_sent(image, sent["CreateTrainingJob"], tmp_path / "job", jumpstart)
    assert SAID in log
    assert "DebugHookConfig: no effect" in log  # which the SDK adds by itself
    assert (tmp_path / "job/model/1/saved_model.pb").exists()


def test_a_trial_of_the_recorded_tuning_job_runs_without_a_network(
    recorded: tuple[Notebook, Sent], image: str, jumpstart: Any, tmp_path: Path
) -> None:
    notebook, sent = recorded
    notebook.tuner(notebook.estimator(**QUICK)).fit({"training": DATA}, wait=False)
    definition = sent["CreateHyperParameterTuningJob"]["TrainingJobDefinition"]
    trial = {
        **definition["StaticHyperParameters"],
        "learning_rate": "0.0004630125855085939",
        "_tuning_objective_metric": "validation:localization_loss",
    }
    log = run_as_sent(image, {**definition, "HyperParameters": trial}, tmp_path / "job", jumpstart)
    assert SAID in log
    assert "Val_localization=" in log


@pytest.mark.parametrize("isolated", [False, True])
def test_jumpstart_estimators_recorded_job_runs_without_a_network(
    recorded: tuple[Notebook, Sent], image: str, jumpstart: Any, tmp_path: Path, isolated: bool
) -> None:
    from sagemaker.jumpstart.estimator import JumpStartEstimator

    notebook, sent = recorded
    estimator = JumpStartEstimator(
        model_id=jumpstart_bucket.MODEL_ID,
        image_uri=image,
        role=ROLE,
        hyperparameters={**jumpstart_bucket.HYPERPARAMETERS, **QUICK},
        metric_definitions=METRICS,
        output_path=OUTPUT,
        enable_network_isolation=isolated,
        sagemaker_session=notebook.session,
    )
    estimator.fit({"training": DATA}, wait=False)
    request = sent["CreateTrainingJob"]
    assert ("code" in {channel["ChannelName"] for channel in request["InputDataConfig"]}) == isolated
    assert SAID in run_as_sent(image, request, tmp_path / "job", jumpstart)
    assert (tmp_path / "job/model/1/saved_model.pb").exists()


def test_the_endpoints_of_the_notebook_and_their_requests(
    notebook: Notebook, sample_root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = sorted((sample_root / "input/data/validation/images").iterdir())[0]
    estimator = notebook.estimator(**QUICK)
    estimator.fit({"training": DATA})
    for deploy in (notebook.deploy_base_model, lambda: notebook.deploy(estimator)):
        predictor = deploy()
        try:
            answer = json.loads(query(predictor, photo))
        finally:
            predictor.delete_endpoint()
        assert {"normalized_boxes", "classes", "scores", "labels"} <= answer.keys()
        assert len(answer["normalized_boxes"]) <= 5
        assert [answer["labels"][int(index)] for index in answer["classes"]]
    assert "Ready after" in capfd.readouterr().out
