"""The pipeline of scripts/pipeline.py: its definition, its run on this machine, and what is registered in the end.

Runs in the environment of SDK v2: scripts/test_clients.sh sdk2.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from client_tests import ROLE, aws_on_this_machine, need_compose, need_sdk, no_container_left
from markdown_pages import ROOT

pytestmark = pytest.mark.clients
ECR_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-object-detection:1"
HYPERPARAMETERS = ["pretrained_weights=none", "epochs=1", "batch_size=4", "seed=3"]
BUCKET = "mine"


@dataclass(frozen=True)
class Aws:
    """AWS on this machine: clients of it. environment: of a process that is to find it."""

    s3: Any
    sagemaker: Any
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The program, with what it always needs."""
        always = ["--role", ROLE, "--output", f"s3://{BUCKET}/models", "--group", "cells"]
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts/pipeline.py"), *always, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def registered(self) -> list[str]:
        """The ARNs of model packages in the group."""
        listed = self.sagemaker.list_model_packages(ModelPackageGroupName="cells")
        return [row["ModelPackageArn"] for row in listed["ModelPackageSummaryList"]]

    def get(self, address: str) -> bytes:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        content: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content


@pytest.fixture
def on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    need_sdk(2)
    # Where local mode makes its files, by which its containers are found afterwards.
    (tmp_path / ".sagemaker").mkdir()
    (tmp_path / "containers").mkdir()
    (tmp_path / ".sagemaker/config.yaml").write_text(f"local:\n  container_root: {tmp_path}/containers\n")
    with aws_on_this_machine(monkeypatch, tmp_path) as session, no_container_left(tmp_path):
        s3 = session.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
        yield Aws(s3, session.client("sagemaker"), environment)


def definition(aws: Aws, *arguments: str) -> dict[str, Any]:
    done = aws.run(*arguments, "--dry-run")
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def steps(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["Name"]: step for step in made["Steps"]}


def resolved(value: Any, names: dict[str, Any]) -> Any:
    """A part of a definition, with values in the place of references: by what "Get" names."""
    if isinstance(value, list):
        return [resolved(member, names) for member in value]
    if not isinstance(value, dict):
        return value
    if "Get" in value:
        return names[value["Get"]]
    if "Std:Join" in value:
        join = value["Std:Join"]
        return join["On"].join(str(resolved(part, names)) for part in join["Values"])
    return {name: resolved(member, names) for name, member in value.items()}


REMOTE = [
    *("--image", ECR_IMAGE, "--training", "s3://bucket/data/training", "--test", "s3://bucket/data/test/"),
    *("--least", "0.4", "--hyperparameters", "epochs=20", "learning_rate=1E-3"),
]


