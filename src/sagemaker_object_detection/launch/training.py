"""A CreateTrainingJob request from a program's arguments."""

import argparse
from datetime import datetime

from sagemaker_object_detection.hyperparameters.read import read_what_is_right
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.arguments import Argument, read
from sagemaker_object_detection.launch.requests import (
    check,
    check_hyperparameters,
    definition,
    named,
    notes,
    read_job_arguments,
    without_data_to_validate,
)

TRAINING_ARGUMENTS = (
    Argument(
        "--job-name",
        "TrainingJobName",
        "of the training job (default: object-detection and the time)",
        expected="1 to 63 letters, digits and hyphens, such as cells-1",
    ),
)


def training_job_request(options: argparse.Namespace, now: datetime) -> tuple[api.Request, list[str]]:
    """The request, and notes about what may surprise.

    Args:
        options: what argparse has made of the shared arguments and the row above.
        now: names a job that was not given a name.

    Raises:
        UserError: with everything that is wrong with the arguments.
    """
    problems: list[str] = []
    own = read(TRAINING_ARGUMENTS, options, problems)
    arguments = read_job_arguments(options, problems)
    check_hyperparameters(arguments, problems)
    values, _ = read_what_is_right(arguments.hyperparameters)
    if values.early_stopping or values.objective != "Auto":
        needing = "early_stopping" if values.early_stopping else "objective"
        problems += without_data_to_validate(arguments.values, values.validation_split_ratio, needing)
    request = {
        "TrainingJobName": own.get("--job-name", named("object-detection", now)),
        "HyperParameters": dict(arguments.hyperparameters),
        **definition(arguments),
    }
    check(request, "CreateTrainingJob", "", TRAINING_ARGUMENTS, problems)
    return request, notes(arguments)
