"""The SageMaker Python SDK v3: a ModelTrainer in local container mode, and one whose request is read on its way to AWS.

Runs in an environment of its own: scripts/test_clients.sh sdk3.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_tests import (
    ROLE,
    TYPED,
    Sent,
    assert_is_trained,
    aws_on_this_machine,
    need_compose,
    need_sdk,
    no_container_left,
    requests_as_sent,
    snippet,
    stay_at_home,
)

from sagemaker_object_detection.describe import describe_json

pytestmark = pytest.mark.clients


@pytest.fixture(scope="session")
def sdk() -> None:
    need_sdk(3)


@pytest.fixture(scope="session")
def compose() -> None:
    need_compose()


def test_a_model_trainer_in_local_container_mode_trains_with_the_values_of_python(
    sdk: None,
    compose: None,
    image: str,
    sample_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stay_at_home(monkeypatch, tmp_path)
    from sagemaker.core.training.configs import Compute, InputData
    from sagemaker.train import ModelTrainer
    from sagemaker.train.model_trainer import Mode

    trainer = ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image=image,
        role=ROLE,
        compute=Compute(instance_type="local_cpu", instance_count=1),
        hyperparameters=TYPED,
        local_container_root=str(tmp_path / "root"),
    )
    (tmp_path / "root").mkdir()
    channels = [
        InputData(channel_name=name, data_source=str(sample_root / "input/data" / name))
        for name in ("training", "validation")
    ]
    with no_container_left(tmp_path):
        trainer.train(input_data_config=channels)
    archive = tmp_path / "root/compressed_artifacts/model.tar.gz"
    assert_is_trained(archive, "".join(capfd.readouterr()), TYPED)


@pytest.fixture
def moto(sdk: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    """AWS on this machine, and the requests that go there through boto3's default session."""
    with aws_on_this_machine(monkeypatch, tmp_path) as session, requests_as_sent(session) as sent:
        yield sent


def test_the_readmes_model_trainer_sends_a_training_job(moto: Sent) -> None:
    exec(snippet("SageMaker Python SDK v3"), {})
    request = moto["CreateTrainingJob"]
    assert request["HyperParameters"] == {
        "model_id": "ssd_mobilenet_v2_fpnlite_640x640",
        "epochs": "20",
        "learning_rate": "0.001",
        "early_stopping": "true",
    }
    metrics = describe_json()["TrainingSpecification"]["MetricDefinitions"]
    assert request["AlgorithmSpecification"]["MetricDefinitions"] == metrics
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["training", "validation"]
