"""The command line with the tests' tiny base models in its catalogue: `python tiny_job.py VERB ...`."""

import runpy
from typing import Any

from tiny_models import add_backbones, add_telltales, add_to_catalogue

from sagemaker_object_detection import train


def know_tiny_models() -> None:
    """Adds the rows to this process; what needs TensorFlow waits, as the product's own imports do, for a right job."""
    add_to_catalogue()
    original = train._train

    def with_backbones(*arguments: Any, **named: Any) -> None:
        add_backbones()
        add_telltales()
        original(*arguments, **named)

    train._train = with_backbones


if __name__ == "__main__":
    know_tiny_models()
    runpy.run_module("sagemaker_object_detection", run_name="__main__", alter_sys=True)
