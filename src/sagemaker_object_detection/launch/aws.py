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
    "ExpiredToken|IncompleteSignature|Invalid(ClientTokenId|Signature)|MissingAuthenticationToken|UnrecognizedClient"
)
_BUSY = re.compile(
    "Internal(Failure|ServerError)|Request(LimitExceeded|Throttled)|ServiceUnavailable|Throttling|TooManyRequests"
)
_ADVICE = {
    "AccessDenied": "allow your identity this call",
    "ResourceInUse": "give another name",
    "ResourceLimitExceeded": "ask for a higher quota in Service Quotas, or give another --instance-type",
    "ValidationException": "correct what it names",
}


@dataclass(frozen=True)
class Aws:
    """The clients of the services that a program calls."""

    sagemaker: Any
    logs: Any
    region: str


def connect(region: str | None, profile: str | None) -> Aws:
    """Clients for a region and profile, or those of the environment. Makes no call.

    Raises:
        UserError: there is no such profile, or no region.
    """
    session = boto3.Session(region_name=region, profile_name=profile)
    if session.region_name is None:
        raise UserError(
            "--region: missing; expected an AWS region such as eu-west-1, here, in AWS_DEFAULT_REGION or in the profile"
        )
    return Aws(
        sagemaker=session.client("sagemaker", config=_CONFIG),
        logs=session.client("logs", config=_CONFIG),
        region=session.region_name,
    )


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(_BUSY.match(error.response["Error"]["Code"])) or status >= 500
    return isinstance(error, ConnectionError | HTTPClientError)


def blame(error: BotoCoreError | ClientError) -> JobError:
    """What AWS or the way there says, as a sentence with what to do."""
    if is_passing(error):
        return PlatformError(f"AWS cannot be reached or is busy ({_in_one_line(error)}); try again a little later")
    if not isinstance(error, ClientError):
        return UserError(f"{_in_one_line(error)}; check the AWS configuration: --profile, --region and the environment")
    code = error.response["Error"]["Code"]
    message = error.response["Error"].get("Message", "").strip().rstrip(".") or "no message"
    if _CREDENTIALS.match(code):
        return UserError(f"AWS refuses the credentials ({code}: {message}); sign in again, or give another --profile")
    advice = _ADVICE.get(code.replace("DeniedException", "Denied"), "check the arguments and the region")
    if code.startswith("AccessDenied") and error.operation_name.startswith("Create"):
        advice += ", and iam:PassRole for the job's role"
    return UserError(f"{error.operation_name} was refused ({code}: {message}); {advice}")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
