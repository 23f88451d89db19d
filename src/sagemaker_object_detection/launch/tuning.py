"""A CreateHyperParameterTuningJob request: ranges from the hyperparameter table, the objective from the metrics."""

import argparse
from collections.abc import Mapping
from datetime import datetime
from math import prod
from typing import Any

from sagemaker_object_detection.hyperparameters.kinds import Choice, Integer
from sagemaker_object_detection.hyperparameters.read import read_what_is_right
from sagemaker_object_detection.hyperparameters.table import ROWS
from sagemaker_object_detection.job.metrics import METRICS
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.arguments import Argument, read
from sagemaker_object_detection.launch.ranges import MAX_VALUES, Tuned, read_tuned
from sagemaker_object_detection.launch.requests import (
    JobArguments,
    check,
    check_hyperparameters,
    definition,
    named,
    notes,
    put,
    read_job_arguments,
    without_data_to_validate,
)

_CONFIG = "HyperParameterTuningJobConfig"
_DEFINITION = "TrainingJobDefinition"
_OBJECTIVES = tuple(metric.name for metric in METRICS if metric.line > 0)
# The developer guide's quotas, which the API's own description leaves out.
_MAX_HYPERPARAMETERS, _MAX_JOBS, _MAX_PARALLEL, _MAX_EPOCHS = 100, 750, 100, 20000
_DEFAULT_JOBS = 20

TUNING_ARGUMENTS = (
    Argument(
        "--job-name",
        "HyperParameterTuningJobName",
        "of the tuning job (default: detection and the time)",
        expected="1 to 32 letters, digits and hyphens, such as cells-1",
    ),
    Argument(
        "--tune",
        "",
        "hyperparameters to tune: NAME for the range of `describe`, NAME=LOW:HIGH, NAME=LOW:HIGH:SCALING or "
        "NAME=VALUE,VALUE",
        form="several",
        expected="what to tune, such as learning_rate, learning_rate=1e-5:1e-2 or optimizer=adam,sgd",
        required=True,
    ),
    Argument(
        "--objective",
        f"{_CONFIG}.HyperParameterTuningJobObjective.MetricName",
        "the metric that ranks the trials",
        kind=Choice(_OBJECTIVES),
        default="validation:mAP",
    ),
    Argument(
        "--strategy",
        f"{_CONFIG}.Strategy",
        "how values are chosen: Bayesian learns from ended trials, Hyperband stops poor ones early, Grid tries every "
        "combination of given values",
        kind=Choice(("Bayesian", "Random", "Hyperband", "Grid")),
        default="Bayesian",
    ),
    Argument(
        "--max-jobs",
        f"{_CONFIG}.ResourceLimits.MaxNumberOfTrainingJobs",
        f"trials in all (default: {_DEFAULT_JOBS}; Grid: as many as there are combinations)",
        kind=Integer(1, _MAX_JOBS),
    ),
    Argument(
        "--max-parallel",
        f"{_CONFIG}.ResourceLimits.MaxParallelTrainingJobs",
        "trials at a time",
        kind=Integer(1, _MAX_PARALLEL),
        default="1",
    ),
    Argument(
        "--max-tuning-time",
        f"{_CONFIG}.ResourceLimits.MaxRuntimeInSeconds",
        "seconds after which no more trials are started and running ones are stopped",
        kind=Integer(120, 15768000),
    ),
    Argument(
        "--early-stopping",
        f"{_CONFIG}.TrainingJobEarlyStoppingType",
        "Auto lets SageMaker stop trials that do worse than earlier ones",
        kind=Choice(("Off", "Auto")),
        default="Off",
    ),
    Argument(
        "--min-resource",
        f"{_CONFIG}.StrategyConfig.HyperbandStrategyConfig.MinResource",
        "Hyperband: epochs before which no trial is stopped",
        kind=Integer(1, _MAX_EPOCHS),
    ),
    Argument(
        "--max-resource",
        f"{_CONFIG}.StrategyConfig.HyperbandStrategyConfig.MaxResource",
        "Hyperband: epochs after which a trial is stopped (default: the hyperparameter epochs)",
        kind=Integer(1, _MAX_EPOCHS),
    ),
    Argument(
        "--tuning-seed",
        f"{_CONFIG}.RandomSeed",
        "makes the choice of values more repeatable",
        kind=Integer(0),
    ),
)


def tuning_job_request(options: argparse.Namespace, now: datetime) -> tuple[api.Request, list[str]]:
    """The request, and notes about what may surprise.

    Args:
        options: what argparse has made of the shared arguments and the rows above.
        now: names a job that was not given a name.

    Raises:
        UserError: with everything that is wrong with the arguments.
    """
    problems: list[str] = []
    arguments = read_job_arguments(options, problems)
    check_hyperparameters(arguments, problems)
    values = read(TUNING_ARGUMENTS, options, problems)
    tuned = read_tuned(values.get("--tune", []), problems)
    problems += _tuned_problems(tuned, arguments)
    problems += _strategy_problems(values, tuned, arguments.hyperparameters)
    static, _ = read_what_is_right(arguments.hyperparameters)
    problems += without_data_to_validate(arguments.values, static.validation_split_ratio, "the objective")

    shared = definition(arguments)
    tags = {"Tags": shared.pop("Tags")} if "Tags" in shared else {}
    request = {
        "HyperParameterTuningJobName": values.get("--job-name", named("detection", now)),
        _CONFIG: _config(values, tuned),
        _DEFINITION: {"StaticHyperParameters": dict(arguments.hyperparameters), **shared},
        **tags,
    }
    check(request, "CreateHyperParameterTuningJob", f"{_DEFINITION}.", TUNING_ARGUMENTS, problems)
    return request, [*_static_notes(arguments, tuned), *_tuned_notes(tuned, arguments.hyperparameters)]


