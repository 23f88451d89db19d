"""Fetches weights from S3: one archive, or every object below a prefix. boto3 does the transfers and their retries."""

import errno
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from sagemaker_object_detection.errors import JobError, PlatformError, UserError, first_line
from sagemaker_object_detection.sentences import MAX_SHOWN, printable, shown
from sagemaker_object_detection.weights import bounds
from sagemaker_object_detection.weights.bounds import Tally, Transfer, TransferProgress
from sagemaker_object_detection.weights.naming import ARCHIVES

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", re.ASCII)
_ATTEMPTS = 3
"""So that a silent S3 is given up before SageMaker's two minutes after a stop are over."""

_NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG)
"""What a disk says of two objects that cannot both be files, and of names too long for it."""
_WRONG_CREDENTIALS = ("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch")
_WRONG_REGION = ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


def split_address(address: str, origin: str) -> tuple[str, str]:
    """Bucket and key of s3://bucket/key. Raises a UserError where either is missing or cannot be."""
    bucket, _, key = address.partition("://")[2].partition("/")
    if not _BUCKET.fullmatch(bucket) or not key.strip("/") or "\0" in key:
        raise UserError(
            f"{origin}: is no address of weights; expected a bucket and a key, as in s3://bucket/folder/model.tar.gz, "
            "or in s3://bucket/folder for every object below"
        )
    return bucket, key


def fetch_s3(address: str, work: Path, transfer: Transfer) -> Path:
    """Fetches an archive, or a folder, to a place below `work`, which it returns.

    A transfer that breaks is taken up again at the piece that was under way, of the object as it was at first.

    Raises:
        UserError: there is no such bucket or object, the job may not read it, S3 cannot be reached, or what is there
            can be no weights.
        PlatformError: S3 is at fault or the connection keeps breaking, it takes too long, the disk has no room.
        StoppedError: the job was told to stop.
    """
    bucket, _ = split_address(address, transfer.origin)
    with failures_told(bucket, transfer):
        return fetch_with(client(transfer), address, work, transfer)


def fetch_with(client: Any, address: str, work: Path, transfer: Transfer) -> Path:
    """`fetch_s3` with a client of the caller's, and within the caller's `failures_told`."""
    bucket, key = split_address(address, transfer.origin)
    tally = Tally(f"{transfer.origin}: what is there")
    if key.endswith(ARCHIVES):
        arrived = work / PurePosixPath(key).name
        places = {key: arrived}
        tally.add(_size(client, bucket, key))
    else:
        arrived = work / "tree"
        places = _places(client, bucket, key.strip("/") + "/", arrived, tally, transfer)
    tally.check_room(work)
    _download(client, bucket, places, transfer.origin, TransferProgress(transfer, address, tally.bytes))
    return arrived


def client(transfer: Transfer, region: str | None = None, *, signed: bool = True) -> Any:
    """A client of S3 whose every wait is bounded.

    Args:
        region: None for the one that boto3 finds.
        signed: with the job's credentials; without, it reads what is public.

    Raises:
        socket.gaierror, StoppedError: as `Transfer.check_host`.
    """
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    made = boto3.Session().client(
        "s3",
        region_name=region,
        config=Config(
            connect_timeout=bounds.CONNECT_SECONDS,
            read_timeout=bounds.SILENCE_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            signature_version=None if signed else UNSIGNED,
        ),
    )
    transfer.check_host(made.meta.endpoint_url)
    return made


def _size(client: Any, bucket: str, key: str) -> int:
    from botocore.exceptions import ClientError

    try:
        return int(client.head_object(Bucket=bucket, Key=key)["ContentLength"])
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            client.list_objects_v2(Bucket=bucket, MaxKeys=1)  # tells a missing bucket from a missing object
        raise


