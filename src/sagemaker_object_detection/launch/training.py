"""A CreateTrainingJob request from a program's arguments."""

from typing import Any

from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.arguments import JOB_GROUPS, Argument, Text
from sagemaker_object_detection.launch.follow import follow_training
from sagemaker_object_detection.launch.program import Program
from sagemaker_object_detection.launch.requests import (
    check_validation_data,
    complete_definition,
    named,
    notes,
    read_job,
)

_NAME = Argument(
    "--job-name",
    "TrainingJobName",
    Text("1 to 63 letters, digits and hyphens, such as cells-1"),
    "of the training job (default: object-detection and the time)",
)


def complete(values: dict[str, Any], request: api.Request, problems: list[str]) -> list[str]:
    hyperparameters = read_job(values, problems)
    if hyperparameters.early_stopping or hyperparameters.objective != "Auto":
        needing = "early_stopping" if hyperparameters.early_stopping else "objective"
        check_validation_data(values, hyperparameters.validation_split_ratio, needing, problems)
    request.setdefault("TrainingJobName", named("object-detection"))
    request["HyperParameters"] = values["--hyperparameters"]
    complete_definition(request, values)
    return notes(values, hyperparameters)


TRAINING = Program(
    description="Starts a training job on SageMaker.",
    groups=(("training job", (_NAME,)), *JOB_GROUPS),
    operation="CreateTrainingJob",
    name="TrainingJobName",
    complete=complete,
    done="started training job {name} in {region}",
    follow=follow_training,
    wait="print the job's log lines until it ends",
)
