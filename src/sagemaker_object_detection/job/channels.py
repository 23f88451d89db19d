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
    Channel("test", "like validation; the saved model is measured on it once, at the end of the job", _DATA),
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
    """Empty if every value but `refused` can be served."""
    advice: str
    refused: tuple[str, ...] = ()
    only_on_several_hosts: bool = False
    leads: bool = False
    """Its advice is the way out of what else is wrong with the channel, too."""

    def serves(self, value: object, *, several_hosts: bool) -> bool:
        """Whether a channel with this value can be read; None is a key that is not there."""
        if value is None or (self.only_on_several_hosts and not several_hosts):
            return True
        return value in self.legal if self.legal else str(value).partition(";")[0].strip().lower() not in self.refused

    @property
    def expected(self) -> str:
        return " or ".join(self.legal) if self.legal else "files"


_RECORDS = (
    "records, such as those of an AugmentedManifestFile, are not read. Pass the S3 prefix of a folder as S3Prefix in "
    "File mode: one with images/ and annotations.json, or one with Ground Truth's output.manifest and its images; "
    "scripts/launch_training.py makes it from the manifest's S3 address, scripts/convert_dataset.py from files here"
)
SETTINGS = (
    Setting("RecordWrapperType", ("None",), _RECORDS, leads=True),
    Setting(
        "ContentType",
        (),
        _RECORDS,
        refused=("application/x-recordio", "application/x-recordio-protobuf", "application/x-tfrecord"),
        leads=True,
    ),
    Setting("TrainingInputMode", INPUT_MODES, "set input_mode to one of these"),
    Setting("CompressionType", ("None",), "upload the files uncompressed and leave compression unset"),
    Setting(
        "S3DistributionType",
        ("FullyReplicated",),
        "sharding separates images from annotations.json: leave distribution at FullyReplicated",
        only_on_several_hosts=True,
    ),
)
"""Those whose advice leads come first."""
CHANNEL_KEYS = frozenset(setting.key for setting in SETTINGS)
