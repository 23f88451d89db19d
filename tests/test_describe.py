import json

from sagemaker_object_detection.describe import IMAGE_PLACEHOLDER, describe_json, describe_markdown
from sagemaker_object_detection.hyperparameters.kinds import Number
from sagemaker_object_detection.hyperparameters.table import ROWS, TunableRange

BUILT_IN = [
    *("batch_size", "beta_1", "beta_2", "early_stopping", "early_stopping_min_delta", "early_stopping_patience"),
    *("epochs", "epsilon", "initial_accumulator_value", "learning_rate", "momentum", "optimizer"),
    *("reinitialize_top_layer", "rho", "train_only_on_top_layer", "regularizers_l2"),
]
"""The built-in algorithm's, in the order of its page."""


def test_the_training_specification_is_complete():
    specification = describe_json("image:1")["TrainingSpecification"]
    assert json.loads(json.dumps(specification)) == specification
    assert specification["TrainingImage"] == "image:1"
    assert specification["SupportsDistributedTraining"] is True
    assert [row["Name"] for row in specification["SupportedHyperParameters"]] == [row.name for row in ROWS]
    assert [
        (row["Name"], row["IsRequired"], row["SupportedInputModes"]) for row in specification["TrainingChannels"]
    ] == [
        ("training", True, ["File"]),
        ("validation", False, ["File"]),
        ("test", False, ["File"]),
        ("model", False, ["File"]),
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


def test_the_readme_table_has_a_line_for_every_row_and_marks_extensions():
    lines = describe_markdown().split("\n\n### Channels")[0].removeprefix("### Hyperparameters\n\n").splitlines()
    assert len(lines) == 2 + len(ROWS) + 2
    assert lines[2] == (
        "| `batch_size` | a whole number from 1 to 2147483647 | 3 | always | 2 to 16, Logarithmic | "
        "8 to 512, Logarithmic | needs the same | Images per training step, over all devices together. |"
    )
    assert lines[9] == (
        "| `epsilon` | a number from 0.0 to 1.0 | 1e-7 | optimizer is adam or rmsprop or adadelta or adagrad | "
        "1e-8 to 1e-5, Logarithmic | 1e-8 to 1.0, Logarithmic | needs the same | Added to denominators for "
        "numerical stability. Also accepted as `eps`. |"
    )
    assert [line.split("`")[1] for line in lines[2:-2] if " † | " not in line] == BUILT_IN
    assert {line.count(" | ") for line in lines[2:-2]} == {7}


def test_the_tuning_ranges_are_the_recommended_ones():
    ranges = describe_json()["ParameterRanges"]
    low_and_high = {
        row["Name"]: (float(row["MinValue"]), float(row["MaxValue"]))
        for kind in ("Integer", "Continuous")
        for row in ranges[f"{kind}ParameterRanges"]
    }
    for name, default in (("learning_rate", 1e-3), ("batch_size", 3), ("relative_learning_rate", 0.002)):
        low, high = low_and_high[name]
        assert low < default < high
    assert ranges["CategoricalParameterRanges"] == [{"Name": "optimizer", "Values": ["adam", "rmsprop"]}]


def test_the_built_in_algorithms_ranges_are_there_for_those_who_want_them():
    ranges = describe_json(built_in_ranges=True)["ParameterRanges"]
    assert ranges["IntegerParameterRanges"] == [
        {"Name": "batch_size", "MinValue": "8", "MaxValue": "512", "ScalingType": "Logarithmic"}
    ]
    assert [(row["Name"], row["MinValue"], row["MaxValue"]) for row in ranges["ContinuousParameterRanges"]] == [
        ("beta_1", "1e-6", "0.999"),
        ("beta_2", "1e-6", "0.999"),
        ("epsilon", "1e-8", "1.0"),
        ("initial_accumulator_value", "0.0", "0.999"),
        ("learning_rate", "1e-6", "0.5"),
        ("momentum", "0.0", "0.999"),
        ("regularizers_l2", "0.0", "0.999"),
    ]
    assert ranges["CategoricalParameterRanges"] == [
        {"Name": "optimizer", "Values": ["adam", "sgd", "nesterov", "rmsprop", "adagrad", "adadelta"]},
        {"Name": "train_only_on_top_layer", "Values": ["True", "False"]},
    ]


def test_scalings_are_ones_a_tuning_job_accepts_for_their_range():
    for row, tunable in [(each, tunable) for each in ROWS for tunable in (each.tunable, each.built_in)]:
        if isinstance(tunable, TunableRange):
            low, high = float(tunable.low), float(tunable.high)
            assert tunable.scaling != "Logarithmic" or low > 0
            assert tunable.scaling != "ReverseLogarithmic" or 0 <= low < high < 1
            assert isinstance(row.kind, Number)
            assert row.kind.low <= low < high <= row.kind.high
        for word in tunable if isinstance(tunable, tuple) else ():
            row.kind.parse(word)


def test_specifications_hold_type_legal_range_and_default():
    rows = {row["Name"]: row for row in describe_json()["TrainingSpecification"]["SupportedHyperParameters"]}
    assert rows["epsilon"] == {
        "Name": "epsilon",
        "Description": "Added to denominators for numerical stability.",
        "IsTunable": True,
        "IsRequired": False,
        "DefaultValue": "1e-7",
        "Type": "Continuous",
        "Range": {"ContinuousParameterRangeSpecification": {"MinValue": "0.0", "MaxValue": "1.0"}},
    }
    assert rows["batch_size"]["Range"] == {
        "IntegerParameterRangeSpecification": {"MinValue": "1", "MaxValue": "2147483647"}
    }
    assert rows["freeze_batch_norm"]["Range"] == {
        "CategoricalParameterRangeSpecification": {"Values": ["Auto", "True", "False", "true", "false"]}
    }
    assert (rows["pretrained_weights"]["Type"], "Range" in rows["pretrained_weights"]) == ("FreeText", False)
    for row in ROWS:
        # A number that may be Auto is left out for Auto: CreateAlgorithm has no word among numbers.
        is_word_of_a_number = isinstance(row.kind, Number) and row.kind.auto
        expected = {} if row.default is None or is_word_of_a_number else {"DefaultValue": row.default}
        assert {name: rows[row.name][name] for name in rows[row.name] if name == "DefaultValue"} == expected
    assert "DefaultValue" not in rows["epochs"] | rows["passes_per_epoch"]
    assert [name for name, row in rows.items() if row["IsTunable"]] == [
        row.name for row in ROWS if row.tunable or row.built_in
    ]
    for row in ROWS:
        limits = rows[row.name].get("Range", {}).get("CategoricalParameterRangeSpecification")
        assert limits is None or (
            len(limits["Values"]) <= 30 and (row.default is None or row.default in limits["Values"])
        )
