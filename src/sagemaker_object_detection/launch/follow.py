"""Following a job that was started: its status and log lines as they come, and its end as an exit code.

Everything is asked for again and again, ever less often while nothing changes. What AWS cannot answer at the moment is
asked for again a little later; the job itself goes on whatever happens here.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_object_detection.launch.program import INTERRUPTED, Aws, blame, is_passing

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
SHORTEST, LONGEST = 5.0, 30.0
"""Seconds between two looks at a job."""
PATIENCE = 8
"""How often in a row a call may fail."""
_LATE_LOOKS = 6
"""At the log of an ended job: CloudWatch is seconds behind."""
_ENDED = ("Completed", "Failed", "Stopped")

Sleep = Callable[[float], None]
Answer = TypeVar("Answer")


def follow_training(aws: Aws, name: str, sleep: Sleep) -> int:
    """Prints a training job's status and log lines until it ends: 0 completed, 1 failed or stopped, 130 Ctrl-C.

    Raises:
        JobError: AWS does not answer, or no longer lets us ask.
    """
    stop = f"aws sagemaker stop-training-job --region {aws.region} --training-job-name {name}"
    return _leaving_it_running(lambda: _training(aws, name, sleep), f"training job {name}", stop)


def follow_tuning(aws: Aws, name: str, sleep: Sleep) -> int:
    """Prints a tuning job's trials as they end, and the best one: 0 completed, 1 failed, stopped or without a best
    trial, 130 Ctrl-C.

    Raises:
        JobError: AWS does not answer, or no longer lets us ask.
    """
    stop = (
        f"aws sagemaker stop-hyper-parameter-tuning-job --region {aws.region} --hyper-parameter-tuning-job-name {name}"
    )
    return _leaving_it_running(lambda: _tuning(aws, name, sleep), f"tuning job {name}", stop)


def _leaving_it_running(follow: Callable[[], int], job: str, stop: str) -> int:
    goes_on = f"{job} goes on; stop it with: {stop}"
    try:
        return follow()
    except KeyboardInterrupt:
        _say(goes_on, file=sys.stderr)
        return INTERRUPTED
    except (BotoCoreError, ClientError) as error:
        blamed = blame(error)
        raise type(blamed)(f"{blamed}. The {goes_on}") from error


def _training(aws: Aws, name: str, sleep: Sleep) -> int:
    pace, log, told = _Pace(sleep), _Log(aws.logs, f"{name}/", sleep), ""
    while True:
        job = _patiently(lambda: aws.sagemaker.describe_training_job(TrainingJobName=name), sleep)
        status = _transition(job)
        if news := status != told:
            _say(status)
            told = status
        news = log.print_new() or news
        if job["TrainingJobStatus"] in _ENDED:
            for _ in range(_LATE_LOOKS):
                sleep(SHORTEST)
                if not log.print_new():
                    break
            return _training_end(job)
        pace.wait(news)


def _transition(job: dict[str, Any]) -> str:
    """The latest of the job's transitions, such as "Downloading: Downloading the training image"."""
    latest = (job.get("SecondaryStatusTransitions") or [{}])[-1]
    status = latest.get("Status", job.get("SecondaryStatus", job["TrainingJobStatus"]))
    message = latest.get("StatusMessage", "")
    return f"-- {status}: {message}" if message else f"-- {status}"


def _training_end(job: dict[str, Any]) -> int:
    status, name = job["TrainingJobStatus"], job["TrainingJobName"]
    end = status if job.get("SecondaryStatus", status) == status else f"{status} ({job['SecondaryStatus']})"
    times = [
        f"{word} {job[member]} s"
        for word, member in (("trained", "TrainingTimeInSeconds"), ("billed", "BillableTimeInSeconds"))
        if member in job
    ]
    _say(f"training job {name}: {', '.join([end, *times])}")
    for metric in job.get("FinalMetricDataList", []):
        _say(f"{metric['MetricName']}: {metric['Value']:.6f}")
    if reason := job.get("FailureReason"):
        _say(f"failure reason: {reason}", file=sys.stderr)
    if model := job.get("ModelArtifacts", {}).get("S3ModelArtifacts"):
        _say(f"model: {model}")
    return 0 if status == "Completed" else 1


def _tuning(aws: Aws, name: str, sleep: Sleep) -> int:
    pace, told, ended = _Pace(sleep), set[str](), -1
    while True:
        job = _patiently(
            lambda: aws.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name), sleep
        )
        over = job["HyperParameterTuningJobStatus"] in _ENDED
        counts = job.get("TrainingJobStatusCounters", {})
        now_ended = sum(counts.get(kind, 0) for kind in ("Completed", "Stopped", "NonRetryableError"))
        news = now_ended != ended or over
        if news:
            ended = now_ended
            for trial in _trials(aws, name, sleep):
                if trial["TrainingJobStatus"] in _ENDED and trial["TrainingJobName"] not in told:
                    told.add(trial["TrainingJobName"])
                    _say(f"trial {len(told)}: {_trial(trial)}")
        if over:
            return _tuning_end(aws, job, sleep)
        pace.wait(news)


