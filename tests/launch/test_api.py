import pytest

from sagemaker_object_detection.launch.api import problems


def test_a_request_without_fault_has_no_problems():
    assert problems({"TrainingJobName": "a"}, "StopTrainingJob", {}) == []


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"TrainingJobName": ""}, [("TrainingJobName", "got ''; expected at least 1 characters")]),
        ({"TrainingJobName": "a" * 64}, [("TrainingJobName", f"got '{'a' * 64}'; expected at most 63 characters")]),
        (
            {"TrainingJobName": "a_b"},
            [("TrainingJobName", "got 'a_b'; expected text that matches [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")],
        ),
    ],
)
def test_what_the_service_would_refuse_is_told(request_, expected):
    assert problems(request_, "StopTrainingJob", {}) == expected


def test_what_is_deep_inside_is_told_by_its_path_and_in_the_words_given_for_it():
    found = problems(
        {
            "TrainingJobName": "a",
            "RoleArn": "arn:aws:iam::123456789012:role/R",
            "OutputDataConfig": {"S3OutputPath": "models"},
            "AlgorithmSpecification": {
                "TrainingInputMode": "Files",
                "MetricDefinitions": [{"Name": "loss", "Regex": ""}],
            },
            "VpcConfig": {"SecurityGroupIds": [], "Subnets": ["s"] * 17},
            "StoppingCondition": {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 0},
            "Environment": {"A": "x" * 513},
        },
        "CreateTrainingJob",
        {"OutputDataConfig.S3OutputPath": "an address", "VpcConfig.Subnets": "1 to 16 ids"},
    )
    assert found == [
        ("OutputDataConfig.S3OutputPath", "got 'models'; expected an address"),
        ("AlgorithmSpecification.TrainingInputMode", "got 'Files'; expected one of Pipe, File, FastFile"),
        ("AlgorithmSpecification.MetricDefinitions.Regex", "got ''; expected at least 1 characters"),
        ("VpcConfig.SecurityGroupIds", "got []; expected at least 1 entries"),
        (
            "VpcConfig.Subnets",
            "got ['s', 's', 's', 's', 's', 's', 's', 's', 's', 's', 's', 's', 's', 's', 's', 's',...; expected at most "
            "16 entries",
        ),
        ("StoppingCondition.MaxWaitTimeInSeconds", "got 0; expected at least 1"),
        ("Environment", f"got '{'x' * 80}...'; expected at most 512 characters"),
    ]
