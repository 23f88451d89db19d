"""The text of `code/inference.py`: inference.py, with what it imports of this package written into it."""

import re
from pathlib import Path

from sagemaker_object_detection.artifact import inference
from sagemaker_object_detection.images import walk

_IMPORT = re.compile(rb"^from sagemaker_object_detection\.images\.walk import .*\n", re.MULTILINE)
_FUTURE = b"from __future__ import annotations\n"


def handler_source() -> bytes:
    """One file that needs the standard library alone: a container of several models imports each model's file, and
    modules beside them would be mistaken for each other."""
    part = Path(walk.__file__).read_bytes().replace(_FUTURE, b"", 1)  # which stands at the top already
    return _IMPORT.sub(lambda line: part, Path(inference.__file__).read_bytes(), count=1)
