"""Connecting to AWS, and what it answers as sentences."""

import re
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from sagemaker_object_detection.errors import JobError, PlatformError, UserError

_CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 5})

_CREDENTIALS = re.compile(
    "ExpiredToken|IncompleteSignature|Invalid(AccessKeyId|ClientTokenId|Signature|Token)|MissingAuthenticationToken|"
    "SignatureDoesNotMatch|UnrecognizedClient"
)
_BUSY = re.compile(
    "Internal(Error|Failure|ServerError)|Request(LimitExceeded|Throttled)|ServiceUnavailable|SlowDown|Throttling|"
    "TooManyRequests"
)
_ADVICE = {
    "NoSuchBucket": "correct the name of the bucket",
    "NoSuchKey": "correct the address",
    "PermanentRedirect": "give the bucket's region as --region",
    "ResourceInUse": "give another name",
    "ResourceLimitExceeded": "ask for a higher quota in Service Quotas, or give another --instance-type",
    "ValidationException": "correct what it names",
}

_ACTIONS = {
    "CopyObject": "s3:GetObject on the image, and s3:PutObject where it is copied to",
    "GetObject": "s3:GetObject on it",
    "ListObjectsV2": "s3:ListBucket on its bucket",
    "PutObject": "s3:PutObject there",
}
"""What a call of S3's needs, where its name does not say it."""


@dataclass(frozen=True)
class Aws:
    """The clients of the services that a program calls."""

    sagemaker: Any
    logs: Any
    s3: Any
    region: str


def open_session(region: str | None, profile: str | None) -> boto3.Session:
    """A session for a region and profile, or those of the environment. Makes no call.

    Raises:
        UserError: there is no such profile, or no region.
    """
    session = boto3.Session(region_name=region, profile_name=profile)
    if session.region_name is None:
        raise UserError(
            "--region: missing; expected an AWS region such as eu-west-1, here, in AWS_DEFAULT_REGION or in the profile"
        )
    return session


def connect(region: str | None, profile: str | None) -> Aws:
    """The clients of such a session, with its errors."""
    session = open_session(region, profile)
    return Aws(
        sagemaker=session.client("sagemaker", config=_CONFIG),
        logs=session.client("logs", config=_CONFIG),
        s3=session.client("s3", config=_CONFIG),
        region=session.region_name,
    )


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(_BUSY.match(error.response["Error"]["Code"])) or status >= 500
    return isinstance(error, ConnectionError | HTTPClientError)


def blame(error: BotoCoreError | ClientError, subject: str = "") -> JobError:
    """What AWS or the way there says, as a sentence with what to do.

    Args:
        subject: what was asked for, where the call alone does not say it.
    """
    if is_passing(error):
        return PlatformError(f"AWS cannot be reached or is busy ({_in_one_line(error)}); try again a little later")
    if not isinstance(error, ClientError):
        return UserError(f"{_in_one_line(error)}; check the AWS configuration: --profile, --region and the environment")
    code = error.response["Error"]["Code"]
    message = error.response["Error"].get("Message", "").strip().rstrip(".") or "no message"
    if _CREDENTIALS.match(code):
        return UserError(f"AWS refuses the credentials ({code}: {message}); sign in again, or give another --profile")
    advice = _ADVICE.get(code, "check the arguments and the region")
    if code.startswith("AccessDenied"):
        call = error.operation_name
        passing = ", and iam:PassRole for the job's role" if call.startswith("Create") else ""
        advice = f"allow your identity {_ACTIONS.get(call, 'this call')}{passing}"
    of = f"{subject}: " if subject else ""
    return UserError(f"{of}{error.operation_name} was refused ({code}: {message}); {advice}")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
