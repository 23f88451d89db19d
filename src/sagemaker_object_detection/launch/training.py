"""A CreateTrainingJob request from a program's arguments; a tuning job's definition of its trials is made alike."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sagemaker_object_detection.describe import INSTANCE_TYPES, REGISTERED_INPUT_MODES, describe_json
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.hyperparameters.kinds import AUTO
from sagemaker_object_detection.hyperparameters.read import Hyperparameters, canonical, read_what_is_right
from sagemaker_object_detection.job.channels import CHANNELS, Channel
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.addresses import is_manifest
from sagemaker_object_detection.launch.arguments import JOB_GROUPS, Argument, Text
from sagemaker_object_detection.launch.follow import follow_training
from sagemaker_object_detection.launch.manifests import folder_of_channels, given_manifests, make_channels
from sagemaker_object_detection.launch.program import Program
from sagemaker_object_detection.sentences import as_json, shown
from sagemaker_object_detection.weights.naming import ARCHIVES

_ADDRESSES = ("https://", "http://", "s3://")


def read_job(values: dict[str, Any], problems: list[str]) -> tuple[Hyperparameters, dict[str, str]]:
    """Checks the arguments that every job has against each other, and the hyperparameters as the container does.

    Args:
        values: of the arguments, by flag. --hyperparameters becomes what is given there and in the file: text by name.

    Returns:
        the hyperparameters that are right, and defaults of the others; and what of them to send, text by name.
    """
    file = values.get("--hyperparameters-file")
    members = {**(_read_file(file, problems) if file is not None else {}), **values.get("--hyperparameters", {})}
    given = {name: str(value) for name, value in members.items() if value is not None}
    values["--hyperparameters"] = given
    problems += _contradictions(values)
    has_model = "--model" in values
    hyperparameters, wrong = read_what_is_right(given, has_model_channel=has_model)
    problems += wrong
    manifests = given_manifests(values)
    if manifests and hyperparameters.bbox_format not in (AUTO, "xyxy"):
        problems.append(
            f"bbox_format: got {hyperparameters.bbox_format}, and --{' and --'.join(manifests)} is a manifest, of "
            "which xyxy is made: leave it out"
        )
    weights = hyperparameters.pretrained_weights
    if "--network-isolation" in values and not has_model and weights.startswith(_ADDRESSES):
        problems.append(
            f"pretrained_weights: got {shown(weights)} with --network-isolation, where nothing can be fetched; "
            "bring the weights on --model or in the image"
        )
    return hyperparameters, canonical(given, hyperparameters)


def read_training(values: dict[str, Any], problems: list[str]) -> tuple[Hyperparameters, dict[str, str]]:
    """`read_job` for a training job, which may want a validation set."""
    hyperparameters, sent = read_job(values, problems)
    if hyperparameters.early_stopping or hyperparameters.objective != "Auto":
        needing = "early_stopping" if hyperparameters.early_stopping else "objective"
        check_validation_data(values, hyperparameters.validation_split_ratio, needing, problems)
    return hyperparameters, sent


def complete_definition(request: api.Request, values: Mapping[str, Any]) -> None:
    """Adds what no single argument says to a CreateTrainingJob request, or to a tuning job's TrainingJobDefinition."""
    if "--algorithm" not in values:  # an algorithm brings its own
        metrics = describe_json()["TrainingSpecification"]["MetricDefinitions"]
        request.setdefault("AlgorithmSpecification", {})["MetricDefinitions"] = metrics
    if "--checkpoints" not in values:
        request.pop("CheckpointConfig", None)
    if "--spot" in values:
        limits = request.setdefault("StoppingCondition", {})
        limits.setdefault("MaxWaitTimeInSeconds", limits.get("MaxRuntimeInSeconds", 0) + 3600)
    request["InputDataConfig"] = [
        _input_data(row, values[f"--{row.name}"]) for row in CHANNELS if f"--{row.name}" in values
    ]


def notes(values: Mapping[str, Any], hyperparameters: Hyperparameters) -> list[str]:
    """What is legal, and not what one would expect."""
    given = []
    if "--spot" in values and "--checkpoints" not in values:
        given.append("--spot without --checkpoints: a job whose instance is taken away begins anew")
    automatic = hyperparameters.pretrained_weights == "auto" and "--model" not in values
    if "--network-isolation" in values and automatic:
        given.append("--network-isolation without --model: the image must hold the base model's weights")
    elif "--subnets" in values and automatic:
        given.append(
            "--subnets without --model: if the image does not hold the base model's weights, the VPC needs a way to "
            "TensorFlow Hub, or an endpoint for S3, where JumpStart's bucket of the region has them"
        )
    given += [
        f"--{name}: {address} is a manifest; a folder below {folder_of_channels(values)} is made of it first, and "
        "stands in its place in the request that is sent"
        for name, address in given_manifests(values).items()
    ]
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


