"""Host memory of the real job over many steps, and with a large data set.

    python tests/benchmarks/memory.py [--steps 2000] [--images 20000]

Resident memory of the process whenever an epoch ends, with validation and a checkpoint in each, and a straight line
through its second half. Then what a data set of many images costs beside one of a few, but for the decoded images that
the job says it keeps, which are bounded: its images are hard links to the same few files, so that the disk does not
count.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from timed_jobs import VALIDATED, job, running

from sagemaker_object_detection.sample_data import write_sample_data

EPOCHS, SETTLED = 20, 10
KEPT = re.compile(r"training: \d+ of \d+ images stay decoded in memory \((\d+) MB\)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--images", type=int, default=20_000)
    options = parser.parse_args()
    per_epoch = options.steps // EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        resident = _at_each_epochs_end(Path(folder), per_epoch)
    print("step   resident MB")
    for epoch, megabytes in enumerate(resident, 1):
        print(f"{epoch * per_epoch:5d} {megabytes:12.0f}")
    steps = np.arange(1 + SETTLED, EPOCHS + 1) * per_epoch / 1000
    (slope, _), covariance = np.polyfit(steps, resident[SETTLED:], 1, cov=True)
    print(f"slope of the second half: {slope:.1f} +- {2 * covariance[0, 0] ** 0.5:.1f} MB per 1000 steps")
    few, many = (_trained_for_a_minute(images) for images in (20, options.images))
    print(f"after a minute of training on 20 images: {few:.0f} MB; on {options.images}: {many:.0f} MB; without pixels")
    print(f"that is {(many - few) * 2**20 / options.images:.0f} bytes an image")


def _at_each_epochs_end(data: Path, images: int) -> list[float]:
    """Megabytes at the end of each epoch of a job whose epochs have as many steps as there are images."""
    found = []
    with _job(data, images, images, batch_size=1, epochs=EPOCHS) as process:
        for line in process.stdout or ():
            if len(found) < EPOCHS and line.startswith(VALIDATED.format(len(found))):
                found.append(psutil.Process(process.pid).memory_info().rss / 2**20)
        process.wait()
    if process.returncode or len(found) != EPOCHS:
        sys.exit(f"the job ended with {process.returncode} after {len(found)} epochs")
    return found


def _trained_for_a_minute(images: int) -> float:
    """Megabytes of a job with so many images, a minute after training began, without those of the images' pixels."""
    kept = None
    with tempfile.TemporaryDirectory() as folder, _job(Path(folder), images, 20, batch_size=4, epochs=1000) as process:
        for line in process.stdout or ():
            if kept := KEPT.match(line):
                break
        time.sleep(60.0)
        resident: float = psutil.Process(process.pid).memory_info().rss / 2**20
    if kept is None:
        sys.exit("the job never said how many images it keeps decoded")
    return resident - float(kept[1])


@contextmanager
def _job(data: Path, images: int, distinct: int, batch_size: int, epochs: int) -> Iterator[subprocess.Popen[str]]:
    """A job on `images` images, of which so many are distinct."""
    write_sample_data(data, images=distinct, validation_images=4, seed=0)
    _repeat(data / "training", images)
    values = {"epochs": epochs, "batch_size": batch_size}
    with job(data / "training", values, data / "validation", checkpoints=True) as command, running(command) as process:
        yield process


def _repeat(channel: Path, images: int) -> None:
    """Fills a channel up to so many images with links to those it has, and their annotations."""
    document = json.loads((channel / "annotations.json").read_text())
    originals, boxes = list(document["images"]), list(document["annotations"])
    for number in range(len(originals), images):
        original = originals[number % len(originals)]
        name = f"linked-{number:06d}.jpg"
        os.link(channel / "images" / original["file_name"], channel / "images" / name)
        document["images"].append({**original, "id": 10**6 + number, "file_name": name})
        document["annotations"] += [
            {**box, "id": 10**7 + 100 * number + place, "image_id": 10**6 + number}
            for place, box in enumerate(box for box in boxes if box["image_id"] == original["id"])
        ]
    (channel / "annotations.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main()
