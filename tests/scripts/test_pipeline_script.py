"""The arguments of scripts/pipeline.py. What it makes of them needs the SDK: clients/test_sdk2_pipeline.py."""

import runpy
import sys

import pytest
from launch_programs import IMAGE, ROLE, SCRIPTS
from markdown_pages import below, blocks, commands

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.evaluation.coco import FIGURES
from sagemaker_object_detection.hyperparameters.kinds import Choice
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.pipeline import GROUPS, Plan, read_plan
from sagemaker_object_detection.sentences import shown

PROGRAM = runpy.run_path(str(SCRIPTS / "pipeline.py"))
REQUIRED = {
    "--image": IMAGE,
    "--role": ROLE,
    "--output": "s3://bucket/models/",
    "--training": "s3://bucket/data/training",
    "--test": "s3://bucket/data/test/",
    "--least": "0.4",
    "--group": "cells",
}


def plan_of(*more: str, **changed: str) -> Plan:
    given = {**REQUIRED, **{f"--{name}": value for name, value in changed.items()}}
    words = [word for pair in given.items() for word in pair]
    return read_plan(PROGRAM["_parser"]().parse_args([*words, *more]))[0]


def problems_of(*more: str, **changed: str) -> list[str]:
    with pytest.raises(UserError) as raised:
        plan_of(*more, **changed)
    return list(raised.value.problems)


def test_what_is_missing_is_told_at_once(capsys):
    assert PROGRAM["main"]([]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == f"UserError: {len(REQUIRED)} problems:"
    assert {line.split()[1] for line in told[1:]} == {f"{flag}:" for flag in REQUIRED}


def test_every_mistake_is_told_before_any_call():
    instance_types = api.words("CreateTrainingJob", "ResourceConfig.InstanceType")
    data = {"test": "file:///data", "training": "s3://bucket/job/output.manifest"}
    assert problems_of(
        *("--instance-type", "ml.big", "--hyperparameters", "learning_rate=fast"),
        **{**data, "image": "cells:1", "least": "40%", "metric": "recall", "group": "a b", "name": "c d"},
    ) == [
        "--metric: got 'recall'; expected one of mAP, mAP_50 (default mAP)",
        "--least: got '40%'; expected a number from 0.0 to 1.0",
        "--image: got 'cells:1'; expected the address of an image in ECR, such as "
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-object-detection:gpu: SageMaker sees no image of this "
        "machine, but a name in a registry; scripts/push_image.sh pushes one and prints its address",
        "--training: got 's3://bucket/job/output.manifest'; expected a folder, not a manifest: launch_training.py "
        "makes one of it",
        "--test: got 'file:///data'; expected an address such as s3://bucket/folder/: jobs on SageMaker see no files "
        "of this machine",
        "--name: got 'c d'; expected 1 to 256 letters, digits and hyphens, such as object-detection",
        "--group: got 'a b'; expected 1 to 63 letters, digits and hyphens, such as cells",
        f"--instance-type: got 'ml.big'; expected one of the {len(instance_types)} values this boto3 knows",
        "learning_rate: got 'fast'; expected a number from 0.0 to 1.0 (default 0.001)",
    ]


def test_folders_end_with_a_slash_and_hyperparameters_are_as_the_table_writes_them():
    plan = plan_of("--hyperparameters", "epochs=20.0", "learning_rate=1E-3", model="s3://bucket/model.tar.gz")
    assert plan.channels == {
        "training": "s3://bucket/data/training/",
        "test": "s3://bucket/data/test/",
        "model": "s3://bucket/model.tar.gz",
    }
    assert plan.hyperparameters == {"epochs": "20", "learning_rate": "0.001"}
    assert plan.values["--instance-type"] == "ml.g4dn.xlarge"
    assert plan.values["--evaluation-instance-type"] == "ml.m5.xlarge"


def test_local_mode_takes_what_is_on_this_machine(tmp_path):
    plan = plan_of("--local", image="cells:1", training=f"file://{tmp_path}")
    assert plan.local
    assert plan.channels["training"] == f"file://{tmp_path}/"
    assert plan.values["--instance-type"] == plan.values["--evaluation-instance-type"] == "local"
    assert problems_of("--local", "--evaluation-instance-type", "ml.m5.xlarge", training=f"file://{tmp_path}/none") == [
        f"--training: got {shown(f'file://{tmp_path}/none')}; expected a folder that is there, such as "
        "file:///home/me/data/training",
        "--evaluation-instance-type: got 'ml.m5.xlarge' with --local; expected local or local_gpu",
    ]


def test_a_metric_is_one_that_an_evaluation_has():
    (metric,) = (row for _, rows in GROUPS for row in rows if row.flag == "--metric")
    assert isinstance(metric.kind, Choice)
    assert {*metric.kind.options} <= {*FIGURES}


def test_without_the_sdk_what_to_install_is_told(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sagemaker", None)
    assert PROGRAM["main"]([word for pair in REQUIRED.items() for word in pair] + ["--dry-run"]) == 2
    assert capsys.readouterr().err == (
        "UserError: the SageMaker Python SDK v2 is missing; install it with: pip install 'sagemaker[local]<3'\n"
    )


def test_the_command_of_the_page_is_right():
    page = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    (block,) = blocks(below(page, "A pipeline with the SageMaker Python SDK v2"), "sh")
    (words,) = commands(block.replace("ACCOUNT", "123456789012").replace("REGION", "eu-west-1"))
    plan, notes = read_plan(PROGRAM["_parser"]().parse_args(words[2:]))
    assert plan.hyperparameters == {"epochs": "20", "early_stopping": "True"}
    assert notes == []
