"""What the benchmarks share: jobs of the real command line, kept below one folder, and the data they train on.

Each job has a root of its own. One that is complete, with the same hyperparameters and the same start, is not run
again, so that a benchmark that was interrupted goes on where it was.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sagemaker_object_detection import catalogue

# Scripts have only their own folder on the path, and shared.py lies in the one above.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from shared import SHARED_DIR

MODEL = catalogue.DEFAULT_MODEL
CHANNELS = ("training", "validation")


@dataclass(frozen=True)
class Finished:
    """A job that came to its end."""

    root: Path
    saved_epoch: int
    map_50: tuple[float, ...]
    """mAP@0.5 of the validation images after each epoch."""

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def best(self) -> float:
        """mAP@0.5 of the weights that were saved."""
        return self.map_50[self.saved_epoch]


def arguments(description: str, default_work: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path(default_work), help="jobs are kept here and reused")
    parser.add_argument("--base-images", type=int, default=600, help="synthetic images to train the base on")
    parser.add_argument("--base-epochs", type=int, default=15, help="epochs to train the base for")
    return parser


def stop_the_job_with_the_benchmark() -> None:
    """SIGTERM ends the benchmark as Ctrl-C does; `subprocess.run` then ends the job under way."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def blood_cells() -> Path:
    """The folder of BCCD, with its two channels; ends the benchmark where there is none."""
    folder = SHARED_DIR / "datasets/bccd"
    if not all((folder / channel / "annotations.json").exists() for channel in CHANNELS):
        sys.exit(
            f"{folder} does not hold {' and '.join(CHANNELS)}: this benchmark needs BCCD's photographs of blood cells. "
            "Set SHARED_DIR to the folder that holds datasets/bccd."
        )
    return folder


def shapes(work: Path, images: int, seed: int) -> Path:
    """A folder of synthetic shapes with both channels, from `sample-data`."""
    folder = work / f"shapes-{images}-seed-{seed}"
    if not folder.exists():
        work.mkdir(parents=True, exist_ok=True)
        log = folder.with_name(folder.name + ".log")
        _command("sample-data", str(folder), "--images", str(images), "--seed", str(seed), log=log)
    return folder


def train_base(work: Path, images: int, epochs: int) -> Finished:
    """A model of synthetic shapes, from random weights: what the benchmarks fine-tune."""
    return train(
        work / f"base-{images}x{epochs}",
        shapes(work, images, seed=1),
        {
            "pretrained_weights": "none",
            "epochs": epochs,
            "batch_size": 8,
            "learning_rate": 0.001,
            "learning_rate_schedule": "cosine",
            "seed": 1,
        },
    )


def training_images(data: Path) -> int:
    """How many images the training channel of `data` lists."""
    return len(json.loads((data / "training/annotations.json").read_text(encoding="utf-8"))["images"])


def train(
    root: Path,
    data: Path,
    hyperparameters: Mapping[str, object],
    start: Path | None = None,
    patches: Mapping[str, float | None] | None = None,
) -> Finished:
    """Runs `train` below `root`, or reads what it left if it was complete; ends the benchmark if the job fails.

    Args:
        root: of this job alone.
        data: a folder that holds both channels.
        hyperparameters: of the job, beside its model_id.
        start: a model directory for the `model` channel.
        patches: names of the package to replace, as patched_job.py takes them; part of what `root` is named for.
    """
    texts = {"model_id": MODEL.name, **{name: str(value) for name, value in hyperparameters.items()}}
    finished = _finished(root, texts, start)
    if finished is not None:
        _say(f"{root.name}: kept from an earlier run")
        return finished
    if root.exists():
        shutil.rmtree(root)
    (root / "input/config").mkdir(parents=True)
    (root / "input/data").mkdir()
    (root / "input/config/hyperparameters.json").write_text(json.dumps(texts), encoding="utf-8")
    for channel in CHANNELS:
        (root / "input/data" / channel).symlink_to((data / channel).resolve())
    if start is not None:
        (root / "input/data/model").symlink_to(start.resolve())
    began = time.monotonic()
    _command("train", "--root", str(root), log=root / "train.log", patches=patches)
    finished = _finished(root, texts, start)
    if finished is None:
        sys.exit(f"{root.name} ended early: see {root / 'train.log'}")
    _say(f"{root.name}: mAP@0.5 {finished.best:.3f} after {time.monotonic() - began:.0f} seconds")
    return finished


def _finished(root: Path, texts: Mapping[str, str], start: Path | None) -> Finished | None:
    """What a job left, if it is this job, trained all its epochs, and began with what `start` is now."""
    metrics_file = root / "output/data/metrics.json"
    try:
        if json.loads((root / "input/config/hyperparameters.json").read_text(encoding="utf-8")) != texts:
            return None
        metrics = json.loads(metrics_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if len(metrics["epochs"]) != int(texts["epochs"]):
        return None
    channel = root / "input/data/model"
    if start is None:
        same_start = not channel.exists()
    else:
        info = start / "model_info.json"  # published weights have none, and never change
        older = not info.exists() or info.stat().st_mtime <= metrics_file.stat().st_mtime
        same_start = channel.resolve() == start.resolve() and older
    if not same_start:
        return None
    return Finished(root, metrics["saved_epoch"], tuple(epoch["validation"]["mAP_50"] for epoch in metrics["epochs"]))


def _command(*words: str, log: Path, patches: Mapping[str, float | None] | None = None) -> None:
    """Runs one verb of the command line, its output in `log`; if it fails, ends the benchmark with the last lines."""
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("patched_job.py"), *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, "PATCHES": json.dumps(dict(patches or {}))},
            check=False,
        )
    if done.returncode:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        sys.exit(f"{last}\n`{' '.join(words)}` ended with exit code {done.returncode}; all it said is in {log}")


def _say(line: str) -> None:
    """Progress goes to stderr: stdout has the tables alone."""
    print(line, file=sys.stderr, flush=True)
