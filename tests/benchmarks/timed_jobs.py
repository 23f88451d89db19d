"""Processes whose log lines are timed: jobs of the real `train` verb, and scripts that do the same in another way."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil
from rounds import HERE, REPOSITORY, Round, environment, peak_megabytes

from sagemaker_object_detection import catalogue

TRAINED = "[Epoch {}], Speed"
VALIDATED = "[Epoch {}], Val_mAP"


@dataclass(frozen=True)
class Line:
    """A line of a log: when it came, from the start of the process on, and what the process had taken by then."""

    text: str
    seconds: float
    cpu_seconds: float
    peak_megabytes: float


@contextmanager
def running(command: Sequence[str | Path], repository: Path = REPOSITORY) -> Iterator[subprocess.Popen[str]]:
    """A process with its log to read; it is gone afterwards."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(repository)
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def follow(command: Sequence[str | Path], last: str, repository: Path = REPOSITORY) -> list[Line]:
    """Runs a command until it prints a line that begins with `last`, and kills it then; ends the benchmark where it
    never does."""
    began, lines = time.perf_counter(), []
    with running(command, repository) as process:
        for text in process.stdout or ():
            seconds, times = time.perf_counter() - began, psutil.Process(process.pid).cpu_times()
            cpu_seconds = times.user + times.system + times.children_user + times.children_system
            lines.append(Line(text.rstrip("\n"), seconds, cpu_seconds, peak_megabytes(process.pid)))
            if text.startswith(last):
                return lines
    tail = "\n".join(line.text for line in lines[-20:])
    sys.exit(f"{tail}\n{' '.join(map(str, command))} ended with {process.returncode} and never printed {last!r}")


def find(lines: Sequence[Line], beginning: str) -> Line | None:
    """The first line that begins so."""
    return next((line for line in lines if line.text.startswith(beginning)), None)


@contextmanager
def job(
    training: Path, hyperparameters: Mapping[str, object], validation: Path | None = None, checkpoints: bool = False
) -> Iterator[list[str | Path]]:
    """The command that runs a job on channels, below a root that is gone afterwards; from random weights unless
    `hyperparameters` say otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "input/config").mkdir(parents=True)
        (root / "input/data").mkdir()
        (root / "input/data/training").symlink_to(training.resolve())
        if validation is not None:
            (root / "input/data/validation").symlink_to(validation.resolve())
        if checkpoints:
            (root / "checkpoints").mkdir()
        values: dict[str, object] = {"model_id": catalogue.DEFAULT_MODEL.name, "pretrained_weights": "none"}
        if validation is None:
            values["validation_split_ratio"] = 0
        texts = {name: str(value) for name, value in {**values, **hyperparameters}.items()}
        (root / "input/config/hyperparameters.json").write_text(json.dumps(texts))
        yield [sys.executable, "-u", "-m", "sagemaker_object_detection", "train", "--root", root]


class Epochs:
    """A contestant whose round is a job: it counts the epochs after the first, which traces and fills caches."""

    def __init__(
        self,
        training: Path,
        images: int,
        epochs: int,
        hyperparameters: Mapping[str, object],
        repository: Path = REPOSITORY,
    ) -> None:
        self._training, self._images, self._epochs = training, images, epochs
        self._repository = repository
        self._hyperparameters = {**hyperparameters, "epochs": epochs}
        self.facts: Mapping[str, Any] = {"images": images, "epochs": epochs}

    def round(self) -> Round:
        with job(self._training, self._hyperparameters) as command:
            lines = follow(command, TRAINED.format(self._epochs - 1), self._repository)
        first, last = find(lines, TRAINED.format(0)), lines[-1]
        assert first is not None
        seconds, cpu_seconds = last.seconds - first.seconds, last.cpu_seconds - first.cpu_seconds
        return Round(seconds, cpu_seconds, last.peak_megabytes, self._images * (self._epochs - 1))


class FirstStep:
    """A contestant whose round is a process from its start to a line: the end of its first training step.

    `milestones` gets, per beginning of a line, when it came in every round.
    """

    MILESTONES: ClassVar = {
        "No checkpoints": "job validated",
        "Training on": "TensorFlow imported",
        "training: ": "images and boxes checked",
        TRAINED.format(0): "first step done",
    }

    def __init__(self, command: Sequence[str | Path], last: str) -> None:
        self._command, self._last = command, last
        self._milestones: dict[str, list[float]] = {}
        follow(command, last)  # reads what is not in memory yet from the disk

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"milestones": self._milestones}

    def round(self) -> Round:
        lines = follow(self._command, self._last)
        for beginning, name in self.MILESTONES.items():
            line = find(lines, beginning)
            if line is not None:
                self._milestones.setdefault(name, []).append(line.seconds)
        return Round(lines[-1].seconds, lines[-1].cpu_seconds, lines[-1].peak_megabytes)


def stock_fit(batch_size: int) -> list[str | Path]:
    """The command of the script that a user would write."""
    return [sys.executable, "-u", HERE / "stock_fit.py", catalogue.DEFAULT_MODEL.name, str(batch_size)]
