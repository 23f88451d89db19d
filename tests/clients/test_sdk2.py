"""The SageMaker Python SDK v2: Estimators in local mode, and a tuner whose request is read on its way to AWS.

Runs in an environment of its own: scripts/test_clients.sh sdk2.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_tests import (
    MAIN_PAGE,
    ROLE,
    SERVING_PAGE,
    TYPED,
    Sent,
    assert_is_trained,
    aws_on_this_machine,
    described_ranges,
    members,
    need_compose,
    need_sdk,
    no_container_left,
    requests_as_sent,
    snippet,
    stay_at_home,
)

from sagemaker_object_detection.describe import describe_json

pytestmark = pytest.mark.clients
SPECIFICATION = describe_json()["TrainingSpecification"]

EstimatorMaker = Callable[..., Any]
Channels = dict[str, str]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def sdk() -> None:
    need_sdk(2)


@pytest.fixture(scope="session")
def compose() -> None:
    need_compose()


@pytest.fixture
def local(
    sdk: None, compose: None, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EstimatorMaker]:
    """Makes Estimators that run the image here; fit() them with `channels`."""
    stay_at_home(monkeypatch, tmp_path)
    import boto3
    from sagemaker.estimator import Estimator
    from sagemaker.local import LocalSession

    session = LocalSession(boto_session=boto3.Session())
    (tmp_path / "containers").mkdir()
    session.config = {"local": {"local_code": True, "container_root": str(tmp_path / "containers")}}

    def estimator(**settings: Any) -> Estimator:
        given = {"instance_count": 1, "hyperparameters": TYPED, **settings}
        return Estimator(
            image_uri=image,
            role=ROLE,
            instance_type="local",
            sagemaker_session=session,
            output_path=f"file://{tmp_path}/out",
            **given,
        )

    with no_container_left(tmp_path):
        yield estimator


@pytest.fixture
def channels(sample_root: Path) -> Channels:
    return {name: f"file://{sample_root}/input/data/{name}" for name in ("training", "validation")}


@pytest.mark.smoke
def test_an_estimator_in_local_mode_trains_with_the_values_of_python(
    local: EstimatorMaker, channels: Channels, tmp_path: Path, capfd: Capture
) -> None:
    estimator = local()
    estimator.fit(channels)
    log = capfd.readouterr().out
    assert estimator.model_data == f"file://{tmp_path}/out/model.tar.gz"
    assert_is_trained(tmp_path / "out/model.tar.gz", log, TYPED)
    assert "data/metrics.json" in members(tmp_path / "out/output.tar.gz")


def test_the_model_just_trained_is_deployed_and_answers_as_the_readme_has_it(
    local: EstimatorMaker, channels: Channels, sample_root: Path, tmp_path: Path, capfd: Capture
) -> None:
    estimator = local()
    estimator.fit(channels)
    photo = sorted((sample_root / "input/data/validation/images").iterdir())[0]
    code = snippet("An endpoint", SERVING_PAGE).replace("ml.m5.xlarge", "local").replace("photo.jpg", str(photo))
    names: dict[str, Any] = {"estimator": estimator}
    try:
        exec(code, names)
    finally:
        if "predictor" in names:
            names["predictor"].delete_endpoint()
    answer = names["answer"]
    assert answer["labels"] == json.loads(members(tmp_path / "out/model.tar.gz")["labels.json"])["labels"]
    assert len(answer["normalized_boxes"]) == len(answer["classes"]) == len(answer["scores"]) > 0
    assert set(answer["classes"]) <= set(range(len(answer["labels"])))
    assert answer["tensorflow_model_output"]["num_detections"] == len(answer["scores"])
    assert "Ready after" in capfd.readouterr().out


def test_none_is_not_given(local: EstimatorMaker, channels: Channels, tmp_path: Path, capfd: Capture) -> None:
    local(hyperparameters={**TYPED, "regularizers_l2": None, "model_id": None}).fit(channels)
    log = capfd.readouterr().out
    own = {"regularizers_l2": 2e-5}  # of the default base model
    assert_is_trained(tmp_path / "out/model.tar.gz", log, {**own, "augmentation": False})


def test_wrong_values_end_the_job_with_a_sentence(local: EstimatorMaker, channels: Channels, capfd: Capture) -> None:
    with pytest.raises(RuntimeError, match="exited with code: 2"):
        local(hyperparameters={**TYPED, "learning_rate": "fast", "epoch": 3}).fit(channels)
    log = capfd.readouterr().out
    assert "learning_rate: got 'fast'; expected a number from 0.0 to 1.0 (default 0.001)" in log
    assert "epoch: unknown; did you mean epochs?" in log


def test_the_model_of_a_job_is_the_next_ones_model_channel(
    local: EstimatorMaker, channels: Channels, tmp_path: Path, capfd: Capture
) -> None:
    local().fit(channels)
    (tmp_path / "model").mkdir()
    (tmp_path / "out/model.tar.gz").rename(tmp_path / "model/model.tar.gz")
    capfd.readouterr()
    more = {name: value for name, value in TYPED.items() if name != "pretrained_weights"} | {"passes_per_epoch": 1}
    local(hyperparameters=more).fit({**channels, "model": f"file://{tmp_path}/model"})
    assert_is_trained(tmp_path / "out/model.tar.gz", capfd.readouterr().out, more)


def test_two_local_hosts_train_one_model(
    local: EstimatorMaker, channels: Channels, tmp_path: Path, capfd: Capture
) -> None:
    local(instance_count=2).fit(channels)
    log = capfd.readouterr().out
    assert_is_trained(tmp_path / "out/model.tar.gz", log, TYPED)
    assert set(re.findall(r"-(algo-\d)-", log)) == {"algo-1", "algo-2"}
    assert len(re.findall(r"\[Epoch 0\], Speed", log)) == 1  # the chief alone prints metrics


SCRIPT = """
import argparse, json, os, pathlib
import sagemaker_object_detection
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--greeting")
given = vars(parser.parse_args())
given["package"] = sagemaker_object_detection.__name__
given["training"] = sorted(os.listdir(os.environ["SM_CHANNEL_TRAINING"]))
pathlib.Path(os.environ["SM_MODEL_DIR"], "given.json").write_text(json.dumps(given))
"""


def test_a_script_of_the_users_own_runs_with_this_package(
    local: EstimatorMaker, channels: Channels, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/own.py").write_text(SCRIPT, encoding="utf-8")
    estimator = local(
        entry_point="own.py", source_dir=str(tmp_path / "code"), hyperparameters={"epochs": 2, "greeting": "hello"}
    )
    estimator.fit(channels)
    assert json.loads(members(tmp_path / "out/model.tar.gz")["given.json"]) == {
        "epochs": 2,
        "greeting": "hello",
        "package": "sagemaker_object_detection",
        "training": ["annotations.json", "images"],
    }


def test_a_script_that_fails_ends_the_job_with_its_own_exit_code(
    local: EstimatorMaker, channels: Channels, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/own.py").write_text("import sys\nsys.exit(7)\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="exited with code: 7"):
        local(entry_point="own.py", source_dir=str(tmp_path / "code"), hyperparameters={}).fit(channels)


@pytest.fixture
def moto(sdk: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    """AWS on this machine, and the requests that go there through boto3's default session."""
    with aws_on_this_machine(monkeypatch, tmp_path) as session, requests_as_sent(session) as sent:
        yield sent


