"""A CreateAlgorithm request: the container's own tables, registered under a name in an account."""

from typing import Any

from sagemaker_object_detection.describe import describe_json
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.arguments import IMAGE, TAGS, Argument, Text
from sagemaker_object_detection.launch.program import Program

_ARGUMENTS = (
    Argument(
        "--name",
        "AlgorithmName",
        Text("1 to 63 letters, digits and hyphens, such as object-detection"),
        "of the algorithm",
        default="object-detection",
    ),
    Argument("--image", "TrainingSpecification.TrainingImage", IMAGE, "the training image", required=True),
    Argument(
        "--description",
        "AlgorithmDescription",
        Text("at most 1024 characters in one line"),
        "what the console shows of it",
        default="Fine-tunes TensorFlow object detectors.",
    ),
    TAGS,
)


def complete(values: dict[str, Any], request: api.Request, problems: list[str]) -> list[str]:
    request["TrainingSpecification"] = describe_json(values.get("--image", ""))["TrainingSpecification"]
    request["CertifyForMarketplace"] = False
    return []


ALGORITHM = Program(
    description="Registers the algorithm on SageMaker.",
    groups=(("algorithm", _ARGUMENTS),),
    operation="CreateAlgorithm",
    name="AlgorithmName",
    complete=complete,
    done="registered algorithm {name}: {AlgorithmArn}",
)
