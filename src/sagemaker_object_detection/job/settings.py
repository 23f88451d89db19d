"""What else a request to SageMaker can carry and has no effect here: each such setting is named once in the log.

What a container sees of a request are hyperparameters that begin with `sagemaker_`, written by the SDKs, and the files
beside hyperparameters.json. The page of this folder has all settings of the API.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagemaker_object_detection.job.channels import CHANNEL_KEYS
from sagemaker_object_detection.sentences import listed, plain, shown

_UNINVITED = frozenset(
    {
        "default_user_module_name",
        "model-dir",
        "model_dir",
        "sagemaker_job_name",
        "sagemaker_program",
        "sagemaker_region",
        "sagemaker_submit_directory",
        "_tuning_objective_metric",
    }
)
"""Written by SDKs and tuning jobs without being asked, and nothing that a user chose."""


@dataclass(frozen=True)
class Ineffective:
    """Hyperparameters of SageMaker's toolkits, told by the beginnings of their names, and why they have no effect."""

    beginnings: tuple[str, ...]
    why: str
    default: str | None = None
    """The value that asks for nothing, besides false."""


HYPERPARAMETERS = (
    Ineffective(
        (
            "mp_parameters",
            "sagemaker_distributed_",
            "sagemaker_distribution_",
            "sagemaker_instance_",
            "sagemaker_mpi_",
            "sagemaker_multi_worker_",
            "sagemaker_parameter_server_",
            "sagemaker_pytorch_",
            "sagemaker_torch_distributed_",
        ),
        "all GPUs of all hosts train together anyway, through TensorFlow and NCCL: remove distribution",
    ),
    Ineffective(("sagemaker_training_compiler_",), "the hyperparameter xla decides whether XLA compiles the step"),
    Ineffective(
        ("sagemaker_enable_cloudwatch_metrics",), "SageMaker makes metrics of the log, as metric_definitions say"
    ),
    Ineffective(("sagemaker_container_log_level",), "the log is what metrics are read from, and never shorter", "20"),
    Ineffective(("sagemaker_",), "it is a setting of sagemaker-training, which runs scripts of a job's own"),
)
"""The first that fits counts."""


@dataclass(frozen=True)
class ConfigFile:
    """A file beside hyperparameters.json, what of it asks for something, and why that has no effect."""

    name: str
    setting: str
    """As the API calls it."""
    asks: Callable[[Mapping[str, Any]], bool]
    why: str


FILES = (
    ConfigFile(
        "debughookconfig.json",
        "DebugHookConfig",
        bool,
        "this image has no smdebug, so that Debugger gets no tensors and its rules find nothing; sizes of gradients "
        "and updates are in TensorBoard and in the report. debugger_hook_config=False removes it from an estimator",
    ),
    ConfigFile(
        "profilerconfig.json",
        "ProfilerConfig",
        lambda config: bool(config.get("ProfilingParameters")) and config.get("DisableProfiler") is not True,
        "ProfilingParameters ask for smdebug, which this image has not; SageMaker's own figures of CPU, GPU and memory "
        "come without it",
    ),
)


def without_effect(
    platform: Mapping[str, str], files: Mapping[str, Mapping[str, Any]], channels: Mapping[str, Any]
) -> Iterator[str]:
    """A sentence for each setting that has no effect; settings of one cause share one.

    Args:
        platform: the hyperparameters that are not the user's own, as text.
        files: the content of those of `FILES` that are there, by name.
        channels: what inputdataconfig.json has of each channel, by name.
    """
    named: dict[Ineffective, list[str]] = {}
    for name, text in platform.items():
        value = text.strip().strip('"').lower()
        if name in _UNINVITED or value in ("", "false", "0"):
            continue
        row = next(row for row in HYPERPARAMETERS if name.startswith(row.beginnings))
        if value != row.default:
            named.setdefault(row, []).append(name)
    for row, names in named.items():
        yield f"{listed([plain(name) for name in names])}: no effect; {row.why}"
    for file in FILES:
        if file.asks(files.get(file.name, {})):
            yield f"{file.setting}: no effect; {file.why}"
    for name, entry in channels.items():
        if isinstance(entry, Mapping) and (unknown := [key for key in entry if key not in CHANNEL_KEYS]):
            yield f"channel {shown(name)}: {listed([plain(key) for key in unknown])}: no effect in inputdataconfig.json"
