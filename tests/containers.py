"""Docker for the tests: an engine, the image, one real job, and containers that are gone when a test is over.

tests/conftest.py names this module as a plug-in, so every test can ask for `engine`, `image` and `container_job`.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import write_job
from shared import SHARED_DIR

PROJECT = Path(__file__).parents[1]
BASE = "python:3.11-slim-bookworm"
LABEL = "sagemaker-object-detection.test"
"""What every container and network of these tests carries, so that .ci/run finds them after a test run was killed."""
SMALL_JOB: dict[str, object] = {"pretrained_weights": "none", "epochs": "2", "batch_size": "4", "seed": "3"}
"""Hyperparameters of a job on the sample of 15 images. It trains the default base model, which is the smallest one."""
UNPRIVILEGED = ("--read-only", "--tmpfs", "/tmp", "--user", "1234:1234")
"""Another user and a read-only root file system. SageMaker runs containers as root and lets them write anywhere."""
_ENGINE_PID = Path("/var/run/docker.pid")


def docker(*arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """A docker command, finished; stdout and stderr apart."""
    return subprocess.run(
        ["docker", *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """An engine with the base image: the running one, else one that the shared material brings; without, tests skip.

    An engine that was started here is stopped again.
    """
    if _base_is_there():
        yield
        return
    script = SHARED_DIR / "docker/engine-up.sh"
    if not (script.is_file() and os.geteuid() == 0):
        pytest.skip(f"needs a Docker engine that has or can pull {BASE}; to start one takes root and {script}")
    ran_before = _engine_answers()
    started = subprocess.run(["bash", script], capture_output=True, text=True, timeout=900, check=False)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield
    finally:
        if not ran_before:
            _stop_engine()


def _engine_answers() -> bool:
    try:
        return docker("info").returncode == 0
    except FileNotFoundError:
        return False


def _base_is_there() -> bool:
    return _engine_answers() and (
        docker("image", "inspect", BASE).returncode == 0 or docker("pull", BASE, timeout=300).returncode == 0
    )


def _stop_engine() -> None:
    if not _ENGINE_PID.is_file():
        return
    os.kill(int(_ENGINE_PID.read_text()), signal.SIGTERM)
    deadline = time.monotonic() + 60
    while _ENGINE_PID.exists() and time.monotonic() < deadline:
        time.sleep(0.2)


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The CPU image, built from the working tree by the script that users build it with."""
    return build("--variant", "cpu")


@pytest.fixture(scope="session")
def gpu_image(engine: None) -> str:
    """The GPU image: 6.6 GB, which minutes go into where nothing of it is there yet."""
    return build("--variant", "gpu")


def build(*options: object) -> str:
    """Builds an image with build_image.sh and returns its tag."""
    command = [str(PROJECT / "scripts/build_image.sh"), *map(str, options)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=2400, check=False)
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    return built.stdout.splitlines()[-1].removeprefix("image: ").partition(",")[0]


@dataclass(frozen=True)
class Finished:
    """A container that has ended: `code` is its exit code, `seconds` the time from `docker run` to its end."""

    code: int
    output: str
    errors: str
    seconds: float
    oom_killed: bool


class Container:
    """A container that runs in the background."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._started = time.monotonic()

    def wait_for(self, text: str, timeout: float = 300) -> None:
        """Until a line of its log contains `text`; fails when the container ends before, or after `timeout` seconds."""
        follow = subprocess.Popen(
            ["timeout", str(timeout), "docker", "logs", "--follow", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seen = []
        with follow:
            assert follow.stdout is not None
            for line in follow.stdout:
                seen.append(line)
                if text in line:
                    break
            else:
                pytest.fail(f"{self.name} never said {text!r}:\n{''.join(seen)}")
            follow.terminate()

    def finish(self, timeout: float = 300) -> Finished:
        """Waits for its end, which comes as a subprocess.TimeoutExpired where it does not come."""
        code = int(docker("wait", self.name, timeout=timeout).stdout)
        seconds = time.monotonic() - self._started
        logs = docker("logs", self.name)
        killed = docker("inspect", "--format", "{{.State.OOMKilled}}", self.name).stdout.strip() == "true"
        return Finished(code, logs.stdout, logs.stderr, seconds, killed)


@contextmanager
def running(
    image: str, *options: object, command: Sequence[object] = (), root: Path | None = None
) -> Iterator[Container]:
    """`docker run IMAGE` in the background, with `root` for /opt/ml; removed at the end, whatever happens.

    There is no network but what `options` give: `--network none` is what SageMaker's network isolation comes to.
    """
    name = f"sagemaker-object-detection-test-{uuid.uuid4().hex[:12]}"
    network = () if "--network" in options else ("--network", "none")
    mount = () if root is None else ("--volume", f"{root}:/opt/ml")
    container = Container(name)
    try:
        started = docker(
            "run", "--detach", "--name", name, "--label", LABEL, *network, *mount, *options, image, *command
        )
        assert started.returncode == 0, started.stderr
        yield container
    finally:
        docker("rm", "--force", "--volumes", name)


def run(
    image: str, *options: object, command: Sequence[object] = (), root: Path | None = None, timeout: float = 300
) -> Finished:
    """`docker run IMAGE` to its end."""
    with running(image, *options, command=command, root=root) as container:
        return container.finish(timeout)


def everything_below(root: Path) -> Mapping[str, os.stat_result]:
    """Every file and folder below `root`, by its path relative to it."""
    return {str(path.relative_to(root)): path.stat() for path in sorted(root.rglob("*"))}


@dataclass(frozen=True)
class ContainerJob:
    """A container that trained, and the folder that was its /opt/ml."""

    end: Finished
    root: Path


@pytest.fixture(scope="session")
def container_job(image: str, sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ContainerJob:
    """SMALL_JOB as SageMaker runs it with network isolation: as root, without a network; read only."""
    root = tmp_path_factory.mktemp("container-job")
    shutil.copytree(sample_root / "input/data", root / "input/data")
    write_job(root, SMALL_JOB)
    end = run(image, root=root)
    assert end.code == 0, end.output + end.errors
    return ContainerJob(end, root)