def test_the_readmes_estimator_sends_a_training_job(moto: Sent) -> None:
    exec(snippet("SageMaker Python SDK v2"), {})
    request = moto["CreateTrainingJob"]
    assert request["HyperParameters"] == {
        "model_id": "ssd_mobilenet_v2_fpnlite_640x640",
        "epochs": "20",
        "learning_rate": "0.001",
        "early_stopping": "True",
    }
    assert request["AlgorithmSpecification"]["MetricDefinitions"] == SPECIFICATION["MetricDefinitions"]
    assert request["EnableManagedSpotTraining"] is True
    assert request["CheckpointConfig"] == {"S3Uri": "s3://bucket/checkpoints/cells/"}
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["training", "validation"]


def test_the_main_readmes_estimator_sends_a_training_job(moto: Sent) -> None:
    code = snippet("On SageMaker", MAIN_PAGE)
    assert code.rstrip().endswith('"})')
    exec(code.rstrip().removesuffix(")") + ", wait=False)", {})  # nobody runs the job here
    request = moto["CreateTrainingJob"]
    assert request["HyperParameters"] == {"model_id": "ssd_mobilenet_v2_fpnlite_640x640", "epochs": "20"}
    assert request["AlgorithmSpecification"]["MetricDefinitions"] == SPECIFICATION["MetricDefinitions"]
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["training", "validation"]


