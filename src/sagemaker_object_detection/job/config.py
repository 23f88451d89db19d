"""The configuration files of a job, read once into a frozen `Job`.

Any of the files may be missing, as in a run made by hand. Every problem of every file is reported at once.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.disk import DISK_FAULTS
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.job import jumpstart, older_built_in, settings
from sagemaker_object_detection.job.channels import CHANNELS, PLATFORM_CHANNELS, SETTINGS
from sagemaker_object_detection.job.paths import PLATFORM_ROOT, Paths
from sagemaker_object_detection.sentences import as_json, described, listed, shown, suggestion

TUNING_OBJECTIVE = "_tuning_objective_metric"
SCRIPT = "sagemaker_program"
DIRECTORY = "sagemaker_submit_directory"
_PLATFORM_NAMES = (TUNING_OBJECTIVE, "default_user_module_name", "model_dir", "model-dir", "mp_parameters")
_PLATFORM_PREFIX = "sagemaker_"


@dataclass(frozen=True)
class Job:
    """What the platform says about this job, as far as its files can be read.

    `problems` has a sentence for each thing that is wrong with them: only if there is none may the job run.
    `hyperparameters` is the raw text of the user's own values, without the names that SageMaker and its SDKs add
    uninvited. `script` is the script of its own that the job is to run (script mode); None for an ordinary job.
    `checkpoints` is where checkpoints are kept across restarts, None where nothing is; each trial of a tuning job has a
    folder of its own. `tensorboard` is where TensorBoard's files go. `tuning_objective` is the metric name a tuning job
    ranks this job by. `notes` are sentences to log once, about what has no effect here.
    """

    paths: Paths
    hyperparameters: Mapping[str, str]
    script: str | None
    training: Path
    validation: Path | None
    test: Path | None
    model: Path | None
    hosts: tuple[str, ...]
    current_host: str
    checkpoints: Path | None
    tensorboard: Path
    tuning_objective: str | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def read_job(paths: Paths) -> Job:
    """Read the configuration files and look for the channels."""
    problems: list[str] = []
    own, platform = _hyperparameters(paths, problems)
    config = _read_object(paths.inputdataconfig, '{"training": {"TrainingInputMode": "File"}}', problems)
    if config is None:
        known = [channel.name for channel in CHANNELS]
        config = {name: {} for name in known if os.path.exists(paths.channel(name))}
    foreign: frozenset[str] = frozenset()
    if (found := older_built_in.recognise(own, config)) is not None:
        foreign, problem = found
        problems.append(problem)
        own = {name: text for name, text in own.items() if name not in foreign}
    hosts, current_host = _hosts(paths, problems)
    channels = _channels(paths, config, problems, several_hosts=len(hosts) > 1, explained=foreign)
    checkpoints = _checkpoints(paths, problems)
    script, notes = _script(paths, platform)
    notes += _unread_folders(paths, config)
    # What is wrong with files that have no effect is nobody's problem.
    files = {file.name: _read_object(paths.config / file.name, "{}", []) or {} for file in settings.FILES}
    notes += settings.without_effect(platform, files, config)
    if checkpoints is not None and TUNING_OBJECTIVE in platform:
        # The trials of a tuning job are given one folder between them.
        checkpoints /= Path(os.environ.get("TRAINING_JOB_NAME", "")).name.strip(".")
    return Job(
        paths=paths,
        hyperparameters=MappingProxyType(own),
        script=script,
        training=paths.channel("training"),
        validation=channels.get("validation"),
        test=channels.get("test"),
        model=channels.get("model"),
        hosts=hosts,
        current_host=current_host,
        checkpoints=checkpoints,
        tensorboard=_tensorboard(paths, problems),
        tuning_objective=unquote(platform.get(TUNING_OBJECTIVE, "")) or None,
        notes=tuple(notes),
        problems=tuple(problems),
    )


def unquote(text: str) -> str:
    """The text without surrounding blanks and without one layer of JSON quoting, which framework estimators add."""
    text = text.strip()
    if text.startswith('"'):
        try:
            return str(json.loads(text)).strip()
        except ValueError:
            return text
    return text


def is_given(text: str) -> bool:
    """False for Python's None, which the SDKs pass on as "None" or "null"."""
    return unquote(text) not in ("None", "null")