def _input_data(row: Channel, address: str) -> dict[str, Any]:
    """One entry of InputDataConfig.

    An S3 prefix without a slash at its end would bring s3://bucket/data-old/ along with s3://bucket/data/. A model is
    copied in any input mode, since an archive is read as a whole.
    """
    is_whole = address.endswith(ARCHIVES) or (row.name != "model" and is_manifest(address))
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": address if is_whole or address.endswith("/") else f"{address}/",
        "S3DataDistributionType": "FullyReplicated",
    }
    channel = {
        "ChannelName": row.name,
        "DataSource": {"S3DataSource": source},
        "ContentType": row.content_types[0],
        "CompressionType": "None",
        "RecordWrapperType": "None",
    }
    return {**channel, "InputMode": "File"} if row.name == "model" else channel


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if ("--image" in values) == ("--algorithm" in values):
        found = "both are given" if "--image" in values else "neither is given"
        problems.append(f"--image and --algorithm: {found}; expected one of them")
    if "--algorithm" in values:
        problems += _unregistered(values)
    for one, other in (("--subnets", "--security-groups"), ("--security-groups", "--subnets")):
        if one in values and other not in values:
            problems.append(f"{other}: missing; expected it beside {one}: a VPC needs both")
    for flag, needed in (("--max-wait", "--spot"), ("--checkpoint-path", "--checkpoints")):
        if flag in values and needed not in values:
            problems.append(f"{flag}: got {shown(values[flag])} without {needed}; add {needed} or leave it out")
    for flag in ("--label-attribute", "--channel-folder"):
        if flag in values and not given_manifests(values):
            problems.append(
                f"{flag}: got {shown(values[flag])}, and no channel is a manifest; give one as --training, such as "
                "s3://bucket/job/manifests/output/output.manifest, or leave it out"
            )
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


def _unregistered(values: Mapping[str, Any]) -> list[str]:
    """What a registered algorithm would refuse of a job."""
    problems = []
    mode, instance_type = values.get("--input-mode"), values.get("--instance-type")
    if mode not in (None, *REGISTERED_INPUT_MODES):
        problems.append(
            f"--input-mode: got {mode} with --algorithm; expected {', '.join(REGISTERED_INPUT_MODES)}, the one that an "
            "algorithm can be registered with: leave it out, or give --image"
        )
    # A type that is none at all is told of by the API's own list.
    if instance_type in api.words("CreateTrainingJob", "ResourceConfig.InstanceType") - {*INSTANCE_TYPES}:
        problems.append(
            f"--instance-type: got {instance_type} with --algorithm; expected a type that it is registered with, which "
            "`register_algorithm.py --dry-run` lists: give one of those, or --image"
        )
    return problems


def _read_file(path: str, problems: list[str]) -> dict[str, Any]:
    """Hyperparameters by name; numbers are the text they were written in."""
    place = f"--hyperparameters-file: {path}"
    expected = 'expected an object such as {"epochs": 10, "learning_rate": 1e-3}'
    try:
        value = strict_json.parse(Path(path).read_bytes(), numbers_as_text=True)
    except OSError as error:
        problems.append(f"{place} cannot be read ({error.strerror}); {expected.replace('an object', 'a file')}")
        return {}
    except JsonError as error:
        problems.append(f"{place} {error}. {error.advice}; {expected}")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{place} holds {as_json(value)}; {expected}")
        return {}
    nested = {name: member for name, member in value.items() if isinstance(member, dict | list)}
    for name, member in nested.items():
        problems.append(f"{place}: {name} is {as_json(member)}; expected text, a number, true or false")
    return {name: member for name, member in value.items() if name not in nested}


_NAME = Argument(
    "--job-name",
    "TrainingJobName",
    Text("1 to 63 letters, digits and hyphens, such as cells-1"),
    "of the training job (default: object-detection and the time)",
)


def _complete(values: dict[str, Any], request: api.Request, problems: list[str]) -> list[str]:
    hyperparameters, sent = read_training(values, problems)
    request.setdefault("TrainingJobName", named("object-detection"))
    request["HyperParameters"] = sent
    complete_definition(request, values)
    return notes(values, hyperparameters)


TRAINING = Program(
    description="Starts a training job on SageMaker.",
    groups=(("training job", (_NAME,)), *JOB_GROUPS),
    operation="CreateTrainingJob",
    name="TrainingJobName",
    complete=_complete,
    done="started training job {name} in {region}",
    prepare=make_channels,
    follow=follow_training,
    wait="print the job's log lines until it ends",
)
