"""Seconds from SIGTERM to the end of the process, for one model of each family, the largest of them included.

    python tests/benchmarks/stop.py [--models NAME ...] [--batch-size 2]

A job from random weights is stopped when its first epoch is done: the step or the validation under way ends, a
checkpoint is written, the best epoch's weights are exported. SageMaker kills the process after 120 seconds.
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from timed_jobs import VALIDATED, job, running

from sagemaker_object_detection.sample_data import write_sample_data

MODELS = (
    "ssd_mobilenet_v2_fpnlite_320x320",
    "ssd_mobilenet_v1_fpn_640x640",
    "ssd_efficientdet_d0_512x512",
    "ssd_efficientdet_d3_896x896",
    "ssd_resnet50_v1_fpn_640x640",
    "ssd_resnet152_v1_fpn_1024x1024",
)
STOPPED, SAVED = "WARNING: Stopped by a signal", "The model is in"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batch-size", type=int, default=2)
    options = parser.parse_args()
    print(f"{'seconds after SIGTERM':34} {'step ended':>10} {'model saved':>11} {'process gone':>12}  checkpoint")
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            write_sample_data(Path(folder), images=2 * options.batch_size, validation_images=2, seed=0)
            times, megabytes = _stop(Path(folder), model, options.batch_size)
        print(f"{model:34} {times[0]:10.1f} {times[1]:11.1f} {times[2]:12.1f}  {megabytes:.0f} MB", flush=True)


def _stop(data: Path, model: str, batch_size: int) -> tuple[list[float], float]:
    """When, after the signal, training had ended, the model was there and the process was gone; and the size of the
    checkpoint it left."""
    values = {"model_id": model, "epochs": 1000, "batch_size": batch_size}
    sent, times = None, []
    with job(data / "training", values, data / "validation", checkpoints=True) as command:
        root = Path(command[-1])
        with running(command) as process:
            for line in process.stdout or ():
                if sent is None and line.startswith(VALIDATED.format(0)):
                    process.send_signal(signal.SIGTERM)
                    sent = time.perf_counter()
                elif sent is not None and line.startswith((STOPPED, SAVED)):
                    times.append(time.perf_counter() - sent)
            process.wait()
        if sent is None or len(times) != 2 or process.returncode or not (root / "model/model_info.json").exists():
            sys.exit(f"{model}: the job ended with {process.returncode}, and not as a stopped one does")
        times.append(time.perf_counter() - sent)
        return times, max((root / "checkpoints").glob("*.npz")).stat().st_size / 2**20


if __name__ == "__main__":
    main()
