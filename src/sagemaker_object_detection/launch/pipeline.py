"""What a pipeline that trains, evaluates and registers is given: arguments, read and checked before any call.

Needs boto3 alone. `scripts/pipeline.py` makes the pipeline of it, with the SageMaker Python SDK.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.kinds import Choice, Number
from sagemaker_object_detection.job.channels import CHANNELS
from sagemaker_object_detection.job.metrics import METRICS
from sagemaker_object_detection.launch import addresses, api
from sagemaker_object_detection.launch.arguments import JOB_GROUPS, Argument, Groups, Text, read
from sagemaker_object_detection.launch.training import notes, read_training
from sagemaker_object_detection.sentences import shown
from sagemaker_object_detection.weights.naming import ARCHIVES

_FILE = "file://"
_LOCAL_MACHINES = ("local", "local_gpu")
_MACHINES = {"--instance-type": "ml.g4dn.xlarge", "--evaluation-instance-type": "ml.m5.xlarge"}
"""The default of each that is not local."""


def _shared(flag: str, /, **changed: Any) -> Argument:
    """An argument of a training job. Here a path begins with the call whose description has the rest of it."""
    row = next(row for _, rows in JOB_GROUPS for row in rows if row.flag == flag)
    return replace(row, **{"path": f"CreateTrainingJob.{row.path}" if row.path else "", **changed})


_PIPELINE = (
    Argument(
        "--name",
        "CreatePipeline.PipelineName",
        Text("1 to 256 letters, digits and hyphens, such as object-detection"),
        "of the pipeline, which is made, or changed if it is there",
        default="object-detection",
    ),
    _shared("--image", kind=Text(addresses.IMAGE), required=True, help="trains, evaluates and serves"),
    _shared("--role", help="what the pipeline and its jobs may do"),
    _shared("--output", help="where models and evaluations go"),
    _shared("--tags", path="CreatePipeline.Tags"),
)
_GOOD_ENOUGH = (
    Argument(
        "--metric",
        "",
        Choice(tuple(row.key for row in METRICS if row.direction == "Maximize")),
        "which figure of the test images decides",
        default="mAP",
    ),
    Argument("--least", "", Number(0.0, 1.0), "what it has to reach", required=True),
    Argument(
        "--group",
        "CreateModelPackage.ModelPackageGroupName",
        Text("1 to 63 letters, digits and hyphens, such as cells"),
        "the model package group that gets a new version",
        required=True,
    ),
)
_INSTANCES = (
    _shared("--instance-type", default=None, help="what to train on (default: ml.g4dn.xlarge)"),
    _shared(
        "--instance-type",
        flag="--evaluation-instance-type",
        path="CreateProcessingJob.ProcessingResources.ClusterConfig.InstanceType",
        default=None,
        help="what to evaluate on (default: ml.m5.xlarge)",
    ),
    _shared("--volume-size", help="GB, of each of them"),
    _shared("--max-run", help="seconds after which the training is stopped; it saves its model"),
)
GROUPS: Groups = (
    ("pipeline", _PIPELINE),
    (
        "data",
        tuple(
            _shared(
                f"--{row.name}",
                kind=Text(addresses.FOLDER),
                help="like training; the model is evaluated on it" if row.name == "test" else row.help,
                required=row.required or row.name == "test",
            )
            for row in CHANNELS
        ),
    ),
    ("good enough", _GOOD_ENOUGH),
    ("machines", _INSTANCES),
    *(group for group in JOB_GROUPS if group[0] == "hyperparameters"),
)


@dataclass(frozen=True)
class Plan:
    """What the arguments ask for. values: by flag. hyperparameters: text by name. local: in Docker on this machine."""

    values: Mapping[str, Any]
    hyperparameters: Mapping[str, str]
    local: bool

    @property
    def channels(self) -> dict[str, str]:
        """Addresses by channel; that of the test images is one."""
        return {row.name: self.values[f"--{row.name}"] for row in CHANNELS if f"--{row.name}" in self.values}


def read_plan(options: argparse.Namespace) -> tuple[Plan, list[str]]:
    """The arguments as argparse has them, and notes about what may surprise.

    Raises:
        UserError: with everything that is wrong with them.
    """
    problems: list[str] = []
    local: bool = options.local
    values = read((row for _, rows in GROUPS for row in rows), options, problems)
    if not local and "--image" in values and (fault := addresses.image_fault(values["--image"])):
        problems.append(f"--image: got {shown(values['--image'])}; {fault}")
    for flag in (f"--{row.name}" for row in CHANNELS if f"--{row.name}" in values):
        if fault := _data_fault(flag, values[flag], local=local):
            problems.append(f"{flag}: got {shown(values[flag])}; {fault}")
        elif not values[flag].endswith(("/", *ARCHIVES)):
            values[flag] += "/"  # without, s3://bucket/data would bring s3://bucket/data-old/ along
    for flag, default in _MACHINES.items():
        kind = values.setdefault(flag, _LOCAL_MACHINES[0] if local else default)
        if local and kind not in _LOCAL_MACHINES:
            problems.append(f"{flag}: got {shown(kind)} with --local; expected {' or '.join(_LOCAL_MACHINES)}")
    problems += _refused({flag: value for flag, value in values.items() if not (local and flag in _MACHINES)}, problems)
    # A job may name an algorithm in place of an image, and this one may not: that --image is missing is told above.
    hyperparameters, sent = read_training({"--image": "", **values}, problems)
    if problems:
        raise UserError(dict.fromkeys(problems))
    return Plan(values, sent, local), notes(values, hyperparameters)


def _data_fault(flag: str, address: str, *, local: bool) -> str:
    """Completes "got ...; " of a channel's address."""
    if address.startswith(_FILE):
        if not local:
            return f"expected {addresses.FOLDER}: jobs on SageMaker see no files of this machine"
        there = Path(address.removeprefix(_FILE)).exists()
        return "" if there else "expected a folder that is there, such as file:///home/me/data/training"
    if flag == "--model":
        return addresses.model_fault(address)
    if addresses.is_manifest(address):
        return "expected a folder, not a manifest: launch_training.py makes one of it"
    return addresses.data_fault(address)


def _refused(values: Mapping[str, Any], told: Sequence[str]) -> list[str]:
    """What the service would refuse of the values, by the API's own description; nothing of a value told already."""
    problems = []
    for row in (row for _, rows in GROUPS for row in rows if row.path and row.flag in values):
        if any(problem.startswith(f"{row.flag}: ") for problem in told):
            continue
        call, *names = row.path.split(".")
        request = values[row.flag]
        for name in reversed(names):
            request = {name: request}
        found = api.problems(request, call, {".".join(names): row.kind.expected})
        problems += [f"{row.flag}: {sentence}" for _, sentence in found]
    return problems
