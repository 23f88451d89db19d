import json
import re

import pytest
from launch_programs import IMAGE, METRICS, REQUIRED, ROLE, Sent, channel, no_connection
from moto import mock_aws

from sagemaker_object_detection.describe import describe_json
from sagemaker_object_detection.job import metrics
from sagemaker_object_detection.launch.tuning import TUNING

RANGES = {row["Name"]: row for rows in describe_json()["ParameterRanges"].values() for row in rows}

OBJECTIVES = [metric.name for metric in metrics.METRICS if metric.key in metrics.VALIDATION_KEYS]


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    no_connection(monkeypatch)


def dry_run(capsys, *arguments):
    assert TUNING.main([*REQUIRED, *arguments, "--dry-run"]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def tuned(capsys, *texts):
    """The ranges of a request by name, each with the kind of its list."""
    request, _ = dry_run(capsys, "--tune", *texts)
    lists = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    return {row["Name"]: (kind.removesuffix("ParameterRanges"), row) for kind, rows in lists.items() for row in rows}


def refused(capsys, *arguments):
    assert TUNING.main([*REQUIRED, *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    return [re.sub(r"^\d+\. |^UserError: ", "", line) for line in (lines[1:] or lines)]


def test_addresses_that_cannot_be_are_refused(capsys):
    arguments = ["--image", "foo bar", "--output", "s3://My-Models/", "--tune", "learning_rate"]
    assert refused(capsys, *arguments) == [
        "--image: got 'foo bar'; expected the address of an image in ECR, such as "
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-object-detection:gpu; scripts/push_image.sh pushes one "
        "and prints its address",
        "--output: got 's3://My-Models/'; expected an address such as s3://bucket/folder/, whose bucket is named with "
        "3 to 63 lowercase letters, digits, hyphens and single dots, or is the ARN of an access point",
    ]


@mock_aws
def test_every_argument_is_where_it_belongs_in_the_request_as_sent(capsys, monkeypatch):
    sent = Sent.through(monkeypatch)
    arguments = [
        *("--job-name", "cells", "--role", ROLE, "--image", IMAGE, "--output", "s3://bucket/models/"),
        *("--training", "s3://bucket/data/", "--instance-type", "ml.g5.xlarge", "--tags", "team=vision"),
        *("--tune", "learning_rate", "batch_size=4:64", "optimizer=adam,sgd", "--objective", "validation:map_50"),
        *("--strategy", "random", "--max-jobs", "50", "--max-parallel", "5", "--max-tuning-time", "7200"),
        *("--early-stopping", "auto", "--tuning-seed", "7", "--hyperparameters", "epochs=20"),
        *("--spot", "--checkpoints", "s3://bucket/checkpoints/", "--environment", "LOG_LEVEL=10"),
    ]
    assert TUNING.main(arguments) == 0
    assert capsys.readouterr().out == "started tuning job cells in us-east-1\n"
    assert sent.requests == [
        (
            "CreateHyperParameterTuningJob",
            {
                "HyperParameterTuningJobName": "cells",
                "HyperParameterTuningJobConfig": {
                    "Strategy": "Random",
                    "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:mAP_50"},
                    "ResourceLimits": {
                        "MaxNumberOfTrainingJobs": 50,
                        "MaxParallelTrainingJobs": 5,
                        "MaxRuntimeInSeconds": 7200,
                    },
                    "ParameterRanges": {
                        "IntegerParameterRanges": [
                            {"Name": "batch_size", "MinValue": "4", "MaxValue": "64", "ScalingType": "Logarithmic"}
                        ],
                        "ContinuousParameterRanges": [
                            {
                                "Name": "learning_rate",
                                "MinValue": "3e-4",
                                "MaxValue": "1e-2",
                                "ScalingType": "Logarithmic",
                            }
                        ],
                        "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["adam", "sgd"]}],
                    },
                    "TrainingJobEarlyStoppingType": "Auto",
                    "RandomSeed": 7,
                },
                "TrainingJobDefinition": {
                    "StaticHyperParameters": {"epochs": "20"},
                    "AlgorithmSpecification": {
                        "TrainingImage": IMAGE,
                        "TrainingInputMode": "File",
                        "MetricDefinitions": METRICS,
                    },
                    "RoleArn": ROLE,
                    "InputDataConfig": [channel("training", "s3://bucket/data/")],
                    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
                    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
                    "StoppingCondition": {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 90000},
                    "EnableManagedSpotTraining": True,
                    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/"},
                    "Environment": {"LOG_LEVEL": "10"},
                },
                "Tags": [{"Key": "team", "Value": "vision"}],
            },
        )
    ]


def test_what_is_not_given_has_these_defaults(capsys):
    request, said = dry_run(capsys, "--tune", "learning_rate")
    assert re.fullmatch(r"detection-\d{8}-\d{6}", request["HyperParameterTuningJobName"])
    config = request["HyperParameterTuningJobConfig"]
    del config["ParameterRanges"]
    assert config == {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:mAP"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 1},
        "TrainingJobEarlyStoppingType": "Off",
    }
    assert said == ""


def test_every_range_of_describe_is_tuned_by_its_name(capsys):
    found = tuned(capsys, *RANGES)
    assert {name: row for name, (_, row) in found.items()} == RANGES


def test_the_loss_is_minimised(capsys):
    request, _ = dry_run(capsys, "--tune", "learning_rate", "--objective", "validation:localization_loss")
    assert request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"] == {
        "Type": "Minimize",
        "MetricName": "validation:localization_loss",
    }


@pytest.mark.parametrize(
    ("text", "kind", "row"),
    [
        ("epochs=5:20", "Integer", {"Name": "epochs", "MinValue": "5", "MaxValue": "20", "ScalingType": "Auto"}),
        (
            "learning_rate=0:0.1",  # logarithms need numbers above 0
            "Continuous",
            {"Name": "learning_rate", "MinValue": "0.0", "MaxValue": "0.1", "ScalingType": "Auto"},
        ),
        (
            "momentum=0.5:0.99:reverselogarithmic",
            "Continuous",
            {"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.99", "ScalingType": "ReverseLogarithmic"},
        ),
        ("eps=1e-8:1e-3", "Continuous", {**RANGES["epsilon"], "MinValue": "1e-08", "MaxValue": "0.001"}),
        ("batch_size=4, 8", "Categorical", {"Name": "batch_size", "Values": ["4", "8"]}),
        ("train_only_top_layer", "Categorical", {"Name": "train_only_on_top_layer", "Values": ["True", "False"]}),
        (
            "model_id=ssd_mobilenet_v2_fpnlite_320x320,ssd_mobilenet_v2_fpnlite_640x640",
            "Categorical",
            {"Name": "model_id", "Values": ["ssd_mobilenet_v2_fpnlite_320x320", "ssd_mobilenet_v2_fpnlite_640x640"]},
        ),
    ],
)
def test_ranges_and_values_of_ones_own(capsys, text, kind, row):
    assert tuned(capsys, text) == {row["Name"]: (kind, row)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("learning_rte", "no hyperparameter; did you mean learning_rate?"),
        ("nonsense", "no hyperparameter; `describe` lists every hyperparameter"),
        ("epochs", "the table recommends no range; expected one, such as epochs=5:20"),
        ("rho", "the table recommends no range; expected one, such as rho=0.0:1.0"),
        ("augmentation", "the table recommends no range; expected one, such as augmentation=True,False"),
        (
            "learning_rate=0:2",
            "got '2'; expected a number from 0.0 to 1.0 at both ends, such as learning_rate=3e-4:1e-2",
        ),
        ("learning_rate=0.2:0.1", "the low end is 0.2 and the high end 0.1; expected a low end below the high one"),
        (
            "learning_rate=0:0.1:Logarithmic",
            "the range is 0 to 0.1; expected one above 0 for the scaling Logarithmic",
        ),
        (
            "learning_rate=0:1:ReverseLogarithmic",
            "the range is 0 to 1; expected one from 0 and below 1 for the scaling ReverseLogarithmic",
        ),
        (
            "learning_rate=0:1:Square",
            "expected LOW:HIGH or LOW:HIGH:SCALING with one of Auto, Linear, Logarithmic, ReverseLogarithmic, such as "
            "learning_rate=3e-4:1e-2",
        ),
        (
            "optimizer=adm",
            "got 'adm'; expected one of adam, sgd, nesterov, rmsprop, adagrad, adadelta, such as "
            "optimizer=adam,adadelta",
        ),
        ("optimizer=adam,Adam", "a value is given twice; expected every value once"),
        (f"seed={','.join(map(str, range(31)))}", "31 values; expected at most 30"),
    ],
)
def test_a_range_that_cannot_be_is_refused(capsys, text, problem):
    shown = repr(text if len(text) <= 80 else f"{text[:80]}...")
    assert refused(capsys, "--tune", text) == [f"--tune {shown}: {problem}"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            [],
            "--tune: missing; expected what to tune, such as learning_rate, learning_rate=1e-5:1e-2 or "
            "optimizer=adam,sgd",
        ),
        (
            ["--tune", "learning_rate", "learning_rate=0:1"],
            "--tune 'learning_rate=0:1': learning_rate is given twice; expected every name once",
        ),
        (
            ["--tune", "epsilon", "--hyperparameters", "eps=1e-3"],
            "eps: got '1e-3' and is tuned too; expected it in --hyperparameters or in --tune",
        ),
        (
            ["--tune", "learning_rate", "--objective", "train:loss"],
            f"--objective: got 'train:loss'; expected one of {', '.join(OBJECTIVES)} (default validation:mAP)",
        ),
        (
            ["--tune", "learning_rate", "--strategy", "Hyperband", "--max-resource", "9", "--early-stopping", "Auto"],
            "--early-stopping: got Auto; expected Off with Hyperband, which stops trials by itself",
        ),
        (
            ["--tune", "learning_rate", "--strategy", "Hyperband"],
            "--max-resource: missing; Hyperband needs to know the epochs of a trial: give it, or epochs among the "
            "--hyperparameters",
        ),
        (
            ["--tune", "learning_rate", "--strategy", "Hyperband", "--min-resource", "5", "--max-resource", "3"],
            "--min-resource: got 5; expected at most --max-resource, which is 3",
        ),
        (
            ["--tune", "learning_rate", "--min-resource", "5"],
            "--min-resource: got 5; it is used with --strategy Hyperband only: leave it out",
        ),
        (
            ["--tune", "learning_rate=0.01:0.1", "--strategy", "Grid"],
            "--tune: learning_rate is a range; Grid tries given values only: expected some, such as "
            "learning_rate=0.01,0.1",
        ),
        (
            ["--tune", "optimizer", "batch_size=4,8", "--strategy", "Grid", "--max-jobs", "10"],
            "--max-jobs: got 10; Grid tries every combination, 4 in all: leave it out",
        ),
        (
            [
                "--tune",
                *(f"{name}={','.join(f'0.{i}' for i in range(1, 10))}" for name in ("rho", "beta_1", "beta_2")),
                "optimizer=rmsprop,adam",
                "--strategy",
                "Grid",
            ],
            "--tune: 1458 combinations; expected at most 750: tune fewer values",
        ),
        (
            ["--tune", "learning_rate", "--max-jobs", "3", "--max-parallel", "4"],
            "--max-parallel: got 4; expected at most --max-jobs, which is 3",
        ),
        (
            ["--tune", "learning_rate", "--hyperparameters", "validation_split_ratio=0"],
            "validation_split_ratio: got 0, and there is no --validation; expected data for the objective: add the "
            "channel or raise validation_split_ratio",
        ),
        (
            ["--tune", "learning_rate", "--environment", *(f"A{number}=1" for number in range(49))],
            "--environment: got {'A0': '1', 'A1': '1', 'A2': '1', 'A3': '1', 'A4': '1', 'A5': '1', 'A6': '1', 'A...; "
            "expected at most 48 entries",
        ),
        (
            ["--tune", "learning_rate", "--job-name", "a" * 33],
            f"--job-name: got '{'a' * 33}'; expected at most 32 characters",
        ),
        (
            ["--tune", "learning_rate", "--hyperparameters", "epochs=x"],
            "epochs: got 'x'; expected a whole number from 1 to 2147483647 (default the base model's: 5 for the "
            "smaller, 1 for the larger)",
        ),
    ],
)
def test_contradictions_and_limits_are_told(capsys, arguments, problem):
    assert refused(capsys, *arguments) == [problem]