def test_definition_trains_evaluates_and_registers_if_good_enough(on_this_machine: Aws) -> None:
    made = definition(on_this_machine, *REMOTE, "--metric", "mAP_50")
    assert {row["Name"]: row["DefaultValue"] for row in made["Parameters"]} == {
        "TrainingData": "s3://bucket/data/training/",
        "TestData": "s3://bucket/data/test/",
        "Least": 0.4,
    }
    assert [(step["Name"], step["Type"]) for step in made["Steps"]] == [
        ("Train", "Training"),
        ("Evaluate", "Processing"),
        ("GoodEnough", "Condition"),
    ]
    train, evaluate, good_enough = (step["Arguments"] for step in made["Steps"])
    assert train["HyperParameters"] == {"epochs": "20", "learning_rate": "0.001"}
    assert [channel["ChannelName"] for channel in train["InputDataConfig"]] == ["training"]
    assert evaluate["AppSpecification"] == {"ImageUri": ECR_IMAGE, "ContainerEntrypoint": ["evaluate"]}
    trained_model = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    assert {row["S3Input"]["LocalPath"]: row["S3Input"]["S3Uri"] for row in evaluate["ProcessingInputs"]} == {
        "/opt/ml/processing/model": trained_model,
        "/opt/ml/processing/test": {"Get": "Parameters.TestData"},
    }
    figure = {
        "Std:JsonGet": {
            "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Figures"},
            "Path": "object_detection_metrics.mAP_50.value",
        }
    }
    least = {"Get": "Parameters.Least"}
    (condition,) = good_enough["Conditions"]
    assert condition == {"Type": "GreaterThanOrEqualTo", "LeftValue": figure, "RightValue": least}
    (register,), (too_low,) = good_enough["IfSteps"], good_enough["ElseSteps"]
    assert (register["Type"], too_low["Type"]) == ("RegisterModel", "Fail")
    assert register["Arguments"]["ModelApprovalStatus"] == "PendingManualApproval"
    assert register["Arguments"]["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == trained_model
    values = too_low["Arguments"]["ErrorMessage"]["Std:Join"]["Values"]
    assert (values[0], values[1], values[3]) == ("mAP_50 of the test images is ", figure, least)


def test_pipeline_is_made_then_changed_and_started(on_this_machine: Aws) -> None:
    for least in ("0.3", "0.4"):
        done = on_this_machine.run(*REMOTE, "--least", least)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(
            "started pipeline object-detection in us-east-1: "
            "arn:aws:sagemaker:us-east-1:123456789012:pipeline/object-detection/execution/"
        )
    kept = on_this_machine.sagemaker.describe_pipeline(PipelineName="object-detection")
    (least_kept,) = (row for row in json.loads(kept["PipelineDefinition"])["Parameters"] if row["Name"] == "Least")
    assert least_kept["DefaultValue"] == 0.4
    listed = on_this_machine.sagemaker.list_pipeline_executions(PipelineName="object-detection")
    assert len(listed["PipelineExecutionSummaries"]) == 2


def test_a_refusal_of_aws_is_a_sentence(on_this_machine: Aws) -> None:
    unreachable = {**on_this_machine.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = Aws(on_this_machine.s3, on_this_machine.sagemaker, unreachable).run(*REMOTE)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("PlatformError: AWS cannot be reached or is busy (")


def test_local_mode_runs_from_training_to_the_registered_model(
    on_this_machine: Aws, image: str, sample_root: Path
) -> None:
    need_compose()
    for path in (sample_root / "input/data").rglob("*.*"):
        on_this_machine.s3.upload_file(str(path), BUCKET, f"data/{path.relative_to(sample_root / 'input/data')}")
    data = {"training": "training", "validation": "validation", "test": "validation"}
    given = [word for name, folder in data.items() for word in (f"--{name}", f"s3://{BUCKET}/data/{folder}")]
    done = on_this_machine.run(
        *("--local", "--image", image, *given, "--least", "0", "--hyperparameters", *HYPERPARAMETERS)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (arn,) = on_this_machine.registered
    assert done.stdout.splitlines()[-1] == (
        f"registered, by the request of step Register-RegisterModel, which local mode does not run: {arn}"
    )
    package = on_this_machine.sagemaker.describe_model_package(ModelPackageName=arn)
    statistics = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    model = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    figures = json.loads(on_this_machine.get(statistics))
    assert figures["object_detection_metrics"]["mAP"]["value"] >= 0.0
    assert figures["images"] == 5
    assert on_this_machine.get(model)[:2] == b"\x1f\x8b"

    # What was registered is what the step in a pipeline on SageMaker registers.
    made = definition(on_this_machine, *REMOTE)
    (register,) = steps(made)["GoodEnough"]["Arguments"]["IfSteps"]
    execution = statistics.split("/")[-2]
    names = {"Execution.PipelineExecutionId": execution, "Steps.Train.ModelArtifacts.S3ModelArtifacts": model}
    request = resolved(register["Arguments"], names)
    request["InferenceSpecification"]["Containers"][0]["Image"] = image
    assert {name: package[name] for name in request if name in package} == {
        name: value for name, value in request.items() if name in package
    }
    assert {"ModelPackageGroupName", "ModelApprovalStatus", "Domain", "Task"} < package.keys() & request.keys()


def test_local_mode_registers_no_model_whose_figure_is_too_low(
    on_this_machine: Aws, image: str, sample_root: Path
) -> None:
    need_compose()
    data = {"training": "training", "test": "validation"}
    given = [
        word for name, folder in data.items() for word in (f"--{name}", f"file://{sample_root}/input/data/{folder}")
    ]
    done = on_this_machine.run(
        *("--local", "--image", image, *given, "--least", "1", "--hyperparameters", *HYPERPARAMETERS)
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (key,) = (
        row["Key"]
        for row in on_this_machine.s3.list_objects_v2(Bucket=BUCKET, Prefix="models/")["Contents"]
        if row["Key"].endswith("evaluation.json")
    )
    figures = json.loads(on_this_machine.get(f"s3://{BUCKET}/{key}"))
    figure = figures["object_detection_metrics"]["mAP"]["value"]
    assert done.stderr.splitlines()[-1] == (
        f"failure reason: Step 'TooLow' failed with message: mAP of the test images is {figure}; expected at least "
        "1.0: the model is not registered"
    )
    assert on_this_machine.registered == []
