"""What Python does first in the image.

The SageMaker SDK's v3 starts a script of a job past `train`, by programs of its own in a channel `sm_drivers`. Where
that script is JumpStart's, this container trains in its place.
"""

import sys

if "/sm_drivers/" in "".join(sys.orig_argv[1:2]):  # every other Python process loses no time here
    from sagemaker_object_detection.script_mode.sdk_v3 import take_over

    take_over(sys.orig_argv[1])
