import json

from sagemaker_object_detection.describe import IMAGE_PLACEHOLDER, describe_json, describe_markdown
from sagemaker_object_detection.hyperparameters.table import ROWS


def test_the_training_specification_is_complete():
    specification = describe_json("image:1")["TrainingSpecification"]
    assert json.loads(json.dumps(specification)) == specification
    assert specification["TrainingImage"] == "image:1"
    assert specification["SupportsDistributedTraining"] is True
    assert [row["Name"] for row in specification["SupportedHyperParameters"]] == [row.name for row in ROWS]
    assert [
        (row["Name"], row["IsRequired"], row["SupportedInputModes"]) for row in specification["TrainingChannels"]
    ] == [
        ("training", True, ["File", "FastFile"]),
        ("validation", False, ["File", "FastFile"]),
        ("model", False, ["File", "FastFile"]),
    ]
    assert specification["MetricDefinitions"][0] == {"Name": "train:loss", "Regex": r"loss=([0-9\.]+)."}
    objectives = {row["MetricName"]: row["Type"] for row in specification["SupportedTuningJobObjectiveMetrics"]}
    assert objectives.items() >= {"validation:localization_loss": "Minimize", "validation:mAP": "Maximize"}.items()
    assert "train:loss" not in objectives
    assert {"ml.g5.xlarge", "ml.p5.48xlarge", "ml.m5.xlarge"} <= set(specification["SupportedTrainingInstanceTypes"])


def test_texts_keep_to_the_limits_of_the_api():
    specification = describe_json()["TrainingSpecification"]
    assert specification["TrainingImage"] == IMAGE_PLACEHOLDER
    described = [*specification["SupportedHyperParameters"], *specification["TrainingChannels"]]
    assert all(0 < len(row["Description"]) <= 1024 and row["Description"].isprintable() for row in described)
    assert all(len(row["Regex"]) <= 500 for row in specification["MetricDefinitions"])


def test_the_markdown_has_every_table():
    text = describe_markdown()
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "### Hyperparameters",
        "### Channels",
        "### Metrics",
    ]
    assert "\n| `model` | no | the weights to start from, as a .tar.gz or unpacked: " in text
    assert (
        "\n| `validation:mAP_50` | `Val_mAP_50=([0-9\\.]+)` | Maximize | COCO's mean average precision at IoU 0.5. |\n"
        in text
    )