def _hyperparameters(paths: Paths, problems: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    own: dict[str, str] = {}
    platform: dict[str, str] = {}
    example = '{"epochs": "5"}'
    for name, value in (_read_object(paths.hyperparameters, example, problems) or {}).items():
        text = json.dumps(value) if value is None or isinstance(value, bool) else value
        if not isinstance(text, str):
            problems.append(
                f"{paths.hyperparameters}: {shown(name)} is {_described(value)}; expected text, as in {example}"
            )
        elif name.startswith(_PLATFORM_PREFIX) or name in _PLATFORM_NAMES:
            if is_given(text):
                platform[name] = text
        else:
            own[name] = text
    return own, platform


def _script(paths: Paths, platform: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The script of its own that a job is to run, and what is to be said of one that is not run.

    Like sagemaker-training, it also takes the names from the environment.
    """
    program, source = (
        unquote(platform.get(name, "")) or os.environ.get(name.upper(), "") for name in (SCRIPT, DIRECTORY)
    )
    if jumpstart.is_own_code(program, source, paths.relocated(source)) or (
        not program and jumpstart.is_own_source(paths.sdk_v3_source, paths.channel("code"))
    ):
        return None, [
            f"JumpStart's {jumpstart.SCRIPT}, the training script of the built-in Object Detection - TensorFlow, is "
            "not run: this container trains in its place, with the job's hyperparameters and channels. Nothing of it "
            "is fetched"
        ]
    return program or None, []


def _hosts(paths: Paths, problems: list[str]) -> tuple[tuple[str, ...], str]:
    """The hosts in the one order all of them agree on, and this one. Names are never resolved: they need not be."""
    example = '{"current_host": "algo-1", "hosts": ["algo-1"]}'
    config = _read_object(paths.resourceconfig, example, problems)
    if config is not None:
        problems += _unlike_groups(paths, config.get("instance_groups"))
        hosts, current_host = config.get("hosts"), config.get("current_host")
        if isinstance(hosts, list) and all(isinstance(host, str) for host in hosts) and hosts.count(current_host) == 1:
            return tuple(sorted(set(hosts))), str(current_host)
        problems.append(
            f"{paths.resourceconfig}: current_host is {as_json(current_host)} and hosts is {as_json(hosts)}; "
            f"expected a list of different names with the current one among them, as in {example}"
        )
    return ("algo-1",), "algo-1"


def _unlike_groups(paths: Paths, groups: Any) -> list[str]:
    """What is wrong with the groups of a heterogeneous cluster: its hosts would wait for each other at every step."""
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return []
    types = {str(group.get("instance_group_name")): str(group.get("instance_type")) for group in groups}
    if len(set(types.values())) < 2:
        return []
    got = listed([f"{shown(name)}: {shown(kind)}" for name, kind in types.items()])
    return [
        f"{paths.resourceconfig}: instance_groups are of different types ({got}); expected one type, because all hosts "
        "train the same step together: give instance_type and instance_count in place of instance_groups"
    ]


def _channels(
    paths: Paths,
    config: Mapping[str, Any],
    problems: list[str],
    *,
    several_hosts: bool,
    explained: frozenset[str] = frozenset(),
) -> dict[str, Path]:
    names = [channel.name for channel in CHANNELS]
    for name in config:
        if name not in names and name not in PLATFORM_CHANNELS and name not in explained:
            advice = suggestion(name, names, "remove it.")
            problems.append(f"channel {shown(name)}: unknown; {advice} The channels are {', '.join(names)}")

    found: dict[str, Path] = {}
    if explained:
        return found
    for channel in CHANNELS:
        folder = paths.channel(channel.name)
        if channel.name not in config:
            if channel.required:
                problems.append(
                    f"channel {channel.name!r}: missing; expected {channel.help}, "
                    f'as in fit({{"{channel.name}": "s3://bucket/folder/"}})'
                )
            continue
        problem = _unserved(config[channel.name], several_hosts) or channel_problem(folder, channel.help)
        if problem:
            problems.append(f"channel {channel.name!r}: {problem}")
        else:
            found[channel.name] = folder
    return found


def _unread_folders(paths: Paths, config: Mapping[str, Any]) -> list[str]:
    """What lies beside the channels and looks like one that is called otherwise."""
    names = [channel.name for channel in CHANNELS]
    data = paths.channel("training").parent
    with contextlib.suppress(OSError):
        folders = sorted(entry.name for entry in os.scandir(data) if entry.is_dir() and not entry.name.startswith("."))
        unread = [name for name in folders if name not in (*names, *PLATFORM_CHANNELS, *config)]
        if unread:
            return [f"{data}: {listed([shown(name) for name in unread])}: not read; the channels are {listed(names)}"]
    return []


def _unserved(entry: Any, several_hosts: bool) -> str | None:
    if not isinstance(entry, dict):
        return f'its entry in inputdataconfig.json is {_described(entry)}; expected {{"TrainingInputMode": "File"}}'
    wrong = [setting for setting in SETTINGS if not setting.serves(entry.get(setting.key), several_hosts=several_hosts)]
    if not wrong:
        return None
    got = [f"{setting.key} is {_described(entry[setting.key])}; expected {setting.expected}" for setting in wrong]
    advice = [setting.advice for setting in (wrong[:1] if wrong[0].leads else wrong)]
    return f"{', '.join(got)}: {', and '.join(advice)}"


def channel_problem(folder: Path, expected: str) -> str | None:
    """Why a folder is no channel, None where it holds anything. expected: in it."""
    try:
        with os.scandir(folder) as entries:
            if any(not entry.name.startswith(".") for entry in entries):
                return None
        problem = "is empty"
    except FileNotFoundError:
        problem = "does not exist"
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        problem = f"cannot be listed ({error.strerror})"
    return f"{folder} {problem}; expected {expected}: check the channel's S3 prefix or mount"


def _checkpoints(paths: Paths, problems: list[str]) -> Path | None:
    """The folder SageMaker keeps in step with S3; without its word, the usual one where somebody has mounted it."""
    config = _read_object(paths.checkpointconfig, '{"LocalPath": "/opt/ml/checkpoints"}', problems)
    if config is None:
        if not os.path.isdir(paths.checkpoints):
            return None
        # One that holds something and cannot be written is somebody's mistake, and said to be.
        writable, readable = (os.access(paths.checkpoints, mode) for mode in (os.W_OK, os.R_OK))
        return paths.checkpoints if writable or (readable and any(paths.checkpoints.iterdir())) else None
    taken = [paths.model, paths.root / "input", paths.root / "output"]
    return _local_path(paths, paths.checkpointconfig, config, paths.checkpoints, taken, problems)


def _tensorboard(paths: Paths, problems: list[str]) -> Path:
    """The folder that SageMaker copies to S3 for TensorBoard, as TensorBoardOutputConfig has it."""
    config = _read_object(paths.tensorboardconfig, '{"LocalPath": "/opt/ml/output/tensorboard"}', problems) or {}
    taken = [paths.model, paths.root / "input", paths.checkpoints]
    folder = _local_path(paths, paths.tensorboardconfig, config, paths.tensorboard, taken, problems)
    return folder or paths.tensorboard


def _local_path(
    paths: Paths, file: Path, config: Mapping[str, Any], usual: Path, taken: Sequence[Path], problems: list[str]
) -> Path | None:
    """The folder that a file's LocalPath names, `usual` without one; None, and a problem, if it is none or taken."""
    local_path = config.get("LocalPath") or str(usual)
    if isinstance(local_path, str):
        folder = paths.relocated(local_path)
        if ".." not in folder.parts and not any(folder.is_relative_to(place) for place in taken):
            return folder
    names = [f"{place.relative_to(paths.root)}/" for place in taken]
    example = json.dumps({"LocalPath": str(PLATFORM_ROOT / usual.relative_to(paths.root))})
    problems.append(
        f"{file}: LocalPath is {_described(local_path)}; expected the path of a folder outside of "
        f"{', '.join(names[:-1])} and {names[-1]}, without .., as in {example}"
    )
    return None


def _read_object(path: Path, example: str, problems: list[str]) -> dict[str, Any] | None:
    """The JSON object in a file, its numbers as the text they were written in.

    None where there is no file, and where it cannot be read, which is added to `problems`.
    """
    try:
        value = strict_json.parse(read_regular(path), numbers_as_text=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        problem = f"cannot be read ({error.strerror}); expected a file such as {example}"
    except JsonError as error:
        problem = f"{error}. {error.advice}; expected an object such as {example}"
    else:
        if isinstance(value, dict):
            return value
        problem = f"holds {_described(value)}; expected an object such as {example}"
    problems.append(f"{path}: {problem}")
    return None


def _described(value: Any) -> str:
    """A value whose numbers are text, so that both are shown as text."""
    return shown(value) if isinstance(value, str) else described(value)
