import json
import re

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from launch_programs import METRICS, REQUIRED, ROLE, Sent, channel, program
from moto import mock_aws

from sagemaker_object_detection.launch.program import Aws

launch = program("launch_training")

FULL = [
    *("--job-name", "cells-1", "--role", ROLE, "--image", "image:1", "--output", "s3://bucket/models"),
    *("--training", "s3://bucket/data/training", "--validation", "s3://bucket/data/validation/"),
    *("--model", "s3://bucket/models/model.tar.gz", "--input-mode", "fastfile"),
    *("--instance-type", "ml.g5.2xlarge", "--instance-count", "1", "--volume-size", "100", "--max-run", "3600"),
    *(
        "--spot",
        "--max-wait",
        "7200",
        "--checkpoints",
        "s3://bucket/checkpoints/",
        "--checkpoint-path",
        "/opt/ml/saved",
    ),
    *("--subnets", "subnet-1", "subnet-2", "--security-groups", "sg-1", "--network-isolation", "--encrypt-traffic"),
    *("--output-kms-key", "alias/output", "--volume-kms-key", "volume", "--retry", "3"),
    *("--tags", "team=vision", "note=a=b", "--environment", "LOG_LEVEL=10", "EMPTY="),
    *("--hyperparameters", "epochs=20", "learning_rate=1e-05"),
]


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)


def dry_run(capsys, *arguments):
    """The request, and what was said beside it."""
    assert launch.main([*arguments, "--dry-run"], connect=None) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def refused(capsys, *arguments):
    """The problems of a call that is refused before there is a connection."""
    assert launch.main(list(arguments), connect=None) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0].startswith("UserError: ")
    return [re.sub(r"^\d+\. |^UserError: ", "", line) for line in (lines[1:] or lines)]


@mock_aws
def test_every_argument_is_where_it_belongs_in_the_request_as_sent(capsys):
    sent = Sent()
    assert launch.main([*FULL, "--region", "eu-west-1"], connect=sent.connect) == 0
    assert capsys.readouterr().out == "started training job cells-1 in eu-west-1\n"
    assert sent.requests == [
        (
            "CreateTrainingJob",
            {
                "TrainingJobName": "cells-1",
                "HyperParameters": {"epochs": "20", "learning_rate": "1e-05"},
                "AlgorithmSpecification": {
                    "TrainingImage": "image:1",
                    "TrainingInputMode": "FastFile",
                    "MetricDefinitions": METRICS,
                },
                "RoleArn": ROLE,
                "InputDataConfig": [
                    channel("training", "s3://bucket/data/training/"),
                    channel("validation", "s3://bucket/data/validation/"),
                    channel("model", "s3://bucket/models/model.tar.gz", "application/x-sagemaker-model")
                    | {"InputMode": "File"},
                ],
                "OutputDataConfig": {"S3OutputPath": "s3://bucket/models", "KmsKeyId": "alias/output"},
                "ResourceConfig": {
                    "InstanceType": "ml.g5.2xlarge",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 100,
                    "VolumeKmsKeyId": "volume",
                },
                "VpcConfig": {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
                "EnableManagedSpotTraining": True,
                "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/", "LocalPath": "/opt/ml/saved"},
                "EnableNetworkIsolation": True,
                "EnableInterContainerTrafficEncryption": True,
                "RetryStrategy": {"MaximumRetryAttempts": 3},
                "Tags": [{"Key": "team", "Value": "vision"}, {"Key": "note", "Value": "a=b"}],
                "Environment": {"LOG_LEVEL": "10", "EMPTY": ""},
            },
        )
    ]


