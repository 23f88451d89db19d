"""The arguments that the launch programs share, as a table: what each is called, and where its value goes in a request.

Everything arrives as text and is read in one pass, so that every mistake is told at once. What a value must look like
is said here where the API's own pattern (`api.py`) would be no help to a reader.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sagemaker_object_detection.hyperparameters.kinds import Choice, Integer
from sagemaker_object_detection.job.channels import CHANNELS, INPUT_MODES
from sagemaker_object_detection.launch import addresses
from sagemaker_object_detection.launch.api import shown

Form = Literal["one", "several", "switch", "pairs", "tags"]
_DAY, _MAX_DAYS = 86400, 28


@dataclass(frozen=True)
class Argument:
    """One argument. `path` is where its value goes in a CreateTrainingJob request, and "" where code decides.

    `fault` completes "got ...; " of a text that cannot be right, and returns "" for any other.
    """

    flag: str
    path: str
    help: str
    form: Form = "one"
    kind: Integer | Choice | None = None
    fault: Callable[[str], str] | None = None
    expected: str = ""
    default: str | None = None
    required: bool = False

    @property
    def name(self) -> str:
        """Of the attribute that argparse keeps it in."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def expectation(self) -> str:
        """Completes "expected ..."."""
        return self.kind.expected if self.kind else self.expected


_KEY = "the id, ARN or alias of a KMS key"
_SECONDS = Integer(1, _MAX_DAYS * _DAY)

