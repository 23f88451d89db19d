import json

import pytest
from launch_programs import IMAGE, Sent, no_connection
from moto import mock_aws

from sagemaker_object_detection.describe import describe_json
from sagemaker_object_detection.launch.algorithm import ALGORITHM


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    no_connection(monkeypatch)


def dry_run(capsys, *arguments):
    assert ALGORITHM.main([*arguments, "--dry-run"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_request_holds_the_specification_of_describe(capsys):
    request = dry_run(capsys, "--image", IMAGE, "--name", "detector", "--tags", "team=vision")
    assert request == {
        "AlgorithmName": "detector",
        "AlgorithmDescription": "Fine-tunes TensorFlow object detectors.",
        "TrainingSpecification": describe_json(IMAGE)["TrainingSpecification"],
        "CertifyForMarketplace": False,
        "Tags": [{"Key": "team", "Value": "vision"}],
    }


@mock_aws
def test_the_request_as_sent_is_one_the_api_describes(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    sent = Sent.through(monkeypatch)
    # moto has no CreateAlgorithm, and says so after the request was sent.
    assert ALGORITHM.main(["--image", IMAGE]) == 1
    assert sent.requests == [
        (
            "CreateAlgorithm",
            {
                "AlgorithmName": "object-detection",
                "AlgorithmDescription": "Fine-tunes TensorFlow object detectors.",
                "TrainingSpecification": describe_json(IMAGE)["TrainingSpecification"],
                "CertifyForMarketplace": False,
            },
        )
    ]


def test_an_image_with_placeholders_is_refused(capsys):
    image = "ACCOUNT.dkr.ecr.REGION.amazonaws.com/detector:1"
    assert ALGORITHM.main(["--image", image]) == 2
    assert capsys.readouterr().err == (
        f"UserError: --image: got '{image}'; expected the address of an image in ECR, such as "
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-object-detection:gpu: a registry in ECR has an "
        "account's 12 digits, a region and a domain; scripts/push_image.sh pushes one and prints its address\n"
    )


def test_every_mistake_is_told_before_any_call(capsys):
    assert ALGORITHM.main(["--name", "a b", "--tags", "x"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "UserError: 3 problems:",
        "1. --image: missing; expected the address of an image in ECR, such as "
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-object-detection:gpu",
        "2. --tags: got 'x'; expected a tag as NAME=VALUE",
        "3. --name: got 'a b'; expected 1 to 63 letters, digits and hyphens, such as object-detection",
    ]
