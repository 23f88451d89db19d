"""What a training job and a tuning job have in common: from arguments to the pieces of a request, as pure functions."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagemaker_object_detection.describe import describe_json
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import read_what_is_right
from sagemaker_object_detection.job.channels import CHANNELS
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.arguments import ARGUMENTS, Argument, read
from sagemaker_object_detection.launch.hyperparameters import read_hyperparameters
from sagemaker_object_detection.weights.naming import ARCHIVES

_FLAG = re.compile(r"--[a-z-]+[a-z]")
_HOUR = 3600
_ADDRESSES = ("https://", "http://", "s3://")


@dataclass(frozen=True)
class JobArguments:
    """The arguments that every job has: values by flag, and hyperparameters as SageMaker's text."""

    values: Mapping[str, Any]
    hyperparameters: Mapping[str, str]


def read_job_arguments(options: argparse.Namespace, problems: list[str]) -> JobArguments:
    """The arguments, and what is wrong with each of them and between them, which is added to `problems`."""
    values = read(ARGUMENTS, options, problems)
    hyperparameters = read_hyperparameters(options, problems)
    problems += _contradictions(values)
    return JobArguments(values, hyperparameters)


def definition(arguments: JobArguments) -> api.Request:
    """The members that a CreateTrainingJob request and the TrainingJobDefinition of a tuning job share."""
    request: api.Request = {}
    for row in ARGUMENTS:
        if row.path and row.flag in arguments.values:
            put(request, row.path, arguments.values[row.flag])
    if "--algorithm" not in arguments.values:  # an algorithm brings its own
        put(request, "AlgorithmSpecification.MetricDefinitions", metric_definitions())
    if "--checkpoints" not in arguments.values:
        request.pop("CheckpointConfig", None)
    if "--spot" in arguments.values:
        limits = request.setdefault("StoppingCondition", {})
        limits.setdefault("MaxWaitTimeInSeconds", limits.get("MaxRuntimeInSeconds", 0) + _HOUR)
    request["InputDataConfig"] = [
        _channel(channel.name, channel.content_types[0], arguments.values[f"--{channel.name}"])
        for channel in CHANNELS
        if f"--{channel.name}" in arguments.values
    ]
    return request


def metric_definitions() -> list[dict[str, str]]:
    """The package's metrics, as a job's MetricDefinitions."""
    definitions: list[dict[str, str]] = describe_json()["TrainingSpecification"]["MetricDefinitions"]
    return definitions


def notes(arguments: JobArguments) -> list[str]:
    """What is legal, and not what one would expect."""
    values, given = arguments.values, []
    if "--spot" in values and "--checkpoints" not in values:
        given.append("--spot without --checkpoints: a job whose instance is taken away begins anew")
    hyperparameters, _ = read_what_is_right(arguments.hyperparameters, has_model_channel="--model" in values)
    automatic = hyperparameters.pretrained_weights == "auto" and "--model" not in values
    if "--network-isolation" in values and automatic:
        given.append("--network-isolation without --model: the image must hold the base model's weights")
    return [*given, *hyperparameters.notes]


def without_data_to_validate(values: Mapping[str, Any], ratio: float, needing: str) -> list[str]:
    """What is wrong with a job that needs a validation set and has none."""
    if ratio > 0 or "--validation" in values:
        return []
    return [
        f"validation_split_ratio: got 0, and there is no --validation; expected data for {needing}: add the channel or "
        "raise validation_split_ratio"
    ]


def check(request: api.Request, operation: str, below: str, rows: tuple[Argument, ...], problems: list[str]) -> None:
    """Raises what is wrong, if anything: `problems`, and what the API's own description says of the request.

    Args:
        request: the arguments of the call.
        operation: the API's name of the call.
        below: what the paths of the shared arguments begin with in this request.
        rows: the arguments of this program alone, with paths of this request.
        problems: what is known already. An argument that one of them begins with is not named again.

    Raises:
        UserError: with every problem, by its argument.
    """
    paths = {(row.path if row.path == "Tags" else f"{below}{row.path}"): row for row in ARGUMENTS if row.path}
    paths |= {row.path: row for row in rows}
    told = {flag[0] for problem in problems if (flag := _FLAG.match(problem))}
    found = []
    for path, sentence in api.problems(request, operation, {path: row.expectation for path, row in paths.items()}):
        row = next((paths[ancestor] for ancestor in _ancestors(path) if ancestor in paths), None)
        if row is None:
            found.append(f"{path}: {sentence}")
        elif row.flag not in told:
            problems.append(f"{row.flag}: {sentence}")
    # What no argument is to blame for follows from what another one lacks, or else it is worth telling.
    if problems or found:
        raise UserError(dict.fromkeys(problems or found))


def named(base: str, now: datetime) -> str:
    """A job's name, from the time in UTC."""
    return f"{base}-{now:%Y%m%d-%H%M%S}"


def _ancestors(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def put(request: api.Request, path: str, value: Any) -> None:
    """Sets the member at a path, and makes the structures above it."""
    *parents, name = path.split(".")
    for parent in parents:
        request = request.setdefault(parent, {})
    request[name] = value


def _channel(name: str, content_type: str, address: str) -> dict[str, Any]:
    """One entry of InputDataConfig.

    An S3 prefix without a slash at its end would bring s3://bucket/data-old/ along with s3://bucket/data/. A model is
    copied in any input mode, since an archive is read as a whole.
    """
    is_archive = address.endswith(ARCHIVES)
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": address if is_archive or address.endswith("/") else f"{address}/",
        "S3DataDistributionType": "FullyReplicated",
    }
    channel = {
        "ChannelName": name,
        "DataSource": {"S3DataSource": source},
        "ContentType": content_type,
        "CompressionType": "None",
        "RecordWrapperType": "None",
    }
    return {**channel, "InputMode": "File"} if name == "model" else channel


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if ("--image" in values) == ("--algorithm" in values):
        found = "both are given" if "--image" in values else "neither is given"
        problems.append(f"--image and --algorithm: {found}; expected one of them")
    for one, other in (("--subnets", "--security-groups"), ("--security-groups", "--subnets")):
        if one in values and other not in values:
            problems.append(f"{other}: missing; expected it beside {one}: a VPC needs both")
    for flag, needed in (("--max-wait", "--spot"), ("--checkpoint-path", "--checkpoints")):
        if flag in values and needed not in values:
            problems.append(f"{flag}: got {api.shown(values[flag])} without {needed}; add {needed} or leave it out")
    if {"--spot", "--max-wait"} <= values.keys() and values["--max-wait"] < values.get("--max-run", 0):
        problems.append(
            f"--max-wait: got {values['--max-wait']}; expected at least --max-run, which is {values['--max-run']}: it "
            "is the time for waiting and training together"
        )
    if "--keep-alive" in values and "--spot" in values:
        problems.append(
            f"--keep-alive: got {values['--keep-alive']} with --spot; spot instances are not kept warm: leave one out"
        )
    return problems


def check_hyperparameters(arguments: JobArguments, problems: list[str]) -> None:
    """Adds what the container would refuse of the hyperparameters, on the machines that the arguments ask for."""
    has_model = "--model" in arguments.values
    read_values, wrong = read_what_is_right(arguments.hyperparameters, has_model_channel=has_model)
    problems += wrong
    weights = read_values.pretrained_weights
    if "--network-isolation" in arguments.values and not has_model and weights.startswith(_ADDRESSES):
        problems.append(
            f"pretrained_weights: got {api.shown(weights)} with --network-isolation, where nothing can be fetched; "
            "bring the weights on --model or in the image"
        )
