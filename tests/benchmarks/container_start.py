"""Seconds from `docker run` to the end of the first training step, and what they are spent on.

    python tests/benchmarks/container_start.py [--image sagemaker-object-detection:cpu] [--repeat 3]

A job of one epoch of one step: four sample images, the smallest base model, random weights. The times are those at
which the container's log lines arrive; the median of the repetitions is printed, beside the first one, which also reads
the image from the disk.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.sample_data import write_sample_data

# What has been done when a line begins so.
MILESTONES = {
    "Training on": "job validated, TensorFlow imported",
    "validation: ": "every image and box checked",
    "[Epoch 0], Speed": "model built, first step traced and run",
}
_HYPERPARAMETERS = {
    "model_id": catalogue.DEFAULT_MODEL.name,
    "pretrained_weights": "none",
    "epochs": "1",
    "batch_size": "4",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="sagemaker-object-detection:cpu")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sample_data(root / "input/data", images=4, validation_images=1, seed=0)
        (root / "input/config").mkdir()
        runs = [_measure(options.image, root) for _ in range(options.repeat)]
    print(f"{'from docker run to':38} {'first run s':>11} {'median s':>9}")
    for milestone in runs[0]:
        print(f"{milestone:38} {runs[0][milestone]:11.2f} {statistics.median(run[milestone] for run in runs):9.2f}")


def _measure(image: str, root: Path) -> dict[str, float]:
    """Seconds from `docker run` to each milestone."""
    times = {"container started (`true`)": _seconds(image, root, "true", expected=0)}
    (root / "input/config/hyperparameters.json").write_text(json.dumps({**_HYPERPARAMETERS, "epochs": "none"}))
    times["a wrong job refused, container gone"] = _seconds(image, root, "train", expected=2)
    (root / "input/config/hyperparameters.json").write_text(json.dumps(_HYPERPARAMETERS))
    name = _name()
    start = time.perf_counter()
    with subprocess.Popen(
        ["docker", "run", "--name", name, "--network", "none", "--volume", f"{root}:/opt/ml", image],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as job:
        try:
            assert job.stdout is not None
            for line in job.stdout:
                for beginning, milestone in MILESTONES.items():
                    if line.startswith(beginning):
                        times.setdefault(milestone, time.perf_counter() - start)
        finally:
            subprocess.run(["docker", "rm", "--force", name], stdout=subprocess.DEVNULL, check=True)
    if missing := MILESTONES.values() - times.keys():
        sys.exit(f"{image}: the job ended with {job.returncode} and never came to: {', '.join(sorted(missing))}")
    return times


def _seconds(image: str, root: Path, command: str, expected: int) -> float:
    start = time.perf_counter()
    name = _name()
    run = ["docker", "run", "--rm", "--name", name, "--network", "none", "--volume", f"{root}:/opt/ml", image, command]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode != expected:
        sys.exit(f"{image}: {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def _name() -> str:
    return f"container-start-{time.monotonic_ns()}"


if __name__ == "__main__":
    main()