def test_with_an_algorithm_only_what_it_calls_tunable_is_tuned(capsys):
    problems = refused(capsys, *("--algorithm", "a"), *("--tune", "epochs=1:5"))
    assert problems[0] == "--image and --algorithm: both are given; expected one of them"
    assert problems[1].startswith(
        "--tune: epochs is not tunable with --algorithm; expected one of batch_size, beta_1, "
    )


def test_hyperband_takes_the_epochs_of_a_trial_from_the_hyperparameters(capsys):
    request, _ = dry_run(
        capsys,
        "--tune",
        "learning_rate",
        "--strategy",
        "Hyperband",
        "--hyperparameters",
        "epochs=9",
        "--min-resource",
        "2",
    )
    config = request["HyperParameterTuningJobConfig"]
    assert config["StrategyConfig"] == {"HyperbandStrategyConfig": {"MinResource": 2}}
    assert config["TrainingJobEarlyStoppingType"] == "Off"
    assert request["TrainingJobDefinition"]["StaticHyperParameters"] == {"epochs": "9"}


def test_a_grid_counts_for_itself(capsys):
    request, _ = dry_run(capsys, "--tune", "optimizer", "learning_rate=0.001,0.01", "--strategy", "Grid")
    assert request["HyperParameterTuningJobConfig"]["ResourceLimits"] == {"MaxParallelTrainingJobs": 1}


def test_what_no_trial_uses_is_told_and_what_some_use_is_not(capsys):
    _, said = dry_run(capsys, "--tune", "momentum", "learning_rate")
    assert said == "note: --tune momentum: has no effect; it is used when optimizer is sgd or nesterov\n"
    _, said = dry_run(capsys, "--tune", "momentum", "optimizer=adam,sgd,rmsprop", "--hyperparameters", "rho=0.5")
    assert said == ""