GROUPS: tuple[tuple[str, tuple[Argument, ...]], ...] = (
    (
        "job",
        (
            Argument(
                "--image",
                "AlgorithmSpecification.TrainingImage",
                "the training image",
                fault=addresses.image_fault,
                expected=addresses.IMAGE,
            ),
            Argument(
                "--algorithm",
                "AlgorithmSpecification.AlgorithmName",
                "instead of --image: an algorithm that register_algorithm.py has made",
                expected="the name or ARN of an algorithm",
            ),
            Argument(
                "--role",
                "RoleArn",
                "what the job may do",
                expected="the ARN of an IAM role, such as arn:aws:iam::123456789012:role/SageMaker",
                required=True,
            ),
            Argument(
                "--output",
                "OutputDataConfig.S3OutputPath",
                "where model.tar.gz and output.tar.gz go",
                fault=addresses.folder_fault,
                expected=addresses.FOLDER,
                required=True,
            ),
            Argument("--tags", "Tags", "NAME=VALUE", form="tags", expected="a tag as NAME=VALUE"),
            Argument(
                "--environment",
                "Environment",
                "NAME=VALUE",
                form="pairs",
                expected="a variable as NAME=VALUE, the name of letters, digits and underscores",
            ),
            Argument(
                "--retry",
                "RetryStrategy.MaximumRetryAttempts",
                "how often to try again after an internal server error",
                kind=Integer(1, 30),
            ),
        ),
    ),
    (
        "channels",
        (
            *(
                Argument(
                    f"--{channel.name}",
                    "",
                    channel.help,
                    fault=addresses.model_fault if channel.name == "model" else addresses.folder_fault,
                    expected=addresses.FOLDER,
                    required=channel.required,
                )
                for channel in CHANNELS
            ),
            Argument(
                "--input-mode",
                "AlgorithmSpecification.TrainingInputMode",
                "File copies the data before the job starts, FastFile reads it from S3 as it is needed",
                kind=Choice(INPUT_MODES),
                default="File",
            ),
        ),
    ),
    (
        "machines",
        (
            Argument(
                "--instance-type",
                "ResourceConfig.InstanceType",
                "what to train on",
                expected="an instance type that this boto3 knows, such as ml.g4dn.xlarge",
                default="ml.g4dn.xlarge",
            ),
            Argument(
                "--instance-count",
                "ResourceConfig.InstanceCount",
                "how many of them",
                kind=Integer(1),
                default="1",
            ),
            Argument(
                "--volume-size",
                "ResourceConfig.VolumeSizeInGB",
                "GB of storage, where the instance type has none of its own",
                kind=Integer(1),
                default="50",
            ),
            Argument(
                "--max-run",
                "StoppingCondition.MaxRuntimeInSeconds",
                "seconds after which the job is stopped; it saves its model",
                kind=_SECONDS,
                default=str(_DAY),
            ),
            Argument(
                "--keep-alive",
                "ResourceConfig.KeepAlivePeriodInSeconds",
                "seconds for which to keep the machines warm for the next job",
                kind=Integer(1, 21600),
            ),
        ),
    ),
    (
        "spot instances and checkpoints",
        (
            Argument("--spot", "EnableManagedSpotTraining", "train on spot instances", form="switch"),
            Argument(
                "--max-wait",
                "StoppingCondition.MaxWaitTimeInSeconds",
                "with --spot: seconds for waiting and training together (default: --max-run and an hour)",
                kind=Integer(1),
            ),
            Argument(
                "--checkpoints",
                "CheckpointConfig.S3Uri",
                "where checkpoints are kept; a job that is started again with them goes on where it was",
                fault=addresses.folder_fault,
                expected=addresses.FOLDER,
            ),
            Argument(
                "--checkpoint-path",
                "CheckpointConfig.LocalPath",
                "where the container sees them (default: /opt/ml/checkpoints)",
                fault=addresses.container_folder_fault,
                expected="the path of a folder in the container",
            ),
        ),
    ),
    (
        "network and encryption",
        (
            Argument(
                "--subnets",
                "VpcConfig.Subnets",
                "of the VPC, with --security-groups",
                form="several",
                expected="1 to 16 ids, such as subnet-0123456789abcdef0",
            ),
            Argument(
                "--security-groups",
                "VpcConfig.SecurityGroupIds",
                "of the VPC, with --subnets",
                form="several",
                expected="1 to 5 ids, such as sg-0123456789abcdef0",
            ),
            Argument(
                "--network-isolation",
                "EnableNetworkIsolation",
                "the container reaches nothing: weights come from the image or the model channel",
                form="switch",
            ),
            Argument(
                "--encrypt-traffic",
                "EnableInterContainerTrafficEncryption",
                "between the hosts of a job",
                form="switch",
            ),
            Argument("--output-kms-key", "OutputDataConfig.KmsKeyId", "encrypts the output", expected=_KEY),
            Argument("--volume-kms-key", "ResourceConfig.VolumeKmsKeyId", "encrypts the storage", expected=_KEY),
        ),
    ),
)
ARGUMENTS = tuple(row for _, rows in GROUPS for row in rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The table's arguments in their groups, and those of the hyperparameters."""
    for title, rows in GROUPS:
        group = parser.add_argument_group(title)
        for row in rows:
            add_argument(group, row)
    group = parser.add_argument_group("hyperparameters")
    group.add_argument(
        "--hyperparameters", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="see `describe`"
    )
    group.add_argument(
        "--hyperparameters-file", type=Path, metavar="FILE", help="a JSON object of them; --hyperparameters wins"
    )


def add_argument(parser: argparse._ActionsContainer, row: Argument) -> None:
    """One row of a table. Texts are checked by `read`, which tells every mistake and not only the first."""
    if row.form == "switch":
        parser.add_argument(row.flag, action="store_true", help=row.help)
    elif row.form == "one":
        help_text = f"{row.help} (default: {row.default})" if row.default else row.help
        parser.add_argument(row.flag, help=help_text, default=row.default, metavar="VALUE")
    else:
        parser.add_argument(row.flag, help=row.help, nargs="+", action="extend", default=[], metavar="VALUE")


def add_program_arguments(parser: argparse.ArgumentParser, wait: str = "") -> None:
    """What every launch program has besides what goes into its request; `wait` is the help of --wait, if it has one."""
    group = parser.add_argument_group("program")
    group.add_argument("--region", help="the AWS region (default: that of the profile or the environment)")
    group.add_argument("--profile", help="a profile of the AWS configuration files")
    group.add_argument("--dry-run", action="store_true", help="print the request as JSON and make no call")
    if wait:
        group.add_argument("--wait", action="store_true", help=wait)


def read(rows: Iterable[Argument], options: argparse.Namespace, problems: list[str]) -> dict[str, Any]:
    """The values that were given, and defaults, by flag; what is wrong with them is added to `problems`.

    A text with a fault is among them: it was given, and what else depends on it being there is judged as it would be.
    """
    values: dict[str, Any] = {}
    for row in rows:
        given = getattr(options, row.name)
        if given is None or given is False or given == []:
            if row.required:
                problems.append(f"{row.flag}: missing; expected {row.expectation}")
            continue
        if row.form in ("pairs", "tags"):
            pairs = read_pairs(row.flag, given, row.expectation, problems)
            tags = [{"Key": name, "Value": value} for name, value in pairs.items()]
            values[row.flag] = tags if row.form == "tags" else pairs
        elif row.kind is None:
            values[row.flag] = given
            if row.fault and (fault := row.fault(given)):
                problems.append(f"{row.flag}: got {shown(given)}; {fault}")
        else:
            try:
                values[row.flag] = row.kind.parse(given.strip())
            except ValueError:
                default = f" (default {row.default})" if row.default else ""
                problems.append(f"{row.flag}: got {shown(given)}; expected {row.expectation}{default}")
    return values


def read_pairs(flag: str, texts: Iterable[str], expected: str, problems: list[str]) -> dict[str, str]:
    """Texts such as NAME=VALUE by name; the value is all that follows the first "="."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals):
            problems.append(f"{flag}: got {shown(text)}; expected {expected}")
        elif name.strip() in pairs:
            problems.append(f"{flag}: {name.strip()} is given twice; expected every name once")
        else:
            pairs[name.strip()] = value
    return pairs
