"""A CreateHyperParameterTuningJob request: ranges from the hyperparameter table, the objective from the metrics."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from sagemaker_object_detection.describe import parameter_ranges
from sagemaker_object_detection.hyperparameters.kinds import Choice, Integer, Number
from sagemaker_object_detection.hyperparameters.table import ROWS, Row, Tunable, TunableRange
from sagemaker_object_detection.job.metrics import METRICS
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.arguments import JOB_GROUPS, TAGS, Argument, Text
from sagemaker_object_detection.launch.follow import follow_tuning
from sagemaker_object_detection.launch.manifests import make_channels
from sagemaker_object_detection.launch.program import Program
from sagemaker_object_detection.launch.ranges import MAX_VALUES, read_tuned
from sagemaker_object_detection.launch.training import (
    check_validation_data,
    complete_definition,
    named,
    notes,
    read_job,
)
from sagemaker_object_detection.sentences import shown

_CONFIG = "HyperParameterTuningJobConfig"
_LIMITS = f"{_CONFIG}.ResourceLimits"
_HYPERBAND = f"{_CONFIG}.StrategyConfig.HyperbandStrategyConfig"
_DEFINITION = "TrainingJobDefinition"
_DIRECTIONS = {metric.name: metric.direction for metric in METRICS if metric.line > 0}
# The developer guide's quotas, which the API's own description leaves out.
_MAX_HYPERPARAMETERS, _MAX_JOBS, _MAX_PARALLEL, _MAX_EPOCHS = 100, 750, 100, 20000
_DEFAULT_JOBS = 20

_ARGUMENTS = (
    Argument(
        "--job-name",
        "HyperParameterTuningJobName",
        Text("1 to 32 letters, digits and hyphens, such as cells-1"),
        "of the tuning job (default: detection and the time)",
    ),
    Argument(
        "--tune",
        "",
        Text("what to tune, such as learning_rate, learning_rate=1e-5:1e-2 or optimizer=adam,sgd", form="several"),
        "hyperparameters to tune: NAME for the range of `describe`, NAME=LOW:HIGH, NAME=LOW:HIGH:SCALING or "
        "NAME=VALUE,VALUE",
        required=True,
    ),
    Argument(
        "--objective",
        f"{_CONFIG}.HyperParameterTuningJobObjective.MetricName",
        Choice(tuple(_DIRECTIONS)),
        "the metric that ranks the trials",
        default="validation:mAP",
    ),
    Argument(
        "--strategy",
        f"{_CONFIG}.Strategy",
        Choice(("Bayesian", "Random", "Hyperband", "Grid")),
        "how values are chosen: Bayesian learns from ended trials, Hyperband stops poor ones early, Grid tries every "
        "combination of given values",
        default="Bayesian",
    ),
    Argument(
        "--max-jobs",
        f"{_LIMITS}.MaxNumberOfTrainingJobs",
        Integer(1, _MAX_JOBS),
        f"trials in all (default: {_DEFAULT_JOBS}; Grid: as many as there are combinations)",
    ),
    Argument(
        "--max-parallel", f"{_LIMITS}.MaxParallelTrainingJobs", Integer(1, _MAX_PARALLEL), "trials at once", default="1"
    ),
    Argument(
        "--max-tuning-time",
        f"{_LIMITS}.MaxRuntimeInSeconds",
        Integer(120, 15768000),
        "seconds after which no more trials are started and running ones are stopped",
    ),
    Argument(
        "--early-stopping",
        f"{_CONFIG}.TrainingJobEarlyStoppingType",
        Choice(("Off", "Auto")),
        "Auto lets SageMaker stop trials that do worse than earlier ones",
        default="Off",
    ),
    Argument(
        "--min-resource",
        f"{_HYPERBAND}.MinResource",
        Integer(1, _MAX_EPOCHS),
        "Hyperband: epochs before which no trial is stopped",
    ),
    Argument(
        "--max-resource",
        f"{_HYPERBAND}.MaxResource",
        Integer(1, _MAX_EPOCHS),
        "Hyperband: epochs after which a trial is stopped (default: the hyperparameter epochs)",
    ),
    Argument("--tuning-seed", f"{_CONFIG}.RandomSeed", Integer(0), "makes the choice of values more repeatable"),
)
_JOB_GROUPS = tuple(
    (title, tuple(replace(row, path=row.path and f"{_DEFINITION}.{row.path}") if row != TAGS else row for row in rows))
    for title, rows in JOB_GROUPS
)


def complete(values: dict[str, Any], request: api.Request, problems: list[str]) -> list[str]:
    static, sent = read_job(values, problems)
    tuned = read_tuned(values.get("--tune", []), problems)
    _check_tuned(tuned, values, problems)
    _check_strategy(values, tuned, sent, problems)
    check_validation_data(values, static.validation_split_ratio, "the objective", problems)

    request.setdefault("HyperParameterTuningJobName", named("detection"))
    config = request[_CONFIG]
    if "--objective" in values:
        config["HyperParameterTuningJobObjective"]["Type"] = _DIRECTIONS[values["--objective"]]
    if values.get("--strategy") != "Grid":  # which counts for itself
        config.setdefault("ResourceLimits", {}).setdefault("MaxNumberOfTrainingJobs", _DEFAULT_JOBS)
    config["ParameterRanges"] = parameter_ranges(tuned.items())
    definition = request[_DEFINITION]
    definition["StaticHyperParameters"] = sent
    complete_definition(definition, values)

    names = {row.name for row in tuned}
    # What a tuned hyperparameter decides about cannot be judged.
    undecided = {row.name for row in ROWS if row.used_when and row.used_when.name in names}
    return [
        *(note for note in notes(values, static) if note.split(":")[0] not in undecided),
        # All trials differ by chance alone then.
        *(
            f"--tune {row.name}: has no effect; it is used when {needed}"
            for row in tuned
            if (needed := row.used_when)
            and needed.name not in names
            and getattr(static, needed.name) not in needed.values
        ),
    ]


def _check_tuned(tuned: Mapping[Row, Tunable], values: Mapping[str, Any], problems: list[str]) -> None:
    hyperparameters = values["--hyperparameters"]
    for row, tried in tuned.items():
        for name in (row.name, *row.aliases):
            if name in hyperparameters:
                problems.append(
                    f"{name}: got {shown(hyperparameters[name])} and is tuned too; expected it in "
                    "--hyperparameters or in --tune"
                )
        if "--algorithm" in values and not (row.tunable or row.built_in):
            names = ", ".join(known.name for known in ROWS if known.tunable or known.built_in)
            problems.append(f"--tune: {row.name} is not tunable with --algorithm; expected one of {names}")
        elif "--algorithm" in values and isinstance(row.kind, Number) and isinstance(tried, tuple):
            problems.append(
                f"--tune: {row.name} is given values, and a registered algorithm takes numbers as a range alone; "
                f"expected {row.name}=LOW:HIGH, or --image in place of --algorithm"
            )
    if len(tuned) > MAX_VALUES:
        problems.append(f"--tune: {len(tuned)} hyperparameters; expected at most {MAX_VALUES}")
    # SageMaker adds one more, the name of the objective.
    if (count := len(tuned) + len(hyperparameters) + 1) > _MAX_HYPERPARAMETERS:
        problems.append(
            f"--hyperparameters: {count} with the tuned ones and SageMaker's own; expected at most "
            f"{_MAX_HYPERPARAMETERS}"
        )


def _check_strategy(
    values: Mapping[str, Any], tuned: Mapping[Row, Tunable], sent: Mapping[str, str], problems: list[str]
) -> None:
    strategy = values.get("--strategy")
    if strategy == "Hyperband":
        if values.get("--early-stopping") == "Auto":
            problems.append("--early-stopping: got Auto; expected Off with Hyperband, which stops trials by itself")
        if "--max-resource" not in values and "epochs" not in sent:
            problems.append(
                "--max-resource: missing; Hyperband needs to know the epochs of a trial: give it, or epochs among the "
                "--hyperparameters"
            )
        most = values.get("--max-resource", int(sent.get("epochs", _MAX_EPOCHS)))
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
            f"--tune: {row.name} is a range; Grid tries given values only: expected some, such as "
            f"{row.name}={tried.low},{tried.high}"
            for row, tried in tuned.items()
            if isinstance(tried, TunableRange)
        ]
        combinations = prod(len(tried) for tried in tuned.values() if isinstance(tried, tuple))
        if jobs is not None and jobs != combinations:
            problems.append(
                f"--max-jobs: got {jobs}; Grid tries every combination, {combinations} in all: leave it out"
            )
        elif combinations > _MAX_JOBS:
            problems.append(f"--tune: {combinations} combinations; expected at most {_MAX_JOBS}: tune fewer values")
    parallel = values.get("--max-parallel", 1)
    if jobs is not None and parallel > jobs:
        problems.append(f"--max-parallel: got {parallel}; expected at most --max-jobs, which is {jobs}")


TUNING = Program(
    description="Starts a tuning job on SageMaker.",
    groups=(("tuning", _ARGUMENTS), *_JOB_GROUPS),
    operation="CreateHyperParameterTuningJob",
    name="HyperParameterTuningJobName",
    complete=complete,
    done="started tuning job {name} in {region}",
    prepare=make_channels,
    follow=follow_tuning,
    wait="print the trials as they end, and the best, until the job ends",
)