def test_the_readmes_tuner_sends_the_ranges_and_metrics_of_describe(moto: Sent) -> None:
    code: dict[str, Any] = {}
    exec(snippet("SageMaker Python SDK v2"), code)
    exec(snippet("Tuning with the SageMaker Python SDK v2"), code)
    request = moto["CreateHyperParameterTuningJob"]
    ranges = described_ranges()
    config = request["HyperParameterTuningJobConfig"]
    sent = {row["Name"]: row for rows in config["ParameterRanges"].values() for row in rows}
    assert sent.keys() == {"batch_size", "learning_rate", "optimizer"}
    assert sent["batch_size"] == ranges["batch_size"]
    assert sent["optimizer"]["Values"] == ranges["optimizer"]["Values"]
    rate, described = sent["learning_rate"], ranges["learning_rate"]
    assert {name: rate[name] for name in ("Name", "ScalingType")} == {
        name: described[name] for name in ("Name", "ScalingType")
    }
    assert [float(rate[end]) for end in ("MinValue", "MaxValue")] == [
        float(described[end]) for end in ("MinValue", "MaxValue")
    ]
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "validation:mAP"}
    assert config["HyperParameterTuningJobObjective"] in SPECIFICATION["SupportedTuningJobObjectiveMetrics"]
    definition = request["TrainingJobDefinition"]
    assert definition["AlgorithmSpecification"]["MetricDefinitions"] == SPECIFICATION["MetricDefinitions"]
    assert definition["StaticHyperParameters"] == {
        "model_id": "ssd_mobilenet_v2_fpnlite_640x640",
        "epochs": "20",
        "early_stopping": "True",
    }


def test_every_range_of_describe_is_one_that_a_tuner_sends(moto: Sent) -> None:
    from sagemaker.estimator import Estimator
    from sagemaker.tuner import CategoricalParameter, ContinuousParameter, HyperparameterTuner, IntegerParameter

    def parameter(row: dict[str, Any]) -> Any:
        if "Values" in row:
            return CategoricalParameter(row["Values"])
        kind, number = (
            (IntegerParameter, int)
            if row in describe_json()["ParameterRanges"]["IntegerParameterRanges"]
            else (ContinuousParameter, float)
        )
        return kind(number(row["MinValue"]), number(row["MaxValue"]), scaling_type=row["ScalingType"])

    estimator = Estimator("image:1", ROLE, 1, "ml.g4dn.xlarge", output_path="s3://bucket/models/")
    HyperparameterTuner(
        estimator,
        "validation:localization_loss",
        {name: parameter(row) for name, row in described_ranges().items()},
        metric_definitions=SPECIFICATION["MetricDefinitions"],
        objective_type="Minimize",
    ).fit({"training": "s3://bucket/data/training/"}, wait=False)
    sent = moto["CreateHyperParameterTuningJob"]["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert {row["Name"] for rows in sent.values() for row in rows} == described_ranges().keys()
    assert {row["Name"]: row["Values"] for row in sent["CategoricalParameterRanges"]} == {
        name: row["Values"] for name, row in described_ranges().items() if "Values" in row
    }