def _trials(aws: Aws, name: str, sleep: Sleep) -> Iterator[dict[str, Any]]:
    page: dict[str, Any] = {}
    while True:
        token = {"NextToken": page["NextToken"]} if page.get("NextToken") else {}
        page = _patiently(
            lambda token=token: aws.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(  # type: ignore[misc]
                HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending", MaxResults=100, **token
            ),
            sleep,
        )
        yield from page["TrainingJobSummaries"]
        if not page.get("NextToken"):
            return


def _trial(trial: dict[str, Any]) -> str:
    """One line: name, end, objective, and the values that were tried."""
    parts = [f"{trial['TrainingJobName']}: {trial['TrainingJobStatus']}"]
    if metric := trial.get("FinalHyperParameterTuningJobObjectiveMetric"):
        parts.append(f"{metric['MetricName']} {metric['Value']:.6f}")
    parts += [f"{name}={value}" for name, value in sorted(trial.get("TunedHyperParameters", {}).items())]
    if reason := trial.get("FailureReason"):
        parts.append(f"failure reason: {reason}")
    return ", ".join(parts)


def _tuning_end(aws: Aws, job: dict[str, Any], sleep: Sleep) -> int:
    name, status, best = (
        job["HyperParameterTuningJobName"],
        job["HyperParameterTuningJobStatus"],
        job.get("BestTrainingJob"),
    )
    _say(f"tuning job {name}: {status}")
    if reason := job.get("FailureReason"):
        _say(f"failure reason: {reason}", file=sys.stderr)
    if not best:
        _say("no trial has reported the objective: see the trials' failure reasons", file=sys.stderr)
        return 1
    _say(f"best trial: {_trial(best)}")
    trial = _patiently(lambda: aws.sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"]), sleep)
    if model := trial.get("ModelArtifacts", {}).get("S3ModelArtifacts"):
        _say(f"model: {model}")
    return 0 if status == "Completed" else 1


class _Pace:
    """Waits between two looks: briefly after news, ever longer without."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._seconds = SHORTEST

    def wait(self, news: bool) -> None:
        self._seconds = SHORTEST if news else min(LONGEST, self._seconds * 1.5)
        self._sleep(self._seconds)


class _Log:
    """The log streams of a job, one for each host, read on from where they were left."""

    def __init__(self, logs: Any, prefix: str, sleep: Sleep) -> None:
        self._logs = logs
        self._prefix = prefix
        self._sleep = sleep
        self._tokens: dict[str, str] = {}
        self._readable = True

    def print_new(self) -> bool:
        """Prints what was not printed yet; whether there was anything."""
        if not self._readable:
            return False
        printed = False
        try:
            streams = self._streams()
            for stream in streams:
                # "job/algo-1-1700000000" is the stream of host algo-1.
                host = stream.removeprefix(self._prefix).rpartition("-")[0]
                for message in self._messages(stream):
                    _say(f"[{host}] {message}" if len(streams) > 1 else message)
                    printed = True
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
                return printed  # no host has written anything yet
            if is_passing(error):
                return printed  # the next look will tell what this one missed
            self._readable = False
            _say(f"note: the log lines cannot be read: {blame(error)}", file=sys.stderr)
        return printed

    def _streams(self) -> list[str]:
        names: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = _patiently(
                lambda token=token: self._logs.describe_log_streams(  # type: ignore[misc]
                    logGroupName=LOG_GROUP, logStreamNamePrefix=self._prefix, **token
                ),
                self._sleep,
            )
            names += [stream["logStreamName"] for stream in page["logStreams"]]
            if not page.get("nextToken"):
                return names
            token = {"nextToken": page["nextToken"]}

    def _messages(self, stream: str) -> Iterator[str]:
        """A page may be empty and not the last; the last one answers with the token it was asked with."""
        while True:
            asked = self._tokens.get(stream)
            token = {"nextToken": asked} if asked else {}
            page = _patiently(
                lambda token=token: self._logs.get_log_events(  # type: ignore[misc]
                    logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **token
                ),
                self._sleep,
            )
            yield from (event["message"].rstrip("\n") for event in page["events"])
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == asked:
                return


def _patiently(call: Callable[[], Answer], sleep: Sleep) -> Answer:
    """The answer of a call that may fail a few times in a row, waiting longer each time."""
    for attempt in range(PATIENCE):
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            if not is_passing(error) or attempt == PATIENCE - 1:
                raise
            sleep(min(60.0, 2.0**attempt))
    raise AssertionError("the last attempt returns or raises")


def _say(text: str, file: Any = None) -> None:
    print(text, file=file, flush=True)
