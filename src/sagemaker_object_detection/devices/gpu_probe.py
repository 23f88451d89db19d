"""A process of its own that computes a little on each GPU, and hears which libraries TensorFlow could not load.

TensorFlow lists a GPU before it has computed anything on it, and a broken one can take the whole process down. The
job's own process may not try it: hosts have to be joined before anything is computed (devices/replicas.py). Which
library could not be loaded is only said in a log of TensorFlow's C++ side that is off in a job.
"""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import tensorflow as tf

from sagemaker_object_detection.errors import first_line
from sagemaker_object_detection.job.stop import NEVER, StopSignal

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 120.0
"""The first use of a GPU takes seconds, and more where the driver has to translate kernels for it. Hosts wait for each
other for 300 seconds."""
_POLL_SECONDS = 0.5
_RESULT = "gpu-probe "
"""What a line of the process begins with."""
_FROM_OUTSIDE = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""Signals that say nothing of a GPU."""
_SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "0",
    "TF_CPP_VMODULE": "dso_loader=1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
_NOT_LOADED = re.compile(r"Could not load dynamic library '([^']+)'; dlerror: ([^;\n]+)")


@dataclass(frozen=True)
class Probe:
    """What the process found.

    failures: sentences, one for each GPU that TensorFlow lists and cannot compute on.
    not_loaded: the libraries that TensorFlow needs for any GPU and could not load, each with the reason.
    """

    failures: tuple[str, ...] = ()
    not_loaded: tuple[str, ...] = ()


def probe_gpus(stop: StopSignal = NEVER) -> Probe:
    """Tries every GPU that TensorFlow lists. A process that does not end in time says nothing against them.

    Args:
        stop: once it is requested nothing is waited for.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        env={**os.environ, **_SETTINGS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a signal of the terminal is the job's
    )
    ends = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            output, errors = process.communicate(timeout=_POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if not stop.requested and time.monotonic() < ends:
                continue
            process.kill()  # and not waited for: one that is stuck in the driver does not even end now
            if not stop.requested:
                log.warning("A first small operation on the GPU has not ended within %.0f seconds.", PATIENCE_SECONDS)
            return Probe()
    said = errors.decode(errors="replace")
    if process.returncode > 0 or -process.returncode in _FROM_OUTSIDE:
        log.warning("A first small operation on the GPU could not be tried: %s", said.strip().rpartition("\n")[2])
    return read_probe(output.decode(errors="replace"), said, process.returncode)


def read_probe(output: str, errors: str, code: int) -> Probe:
    """What a process that has ended found out.

    Args:
        output: its stdout, to which `main` writes.
        errors: its stderr, to which TensorFlow writes.
        code: its exit code; below zero the signal that ended it.
    """
    results = [json.loads(line.removeprefix(_RESULT)) for line in output.splitlines() if line.startswith(_RESULT)]
    tried = results[1:]
    failures = [f"{name} fails with {failure}" for name, failure in tried if failure]
    # One that ends badly once every GPU has computed says nothing of them.
    if code < 0 and -code not in _FROM_OUTSIDE and not (results and len(tried) == results[0]):
        failures.append(f"a small operation on GPU:{len(tried)} ends its process: {signal.strsignal(-code)}")
    found = dict.fromkeys(match.groups() for match in _NOT_LOADED.finditer(errors))
    return Probe(tuple(failures), tuple(f"{name} ({reason})" for name, reason in found))


def main() -> None:
    """The process: prints how many GPUs there are, then name and failure of each, "" for one that computes."""
    count = len(tf.config.list_physical_devices("GPU"))
    print(_RESULT + json.dumps(count), flush=True)
    for index in range(count):
        failure = ""
        try:
            with tf.device(f"GPU:{index}"):
                _compute()
        except Exception as error:
            failure = f"{type(error).__name__}: {first_line(error)}"
        print(_RESULT + json.dumps([f"GPU:{index}", failure]), flush=True)


def _compute() -> None:
    """A convolution, a matrix product and a sum: cuDNN, cuBLAS, and a kernel of TensorFlow's own."""
    features = tf.nn.conv2d(tf.ones([1, 8, 8, 8]), tf.ones([3, 3, 8, 8]), strides=1, padding="SAME")
    tf.reduce_sum(tf.matmul(features[0], tf.ones([8, 8, 8]))).numpy()


if __name__ == "__main__":
    main()
