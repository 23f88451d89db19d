"""Following a job that was started: its status and log lines as they come, and its end as an exit code.

botocore's waiters would tell nothing until the job has ended. So we look again and again, ever less often while
nothing changes. A look that AWS cannot answer at the moment is left out: the next one tells what it missed, and the job
itself goes on whatever happens here.
"""

import sys
from collections.abc import Callable, Iterator
from time import sleep
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_object_detection.guard import INTERRUPTED
from sagemaker_object_detection.launch.aws import Aws, blame, is_passing

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
SHORTEST, LONGEST = 5.0, 30.0
"""Seconds between two looks at a job."""
PATIENCE = 8
"""How many looks in a row may fail."""
_LATE_LOOKS = 6
"""At the log of an ended job: CloudWatch is seconds behind."""
_ENDED = ("Completed", "Failed", "Stopped")


def follow_training(aws: Aws, name: str) -> int:
    """Prints a training job's status and log lines until it ends: 0 completed, 1 failed or stopped, 130 Ctrl-C.

    Raises:
        JobError: AWS does not answer, or no longer lets us ask.
    """
    log, told = _Log(aws.logs, f"{name}/"), ""

    def look() -> tuple[bool, int | None]:
        nonlocal told
        job = aws.sagemaker.describe_training_job(TrainingJobName=name)
        status = _transition(job)
        if news := status != told:
            _say(status)
            told = status
        news = log.print_new() or news
        if job["TrainingJobStatus"] not in _ENDED:
            return news, None
        for _ in range(_LATE_LOOKS):
            sleep(SHORTEST)
            if not log.print_new():
                break
        return news, _training_end(job)

    stop = f"aws sagemaker stop-training-job --region {aws.region} --training-job-name {name}"
    return _follow(look, f"training job {name}", stop)


def follow_tuning(aws: Aws, name: str) -> int:
    """Prints a tuning job's trials as they end, and the best one: 0 completed, 1 failed, stopped or without a best
    trial, 130 Ctrl-C.

    Raises:
        JobError: AWS does not answer, or no longer lets us ask.
    """
    told, ended = set[str](), -1

    def look() -> tuple[bool, int | None]:
        nonlocal ended
        job = aws.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        over = job["HyperParameterTuningJobStatus"] in _ENDED
        counts = job.get("TrainingJobStatusCounters", {})
        now_ended = sum(counts.get(kind, 0) for kind in ("Completed", "Stopped", "NonRetryableError"))
        if not over and now_ended == ended:
            return False, None
        pages = aws.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending", MaxResults=100
        )
        for trial in pages.search("TrainingJobSummaries[]"):
            if trial["TrainingJobStatus"] in _ENDED and trial["TrainingJobName"] not in told:
                told.add(trial["TrainingJobName"])
                _say(f"trial {len(told)}: {_trial(trial)}")
        ended = now_ended
        return True, _tuning_end(aws, job) if over else None

    stop = (
        f"aws sagemaker stop-hyper-parameter-tuning-job --region {aws.region} --hyper-parameter-tuning-job-name {name}"
    )
    return _follow(look, f"tuning job {name}", stop)


def _follow(look: Callable[[], tuple[bool, int | None]], job: str, stop: str) -> int:
    """look: prints what is new about the job; whether there was anything, and the exit code of a job that has ended."""
    goes_on = f"{job} goes on; stop it with: {stop}"
    pace, failures = SHORTEST, 0
    try:
        while True:
            try:
                news, code = look()
            except (BotoCoreError, ClientError) as error:
                failures += 1
                if not is_passing(error) or failures == PATIENCE:
                    blamed = blame(error)
                    raise type(blamed)(f"{blamed}. The {goes_on}") from error
                sleep(min(LONGEST, 2.0**failures))
                continue
            if code is not None:
                return code
            pace, failures = SHORTEST if news else min(LONGEST, pace * 1.5), 0
            sleep(pace)
    except KeyboardInterrupt:
        _say(goes_on, file=sys.stderr)
        return INTERRUPTED


