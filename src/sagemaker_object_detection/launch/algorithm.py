"""A CreateAlgorithm request: the container's own tables, registered under a name in an account."""

import argparse
from dataclasses import replace
from typing import Any

from sagemaker_object_detection.describe import describe_json
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.arguments import ARGUMENTS, Argument, read
from sagemaker_object_detection.launch.requests import check

_SHARED = {row.flag: row for row in ARGUMENTS}

ALGORITHM_ARGUMENTS = (
    Argument(
        "--name",
        "AlgorithmName",
        "of the algorithm",
        expected="1 to 63 letters, digits and hyphens, such as object-detection",
        default="object-detection",
    ),
    replace(_SHARED["--image"], path="TrainingSpecification.TrainingImage", required=True),
    Argument(
        "--description",
        "AlgorithmDescription",
        "what the console shows of it",
        expected="at most 1024 characters",
        default="Fine-tunes TensorFlow object detectors.",
    ),
    _SHARED["--tags"],
)


def algorithm_request(options: argparse.Namespace) -> api.Request:
    """The request, from what argparse has made of the rows above.

    Raises:
        UserError: with everything that is wrong with the arguments.
    """
    problems: list[str] = []
    values: dict[str, Any] = read(ALGORITHM_ARGUMENTS, options, problems)
    request: api.Request = {
        "AlgorithmName": values.get("--name", ""),
        "AlgorithmDescription": values.get("--description", ""),
        "TrainingSpecification": describe_json(values.get("--image", ""))["TrainingSpecification"],
        "CertifyForMarketplace": False,
    }
    if "--tags" in values:
        request["Tags"] = values["--tags"]
    check(request, "CreateAlgorithm", "", ALGORITHM_ARGUMENTS, problems)
    return request