def _places(client: Any, bucket: str, prefix: str, tree: Path, tally: Tally, transfer: Transfer) -> dict[str, Path]:
    """Where every object below a prefix goes, by its key, which may be any text, and so name any place at all."""
    places: dict[str, Path] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", ()):
            key = found["Key"]
            if key.endswith("/"):  # what the console makes of an empty folder
                continue
            tally.add(found["Size"])  # here, because there may be millions
            name = key.removeprefix(prefix)
            if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
                raise _no_place(key, transfer.origin)
            places[key] = tree / name
    if not places:
        raise UserError(
            f"{transfer.origin}: there is no object below s3://{bucket}/{prefix}; expected the files of a model there, "
            f"or the address of a .tar.gz; check the address, or {transfer.ways}"
        )
    return places


def _no_place(key: str, origin: str) -> UserError:
    return UserError(
        f"{origin}: the object {shown(key)} has no place in a folder; expected keys that are plain relative paths: "
        "upload the model again"
    )


def _download(client: Any, bucket: str, places: Mapping[str, Path], origin: str, progress: TransferProgress) -> None:
    from boto3.s3.transfer import TransferConfig

    # In this thread, so that a stop is noticed; the classic client, because the other one takes no settings.
    config = TransferConfig(use_threads=False, num_download_attempts=_ATTEMPTS, preferred_transfer_client="classic")
    for key, place in places.items():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(place), Callback=progress, Config=config)
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            raise _no_place(key, origin) from error


@contextmanager
def failures_told(bucket: str, transfer: Transfer) -> Iterator[None]:
    """What boto3 raises, as a sentence; errors of the disk stay what they are."""
    from boto3.exceptions import Boto3Error
    from botocore import exceptions
    from s3transfer.exceptions import S3DownloadFailedError

    origin, other = transfer.origin, f"or {transfer.ways}"
    try:
        yield
    except exceptions.ClientError as error:
        raise _refused(error, bucket, transfer) from error
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.TokenRetrievalError,
    ) as error:
        raise UserError(
            f"{origin}: there are no AWS credentials to fetch it with; run the job with a role and without network "
            f"isolation, which takes them away, {other}"
        ) from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError, socket.gaierror) as error:
        raise UserError(
            f"{origin}: S3 cannot be reached ({printable(first_line(error).rstrip('.'))}); check the job's VPC, which "
            f"needs an endpoint for S3, and its network isolation, {other}"
        ) from error
    except S3DownloadFailedError as error:
        raise UserError(f"{origin}: the object has changed while it was being fetched; start again") from error
    except (Boto3Error, exceptions.IncompleteReadError) as error:
        raise PlatformError(
            f"{origin}: the connection to S3 broke {_ATTEMPTS} times at the same piece; start again, {other}"
        ) from error
    except exceptions.BotoCoreError as error:
        raise UserError(
            f"{origin}: boto3 refuses it ({printable(first_line(error).rstrip('.'))}); check the address"
        ) from error


def _refused(error: Any, bucket: str, transfer: Transfer) -> JobError:
    """A sentence for S3's own answer. A HEAD request has no body, so that its code is the status alone."""
    origin, other = transfer.origin, f"or {transfer.ways}"
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    code = printable(str(error.response["Error"].get("Code", "no code")), MAX_SHOWN)
    if code == "NoSuchBucket":
        return UserError(f"{origin}: there is no bucket {bucket!r}; check the address, {other}")
    if code in _WRONG_CREDENTIALS:
        return UserError(f"{origin}: S3 refuses the job's AWS credentials ({code}); give it a valid role, {other}")
    if code in _WRONG_REGION:
        return UserError(f"{origin}: the bucket is in another region ({code}); set AWS_DEFAULT_REGION, {other}")
    if status == 404:
        return UserError(f"{origin}: there is no such object in the bucket {bucket!r}; check the address, {other}")
    if status == 403:
        needed = "s3:ListBucket"
        if error.operation_name != "ListObjectsV2":
            needed = f"s3:GetObject on it, and {needed}, without which S3 never says that an object is missing"
        return UserError(f"{origin}: access is denied; allow the job's role {needed}, {other}")
    if status >= 500:
        return PlatformError(f"{origin}: S3 answers {status} ({code}); start again, {other}")
    return UserError(f"{origin}: S3 answers {status} ({code}); check the address, {other}")
