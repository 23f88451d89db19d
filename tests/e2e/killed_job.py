"""A job that gets a signal at a settled moment: `python killed_job.py ROOT SIGNAL MOMENT COUNT [--few IMAGES]`.

It is the real job, which may be of a tiny model; the COUNTth time that it passes the moment, the process writes the
signal's name to ROOT/struck and sends itself the signal. Checkpoints are due all the time, so that the middle of an
epoch has some too. Below IMAGES per replica, loaded statistics are frozen.
"""

import itertools
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tiny_models import add_backbones, add_to_catalogue

from sagemaker_object_detection.__main__ import main

PACKAGE = "sagemaker_object_detection"
MOMENTS = {
    "start-up": (f"{PACKAGE}.train", "preflight"),
    "data check": (f"{PACKAGE}.dataset.channels", "_decode_channels"),
    "step": (f"{PACKAGE}.training.divergence", "DivergenceCheck.check_losses"),
    "validation": (f"{PACKAGE}.evaluation.evaluator", "coco_figures"),
    "checkpoint write": ("numpy.lib.format", "write_array"),
    "export": (f"{PACKAGE}.artifact.export", "write_info"),
}


def strike(root: str, number: signal.Signals, moment: str, count: int) -> None:
    module, name = MOMENTS[moment]
    owner = import_module(module)
    *parts, name = name.split(".")
    for part in parts:
        owner = getattr(owner, part)
    original, passed = getattr(owner, name), itertools.count(1)

    def struck(*arguments, **named):
        if next(passed) == count:
            Path(root, "struck").write_text(number.name)
            os.kill(os.getpid(), number)
        return original(*arguments, **named)

    setattr(owner, name, struck)


if __name__ == "__main__":
    root, number, moment, count, *few = sys.argv[1:]
    for threads in ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"):  # else additions come in another order
        os.environ[threads] = "1"
    add_to_catalogue()
    add_backbones()
    checkpoints: Any = import_module(f"{PACKAGE}.training.checkpoints")
    checkpoints.SECONDS_BETWEEN = 0.0
    if few:
        recipe: Any = import_module(f"{PACKAGE}.training.recipe")
        recipe.FEW_IMAGES_PER_REPLICA = int(few[-1])
    if moment != "never":
        strike(root, signal.Signals[number], moment, int(count))
    sys.exit(main(["train", "--root", root]))
