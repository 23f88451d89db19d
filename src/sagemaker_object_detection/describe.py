"""What this container takes and reports, rendered from its tables for people and for CreateAlgorithm."""

from collections.abc import Iterable
from typing import Any

from sagemaker_object_detection.hyperparameters.kinds import Choice, Flag, Integer, ModelName, Number, Text
from sagemaker_object_detection.hyperparameters.table import ROWS, Resume, Row, Tunable, TunableRange
from sagemaker_object_detection.job.channels import CHANNELS
from sagemaker_object_detection.job.metrics import METRICS

REGISTERED_INPUT_MODES = ("File",)
"""Of a registered algorithm: CreateAlgorithm refuses FastFile (boto/boto3#4469), although the API's description has it
there. A job with an image may have it."""
IMAGE_PLACEHOLDER = "ACCOUNT.dkr.ecr.REGION.amazonaws.com/sagemaker-object-detection:TAG"
INSTANCE_TYPES = tuple(
    f"ml.{family}.{size}"
    for family, sizes in (
        ("g4dn", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")),
        ("g5", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge")),
        ("g6", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge")),
        ("g6e", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge")),
        ("p3", ("2xlarge", "8xlarge", "16xlarge")),
        ("p3dn", ("24xlarge",)),
        ("p4d", ("24xlarge",)),
        ("p4de", ("24xlarge",)),
        ("p5", ("48xlarge",)),
        ("p5e", ("48xlarge",)),
        ("p5en", ("48xlarge",)),
        ("m5", ("large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge")),
        ("m6i", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "32xlarge")),
        ("c5", ("xlarge", "2xlarge", "4xlarge", "9xlarge", "18xlarge")),
        ("c6i", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "32xlarge")),
    )
    for size in sizes
)
_ON_RESUME: dict[Resume, str] = {
    "same": "needs the same",
    "kept": "needs the same; Auto stays what it came to",
    "compared": "may have another, if it comes to the same",
    "free": "may have another",
}


def describe_json(image: str = IMAGE_PLACEHOLDER, *, built_in_ranges: bool = False) -> dict[str, Any]:
    """The TrainingSpecification of a CreateAlgorithm call, and the ParameterRanges recommended to a tuning job, or
    those of the built-in algorithm."""
    return {
        "TrainingSpecification": {
            "TrainingImage": image,
            "SupportedHyperParameters": [_specification(row) for row in ROWS],
            "SupportedTrainingInstanceTypes": list(INSTANCE_TYPES),
            "SupportsDistributedTraining": True,
            "MetricDefinitions": [{"Name": metric.name, "Regex": metric.regex} for metric in METRICS],
            "TrainingChannels": [
                {
                    "Name": channel.name,
                    "Description": channel.help,
                    "IsRequired": channel.required,
                    "SupportedContentTypes": list(channel.content_types),
                    "SupportedCompressionTypes": ["None"],
                    "SupportedInputModes": list(REGISTERED_INPUT_MODES),
                }
                for channel in CHANNELS
            ],
            "SupportedTuningJobObjectiveMetrics": [
                {"Type": metric.direction, "MetricName": metric.name}
                for metric in METRICS
                if metric.line > 0  # the training loss ranks by how well a trial memorises
            ],
        },
        "ParameterRanges": parameter_ranges((row, row.built_in if built_in_ranges else row.tunable) for row in ROWS),
    }


def describe_markdown() -> str:
    """The tables of hyperparameters/README.md: hyperparameters, channels and metrics."""
    channels = ["| channel | required | holds |", "|---|---|---|"]
    channels += [f"| `{row.name}` | {'yes' if row.required else 'no'} | {row.help} |" for row in CHANNELS]
    metrics = ["| metric | regex | direction | meaning |", "|---|---|---|---|"]
    metrics += [f"| `{row.name}` | `{row.regex}` | {row.direction} | {row.meaning} |" for row in METRICS]
    sections = (
        ("Hyperparameters", _hyperparameter_table()),
        ("Channels", "\n".join(channels)),
        ("Metrics", "\n".join(metrics)),
    )
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in sections) + "\n"


def _hyperparameter_table() -> str:
    """Names of extensions are marked with a dagger."""
    lines = [
        "| name | legal | default | used when | tuning range | the built-in's | a job that resumes | meaning |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        cells = (
            f"`{row.name}`" + (" †" if row.extension else ""),
            row.kind.expected,
            row.shown_default,
            str(row.used_when or "always"),
            _tuning_range(row.tunable),
            _tuning_range(row.built_in),
            _ON_RESUME[row.resume],
            row.help + (f" Also accepted as `{'`, `'.join(row.aliases)}`." if row.aliases else ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "† An extension of this container; the built-in algorithm does not have it."])


def parameter_ranges(ranges: Iterable[tuple[Row, Tunable | None]]) -> dict[str, list[dict[str, Any]]]:
    """What may be tried of each row as the ParameterRanges of a tuning job; rows without a range are left out."""
    found: dict[str, list[dict[str, Any]]] = {"Integer": [], "Continuous": [], "Categorical": []}
    for row, tunable in ranges:
        if isinstance(tunable, TunableRange):
            limits = {"MinValue": tunable.low, "MaxValue": tunable.high, "ScalingType": tunable.scaling}
            found[_api_type(row)].append({"Name": row.name, **limits})
        elif tunable is not None:
            found["Categorical"].append({"Name": row.name, "Values": list(tunable)})
    return {f"{kind}ParameterRanges": rows for kind, rows in found.items()}


def _specification(row: Row) -> dict[str, Any]:
    """An entry in the SupportedHyperParameters of a TrainingSpecification: type, legal range and default."""
    described: dict[str, Any] = {
        "Name": row.name,
        "Description": row.help,
        "IsTunable": row.tunable is not None or row.built_in is not None,
        "IsRequired": False,
    }
    if row.default is not None and not (isinstance(row.kind, Number) and row.kind.auto):
        described["DefaultValue"] = row.default
    described["Type"] = kind = _api_type(row)
    match row.kind:
        case Number(low, high):
            legal: dict[str, Any] = {"MinValue": str(low), "MaxValue": str(high)}
        case Flag():  # the small words: how ModelTrainer of the Python SDK v3 writes them
            legal = {"Values": [*row.kind.options, "true", "false"]}
        case Choice() | ModelName():
            legal = {"Values": list(row.kind.options)}
        case _:
            return described
    return {**described, "Range": {f"{kind}ParameterRangeSpecification": legal}}


def _api_type(row: Row) -> str:
    if isinstance(row.kind, Number):
        return "Integer" if isinstance(row.kind, Integer) else "Continuous"
    return "FreeText" if isinstance(row.kind, Text) else "Categorical"


def _tuning_range(tunable: Tunable | None) -> str:
    if isinstance(tunable, TunableRange):
        return f"{tunable.low} to {tunable.high}, {tunable.scaling}"
    return ", ".join(tunable or ())