def _tuned_problems(tuned: tuple[Tuned, ...], arguments: JobArguments) -> list[str]:
    problems = []
    for one in tuned:
        for name in (one.row.name, *one.row.aliases):
            if name in arguments.hyperparameters:
                problems.append(
                    f"{name}: got {api.shown(arguments.hyperparameters[name])} and is tuned too; expected it in "
                    "--hyperparameters or in --tune"
                )
        if "--algorithm" in arguments.values and not (one.row.tunable or one.row.built_in):
            names = ", ".join(row.name for row in ROWS if row.tunable or row.built_in)
            problems.append(f"--tune: {one.row.name} is not tunable with --algorithm; expected one of {names}")
    if len(tuned) > MAX_VALUES:
        problems.append(f"--tune: {len(tuned)} hyperparameters; expected at most {MAX_VALUES}")
    # SageMaker adds one more, the name of the objective.
    if (count := len(tuned) + len(arguments.hyperparameters) + 1) > _MAX_HYPERPARAMETERS:
        problems.append(
            f"--hyperparameters: {count} with the tuned ones and SageMaker's own; expected at most "
            f"{_MAX_HYPERPARAMETERS}"
        )
    return problems


def _strategy_problems(
    values: Mapping[str, Any], tuned: tuple[Tuned, ...], hyperparameters: Mapping[str, str]
) -> list[str]:
    problems = []
    strategy = values.get("--strategy")
    if strategy == "Hyperband":
        if values.get("--early-stopping") == "Auto":
            problems.append("--early-stopping: got Auto; expected Off with Hyperband, which stops trials by itself")
        if "--max-resource" not in values and "epochs" not in hyperparameters:
            problems.append(
                "--max-resource: missing; Hyperband needs to know the epochs of a trial: give it, or epochs among the "
                "--hyperparameters"
            )
        epochs = read_what_is_right(hyperparameters)[0].epochs if "epochs" in hyperparameters else None
        most = values.get("--max-resource", epochs or _MAX_EPOCHS)
        if values.get("--min-resource", 0) > most:
            problems.append(
                f"--min-resource: got {values['--min-resource']}; expected at most --max-resource, which is {most}"
            )
    else:
        problems += [
            f"{flag}: got {values[flag]}; it is used with --strategy Hyperband only: leave it out"
            for flag in ("--min-resource", "--max-resource")
            if flag in values
        ]
    jobs = values.get("--max-jobs")
    if strategy == "Grid":
        problems += [
            f"--tune: {one.row.name} is a range; Grid tries given values only: expected some, such as "
            f"{one.row.name}={one.low},{one.high}"
            for one in tuned
            if not one.words
        ]
        combinations = _combinations(tuned)
        if jobs is not None and jobs != combinations:
            problems.append(
                f"--max-jobs: got {jobs}; Grid tries every combination, {combinations} in all: leave it out"
            )
        elif combinations > _MAX_JOBS:
            problems.append(f"--tune: {combinations} combinations; expected at most {_MAX_JOBS}: tune fewer values")
    parallel = values.get("--max-parallel", 1)
    if jobs is not None and parallel > jobs:
        problems.append(f"--max-parallel: got {parallel}; expected at most --max-jobs, which is {jobs}")
    return problems


def _combinations(tuned: tuple[Tuned, ...]) -> int:
    return prod(len(one.words) for one in tuned if one.words)


def _config(values: Mapping[str, Any], tuned: tuple[Tuned, ...]) -> dict[str, Any]:
    request: api.Request = {}
    for row in TUNING_ARGUMENTS:
        if row.path.startswith(f"{_CONFIG}.") and row.flag in values:
            put(request, row.path, values[row.flag])
    config: dict[str, Any] = request.setdefault(_CONFIG, {})
    direction = next((metric.direction for metric in METRICS if metric.name == values.get("--objective")), "")
    put(config, "HyperParameterTuningJobObjective.Type", direction)
    if values.get("--strategy") != "Grid":  # which counts for itself
        config.setdefault("ResourceLimits", {}).setdefault("MaxNumberOfTrainingJobs", _DEFAULT_JOBS)
    config["ParameterRanges"] = {
        f"{kind}ParameterRanges": [one.api_range for one in tuned if one.api_type == kind]
        for kind in ("Integer", "Continuous", "Categorical")
    }
    return config


def _static_notes(arguments: JobArguments, tuned: tuple[Tuned, ...]) -> list[str]:
    """Of the values that are the same in every trial; those that a tuned one decides about cannot be judged."""
    deciding = {one.row.name for one in tuned}
    undecided = {row.name for row in ROWS if row.used_when and row.used_when.name in deciding}
    return [note for note in notes(arguments) if note.split(":")[0] not in undecided]


def _tuned_notes(tuned: tuple[Tuned, ...], hyperparameters: Mapping[str, str]) -> list[str]:
    """About tuned hyperparameters that have no effect in any trial, which then differ by chance alone."""
    read_values, _ = read_what_is_right(hyperparameters)
    names = {one.row.name for one in tuned}
    return [
        f"--tune {one.row.name}: has no effect; it is used when {needed}"
        for one in tuned
        if (needed := one.row.used_when)
        and needed.name not in names
        and getattr(read_values, needed.name) not in needed.values
    ]
