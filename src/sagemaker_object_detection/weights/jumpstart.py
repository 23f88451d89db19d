"""The base models in SageMaker JumpStart's bucket of a region: what the built-in algorithm itself starts from.

No key of the bucket is written down here: the bucket's own index names them. What is relied on, and where it is public
(aws/sagemaker-python-sdk 2.x, `sagemaker/jumpstart/`):

- the bucket, `jumpstart-cache-prod-REGION`: `region_config.json`, for each of its regions;
- the index, `models_manifest.json`: `JUMPSTART_DEFAULT_MANIFEST_FILE_S3_KEY` of `constants.py`. It is a list of
  {"model_id", "version", "spec_key", ...}: `JumpStartModelHeader` of `types.py`;
- the specification at `spec_key`, whose "training_artifact_key" is what `model_uris.retrieve` puts on the channel
  `model`: `artifacts/model_uris.py`;
- that the bucket can be read without credentials: `generate-jumpstart-models.ts` of the repository
  awslabs/generative-ai-cdk-constructs does so.

The models' ids are those of the page "TensorFlow Models" of SageMaker's developer guide.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.sentences import printable
from sagemaker_object_detection.weights.bounds import Transfer, TransferProgress
from sagemaker_object_detection.weights.s3 import client, failures_told, fetch_with

_INDEX = "models_manifest.json"
_MAX_INDEX_BYTES = 64 * 2**20
"""A line of text for each version of each of JumpStart's models comes nowhere near."""
_PIECE = 2**16
_REGION = re.compile(r"[a-z]{2,5}(-[a-z]+)+-\d", re.ASCII)
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION", "SAGEMAKER_REGION")


def find_region() -> str | None:
    """The AWS region that the environment names, in a variable or in the training job's ARN; None if it does not."""
    named = [os.environ.get(name, "") for name in _REGION_VARIABLES]
    arn = os.environ.get("TRAINING_JOB_ARN", "").split(":")
    return next((region for region in [*named, *arn[3:4]] if _REGION.fullmatch(region)), None)


@dataclass(frozen=True)
class JumpStartModel:
    """A model of JumpStart in a region's bucket. As text it is what a sentence calls the place."""

    model_id: str
    region: str | None
    """None where nobody knows it: fetching fails then."""

    def __str__(self) -> str:
        return f"JumpStart's {self.model_id} in s3://{self.bucket}"

    @property
    def bucket(self) -> str:
        return f"jumpstart-cache-prod-{self.region or 'REGION'}"

    def fetch(self, work: Path, transfer: Transfer) -> Path:
        """Fetches the newest version, an archive or a folder, to a place below `work`, which it returns.

        Raises:
            UserError: JumpStart has no bucket in the region or not this model there, or as `fetch_s3`.
            PlatformError, StoppedError: as `fetch_s3`.
        """
        from botocore.exceptions import ClientError

        if self.region is None:
            raise UserError(f"{transfer.origin}: no AWS region is known; set AWS_REGION, or {transfer.ways}")
        bucket = self.bucket
        with failures_told(bucket, transfer):
            try:
                s3 = client(transfer, self.region, signed=False)
                index = _read(s3, bucket, _INDEX, transfer)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
                    raise
                s3 = client(transfer, self.region)  # an endpoint of the VPC may let nobody pass whom it does not know
                index = _read(s3, bucket, _INDEX, transfer)
            specification = _read(s3, bucket, _newest(index, self.model_id, transfer), transfer)
            key = _member(specification, "training_artifact_key")
            if key is None:
                raise _unknown(f"JumpStart has no weights of {self.model_id} to train from", transfer)
            return fetch_with(s3, f"s3://{bucket}/{key}", work, transfer)


def _newest(index: Any, model_id: str, transfer: Transfer) -> str:
    """The key of the specification of a model's newest version."""
    versions = {
        tuple(int(number) for number in version.split(".")): key
        for entry in (index if isinstance(index, list) else ())
        if _member(entry, "model_id") == model_id
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})*", version := _member(entry, "version") or "", re.ASCII)
        if (key := _member(entry, "spec_key"))
    }
    if not versions:
        raise _unknown(f"{_INDEX} does not name {model_id}", transfer)
    return versions[max(versions)]


def _read(s3: Any, bucket: str, key: str, transfer: Transfer) -> Any:
    """The value of a JSON file."""
    progress, body = TransferProgress(transfer, f"s3://{bucket}/{key}"), b""
    for piece in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_PIECE):
        progress(len(piece))
        body += piece
        if len(body) > _MAX_INDEX_BYTES:
            raise _unknown(f"{printable(key)} has no end", transfer)
    try:
        return strict_json.parse(body)
    except JsonError as error:
        raise _unknown(f"{printable(key)} {printable(str(error))}", transfer) from None


def _member(value: Any, name: str) -> str | None:
    """A text of a JSON object; None where there is none, or an empty one."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) and found else None


def _unknown(fault: str, transfer: Transfer) -> UserError:
    return UserError(f"{transfer.origin}: {fault}; expected what JumpStart publishes: {transfer.ways}")
