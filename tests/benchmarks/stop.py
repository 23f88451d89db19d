"""Seconds from SIGTERM to the end of the process, for one model of each family, the largest of them included.

    python tests/benchmarks/stop.py [--models NAME ...] [--batch-size 2]

A job from random weights is stopped when its first epoch is done: the step or the validation under way ends, a
checkpoint is written, the best epoch's weights are exported. SageMaker kills the process after 120 seconds.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sagemaker_object_detection.sample_data import write_sample_data

MODELS = (
    "ssd_mobilenet_v2_fpnlite_320x320",
    "ssd_mobilenet_v1_fpn_640x640",
    "ssd_efficientdet_d0_512x512",
    "ssd_efficientdet_d3_896x896",
    "ssd_resnet50_v1_fpn_640x640",
    "ssd_resnet152_v1_fpn_1024x1024",
)
STOPPED, SAVING, SAVED = "WARNING: Stopped by a signal", "Saving the model", "The model is in"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batch-size", type=int, default=2)
    options = parser.parse_args()
    print(f"{'seconds after SIGTERM':34} {'step ended':>10} {'model saved':>11} {'process gone':>12}  checkpoint")
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            times, megabytes = _stop(Path(folder), model, options.batch_size)
        print(f"{model:34} {times[0]:10.1f} {times[1]:11.1f} {times[2]:12.1f}  {megabytes:.0f} MB", flush=True)


def _stop(root: Path, model: str, batch_size: int) -> tuple[list[float], float]:
    """When, after the signal, training had ended, the model was there and the process was gone; and the size of the
    checkpoint it left."""
    write_sample_data(root / "input/data", images=2 * batch_size, validation_images=2, seed=0)
    (root / "input/config").mkdir()
    values = {"model_id": model, "pretrained_weights": "none", "epochs": "1000", "batch_size": str(batch_size)}
    (root / "input/config/hyperparameters.json").write_text(json.dumps(values))
    (root / "checkpoints").mkdir()
    sent, times = None, []
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "sagemaker_object_detection", "train", "--root", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as job:
        try:
            assert job.stdout is not None
            for line in job.stdout:
                if sent is None and "Val_mAP" in line:
                    job.send_signal(signal.SIGTERM)
                    sent = time.perf_counter()
                elif sent is not None and line.startswith((STOPPED, SAVED)):
                    times.append(time.perf_counter() - sent)
            job.wait()
        finally:
            job.kill()
    if sent is None or len(times) != 2 or job.returncode or not (root / "model/model_info.json").exists():
        sys.exit(f"{model}: the job ended with {job.returncode}, and not as a stopped one does")
    newest = max((root / "checkpoints").glob("*.npz"))
    return [*times, time.perf_counter() - sent], newest.stat().st_size / 2**20


if __name__ == "__main__":
    main()
