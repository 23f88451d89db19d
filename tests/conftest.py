"""What several rooms' tests share: a small data set, and one real job that trains on it."""

import fcntl
import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest_plugins = ("containers",)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The locked test environment has the CPU's TensorFlow, which on a machine with a GPU would refuse to train.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


@dataclass(frozen=True)
class Run:
    """A finished process of the command line."""

    root: Path
    code: int
    output: str
    errors: str


def write_job(root: Path, hyperparameters: dict[str, object]) -> None:
    """The hyperparameters of a job below `root`, beside whatever data is there."""
    (root / "input/config").mkdir(parents=True, exist_ok=True)
    (root / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters), encoding="utf-8")


def run_verb(*arguments: object, root: Path = Path("/nonexistent")) -> Run:
    """Runs `python -m sagemaker_object_detection ...` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "sagemaker_object_detection", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    return Run(root, done.returncode, done.stdout, done.stderr)


def write_sample(root: Path) -> None:
    from sagemaker_object_detection.sample_data import write_sample_data

    write_sample_data(root / "input/data", images=10, validation_images=5, seed=7)


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's root with 10 training and 5 validation images; read only."""
    root = tmp_path_factory.mktemp("sample")
    write_sample(root)
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs of the real `train` on the small data set, from random weights; read only.

    Where several processes share the tests, the first that needs it trains for all of them.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    root, finished = folder / "trained", folder / "trained.pickle"
    with (folder / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            write_sample(root)
            write_job(
                root,
                {"pretrained_weights": "none", "epochs": "2", "batch_size": "4", "learning_rate": "1e-3", "seed": "3"},
            )
            finished.write_bytes(pickle.dumps(run_verb("train", "--root", root, root=root)))
    run: Run = pickle.loads(finished.read_bytes())
    return run