def _transition(job: dict[str, Any]) -> str:
    """The latest of the job's transitions, such as "Downloading: Downloading the training image"."""
    latest = (job.get("SecondaryStatusTransitions") or [{}])[-1]
    status = latest.get("Status", job.get("SecondaryStatus", job["TrainingJobStatus"]))
    return f"-- {': '.join(filter(None, (status, latest.get('StatusMessage'))))}"


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
    return _end(job, status)


def _trial(trial: dict[str, Any]) -> str:
    """One line: name, end, objective, and the values that were tried."""
    parts = [f"{trial['TrainingJobName']}: {trial['TrainingJobStatus']}"]
    if metric := trial.get("FinalHyperParameterTuningJobObjectiveMetric"):
        parts.append(f"{metric['MetricName']} {metric['Value']:.6f}")
    parts += [f"{name}={value}" for name, value in sorted(trial.get("TunedHyperParameters", {}).items())]
    if reason := trial.get("FailureReason"):
        parts.append(f"failure reason: {reason}")
    return ", ".join(parts)


def _tuning_end(aws: Aws, job: dict[str, Any]) -> int:
    status, best = job["HyperParameterTuningJobStatus"], job.get("BestTrainingJob")
    trained = aws.sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"]) if best else {}
    _say(f"tuning job {job['HyperParameterTuningJobName']}: {status}")
    if best:
        _say(f"best trial: {_trial(best)}")
    code = _end({**job, "ModelArtifacts": trained.get("ModelArtifacts", {})}, status)
    if not best:
        _say("no trial has reported the objective: see the trials' failure reasons", file=sys.stderr)
    return code if best else 1


def _end(job: dict[str, Any], status: str) -> int:
    """What the ends of both kinds of job have in common."""
    if reason := job.get("FailureReason"):
        _say(f"failure reason: {reason}", file=sys.stderr)
    if model := job.get("ModelArtifacts", {}).get("S3ModelArtifacts"):
        _say(f"model: {model}")
    return 0 if status == "Completed" else 1


class _Log:
    """The log streams of a job, one for each host, read on from where they were left."""

    def __init__(self, logs: Any, prefix: str) -> None:
        self._logs = logs
        self._prefix = prefix
        self._tokens: dict[str, str] = {}
        self._readable = True

    def print_new(self) -> bool:
        """Prints what was not printed yet; whether there was anything, or may have been, had AWS answered."""
        printed = False
        try:
            pages = self._logs.get_paginator("describe_log_streams").paginate(
                logGroupName=LOG_GROUP, logStreamNamePrefix=self._prefix
            )
            streams = list(pages.search("logStreams[].logStreamName")) if self._readable else []
            for stream in streams:
                # "job/algo-1-1700000000" is the stream of host algo-1.
                host = stream.removeprefix(self._prefix).rpartition("-")[0]
                for message in self._messages(stream):
                    _say(f"[{host}] {message}" if len(streams) > 1 else message)
                    printed = True
        except (BotoCoreError, ClientError) as error:
            if is_passing(error):  # the next look will tell what this one missed
                return True
            not_yet = isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException"
            if not not_yet:
                self._readable = False
                _say(f"note: the log lines cannot be read: {blame(error)}", file=sys.stderr)
        return printed

    def _messages(self, stream: str) -> Iterator[str]:
        """A page may be empty and not the last; the last one answers with the token it was asked with, which no
        paginator of botocore can tell."""
        while True:
            asked = self._tokens.get(stream)
            token = {"nextToken": asked} if asked else {}
            page = self._logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **token)
            yield from (event["message"].rstrip("\n") for event in page["events"])
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == asked:
                return


def _say(text: str, file: Any = None) -> None:
    print(text, file=file, flush=True)
