"""What a training job and a tuning job have in common: the pieces of a request that no single argument decides."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sagemaker_object_detection.describe import describe_json
from sagemaker_object_detection.hyperparameters.read import Hyperparameters, read_what_is_right
from sagemaker_object_detection.job.channels import CHANNELS
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.hyperparameters import read_hyperparameters
from sagemaker_object_detection.sentences import shown
from sagemaker_object_detection.weights.naming import ARCHIVES

_HOUR = 3600
_ADDRESSES = ("https://", "http://", "s3://")


def read_job(values: dict[str, Any], problems: list[str]) -> Hyperparameters:
    """Checks the arguments that every job has against each other, and the hyperparameters as the container does.

    Args:
        values: of the arguments, by flag. --hyperparameters becomes what is given there and in the file: text by name.

    Returns:
        the hyperparameters that are right, and defaults of the others.
    """
    values["--hyperparameters"] = given = read_hyperparameters(values, problems)
    problems += _contradictions(values)
    has_model = "--model" in values
    hyperparameters, wrong = read_what_is_right(given, has_model_channel=has_model)
    problems += wrong
    weights = hyperparameters.pretrained_weights
    if "--network-isolation" in values and not has_model and weights.startswith(_ADDRESSES):
        problems.append(
            f"pretrained_weights: got {shown(weights)} with --network-isolation, where nothing can be fetched; "
            "bring the weights on --model or in the image"
        )
    return hyperparameters


def complete_definition(request: api.Request, values: Mapping[str, Any]) -> None:
    """Adds what no single argument says to a CreateTrainingJob request, or to a tuning job's TrainingJobDefinition."""
    if "--algorithm" not in values:  # an algorithm brings its own
        metrics = describe_json()["TrainingSpecification"]["MetricDefinitions"]
        request.setdefault("AlgorithmSpecification", {})["MetricDefinitions"] = metrics
    if "--checkpoints" not in values:
        request.pop("CheckpointConfig", None)
    if "--spot" in values:
        limits = request.setdefault("StoppingCondition", {})
        limits.setdefault("MaxWaitTimeInSeconds", limits.get("MaxRuntimeInSeconds", 0) + _HOUR)
    request["InputDataConfig"] = [
        _channel(channel.name, channel.content_types[0], values[f"--{channel.name}"])
        for channel in CHANNELS
        if f"--{channel.name}" in values
    ]


def notes(values: Mapping[str, Any], hyperparameters: Hyperparameters) -> list[str]:
    """What is legal, and not what one would expect."""
    given = []
    if "--spot" in values and "--checkpoints" not in values:
        given.append("--spot without --checkpoints: a job whose instance is taken away begins anew")
    automatic = hyperparameters.pretrained_weights == "auto" and "--model" not in values
    if "--network-isolation" in values and automatic:
        given.append("--network-isolation without --model: the image must hold the base model's weights")
    return [*given, *hyperparameters.notes]


def check_validation_data(values: Mapping[str, Any], ratio: float, needing: str, problems: list[str]) -> None:
    """That a job which needs a validation set has none is a problem."""
    if ratio <= 0 and "--validation" not in values:
        problems.append(
            f"validation_split_ratio: got 0, and there is no --validation; expected data for {needing}: add the "
            "channel or raise validation_split_ratio"
        )


def named(base: str) -> str:
    """A job's name, from the time in UTC."""
    return f"{base}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


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
            problems.append(f"{flag}: got {shown(values[flag])} without {needed}; add {needed} or leave it out")
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
