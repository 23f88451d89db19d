import json
import re

import pytest
from launch_programs import IMAGE, METRICS, REQUIRED, ROLE, Sent, channel, no_connection
from moto import mock_aws

from sagemaker_object_detection.launch.training import TRAINING

EXPECTED_OBJECT = 'expected an object such as {"epochs": 10, "learning_rate": 1e-3}'
ONCE = f"Give every key once; {EXPECTED_OBJECT}"

FULL = [
    *("--job-name", "cells-1", "--role", ROLE, "--image", IMAGE, "--output", "s3://bucket/models"),
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
    no_connection(monkeypatch)


def dry_run(capsys, *arguments):
    """The request, and what was said beside it."""
    assert TRAINING.main([*arguments, "--dry-run"]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def refused(capsys, *arguments):
    """The problems of a call that is refused before there is a connection."""
    assert TRAINING.main(list(arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0].startswith("UserError: ")
    return [re.sub(r"^\d+\. |^UserError: ", "", line) for line in (lines[1:] or lines)]


@mock_aws
def test_every_argument_is_where_it_belongs_in_the_request_as_sent(capsys, monkeypatch):
    sent = Sent.through(monkeypatch)
    assert TRAINING.main([*FULL, "--region", "eu-west-1"]) == 0
    assert capsys.readouterr().out == "started training job cells-1 in eu-west-1\n"
    assert sent.requests == [
        (
            "CreateTrainingJob",
            {
                "TrainingJobName": "cells-1",
                "HyperParameters": {"epochs": "20", "learning_rate": "1e-05"},
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
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
            "TrainingImage": IMAGE,
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
    assert said == "note: --spot without --checkpoints: a job whose instance is taken away begins anew\n"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            [],
            "note: --subnets without --model: if the image does not hold the base model's weights, the VPC needs a way "
            "to TensorFlow Hub, or an endpoint for S3, where JumpStart's bucket of the region has them\n",
        ),
        (
            ["--network-isolation"],
            "note: --network-isolation without --model: the image must hold the base model's weights\n",
        ),
        (["--model", "s3://bucket/model/"], ""),
    ],
    ids=["vpc", "isolated", "model"],
)
def test_job_in_a_vpc_is_told_where_its_weights_are_to_come_from(capsys, extra, said):
    assert dry_run(capsys, *REQUIRED, "--subnets", "subnet-1", "--security-groups", "sg-1", *extra)[1] == said


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
        "learning_rate": "0.001",
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
        *("--image", IMAGE, "--role", "SageMaker", "--training", "https://bucket/data", "--model", "model.tar.gz"),
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
        "--training: got 'https://bucket/data'; expected an address such as s3://bucket/folder/",
        "--model: got 'model.tar.gz'; expected an address such as s3://bucket/folder/ or s3://bucket/model.tar.gz",
        "--input-mode: got 'Pipe'; expected one of File, FastFile (default File)",
        "--volume-size: got 'none'; expected a whole number from 1 to 2147483647 (default 50)",
        "--checkpoint-path: got '/x'; expected the absolute path of a folder below /opt/ml, such as "
        "/opt/ml/checkpoints",
        "--hyperparameters: got 'seed'; expected a hyperparameter as NAME=VALUE, such as epochs=10",
        "--security-groups: missing; expected it beside --subnets: a VPC needs both",
        "--max-wait: got 60 without --spot; add --spot or leave it out",
        "--checkpoint-path: got '/x' without --checkpoints; add --checkpoints or leave it out",
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
            ["--spot", "--checkpoints", "s3://bucket/c/", "--keep-alive", "60"],
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


@pytest.mark.parametrize("flag", ["--output", "--checkpoints", "--training", "--validation", "--model"])
def test_no_argument_takes_a_bucket_that_cannot_be_one(capsys, flag):
    archive = " or s3://bucket/model.tar.gz" if flag == "--model" else ""
    assert refused(capsys, *REQUIRED, flag, "s3://my_bucket/data/") == [
        f"{flag}: got 's3://my_bucket/data/'; expected an address such as s3://bucket/folder/{archive}, whose bucket "
        "is named with 3 to 63 lowercase letters, digits, hyphens and single dots, or is the ARN of an access point"
    ]


def test_an_access_point_stands_in_place_of_a_bucket(capsys):
    address = "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/cells/data/"
    request, _ = dry_run(capsys, *REQUIRED, "--training", address)
    assert request["InputDataConfig"] == [channel("training", address)]


def test_a_wrong_address_was_given_all_the_same(capsys):
    arguments = [
        *("--image", "detector:1", "--validation", "data", "--checkpoints", "data", "--checkpoint-path", "/opt/ml/a"),
        *("--model", "data", "--network-isolation"),
        *("--hyperparameters", "validation_split_ratio=0", "early_stopping=True", "pretrained_weights=s3://bucket/key"),
    ]
    problems = refused(capsys, *REQUIRED, *arguments)
    assert [problem.split(":")[0] for problem in problems] == ["--image", "--validation", "--model", "--checkpoints"]
    assert problems[0] == (
        "--image: got 'detector:1'; expected the address of an image in ECR, such as "
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-object-detection:gpu: SageMaker sees no image of this "
        "machine, but a name in a registry; scripts/push_image.sh pushes one and prints its address"
    )


def test_an_image_is_at_most_as_long_as_the_api_takes_it(capsys):
    problems = refused(capsys, *REQUIRED, "--image", IMAGE + "a" * 255)
    assert len(problems) == 1
    assert problems[0].endswith("; expected at most 255 characters")


def test_a_checkpoint_path_that_is_relative_is_refused(capsys):
    arguments = ["--checkpoints", "s3://bucket/checkpoints/", "--checkpoint-path", "checkpoints"]
    assert refused(capsys, *REQUIRED, *arguments) == [
        "--checkpoint-path: got 'checkpoints'; expected the absolute path of a folder below /opt/ml, such as "
        "/opt/ml/checkpoints"
    ]


def test_several_hosts(capsys):
    request, _ = dry_run(capsys, *REQUIRED, "--instance-count", "2")
    assert request["ResourceConfig"]["InstanceCount"] == 2


def test_neither_image_nor_algorithm(capsys):
    assert refused(capsys, *REQUIRED[2:]) == ["--image and --algorithm: neither is given; expected one of them"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1]", f' holds ["1"]; {EXPECTED_OBJECT}'),
        (
            "{",
            " is not valid JSON: line 1, column 2: Expecting property name enclosed in double quotes. "
            f"Correct it there; {EXPECTED_OBJECT}",
        ),
        ('{"epochs": [1]}', ': epochs is ["1"]; expected text, a number, true or false'),
        (
            '{"epochs": 1, "seed": 2, "epochs": 3}',
            f" gives 'epochs' twice in one object. {ONCE}",
        ),
        ('{"epochs": {"a": 1, "a": 2}}', f" gives 'a' twice in one object. {ONCE}"),
        ("[" * 100_000, f" is nested too deeply. Correct it there; {EXPECTED_OBJECT}"),
        ('{"epochs": ' * 100_000, f" is nested too deeply. Correct it there; {EXPECTED_OBJECT}"),
    ],
)
def test_a_file_that_holds_no_hyperparameters_is_refused(tmp_path, capsys, text, problem):
    file = tmp_path / "h.json"
    file.write_text(text)
    problems = refused(capsys, *REQUIRED, "--hyperparameters-file", str(file))
    assert problems == [f"--hyperparameters-file: {file}{problem}"]
