"""Following, with botocore's own clients, which answer from a script, and a clock that only counts."""

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError, EndpointConnectionError

from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.launch.aws import Aws
from sagemaker_object_detection.launch.follow import follow_training, follow_tuning


def error(code, operation="DescribeTrainingJob", status=400, message="Told."):
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


def client(service, answers):
    """A client that answers each operation with the next of its answers, the last one again and again, and keeps the
    `calls`; errors are raised."""
    made = boto3.client(service, region_name="eu-west-1", aws_access_key_id="key", aws_secret_access_key="secret")
    left = {name: list(given) for name, given in answers.items()}
    made.calls = []

    def call(operation, arguments):
        made.calls.append((xform_name(operation), arguments))
        given = left[xform_name(operation)]
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    made._make_api_call = call
    return made


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """How long was slept each time."""
    times: list[float] = []
    monkeypatch.setattr("sagemaker_object_detection.launch.follow.sleep", times.append)
    return times


NO_LOGS = {"describe_log_streams": [error("ResourceNotFoundException", "DescribeLogStreams")]}


def job(status, secondary, message="", **more):
    return {
        "TrainingJobName": "cells",
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "SecondaryStatusTransitions": [{"Status": secondary, "StatusMessage": message}],
        **more,
    }


DONE = job(
    "Completed",
    "Completed",
    "Training job completed",
    TrainingTimeInSeconds=312,
    BillableTimeInSeconds=100,
    FinalMetricDataList=[{"MetricName": "validation:mAP", "Value": 0.5, "Timestamp": 0}],
    ModelArtifacts={"S3ModelArtifacts": "s3://bucket/models/cells/output/model.tar.gz"},
)


def follow(jobs, logs=NO_LOGS):
    """The exit code of following a training job, and its clients."""
    aws = Aws(client("sagemaker", {"describe_training_job": jobs}), client("logs", logs), None, "eu-west-1")
    return follow_training(aws, "cells"), aws


def streams(*names):
    return {"logStreams": [{"logStreamName": name} for name in names]}


def events(token, *messages):
    return {"events": [{"message": message} for message in messages], "nextForwardToken": token}


def test_status_and_end_are_told_once_each(capsys, slept):
    starting = job("InProgress", "Starting", "Preparing the instances")
    code, _ = follow([starting, starting, job("InProgress", "Training", "Training in progress"), DONE])
    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "-- Starting: Preparing the instances",
        "-- Training: Training in progress",
        "-- Completed: Training job completed",
        "training job cells: Completed, trained 312 s, billed 100 s",
        "validation:mAP: 0.500000",
        "model: s3://bucket/models/cells/output/model.tar.gz",
    ]
    assert slept == [5.0, 7.5, 5.0, 5.0]


def test_looks_become_rarer_while_nothing_happens(slept):
    follow([job("InProgress", "Training")] * 8 + [DONE])
    assert slept == [5.0, 7.5, 11.25, 16.875, 25.3125, 30.0, 30.0, 30.0, 5.0]


def test_a_failed_job_ends_with_its_reason(capsys):
    failed = job("Failed", "Failed", FailureReason="AlgorithmError: UserError: epochs: got 'many'")
    code, _ = follow([failed])
    assert code == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == ["-- Failed", "training job cells: Failed"]
    assert said.err == "failure reason: AlgorithmError: UserError: epochs: got 'many'\n"


def test_a_stopped_job_is_not_done_and_says_why_it_was_stopped(capsys):
    code, _ = follow([job("Stopped", "MaxRuntimeExceeded", ModelArtifacts={"S3ModelArtifacts": "s3://b/m"})])
    assert code == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "training job cells: Stopped (MaxRuntimeExceeded)",
        "model: s3://b/m",
    ]