def test_what_is_not_given_is_not_sent(capsys):
    request, said = dry_run(capsys, *REQUIRED)
    assert re.fullmatch(r"object-detection-\d{8}-\d{6}", request.pop("TrainingJobName"))
    assert request == {
        "HyperParameters": {},
        "AlgorithmSpecification": {
            "TrainingImage": "image:1",
            "TrainingInputMode": "File",
            "MetricDefinitions": METRICS,
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "InputDataConfig": [channel("training", "s3://bucket/data/")],
    }
    assert said == ""


def test_warm_machines(capsys):
    request, _ = dry_run(capsys, *REQUIRED, "--keep-alive", "1800")
    assert request["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 1800


def test_an_algorithm_stands_in_place_of_the_image_and_brings_its_metrics(capsys):
    request, _ = dry_run(capsys, *REQUIRED[2:], "--algorithm", "object-detection")
    assert request["AlgorithmSpecification"] == {"AlgorithmName": "object-detection", "TrainingInputMode": "File"}


def test_spot_waits_an_hour_longer_than_it_trains_and_says_what_it_lacks(capsys):
    request, said = dry_run(capsys, *REQUIRED, "--spot", "--max-run", "100")
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 3700}
    assert said == "note: this version writes no checkpoints: a job whose instance is taken away begins anew\n"


def test_hyperparameters_come_from_a_file_and_the_command_line_wins(tmp_path, capsys):
    file = tmp_path / "hyperparameters.json"
    file.write_text(
        '{"epochs": 5, "learning_rate": 1e-3, "early_stopping": true, "optimizer": "adam", "regularizers_l2": null}'
    )
    request, _ = dry_run(
        capsys,
        *REQUIRED,
        "--hyperparameters-file",
        str(file),
        "--hyperparameters",
        "epochs=7",
        "--hyperparameters",
        "seed=1",
    )
    assert request["HyperParameters"] == {
        "epochs": "7",
        "learning_rate": "1e-3",
        "early_stopping": "True",
        "optimizer": "adam",
        "seed": "1",
    }


def test_values_without_effect_are_told(capsys):
    _, said = dry_run(capsys, *REQUIRED, "--hyperparameters", "momentum=0.5")
    assert (
        said
        == "note: momentum: has no effect, because optimizer is adam; it is used when optimizer is sgd or nesterov\n"
    )


def test_every_mistake_is_told_before_any_call(capsys):
    assert refused(
        capsys,
        *("--image", "image:1", "--role", "SageMaker", "--training", "https://bucket/data", "--model", "model.tar.gz"),
        *(
            "--job-name",
            "my_cells",
            "--instance-type",
            "ml.g4dn.xlarg",
            "--volume-size",
            "none",
            "--input-mode",
            "Pipe",
        ),
        *("--max-wait", "60", "--checkpoint-path", "/x", "--subnets", "a b", "--tags", "x", "y=1", "y=2"),
        *("--environment", "1A=2", "--retry", "31", "--hyperparameters", "epochs=many", "lerning_rate=1", "seed"),
    ) == [
        "--output: missing; expected an address such as s3://bucket/folder/",
        "--tags: got 'x'; expected a tag as NAME=VALUE",
        "--tags: y is given twice; expected every name once",
        "--retry: got '31'; expected a whole number from 1 to 30",
        "--input-mode: got 'Pipe'; expected one of File, FastFile (default File)",
        "--volume-size: got 'none'; expected a whole number from 1 to 2147483647 (default 50)",
        "--hyperparameters: got 'seed'; expected a hyperparameter as NAME=VALUE, such as epochs=10",
        "--security-groups: missing; expected it beside --subnets: a VPC needs both",
        "--max-wait: got 60 without --spot; add --spot or leave it out",
        "--checkpoint-path: got '/x' without --checkpoints; add --checkpoints or leave it out",
        "--training: got 'https://bucket/data'; expected an address such as s3://bucket/folder/",
        "--model: got 'model.tar.gz'; expected an address such as s3://bucket/folder/ or s3://bucket/model.tar.gz",
        "epochs: got 'many'; expected a whole number from 1 to 2147483647 (default the base model's: 5 for the "
        "smaller, 1 for the larger)",
        "lerning_rate: unknown; did you mean learning_rate?",
        "--job-name: got 'my_cells'; expected 1 to 63 letters, digits and hyphens, such as cells-1",
        "--role: got 'SageMaker'; expected the ARN of an IAM role, such as arn:aws:iam::123456789012:role/SageMaker",
        "--environment: got '1A'; expected a variable as NAME=VALUE, the name of letters, digits and underscores",
        "--instance-type: got 'ml.g4dn.xlarg'; expected one of the 225 values this boto3 knows; did you mean "
        "ml.g4dn.xlarge?",
        "--subnets: got 'a b'; expected 1 to 16 ids, such as subnet-0123456789abcdef0",
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--algorithm", "a"], "--image and --algorithm: both are given; expected one of them"),
        (
            ["--spot", "--max-wait", "60", "--max-run", "61"],
            "--max-wait: got 60; expected at least --max-run, which is 61: it is the time for waiting and training "
            "together",
        ),
        (
            ["--spot", "--checkpoints", "s3://b/c/", "--keep-alive", "60"],
            "--keep-alive: got 60 with --spot; spot instances are not kept warm: leave one out",
        ),
        (
            ["--network-isolation", "--hyperparameters", "pretrained_weights=s3://bucket/model.tar.gz"],
            "pretrained_weights: got 's3://bucket/model.tar.gz' with --network-isolation, where nothing can be fetched"
            "; bring the weights on --model or in the image",
        ),
        (
            ["--hyperparameters", "validation_split_ratio=0", "early_stopping=True"],
            "validation_split_ratio: got 0, and there is no --validation; expected data for early_stopping: add the "
            "channel or raise validation_split_ratio",
        ),
        (
            ["--validation", "s3://bucket/data.tar.gz"],
            "--validation: got 's3://bucket/data.tar.gz'; expected the address of a folder, not an archive",
        ),
        (["--tags", *(f"t{number}=1" for number in range(51))], "--tags: got [{'Key': 't0', 'Value': '1'}, {'Key': "),
        (
            ["--hyperparameters", "epochs=1", "epochs=2"],
            "--hyperparameters: epochs is given twice; expected every name ",
        ),
        (
            ["--hyperparameters-file", "/nonexistent/h.json"],
            "--hyperparameters-file: /nonexistent/h.json cannot be read",
        ),
        (
            ["--security-groups", *("sg-1",) * 6],
            "--security-groups: got ['sg-1', 'sg-1', 'sg-1', 'sg-1', 'sg-1', 'sg-1']",
        ),
    ],
)
def test_contradictions_and_limits_are_told(capsys, arguments, problem):
    extra = [] if "--security-groups" not in arguments else ["--subnets", "subnet-1"]
    problems = refused(capsys, *REQUIRED, *arguments, *extra)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_several_hosts(capsys):
    request, _ = dry_run(capsys, *REQUIRED, "--instance-count", "2")
    assert request["ResourceConfig"]["InstanceCount"] == 2


