"""Jobs of the SageMaker SDK's v3 with JumpStart's script: `train` in place of the programs that would run the script.

That SDK gives a container a command of its own: a shell script, which installs what the job's script needs and runs it
by a driver, both written in Python. The image's sitecustomize asks here before either of them begins.
"""

import os
from importlib.abc import MetaPathFinder
from pathlib import Path

from sagemaker_object_detection.job.jumpstart import SCRIPT, is_own_source
from sagemaker_object_detection.job.paths import Paths

_INSTALLER = "install_requirements.py"
_DRIVERS = "distributed_drivers"
_API = "object_detection"


def take_over(program: str) -> None:
    """End or replace this process if it is one of those programs; else return, and `program` runs.

    Args:
        program: the path of the program that Python was started with.
    """
    paths = Paths.find()
    if not is_own_source(paths.sdk_v3_source, paths.channel("code")):
        return
    if Path(program).name == _INSTALLER:
        print("The requirements of JumpStart's script are not installed: it is not run.", flush=True)
        os._exit(0)
    if Path(program).parent.name == _DRIVERS or Path(program).name == SCRIPT:
        os.execvp("train", ["train"])


class NoObjectDetection(MetaPathFinder):
    """Says what to do where a script asks for the Object Detection API: the last of `sys.meta_path`."""

    def find_spec(self, name: str, *_: object) -> None:
        """Raises ModuleNotFoundError for that package, which nobody before has found."""
        if name == _API:
            raise ModuleNotFoundError(
                f"No module named {_API!r}: this image trains the built-in algorithm's detectors itself. Remove the "
                "script (entry_point and source_dir, or source_code), and keep hyperparameters and channels",
                name=name,
            )