def test_log_lines_are_read_on_from_where_they_were_left(capsys):
    logs = {
        "describe_log_streams": [error("ResourceNotFoundException"), streams("cells/algo-1-170")],
        "get_log_events": [
            events("t1", "one\n", "two"),
            events("t2"),  # an empty page that is not the last
            events("t3", "three"),
            events("t3"),
            events("t3"),
            events("t4", "late"),
            events("t4"),
            events("t4"),
        ],
    }
    training = job("InProgress", "Training")
    code, aws = follow([training, training, DONE], logs)
    assert code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == ["-- Training", "one", "two", "three", "-- Completed: Training job completed", "late"]
    tokens = [given.get("nextToken") for name, given in aws.logs.calls if name == "get_log_events"]
    assert tokens == [None, "t1", "t2", "t3", "t3", "t3", "t4", "t4"]
    assert aws.logs.calls[1] == (
        "describe_log_streams",
        {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamNamePrefix": "cells/"},
    )


def test_lines_of_several_hosts_say_whose_they_are(capsys):
    logs = {
        "describe_log_streams": [
            {**streams("cells/algo-1-170"), "nextToken": "more"},
            streams("cells/algo-2-171"),
            {**streams("cells/algo-1-170"), "nextToken": "more"},
            streams("cells/algo-2-171"),
        ],
        "get_log_events": [events("a", "one"), events("a"), events("b", "two"), events("b"), events("a"), events("b")],
    }
    follow([DONE], logs)
    assert capsys.readouterr().out.splitlines()[1:3] == ["[algo-1] one", "[algo-2] two"]


def test_log_lines_that_may_not_be_read_are_told_once_and_the_job_is_followed_on(capsys):
    logs = {"describe_log_streams": [error("AccessDeniedException", "DescribeLogStreams")]}
    code, aws = follow([job("InProgress", "Training"), DONE], logs)
    assert code == 0
    assert len(aws.logs.calls) == 1
    assert capsys.readouterr().err == (
        "note: the log lines cannot be read: DescribeLogStreams was refused (AccessDeniedException: Told); allow your "
        "identity this call\n"
    )


def test_throttling_and_lost_connections_are_waited_out(slept):
    code, _ = follow(
        [
            error("ThrottlingException"),
            EndpointConnectionError(endpoint_url="https://x"),
            error("Odd", status=503),
            DONE,
        ]
    )
    assert code == 0
    assert slept == [2.0, 4.0, 8.0, 5.0]


def test_throttled_logs_are_read_at_the_next_look(capsys):
    logs = {
        "describe_log_streams": [error("ThrottlingException")] * 4 + [streams("cells/algo-1-170")],
        "get_log_events": [events("a", "one"), events("a")],
    }
    code, _ = follow([job("InProgress", "Training"), DONE], logs)
    assert code == 0
    said = capsys.readouterr()
    assert "one" in said.out.splitlines()
    assert said.err == ""


def test_who_is_throttled_for_too_long_gives_up_and_says_that_the_job_goes_on():
    with pytest.raises(PlatformError) as raised:
        follow([error("ThrottlingException")])
    assert str(raised.value) == (
        "AWS cannot be reached or is busy (An error occurred (ThrottlingException) when calling the "
        "DescribeTrainingJob operation: Told); try again a little later. The training job cells goes on; stop it with: "
        "aws sagemaker stop-training-job --region eu-west-1 --training-job-name cells"
    )


def test_credentials_that_expire_are_told_and_the_job_goes_on():
    with pytest.raises(UserError) as raised:
        follow([job("InProgress", "Training"), error("ExpiredTokenException")])
    assert str(raised.value).startswith(
        "AWS refuses the credentials (ExpiredTokenException: Told); sign in again, or give another --profile. The "
        "training job cells goes on; stop it with: "
    )


def test_ctrl_c_leaves_the_job_running_and_says_how_to_stop_it(capsys):
    code, aws = follow([job("InProgress", "Training"), KeyboardInterrupt()])
    assert code == 130
    assert capsys.readouterr().err == (
        "training job cells goes on; stop it with: aws sagemaker stop-training-job --region eu-west-1 "
        "--training-job-name cells\n"
    )
    assert {name for name, _ in aws.sagemaker.calls} == {"describe_training_job"}


def trial(number, status="Completed", value=None, **more):
    summary = {
        "TrainingJobName": f"cells-00{number}",
        "TrainingJobStatus": status,
        "TunedHyperParameters": {"learning_rate": f"0.{number}", "batch_size": "8"},
        **more,
    }
    if value is not None:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {"MetricName": "validation:mAP", "Value": value}
    return summary


def tuning(status, ended, failed=0, **more):
    return {
        "HyperParameterTuningJobName": "cells",
        "HyperParameterTuningJobStatus": status,
        "TrainingJobStatusCounters": {"Completed": ended, "InProgress": 1, "NonRetryableError": failed},
        **more,
    }


def follow_trials(jobs, lists):
    answers = {
        "describe_hyper_parameter_tuning_job": jobs,
        "list_training_jobs_for_hyper_parameter_tuning_job": lists,
        "describe_training_job": [DONE],
    }
    aws = Aws(client("sagemaker", answers), None, None, "eu-west-1")
    return follow_tuning(aws, "cells"), aws


def test_trials_are_told_as_they_end_and_the_best_at_the_end(capsys, slept):
    failed = trial(2, "Failed", FailureReason="AlgorithmError: UserError: the loss is not finite")
    code, aws = follow_trials(
        [
            tuning("InProgress", 0),
            tuning("InProgress", 1),
            tuning("InProgress", 1),
            tuning("Completed", 2, failed=1, BestTrainingJob=trial(3, value=0.75)),
        ],
        [
            {"TrainingJobSummaries": [trial(1, "InProgress")]},
            {"TrainingJobSummaries": [trial(1, value=0.5), trial(2, "InProgress")]},
            {"TrainingJobSummaries": [trial(1, value=0.5), failed], "NextToken": "more"},
            {"TrainingJobSummaries": [trial(3, value=0.75)]},
        ],
    )
    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "trial 1: cells-001: Completed, validation:mAP 0.500000, batch_size=8, learning_rate=0.1",
        "trial 2: cells-002: Failed, batch_size=8, learning_rate=0.2, failure reason: AlgorithmError: UserError: the "
        "loss is not finite",
        "trial 3: cells-003: Completed, validation:mAP 0.750000, batch_size=8, learning_rate=0.3",
        "tuning job cells: Completed",
        "best trial: cells-003: Completed, validation:mAP 0.750000, batch_size=8, learning_rate=0.3",
        "model: s3://bucket/models/cells/output/model.tar.gz",
    ]
    listed = [given for name, given in aws.sagemaker.calls if name.startswith("list_")]
    assert len(listed) == 4  # not where no further trial has ended
    assert listed[0] == {
        "HyperParameterTuningJobName": "cells",
        "SortBy": "CreationTime",
        "SortOrder": "Ascending",
        "MaxResults": 100,
    }
    assert listed[3]["NextToken"] == "more"
    assert slept == [5.0, 5.0, 7.5]


def test_without_a_best_trial_the_tuning_job_is_no_success(capsys):
    code, _ = follow_trials([tuning("Completed", 0, failed=1)], [{"TrainingJobSummaries": [trial(1, "Failed")]}])
    assert code == 1
    assert capsys.readouterr().err == "no trial has reported the objective: see the trials' failure reasons\n"


def test_a_failed_tuning_job_ends_with_its_reason(capsys):
    jobs = [tuning("Failed", 0, FailureReason="No trial completed.", BestTrainingJob=trial(1, value=0.5))]
    code, _ = follow_trials(jobs, [{"TrainingJobSummaries": []}])
    assert code == 1
    assert capsys.readouterr().err == "failure reason: No trial completed.\n"


def test_ctrl_c_leaves_the_tuning_job_running(capsys):
    code, _ = follow_trials([KeyboardInterrupt()], [])
    assert code == 130
    assert capsys.readouterr().err == (
        "tuning job cells goes on; stop it with: aws sagemaker stop-hyper-parameter-tuning-job --region eu-west-1 "
        "--hyper-parameter-tuning-job-name cells\n"
    )