def test_neither_image_nor_algorithm(capsys):
    assert refused(capsys, *REQUIRED[2:]) == ["--image and --algorithm: neither is given; expected one of them"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1]", "holds ['1']; expected an object"),
        ("{", "is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); expected"),
        ('{"epochs": [1]}', "epochs is ['1']; expected text, a number, true or false"),
    ],
)
def test_a_file_that_holds_no_hyperparameters_is_refused(tmp_path, capsys, text, problem):
    file = tmp_path / "h.json"
    file.write_text(text)
    problems = refused(capsys, *REQUIRED, "--hyperparameters-file", str(file))
    assert len(problems) == 1
    assert problem in problems[0]


@pytest.mark.parametrize(
    ("status", "code", "message", "exit_code", "told"),
    [
        (
            400,
            "ResourceInUse",
            "Job exists.",
            2,
            "CreateTrainingJob was refused (ResourceInUse: Job exists); give another name",
        ),
        (
            400,
            "ResourceLimitExceeded",
            "The limit is 0 Instances.",
            2,
            "CreateTrainingJob was refused (ResourceLimitExceeded: The limit is 0 Instances); ask for a higher quota "
            "in Service Quotas, or give another --instance-type",
        ),
        (
            403,
            "AccessDeniedException",
            "No.",
            2,
            "CreateTrainingJob was refused (AccessDeniedException: No); allow your identity this call, and "
            "iam:PassRole for the job's role",
        ),
        (
            403,
            "ExpiredTokenException",
            "Expired",
            2,
            "AWS refuses the credentials (ExpiredTokenException: Expired); sign in again, or give another --profile",
        ),
        (400, "Odd", "", 2, "CreateTrainingJob was refused (Odd: no message); check the arguments and the region"),
        (
            503,
            "ServiceUnavailable",
            "Later.",
            3,
            "AWS cannot be reached or is busy (An error occurred (ServiceUnavailable) when calling the "
            "CreateTrainingJob operation: Later); try again a little later",
        ),
    ],
)
def test_what_aws_refuses_is_told_with_what_to_do(capsys, status, code, message, exit_code, told):
    client = boto3.client("sagemaker", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))
    with Stubber(client) as stubber:
        stubber.add_client_error("create_training_job", code, message, status)
        assert launch.main(REQUIRED, connect=lambda *_: Aws(client, None, "us-east-1")) == exit_code
    assert capsys.readouterr().err == f"{'UserError' if exit_code == 2 else 'PlatformError'}: {told}\n"


def test_where_nobody_answers_that_is_told(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    assert launch.main([*REQUIRED, "--region", "us-east-1"]) == 3
    assert capsys.readouterr().err == (
        "PlatformError: AWS cannot be reached or is busy (Could not connect to the endpoint URL: "
        '"http://127.0.0.1:9/"); '
        "try again a little later\n"
    )


def test_without_a_region_the_way_out_is_told(capsys, monkeypatch, tmp_path):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert launch.main(REQUIRED) == 2
    assert capsys.readouterr().err == (
        "UserError: --region: missing; expected an AWS region such as eu-west-1, here, in AWS_DEFAULT_REGION or in the "
        "profile\n"
    )


def test_a_profile_that_is_not_there_is_told(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert launch.main([*REQUIRED, "--profile", "nobody"]) == 2
    assert capsys.readouterr().err == (
        "UserError: The config profile (nobody) could not be found; check the AWS configuration: --profile, --region "
        "and the environment\n"
    )
