"""What SageMaker makes of a recorded request: the tree below /opt/ml that a container of the job finds."""

import json
import subprocess
from pathlib import Path
from typing import Any

FILES = {
    "DebugHookConfig": "debughookconfig",
    "ProfilerConfig": "profilerconfig",
    "CheckpointConfig": "checkpointconfig",
}


def run_as_sent(image: str, request: dict[str, Any], root: Path, s3: Any) -> str:
    """The log of the job of a CreateTrainingJob request, run below `root` in a container without a network.

    Args:
        request: the JSON body; of a tuning job, one of its definitions with the values of a trial.
        s3: a client of boto3, for the channels.
    """
    lay_out(request, root, s3)
    algorithm = request["AlgorithmSpecification"]
    program, *arguments = [*algorithm.get("ContainerEntrypoint", ()), *algorithm.get("ContainerArguments", ())] or [
        "train"
    ]
    told = ["-e", "TRAINING_JOB_NAME=recorded", "-v", f"{root}:/opt/ml"]
    command = ["docker", "run", "--rm", "--network", "none", *told, "--entrypoint", program, image]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lay_out(request: dict[str, Any], root: Path, s3: Any) -> None:
    """Write the files of such a request below `root`, its channels fetched from S3."""
    config = root / "input/config"
    for folder in (config, root / "model", root / "output/data"):
        folder.mkdir(parents=True)
    channels = {}
    for channel in request["InputDataConfig"]:
        name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
        channels[name] = {
            "TrainingInputMode": "File",
            "S3DistributionType": source["S3DataDistributionType"],
            "RecordWrapperType": "None",
            **{key: channel[key] for key in ("ContentType",) if key in channel},
        }
        _fetch(source["S3Uri"], root / "input/data" / name, s3)
    machines = request.get("ResourceConfig") or request["HyperParameterTuningResourceConfig"]
    kind = machines.get("InstanceType") or machines["InstanceConfigs"][0]["InstanceType"]
    host, group = "algo-1", "homogeneousCluster"
    resources = {
        "current_host": host,
        "current_instance_type": kind,
        "current_group_name": group,
        "hosts": [host],
        "instance_groups": [{"instance_group_name": group, "instance_type": kind, "hosts": [host]}],
        "network_interface_name": "eth0",
    }
    written = {
        "hyperparameters": request["HyperParameters"],
        "inputdataconfig": channels,
        "resourceconfig": resources,
        **{file: request[key] for key, file in FILES.items() if key in request},
    }
    for file, value in written.items():
        (config / f"{file}.json").write_text(json.dumps(value), encoding="utf-8")


def _fetch(address: str, folder: Path, s3: Any) -> None:
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    folder.mkdir(parents=True)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            relative = entry["Key"][len(prefix) :].lstrip("/") or entry["Key"].rpartition("/")[2]
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, entry["Key"], str(path))
