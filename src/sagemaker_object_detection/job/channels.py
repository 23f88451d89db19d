"""The input channels, as a table, and what of a channel's configuration can be served."""

from dataclasses import dataclass

INPUT_MODES = ("File", "FastFile")


@dataclass(frozen=True)
class Channel:
    """One input channel this container reads."""

    name: str
    help: str
    content_types: tuple[str, ...]
    required: bool = False


_DATA = ("application/x-image", "image/jpeg", "image/png", "application/json")
CHANNELS = (
    Channel("training", "the images in images/ and their boxes in annotations.json", _DATA, required=True),
    Channel("validation", "like training; without it a share of the training images is held out", _DATA),
    Channel(
        "model",
        "the weights to start from, as a .tar.gz or unpacked: a published base model or a model of this container",
        ("application/x-sagemaker-model",),
    ),
)

PLATFORM_CHANNELS = ("code", "sm_drivers")
"""Mounted by ModelTrainer of the SageMaker Python SDK v3 beside the user's own where the job brings source code."""


@dataclass(frozen=True)
class Setting:
    """One key of a channel in inputdataconfig.json, the values that can be served, and the way out of the others."""

    key: str
    legal: tuple[str, ...]
    advice: str
    only_on_several_hosts: bool = False


SETTINGS = (
    Setting("TrainingInputMode", INPUT_MODES, "set input_mode to one of these"),
    Setting("CompressionType", ("None",), "upload the files uncompressed and leave compression unset"),
    Setting(
        "RecordWrapperType",
        ("None",),
        "augmented manifests and RecordIO are not read: write images/ and annotations.json and pass their S3 prefix",
    ),
    Setting(
        "S3DistributionType",
        ("FullyReplicated",),
        "sharding separates images from annotations.json: leave distribution at FullyReplicated",
        only_on_several_hosts=True,
    ),
)
