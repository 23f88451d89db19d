"""What several rooms' tests share: a small data set, and one real job that trains a tiny model on it."""

import contextlib
import fcntl
import json
import logging
import math
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from tiny_models import add_backbones, add_to_catalogue

from sagemaker_object_detection.job.stop import GRACE_SECONDS, StopSignal

pytest_plugins = ("containers",)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The locked test environment has the CPU's TensorFlow, which on a machine with a GPU would refuse to train.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


TINY_JOB = Path(__file__).with_name("tiny_job.py")
TINY_JOB_VALUES: dict[str, object] = {"model_id": "tiny", "pretrained_weights": "none"}
"""Hyperparameters of a job that takes seconds."""


with contextlib.suppress(ModuleNotFoundError):  # the environments of the SDKs lack it
    from hypothesis import settings

    # The same examples in every run, on a machine of any speed.
    settings.register_profile("tests", derandomize=True, deadline=None, database=None)
    settings.load_profile("tests")


@dataclass(frozen=True)
class Run:
    """A finished process of the command line."""

    root: Path
    code: int
    output: str
    errors: str


def write_job(root: Path, hyperparameters: Mapping[str, object]) -> None:
    """The hyperparameters of a job below `root`, beside whatever data is there."""
    (root / "input/config").mkdir(parents=True, exist_ok=True)
    (root / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters), encoding="utf-8")


T = TypeVar("T")


class StopWhen(StopSignal):
    """Requested as soon as a function says so, in place of a signal."""

    def __init__(self, says: Callable[[], bool]) -> None:
        super().__init__()
        self._says = says

    @property
    def requested(self) -> bool:
        return self._says()

    @property
    def seconds_left(self) -> float:
        return GRACE_SECONDS if self.requested else math.inf


def requested_stop() -> StopSignal:
    """As after a signal that came just now."""
    return StopWhen(lambda: True)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """What `make` returns, given an empty folder: made for all processes of this test run by the first that asks."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    finished = folder.with_suffix(".pickle")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process in which it failed
            folder.mkdir()
            made_now = folder.with_suffix(".partial")
            made_now.write_bytes(pickle.dumps(make(folder)))
            made_now.rename(finished)
    made: T = pickle.loads(finished.read_bytes())
    return made


def child_environment() -> dict[str, str]:
    """For a process of the tests' own script, which imports what the tests can import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def run_verb(*arguments: object, root: Path = Path("/nonexistent")) -> Run:
    """Runs `python -m sagemaker_object_detection ...` as a process of its own."""
    return _run("-m", "sagemaker_object_detection", *arguments, root=root)


def run_tiny(*arguments: object, root: Path = Path("/nonexistent")) -> Run:
    """The same, with the tiny base models in the catalogue."""
    return _run(TINY_JOB, *arguments, root=root)


def _run(*arguments: object, root: Path) -> Run:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=1800, check=False
    )
    return Run(root, done.returncode, done.stdout, done.stderr)


def write_sample(root: Path) -> None:
    from sagemaker_object_detection.sample_data import write_sample_data

    write_sample_data(root / "input/data", images=10, validation_images=5, seed=7)


@pytest.fixture(autouse=True)
def package_log() -> Iterator[None]:
    """A command that runs in the tests' process takes the package's log over; the next test gets it as it was."""
    log = logging.getLogger("sagemaker_object_detection")
    handlers, level, propagate = [*log.handlers], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = handlers, level, propagate


@pytest.fixture
def tiny_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process read and build the tiny base models, such as the one of `trained`."""
    add_to_catalogue(monkeypatch.setattr)
    add_backbones()


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's root with 10 training and 5 validation images; read only."""
    root = tmp_path_factory.mktemp("sample")
    write_sample(root)
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs of the real `train` on the small data set, from random weights of a tiny model; read only."""

    def make(root: Path) -> Run:
        write_sample(root)
        write_job(root, {**TINY_JOB_VALUES, "epochs": "2", "batch_size": "4", "learning_rate": "1e-3", "seed": "3"})
        return run_tiny("train", "--root", root, root=root)

    return once(tmp_path_factory, "trained", make)
