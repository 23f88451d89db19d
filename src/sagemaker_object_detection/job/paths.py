"""The /opt/ml tree under one root, which may lie elsewhere for a run by hand."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.disk import DISK_FAULTS

PLATFORM_ROOT = Path("/opt/ml")
ROOT_VARIABLE = "SAGEMAKER_BASE_DIR"
"""The name sagemaker-training uses for a relocated root."""
BAKED_WEIGHTS_VARIABLE = "SAGEMAKER_OD_WEIGHTS_DIR"
CACHE_VARIABLE = "SAGEMAKER_OD_CACHE_DIR"


class Paths:
    """Where everything lies. They are names only: whether anything is there is for the reader to see."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "input/config"
        self.hyperparameters = self.config / "hyperparameters.json"
        self.inputdataconfig = self.config / "inputdataconfig.json"
        self.resourceconfig = self.config / "resourceconfig.json"
        self.checkpointconfig = self.config / "checkpointconfig.json"
        self.tensorboardconfig = self.config / "tensorboardoutputconfig.json"
        self.model = root / "model"
        """Becomes model.tar.gz."""
        self.output_data = root / "output/data"
        """Becomes output.tar.gz."""
        self.tensorboard = root / "output/tensorboard"
        """Where the platform looks for what it hands on to TensorBoard, unless tensorboardconfig says otherwise."""
        self.failure = root / "output/failure"
        self.exit_message = root / "output/message"
        """What SageMaker shows of a Processing job that has ended."""
        self.processing = root / "processing"
        self.code = root / "code"
        """The job's own script, in script mode."""
        self.checkpoints = root / "checkpoints"

        self.sdk_v3_source = self.channel("sm_drivers") / "sourcecode.json"
        """What ModelTrainer of the SageMaker Python SDK v3 says of a script of the job's own."""

    @classmethod
    def find(cls, root: str | None = None) -> "Paths":
        """The tree under `root`, else under the directory $SAGEMAKER_BASE_DIR names, else /opt/ml."""
        return cls(Path(root or os.environ.get(ROOT_VARIABLE) or PLATFORM_ROOT).absolute())

    def channel(self, name: str) -> Path:
        return self.root / "input/data" / name

    def relocated(self, path: str) -> Path:
        """A path from a configuration file, below this root where it is relative or lies below /opt/ml."""
        absolute = PLATFORM_ROOT / path
        return self.root / absolute.relative_to(PLATFORM_ROOT) if absolute.is_relative_to(PLATFORM_ROOT) else absolute


def baked_weights() -> Path:
    """The base models' weights in the image, a subfolder each: $SAGEMAKER_OD_WEIGHTS_DIR, else /opt/weights."""
    return Path(os.environ.get(BAKED_WEIGHTS_VARIABLE) or "/opt/weights")


def download_cache() -> Path:
    """Where weights that were fetched are kept: $SAGEMAKER_OD_CACHE_DIR, else a folder in the user's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).absolute()
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not user_cache.is_absolute():  # a user without a home: `docker run --user 1234`
        user_cache = Path(tempfile.gettempdir())
    return user_cache / "sagemaker-object-detection"


def prepare_outputs(paths: Paths) -> None:
    """Create the output folders, and let everyone read, write and delete what this process writes from now on.

    An earlier run's failure file is removed: it would speak of this one.

    In local mode the outputs land in the user's own folders, owned by root (sagemaker-python-sdk#4764, #2647, #5542).

    Raises:
        UserError: an output folder cannot be created or written. A full or broken disk stays an OSError.
    """
    os.umask(0)
    with contextlib.suppress(OSError):
        paths.failure.unlink()
    problems = []
    for folder in (paths.model, paths.output_data):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                problems.append(f"{folder}: cannot be written; mount it writable or run the container as root")
        except OSError as error:
            if error.errno in DISK_FAULTS:
                raise
            if error.errno == errno.EROFS:
                raise UserError(
                    f"{folder}: cannot be created ({error.strerror}); mount {paths.root} writable: the model and the "
                    "job's other outputs are written there"
                ) from None
            problems.append(
                f"{folder}: cannot be created ({error.strerror}); expected a folder this process may write to"
            )
    if problems:
        raise UserError(problems)
