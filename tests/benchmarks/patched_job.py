"""The command line of the package with some of its names replaced, so that a benchmark can leave a speed-up out.

    PATCHES='{"images.decoded:SHARE": 0.0}' python tests/benchmarks/patched_job.py train --root ROOT

PATCHES: "module:name" below the package -> a number, or null for a function that does nothing.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any

PACKAGE = "sagemaker_object_detection"


def nothing(*arguments: Any) -> None:
    pass


def main() -> int:
    for place, value in json.loads(os.environ["PATCHES"]).items():
        module, name = place.split(":")
        owner = import_module(f"{PACKAGE}.{module}")
        getattr(owner, name)  # that there is such a name
        setattr(owner, name, nothing if value is None else value)
    command: Any = import_module(f"{PACKAGE}.__main__")
    return int(command.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
