"""How the tests of the launch programs run them: in this process, against moto, keeping the requests as sent."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.validate import ParamValidator

from sagemaker_object_detection.describe import describe_json
from sagemaker_object_detection.launch import api, aws
from sagemaker_object_detection.launch.algorithm import ALGORITHM
from sagemaker_object_detection.launch.aws import Aws
from sagemaker_object_detection.launch.training import TRAINING
from sagemaker_object_detection.launch.tuning import TUNING

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
ROLE = "arn:aws:iam::123456789012:role/SageMaker"
METRICS = describe_json()["TrainingSpecification"]["MetricDefinitions"]
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/detector:1"
REQUIRED = ["--image", IMAGE, "--role", ROLE, "--training", "s3://bucket/data", "--output", "s3://bucket/models/"]


PROGRAMS = {"launch_training": TRAINING, "launch_tuning": TUNING, "register_algorithm": ALGORITHM}
"""By the name of the file in scripts/."""


@dataclass
class Sent:
    """What was sent. requests: SageMaker's, (operation, body) of each. to_s3: (operation, path) of each."""

    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    to_s3: list[tuple[str, str]] = field(default_factory=list)
    _sessions: dict[str, boto3.Session] = field(default_factory=dict)

    @classmethod
    def through(cls, monkeypatch: Any) -> "Sent":
        """Those of programs that run from here on."""
        sent = cls()
        monkeypatch.setattr(aws, "connect", sent._connect)
        return sent

    def _connect(self, region: str | None, profile: str | None) -> Aws:
        region = region or "us-east-1"
        if region not in self._sessions:  # a new one takes a moment
            session = self._sessions[region] = boto3.Session(region_name=region, profile_name=profile)
            session.events.register("before-call.sagemaker", self._keep)
            session.events.register("before-call.s3", self._note)
        session = self._sessions[region]
        return Aws(session.client("sagemaker"), session.client("logs"), session.client("s3"), session.region_name)

    def _note(self, model: Any, params: dict[str, Any], **_: object) -> None:
        self.to_s3.append((model.name, params["url_path"]))

    def _keep(self, model: Any, params: dict[str, Any], **_: object) -> None:
        body = json.loads(params["body"])
        shape = botocore.session.get_session().get_service_model("sagemaker").operation_model(model.name).input_shape
        assert not ParamValidator().validate(body, shape).has_errors()
        assert api.problems(body, model.name, {}) == []
        self.requests.append((model.name, body))


def no_connection(monkeypatch: Any) -> None:
    """Programs that run from here on may not connect."""
    monkeypatch.setattr(aws, "connect", None)


def channel(name: str, address: str, content_type: str = "application/x-image") -> dict[str, Any]:
    """An entry of InputDataConfig as it is sent."""
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": address,
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "ContentType": content_type,
        "CompressionType": "None",
        "RecordWrapperType": "None",
    }
