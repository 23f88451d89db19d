"""What this container takes and reports, rendered from its tables for people and for CreateAlgorithm."""

from typing import Any

from sagemaker_object_detection.hyperparameters import render
from sagemaker_object_detection.hyperparameters.table import ROWS
from sagemaker_object_detection.job.channels import CHANNELS, INPUT_MODES
from sagemaker_object_detection.job.metrics import METRICS

IMAGE_PLACEHOLDER = "ACCOUNT.dkr.ecr.REGION.amazonaws.com/sagemaker-object-detection:TAG"
INSTANCE_TYPES = tuple(
    f"ml.{family}.{size}"
    for family, sizes in (
        ("g4dn", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")),
        ("g5", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge")),
        ("g6", ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge")),
        ("p3", ("2xlarge", "8xlarge", "16xlarge")),
        ("p4d", ("24xlarge",)),
        ("p5", ("48xlarge",)),
        ("m5", ("xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge")),
        ("c5", ("2xlarge", "4xlarge", "9xlarge", "18xlarge")),
    )
    for size in sizes
)


def describe_json(image: str = IMAGE_PLACEHOLDER, *, built_in_ranges: bool = False) -> dict[str, Any]:
    """The TrainingSpecification of a CreateAlgorithm call, and the ParameterRanges recommended to a tuning job, or
    those of the built-in algorithm."""
    return {
        "TrainingSpecification": {
            "TrainingImage": image,
            "SupportedHyperParameters": [render.specification(row) for row in ROWS],
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
                    "SupportedInputModes": list(INPUT_MODES),
                }
                for channel in CHANNELS
            ],
            "SupportedTuningJobObjectiveMetrics": [
                {"Type": metric.direction, "MetricName": metric.name}
                for metric in METRICS
                if metric.line > 0  # the training loss ranks by how well a trial memorises
            ],
        },
        "ParameterRanges": render.parameter_ranges(
            (row, row.built_in if built_in_ranges else row.tunable) for row in ROWS
        ),
    }


def describe_markdown() -> str:
    """The tables of hyperparameters/README.md: hyperparameters, channels and metrics."""
    channels = ["| channel | required | holds |", "|---|---|---|"]
    channels += [f"| `{row.name}` | {'yes' if row.required else 'no'} | {row.help} |" for row in CHANNELS]
    metrics = ["| metric | regex | direction | meaning |", "|---|---|---|---|"]
    metrics += [f"| `{row.name}` | `{row.regex}` | {row.direction} | {row.meaning} |" for row in METRICS]
    sections = (
        ("Hyperparameters", render.markdown()),
        ("Channels", "\n".join(channels)),
        ("Metrics", "\n".join(metrics)),
    )
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in sections) + "\n"
