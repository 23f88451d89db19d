"""A process of its own that makes a model's network file (network_file.py) while the job writes its report: that takes
seconds and 1.5 GB, and what happens to it must not happen to the job, whose model is whole already.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sagemaker_object_detection.artifact.export import ASSETS, SAVED_MODEL
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.errors import JobError, first_line
from sagemaker_object_detection.job.memory import available_memory
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.sentences import printable

log = logging.getLogger(__name__)

FASTER = ("mobilenet_v2", "efficientnet_b0", "efficientnet_b1")
"""Backbones whose networks ONNX Runtime computes at least 1.3 times as fast as TensorFlow (runtimes/README.md has what
was measured). Of larger EfficientDets the file takes minutes to make; the others' convolutions are as fast in both."""
PATIENCE = 300.0
_BYTES_NEEDED = 2 * 2**30
_POLL_SECONDS = 0.2
_MAX_REASON = 300
_FIRST_TO_GO = "1000"


class NetworkProcess:
    """Makes the file of the model in folder `model` while it is entered, and waits for it at the end.

    Nothing that happens to it is an exception. A stop ends it, as does `PATIENCE` seconds of waiting.
    """

    def __init__(self, model: Path, base: BaseModel, stop: StopSignal) -> None:
        self._model, self._stop = model, stop
        self._wanted = base.backbone in FASTER
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        if not self._wanted or self._stop.requested:
            return
        if (free := available_memory()) < _BYTES_NEEDED:
            self._without(f"{free / 1e9:.1f} GB of the memory are free, and it takes {_BYTES_NEEDED / 1e9:.1f}")
            return
        try:
            self._said = tempfile.TemporaryFile()  # a pipe would have to be read
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(self._model)],
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
                stdin=subprocess.PIPE,  # closed when the job ends, however it does
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,  # a signal of the terminal is the job's
            )
        except OSError as error:
            self._without(str(error.strerror))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (process := self._process) is None:
            return
        ends = time.monotonic() + PATIENCE
        while process.poll() is None:
            if error is not None or self._stop.requested or time.monotonic() >= ends:
                process.kill()
                process.wait()
                self._without("the job was stopped" if self._stop.requested else f"{PATIENCE:.0f} seconds passed")
                return
            time.sleep(_POLL_SECONDS)
        with self._said as said:
            said.seek(0)
            reason = said.read().decode(errors="replace").strip().rpartition("\n")[2]
        if process.returncode:
            self._without(printable(reason, _MAX_REASON) or f"its process ended with {process.returncode}")
        else:
            log.info("Endpoints on a CPU will compute the network by ONNX Runtime, from a file in the model.")

    def _without(self, reason: str) -> None:
        shutil.rmtree(self._model / SAVED_MODEL / ASSETS, ignore_errors=True)  # what is in it is not whole
        log.warning(
            "The network could not be written as an ONNX file (%s): endpoints on a CPU will take longer. The model is "
            "whole.",
            reason,
        )


def main(model: Path) -> None:
    """The process."""
    with suppress(OSError):  # should the memory run out, the job is to live
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
    threading.Thread(target=_end_with_the_job, daemon=True).start()
    from sagemaker_object_detection.artifact.network_file import write_network
    from sagemaker_object_detection.devices.prepare import use_the_cpu

    use_the_cpu()
    try:
        write_network(model)
    except Exception as error:
        sys.exit(str(error) if isinstance(error, JobError) else f"{type(error).__name__}: {first_line(error)}")


def _end_with_the_job() -> None:
    os.read(sys.stdin.fileno(), 1)  # not through the stream, whose lock Python asks for at its end
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
