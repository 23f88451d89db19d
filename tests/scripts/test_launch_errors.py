"""What AWS, or the way there, answers to a launch program: each a sentence and an exit code."""

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from launch_programs import REQUIRED

from sagemaker_object_detection.launch import aws
from sagemaker_object_detection.launch.training import TRAINING


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)


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
def test_what_aws_refuses_is_told_with_what_to_do(capsys, monkeypatch, status, code, message, exit_code, told):
    client = boto3.client("sagemaker", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))
    with Stubber(client) as stubber:
        stubber.add_client_error("create_training_job", code, message, status)
        monkeypatch.setattr(aws, "connect", lambda *_: aws.Aws(client, None, None, "us-east-1"))
        assert TRAINING.main(REQUIRED) == exit_code
    assert capsys.readouterr().err == f"{'UserError' if exit_code == 2 else 'PlatformError'}: {told}\n"


def test_where_nobody_answers_that_is_told(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    assert TRAINING.main([*REQUIRED, "--region", "us-east-1"]) == 3
    assert capsys.readouterr().err == (
        "PlatformError: AWS cannot be reached or is busy (Could not connect to the endpoint URL: "
        '"http://127.0.0.1:9/"); '
        "try again a little later\n"
    )


def test_without_a_region_the_way_out_is_told(capsys, monkeypatch, tmp_path):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert TRAINING.main(REQUIRED) == 2
    assert capsys.readouterr().err == (
        "UserError: --region: missing; expected an AWS region such as eu-west-1, here, in AWS_DEFAULT_REGION or in the "
        "profile\n"
    )


def test_a_profile_that_is_not_there_is_told(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert TRAINING.main([*REQUIRED, "--profile", "nobody"]) == 2
    assert capsys.readouterr().err == (
        "UserError: The config profile (nobody) could not be found; check the AWS configuration: --profile, --region "
        "and the environment\n"
    )
