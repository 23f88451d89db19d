"""What SageMaker refuses of a job that names a registered algorithm: what its specification does not have."""

from collections.abc import Iterator, Mapping
from typing import Any

INPUT_MODES = ("File", "Pipe")
"""Of an algorithm: the service refuses FastFile, which the shape that it shares with jobs has (boto/boto3#4469)."""
_BROUGHT = ("TrainingImage", "MetricDefinitions", "ContainerEntrypoint", "ContainerArguments", "TrainingImageConfig")
"""What an algorithm brings, and a job that names it may not."""
_NUMBERS = {"Integer": int, "Continuous": float}


def faults_of(specification: Mapping[str, Any]) -> list[str]:
    """What CreateAlgorithm would say of a TrainingSpecification besides its shapes."""
    rows, channels = specification["SupportedHyperParameters"], specification["TrainingChannels"]
    metrics = [row["Name"] for row in specification["MetricDefinitions"]]
    objectives = [row["MetricName"] for row in specification["SupportedTuningJobObjectiveMetrics"]]
    lists = {
        "hyperparameters": [row["Name"] for row in rows],
        "channels": [row["Name"] for row in channels],
        "metrics": metrics,
        "objectives": objectives,
        "instance types": specification["SupportedTrainingInstanceTypes"],
    }
    found = [f"{what} are repeated" for what, names in lists.items() if len(set(names)) < len(names)]
    found += [f"{name} is no metric" for name in objectives if name not in metrics]
    for channel in channels:
        found += [f"{channel['Name']}: {mode}" for mode in channel["SupportedInputModes"] if mode not in INPUT_MODES]
    for row in rows:
        if "DefaultValue" in row:
            found += _faults_of_value(row, row["DefaultValue"])
            found += [f"{row['Name']} is required and has a default"] if row["IsRequired"] else []
        found += [f"{row['Name']} is text and tunable"] if row["Type"] == "FreeText" and row["IsTunable"] else []
    return found


def refusals(specification: Mapping[str, Any], request: Mapping[str, Any]) -> list[str]:
    """What SageMaker would refuse of a CreateTrainingJob or CreateHyperParameterTuningJob request."""
    job = request.get("TrainingJobDefinition", request)
    algorithm = job["AlgorithmSpecification"]
    return [
        *(f"{name} beside AlgorithmName" for name in _BROUGHT if name in algorithm),
        *_refused_channels(specification, job["InputDataConfig"], algorithm["TrainingInputMode"]),
        *_refused_machines(specification, job["ResourceConfig"]),
        *_refused_values(specification, request, job),
    ]


def _refused_channels(specification: Mapping[str, Any], channels: Any, job_mode: str) -> Iterator[str]:
    known = {channel["Name"]: channel for channel in specification["TrainingChannels"]}
    given = {channel["ChannelName"] for channel in channels}
    yield from (f"no channel {name}" for name, row in known.items() if row["IsRequired"] and name not in given)
    for channel in channels:
        name = channel["ChannelName"]
        if name not in known:
            yield f"channel {name}"
            continue
        for key, legal, value in (
            ("input mode", "SupportedInputModes", channel.get("InputMode", job_mode)),
            ("content type", "SupportedContentTypes", channel.get("ContentType")),
            ("compression", "SupportedCompressionTypes", channel.get("CompressionType", "None")),
        ):
            if value not in known[name][legal]:
                yield f"channel {name}: {key} {value}"


def _refused_machines(specification: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[str]:
    if resources["InstanceType"] not in specification["SupportedTrainingInstanceTypes"]:
        yield f"instance type {resources['InstanceType']}"
    if resources["InstanceCount"] > 1 and not specification["SupportsDistributedTraining"]:
        yield f"{resources['InstanceCount']} instances"


def _refused_values(
    specification: Mapping[str, Any], request: Mapping[str, Any], job: Mapping[str, Any]
) -> Iterator[str]:
    rows = {row["Name"]: row for row in specification["SupportedHyperParameters"]}
    static = job.get("StaticHyperParameters", job.get("HyperParameters", {}))
    tuned = list(_tuned(request))
    given = [*static, *(row["Name"] for _, row in tuned)]
    yield from (f"{name} is given twice" for name in set(given) if given.count(name) > 1)
    yield from (f"{name} is missing" for name, row in rows.items() if row["IsRequired"] and name not in given)
    yield from (f"{name} is unknown" for name in given if name not in rows)
    for name, text in static.items():
        yield from _faults_of_value(rows[name], text) if name in rows else ()
    for kind, row in tuned:
        known = rows.get(row["Name"])
        if known is None:
            continue
        if not known["IsTunable"] or known["Type"] != kind:
            yield f"{row['Name']} is tuned as {kind}"
            continue
        for text in row["Values"] if kind == "Categorical" else (row["MinValue"], row["MaxValue"]):
            yield from _faults_of_value(known, text)
    if tuned:
        config = request["HyperParameterTuningJobConfig"]
        if config["HyperParameterTuningJobObjective"] not in specification["SupportedTuningJobObjectiveMetrics"]:
            yield f"objective {config['HyperParameterTuningJobObjective']}"


def _tuned(request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Kind and range of everything that is tuned."""
    ranges = request.get("HyperParameterTuningJobConfig", {}).get("ParameterRanges", {})
    for kind, rows in ranges.items():
        for row in rows:
            yield kind.removesuffix("ParameterRanges"), row


def _faults_of_value(row: Mapping[str, Any], text: str) -> list[str]:
    """Of a hyperparameter's value: Java reads whole numbers and others, and words are what is listed."""
    kind, limits = row["Type"], row.get("Range", {}).get(f"{row['Type']}ParameterRangeSpecification")
    fault = [f"{row['Name']} is {text!r}"]
    if kind in _NUMBERS:
        number = _NUMBERS[kind]
        try:
            return [] if number(limits["MinValue"]) <= number(text) <= number(limits["MaxValue"]) else fault
        except ValueError:
            return fault
    return [] if limits is None or text in limits["Values"] else fault
