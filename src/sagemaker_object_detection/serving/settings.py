"""What the environment of a hosting container can say, setting by setting: used, or named once as without effect."""

import fnmatch
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.paths import BAKED_WEIGHTS_VARIABLE, CACHE_VARIABLE
from sagemaker_object_detection.sentences import shown

log = logging.getLogger(__name__)

PORT = "SAGEMAKER_BIND_TO_PORT"
"""Set where several containers share an endpoint."""
PAYLOAD = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
"""Set by batch transform, where the user has chosen it; 0 stands for no limit."""
MULTI_MODEL = "SAGEMAKER_MULTI_MODEL"
"""Set by SageMaker for a container in mode MultiModel."""
MAX_MODELS = "SAGEMAKER_OD_MAX_MODELS"
"""Models that a multi-model endpoint holds at a time; without it as many as the memory has room for."""
MODEL_ID = "SAGEMAKER_OD_MODEL_ID"
"""Which base model a published model is, where its files fit two input sizes."""
PROGRAM = "SAGEMAKER_PROGRAM"
SUBMIT_DIRECTORY = "SAGEMAKER_SUBMIT_DIRECTORY"
LOG_LEVEL = "SAGEMAKER_CONTAINER_LOG_LEVEL"
WORKERS = ("SAGEMAKER_MODEL_SERVER_WORKERS", "SAGEMAKER_GUNICORN_WORKERS")
"""Processes of a script that answers requests itself."""

LARGEST_PAYLOAD_IN_MB = 100
"""Of any transform job, times the requests that are open at once."""
_MAX_PAYLOAD_IN_MB = 25
"""The largest body of SageMaker's own endpoints."""
_MAX_WORKERS = 64

ONE_PROCESS = "this server is one process, which answers in batches by itself"
_ELSEWHERE = "it belongs to another model server"
_ROWS: tuple[tuple[str, str | None], ...] = (
    *((name, None) for name in (PORT, PAYLOAD, MULTI_MODEL, PROGRAM, SUBMIT_DIRECTORY, LOG_LEVEL, *WORKERS)),
    *((name, None) for name in (MAX_MODELS, MODEL_ID, BAKED_WEIGHTS_VARIABLE, CACHE_VARIABLE)),
    ("SAGEMAKER_BASE_DIR", None),
    # What the platform and the SDKs always set, and what asks for nothing.
    ("SAGEMAKER_REGION", None),
    ("SAGEMAKER_BATCH", None),
    ("SAGEMAKER_SAFE_PORT_RANGE", None),
    ("SAGEMAKER_ENV", None),
    ("SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY", None),
    ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "a request has as long as SageMaker gives it, 60 seconds"),
    ("MODEL_SERVER_TIMEOUT", "a request has as long as SageMaker gives it, 60 seconds"),
    ("ENDPOINT_SERVER_TIMEOUT", "a request has as long as SageMaker gives it, 60 seconds"),
    ("MODEL_SERVER_WORKERS", ONE_PROCESS),
    ("SAGEMAKER_NUM_MODEL_WORKERS", ONE_PROCESS),
    ("SAGEMAKER_TFS_DEFAULT_MODEL_NAME", "an endpoint has one model, or names them in its requests"),
    ("SAGEMAKER_TFS_*", f"{ONE_PROCESS}, without TensorFlow Serving"),
    ("SAGEMAKER_GUNICORN_*", f"{ONE_PROCESS}, without gunicorn"),
    ("SAGEMAKER_NGINX_*", f"{ONE_PROCESS}, without nginx"),
    ("SAGEMAKER_USE_NGINX", f"{ONE_PROCESS}, without nginx"),
    ("SAGEMAKER_DISABLE_NGINX", f"{ONE_PROCESS}, without nginx"),
    ("SAGEMAKER_MULTI_MODEL_UNIVERSAL_BUCKET", "the script of a model lies in the model's own code/"),
    ("SAGEMAKER_MULTI_MODEL_UNIVERSAL_PREFIX", "the script of a model lies in the model's own code/"),
    ("SAGEMAKER_REQUIREMENTS", "the packages of a script are those of its code/lib or code/requirements.txt"),
    ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "the answer is JSON unless a script answers"),
    ("SAGEMAKER_INFERENCE_*", "the answer is the built-in algorithm's"),
    ("MODEL_CACHE_ROOT", "the model is read where it lies"),
    ("TFS_*", f"{ONE_PROCESS}, without TensorFlow Serving"),
    ("MMS_*", _ELSEWHERE),
    ("TS_*", _ELSEWHERE),
    ("SAGEMAKER_TS_*", _ELSEWHERE),
    ("SAGEMAKER_*", "it is not known to this server"),
)
"""Patterns of names, the first that fits counts; why a setting has no effect, or None where it has one or asks for
nothing."""


@dataclass(frozen=True)
class Settings:
    """The settings that are used, as the environment has them."""

    port: int
    max_payload_in_mb: int
    multi_model: bool
    max_models: int | None
    """None: as many as the memory has room for."""
    log_level: int
    workers: int
    """Processes of a script that answers requests itself."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Reads the settings, and names in one line those that have no effect.

    Raises:
        UserError: a value is none that its setting can have.
    """
    idle: dict[str, list[str]] = {}
    for name in sorted(environment):
        reason = next((reason for pattern, reason in _ROWS if fnmatch.fnmatchcase(name, pattern)), None)
        if reason is not None and environment[name].strip():
            idle.setdefault(reason, []).append(name)
    if idle:
        log.info("Without effect here: %s.", "; ".join(f"{', '.join(names)} ({why})" for why, names in idle.items()))

    problems: list[str] = []

    def whole_number(name: str, default: int, largest: int, smallest: int = 0) -> int:
        text = environment.get(name, "").strip()
        if text.isascii() and text.isdigit() and len(text) < 9 and smallest <= int(text) <= largest:
            return int(text)
        if text:
            problems.append(
                f"{name}: got {shown(text)} in the environment; expected a whole number from {smallest} to {largest}"
            )
        return default

    multi_model = environment.get(MULTI_MODEL, "").strip().lower()
    if multi_model not in ("true", "false", "1", "0", ""):
        problems.append(f"{MULTI_MODEL}: got {shown(multi_model)} in the environment; expected true or false")
    elif multi_model not in ("true", "1"):
        name_idle(environment, (MAX_MODELS,), "this is no multi-model endpoint")

    cores = min(os.cpu_count() or 1, 4)
    settings = Settings(
        port=whole_number(PORT, 8080, 65535),
        max_payload_in_mb=whole_number(PAYLOAD, _MAX_PAYLOAD_IN_MB, LARGEST_PAYLOAD_IN_MB) or LARGEST_PAYLOAD_IN_MB,
        multi_model=multi_model in ("true", "1"),
        max_models=whole_number(MAX_MODELS, 0, 10_000, smallest=1) or None,
        log_level=whole_number(LOG_LEVEL, logging.INFO, logging.CRITICAL) or logging.INFO,
        workers=next(filter(None, [whole_number(name, 0, _MAX_WORKERS, smallest=1) for name in WORKERS]), cores),
    )
    if problems:
        raise UserError(problems)
    return settings


def name_idle(environment: Mapping[str, str], names: Iterable[str], reason: str) -> None:
    """Says of settings that the environment has, and that have no effect in this case, why."""
    if idle := [name for name in names if environment.get(name, "").strip()]:
        log.info("Without effect here: %s (%s).", ", ".join(idle), reason)
