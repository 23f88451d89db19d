"""Jobs of the SageMaker SDK's v3 with JumpStart's script: `train` in place of the programs that would run the script.

That SDK gives a container a command of its own: a shell script, which installs what the job's script needs and runs it
by a driver, both written in Python. The image's sitecustomize asks here before either of them begins.
"""

import os
from pathlib import Path

from sagemaker_object_detection.job.jumpstart import is_own_source
from sagemaker_object_detection.job.paths import Paths

_INSTALLER = "install_requirements.py"
_DRIVERS = "distributed_drivers"


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
    if Path(program).parent.name == _DRIVERS:
        os.execvp("train", ["train"])
