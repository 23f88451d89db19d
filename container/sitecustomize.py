"""What Python does first in the image.

The SageMaker SDK's v3 starts a script of a job past `train`, by programs of its own in a channel `sm_drivers` or by a
command. Where that script is JumpStart's, this container trains in its place; a copy of it is told what to do.
"""

import sys

_program = "".join(sys.orig_argv[1:2])
if "/sm_drivers/" in _program or _program.endswith("transfer_learning.py"):  # no other Python process loses any time
    from sagemaker_object_detection.script_mode.sdk_v3 import NoObjectDetection, take_over

    take_over(_program)
    sys.meta_path.append(NoObjectDetection())
