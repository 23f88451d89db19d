"""The arguments that the launch programs share, as a table: what each is called, and where its value goes in a request.

Everything arrives as text and is read in one pass, so that every mistake is told at once. What a value must look like
is said here where the API's own pattern (`api.py`) would be no help to a reader.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sagemaker_object_detection.hyperparameters.kinds import Choice, Integer, Number
from sagemaker_object_detection.job.channels import CHANNELS, INPUT_MODES
from sagemaker_object_detection.launch import addresses
from sagemaker_object_detection.sentences import shown

_DAY, _MAX_DAYS = 86400, 28


@dataclass(frozen=True)
class Text:
    """Text that is passed on as it is. expected: completes "expected ...". fault: completes "got ...; " of a text that
    cannot be right, and returns "" for any other. form: one text, several, or several as NAME=VALUE."""

    expected: str
    fault: Callable[[str], str] | None = None
    form: Literal["one", "several", "pairs", "tags", "switch"] = "one"


SWITCH = Text("", form="switch")


@dataclass(frozen=True)
class Argument:
    """One argument. `path` is where its value goes in a request, and "" where code decides."""

    flag: str
    path: str
    kind: Text | Number | Choice
    help: str
    default: str | None = None
    required: bool = False

    @property
    def form(self) -> str:
        return self.kind.form if isinstance(self.kind, Text) else "one"


Groups = tuple[tuple[str, tuple[Argument, ...]], ...]

IMAGE = Text(addresses.IMAGE, addresses.image_fault)
TAGS = Argument("--tags", "Tags", Text("a tag as NAME=VALUE", form="tags"), "NAME=VALUE")
_FOLDER = Text(addresses.FOLDER, addresses.folder_fault)
_DATA = Text(addresses.FOLDER, addresses.data_fault)
_MODEL = Text(addresses.FOLDER, addresses.model_fault)
_CONTAINER_FOLDER = Text("the path of a folder in the container", addresses.container_folder_fault)
_ROLE = Text("the ARN of an IAM role, such as arn:aws:iam::123456789012:role/SageMaker")
_VARIABLE = Text("a variable as NAME=VALUE, the name of letters, digits and underscores", form="pairs")
_INSTANCE = Text("an instance type that this boto3 knows, such as ml.g4dn.xlarge")
_SUBNETS = Text("1 to 16 ids, such as subnet-0123456789abcdef0", form="several")
_SECURITY_GROUPS = Text("1 to 5 ids, such as sg-0123456789abcdef0", form="several")
_KEY = Text("the id, ARN or alias of a KMS key")
_ALGORITHM = Text("the name or ARN of an algorithm")
_HYPERPARAMETERS = Text("a hyperparameter as NAME=VALUE, such as epochs=10", form="pairs")

_JOB = (
    Argument("--image", "AlgorithmSpecification.TrainingImage", IMAGE, "the training image"),
    Argument(
        "--algorithm",
        "AlgorithmSpecification.AlgorithmName",
        _ALGORITHM,
        "instead of --image: an algorithm that register_algorithm.py has made",
    ),
    Argument("--role", "RoleArn", _ROLE, "what the job may do", required=True),
    Argument(
        "--output", "OutputDataConfig.S3OutputPath", _FOLDER, "where model.tar.gz and output.tar.gz go", required=True
    ),
    TAGS,
    Argument("--environment", "Environment", _VARIABLE, "NAME=VALUE"),
    Argument(
        "--retry", "RetryStrategy.MaximumRetryAttempts", Integer(1, 30), "how often to retry after an internal error"
    ),
)
_CHANNELS = (
    *(
        Argument(
            f"--{row.name}",
            "",
            _MODEL if row.name == "model" else _DATA,
            row.help if row.name == "model" else f"{row.help}; or the output.manifest of a bounding-box job",
            required=row.required,
        )
        for row in CHANNELS
    ),
    Argument(
        "--input-mode",
        "AlgorithmSpecification.TrainingInputMode",
        Choice(INPUT_MODES),
        "File copies the data before the job starts, FastFile reads it from S3 as it is needed",
        default="File",
    ),
    Argument(
        "--label-attribute",
        "",
        Text("the label attributes of a labelling job", form="several"),
        "of a manifest that has several: which labels to take; of several names the first that an image has",
    ),
    Argument(
        "--channel-folder", "", _FOLDER, "where channels made of manifests go (default: channels/ below --output)"
    ),
)
_MACHINES = (
    Argument("--instance-type", "ResourceConfig.InstanceType", _INSTANCE, "what to train on", default="ml.g4dn.xlarge"),
    Argument("--instance-count", "ResourceConfig.InstanceCount", Integer(1), "how many of them", default="1"),
    Argument(
        "--volume-size", "ResourceConfig.VolumeSizeInGB", Integer(1), "GB, if the type has no storage", default="50"
    ),
    Argument(
        "--max-run",
        "StoppingCondition.MaxRuntimeInSeconds",
        Integer(1, _MAX_DAYS * _DAY),
        "seconds after which the job is stopped; it saves its model",
        default=str(_DAY),
    ),
    Argument(
        "--keep-alive",
        "ResourceConfig.KeepAlivePeriodInSeconds",
        Integer(1, 21600),
        "seconds for which to keep the machines warm for the next job",
    ),
)
_SPOT = (
    Argument("--spot", "EnableManagedSpotTraining", SWITCH, "train on spot instances"),
    Argument(
        "--max-wait",
        "StoppingCondition.MaxWaitTimeInSeconds",
        Integer(1),
        "with --spot: seconds for waiting and training together (default: --max-run and an hour)",
    ),
    Argument(
        "--checkpoints",
        "CheckpointConfig.S3Uri",
        _FOLDER,
        "where checkpoints are kept; a job that is started again with them goes on where it was",
    ),
    Argument(
        "--checkpoint-path",
        "CheckpointConfig.LocalPath",
        _CONTAINER_FOLDER,
        "where the container sees them (default: /opt/ml/checkpoints)",
    ),
)
_NETWORK = (
    Argument("--subnets", "VpcConfig.Subnets", _SUBNETS, "of the VPC, with --security-groups"),
    Argument("--security-groups", "VpcConfig.SecurityGroupIds", _SECURITY_GROUPS, "of the VPC, with --subnets"),
    Argument(
        "--network-isolation",
        "EnableNetworkIsolation",
        SWITCH,
        "the container reaches nothing: weights come from the image or the model channel",
    ),
    Argument("--encrypt-traffic", "EnableInterContainerTrafficEncryption", SWITCH, "between the hosts of a job"),
    Argument("--output-kms-key", "OutputDataConfig.KmsKeyId", _KEY, "encrypts the output"),
    Argument("--volume-kms-key", "ResourceConfig.VolumeKmsKeyId", _KEY, "encrypts the storage"),
)
JOB_GROUPS: Groups = (
    ("job", _JOB),
    ("channels", _CHANNELS),
    ("machines", _MACHINES),
    ("spot instances and checkpoints", _SPOT),
    ("network and encryption", _NETWORK),
    (
        "hyperparameters",
        (
            Argument("--hyperparameters", "", _HYPERPARAMETERS, "see `describe`"),
            Argument("--hyperparameters-file", "", Text("a file"), "a JSON object of them; --hyperparameters wins"),
        ),
    ),
)
"""What a training job and a tuning job have; a path is where its value goes in a CreateTrainingJob request."""


def add_argument(parser: argparse._ActionsContainer, row: Argument) -> None:
    """One row of a table. Texts are checked by `read`, which tells every mistake and not only the first."""
    if row.form == "switch":
        parser.add_argument(row.flag, action="store_true", help=row.help)
    elif row.form == "one":
        help_text = f"{row.help} (default: {row.default})" if row.default else row.help
        parser.add_argument(row.flag, help=help_text, default=row.default, metavar="VALUE")
    else:
        metavar = "VALUE" if row.form == "several" else "NAME=VALUE"
        parser.add_argument(row.flag, help=row.help, nargs="+", action="extend", default=[], metavar=metavar)


def read(rows: Iterable[Argument], options: argparse.Namespace, problems: list[str]) -> dict[str, Any]:
    """The values that were given, and defaults, by flag; what is wrong with them is added to `problems`.

    A text with a fault is among them: it was given, and what else depends on it being there is judged as it would be.
    """
    values: dict[str, Any] = {}
    for row in rows:
        given = getattr(options, row.flag.removeprefix("--").replace("-", "_"))
        if given is None or given is False or given == []:
            if row.required:
                problems.append(f"{row.flag}: missing; expected {row.kind.expected}")
        elif row.form in ("pairs", "tags"):
            pairs = _read_pairs(row, given, problems)
            tags = [{"Key": name, "Value": value} for name, value in pairs.items()]
            values[row.flag] = tags if row.form == "tags" else pairs
        elif isinstance(row.kind, Text):
            values[row.flag] = given
            if row.kind.fault and (fault := row.kind.fault(given)):
                problems.append(f"{row.flag}: got {shown(given)}; {fault}")
        else:
            try:
                values[row.flag] = row.kind.parse(given.strip())
            except ValueError:
                default = f" (default {row.default})" if row.default else ""
                problems.append(f"{row.flag}: got {shown(given)}; expected {row.kind.expected}{default}")
    return values


def _read_pairs(row: Argument, texts: Iterable[str], problems: list[str]) -> dict[str, str]:
    """Texts such as NAME=VALUE by name; the value is all that follows the first "="."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals):
            problems.append(f"{row.flag}: got {shown(text)}; expected {row.kind.expected}")
        elif name.strip() in pairs:
            problems.append(f"{row.flag}: {name.strip()} is given twice; expected every name once")
        else:
            pairs[name.strip()] = value
    return pairs
