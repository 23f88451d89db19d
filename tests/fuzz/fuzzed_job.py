"""A small valid job as a table of files, and the run of one: what the fuzz tests change and hand to the container."""

import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

INPUT_SECONDS = 10.0
"""How long one input may take. The slowest take a second; the bound is for those that hang."""
ACCEPTED, REFUSED, REFUSED_BY_PLATFORM, REFUSED_REQUEST = 0, 2, 3, 4
"""How a run may end: exit codes, and for a request the last."""
CODES = (ACCEPTED, REFUSED, REFUSED_BY_PLATFORM, REFUSED_REQUEST)
MAX_FAILURE = 1024
MAX_LOG = 100_000
INPUT_MEMORY = 4 * 2**30
"""Bytes that one input may take: what has no end (a device) fails within seconds, and not the machine with it."""
TRAINING, VALIDATION, MODEL = "input/data/training", "input/data/validation", "input/data/model"
CONFIG = "input/config"


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class Pipe:
    pass


@dataclass(frozen=True)
class Folder:
    pass


Content = bytes | Link | Pipe | Folder
Job = dict[str, Content]
"""Path below the root -> what lies there."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. code: None where neither an exit code nor the end of the checks came out, `faults` says why."""

    code: int | None
    faults: tuple[str, ...]
    failure: str = ""
    log: str = ""


class ReachedError(BaseException):
    """What lies after the checks is not run: the input is accepted."""


class TooLongError(BaseException):
    pass


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


def parsed(content: Content) -> Any:
    assert isinstance(content, bytes)
    return json.loads(content)


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def _picture(number: int) -> Image.Image:
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((32, 24), Image.Resampling.BICUBIC)


def _channel(numbers: range) -> Job:
    names = [f"{number}.{'png' if number % 2 else 'jpg'}" for number in numbers]
    content = {
        "images": [
            {"file_name": name, "height": 24, "width": 32, "id": number}
            for number, name in zip(numbers, names, strict=True)
        ],
        "annotations": [
            {"image_id": number, "bbox": [12, 8, 30, 20], "category_id": 7 if number % 2 else 42} for number in numbers
        ],
        "categories": [{"id": 42, "name": "dog"}, {"id": 7, "name": "cat"}],
    }
    job: Job = {"annotations.json": dumped(content)}
    for number, name in zip(numbers, names, strict=True):
        kind = "PNG" if number % 2 else "JPEG"
        job[f"images/{name}"] = encoded(_picture(number), format=kind)
    return job


def _below(folder: str, files: Mapping[str, Content]) -> Job:
    return {f"{folder}/{name}": content for name, content in files.items()}


def valid_job(*, weights: Mapping[str, Content] | None = None, checkpoints: bool = False) -> Job:
    """The files of a job that is right. weights: those of the model channel, if it is to have one."""
    channels = ["training", "validation", *(["model"] if weights else [])]
    hyperparameters = {"epochs": "1", "batch_size": "2", "learning_rate": "0.001", "pretrained_weights": "none"}
    entry = {
        "ContentType": "application/x-image",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        "CompressionType": "None",
    }
    resources = {
        "current_host": "algo-1",
        "current_instance_type": "ml.m5.xlarge",
        "hosts": ["algo-1"],
        "network_interface_name": "eth0",
    }
    job: Job = {
        f"{CONFIG}/hyperparameters.json": dumped(hyperparameters),
        f"{CONFIG}/inputdataconfig.json": dumped({name: dict(entry) for name in channels}),
        f"{CONFIG}/resourceconfig.json": dumped(resources),
        **_below(TRAINING, _channel(range(3))),
        **_below(VALIDATION, _channel(range(10, 12))),
    }
    if checkpoints:
        job[f"{CONFIG}/checkpointconfig.json"] = dumped({"LocalPath": "/opt/ml/checkpoints", "S3Uri": "s3://b/k"})
    return job | _below(MODEL, weights or {})


def packed(files: Mapping[str, bytes]) -> bytes:
    """A .tar.gz of the files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as opened:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write(job: Job, root: Path) -> None:
    """Writes the files below an empty root. What can no longer be written (a file in place of a folder) is left out."""
    root.mkdir(parents=True)
    for name, content in job.items():
        path = root / name
        with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
            match content:
                case bytes():
                    path.write_bytes(content)
                case Link(target):
                    path.symlink_to(target)
                case Pipe():
                    os.mkfifo(path)
                case Folder():
                    path.mkdir(parents=True)


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every path below the folder, with mode, size and time of change; nothing is followed or opened."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(parent, name)
            state = os.lstat(path)
            size = 0 if name in folders else state.st_size
            found[os.path.relpath(path, folder)] = (state.st_mode, size, 0 if name in folders else state.st_mtime_ns)
    return found


class Guard:
    """The surroundings of a root: folders for everything a process may think of writing to, all to be left as they are.

    `root` may be written to by the container, but not what is below its `input`.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = place / "ml"
        for name in ("cwd", "home", "tmp", "cache"):
            (place / name).mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.place / "home"),
            "TMPDIR": str(self.place / "tmp"),
            "SAGEMAKER_OD_CACHE_DIR": str(self.place / "cache" / "weights"),
            "SAGEMAKER_OD_WEIGHTS_DIR": str(self.place / "no-weights"),
            # No address leads anywhere: neither a host's, nor that of a machine's own credentials.
            "AWS_EC2_METADATA_DISABLED": "true",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def prepare(self, job: Job) -> dict[str, tuple[int, int, int]]:
        """Writes the job; returns the listing that `changes` compares with."""
        shutil.rmtree(self.root, ignore_errors=True)
        write(job, self.root)
        return self._watched()

    def changes(self, before: Mapping[str, tuple[int, int, int]]) -> list[str]:
        """What is new, gone or different where nothing may be."""
        after = self._watched()
        return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))

    def _watched(self) -> dict[str, tuple[int, int, int]]:
        # Keras writes its configuration into the home when it is imported, whoever imports it.
        writable = ("ml/model", "ml/output", "ml/checkpoints", "cache", "home/.keras")
        return {
            name: state
            for name, state in listing(self.place).items()
            if not any(name == own or name.startswith(f"{own}/") for own in writable)
        }


def judge(
    code: int | None, log: str, guard: Guard, before: Mapping[str, tuple[int, int, int]], *, is_job: bool = True
) -> Outcome:
    """Holds a finished run against what every run owes its user. is_job: what is refused leaves a failure file."""
    faults = []
    failure_file = guard.root / "output/failure"
    failure = failure_file.read_text(encoding="utf-8") if failure_file.is_file() else ""
    if code not in CODES:
        faults.append(f"exit code {code}")
    for name, text in (("log", log), ("failure file", failure)):
        if "Traceback (most recent" in text or "Logging error" in text:
            faults.append(f"traceback in the {name}")
    if len(log) > MAX_LOG:
        faults.append(f"a log of {len(log)} characters")
    if raw := {character for character in log + failure if not character.isprintable() and character not in "\n\t"}:
        faults.append(f"{sorted(raw)} in the log or the failure file, as it came")
    if not is_job:
        if code == REFUSED and not log:
            faults.append("no sentence")
    elif code in (REFUSED, REFUSED_BY_PLATFORM):
        blame = {2: "UserError: ", 3: "PlatformError: "}[code]
        if not failure.startswith(blame) or len(failure) > MAX_FAILURE or len(failure) < len(blame) + 10:
            faults.append(f"failure file {failure[:80]!r}, {len(failure)} characters")
    elif code == 0 and failure:
        faults.append("a failure file though the job is accepted")
    faults += [f"{name} was written, changed or removed" for name in guard.changes(before)]
    return Outcome(code, tuple(faults), failure, log)


@contextlib.contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Ends what takes too long; what cannot be ended so (C code that hangs) ends the test run, with every stack."""

    def ring(*_: object) -> None:
        raise TooLongError

    previous = signal.signal(signal.SIGALRM, ring)
    faulthandler.dump_traceback_later(3 * seconds, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + INPUT_MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, previous)


def _data_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))


def run_in_process(
    call: Callable[[Path], int], job: Job, guard: Guard, *, is_job: bool = True, seconds: float = INPUT_SECONDS
) -> Outcome:
    """`call` on the root where the job lies, with everything it writes looked at. The caller has seen to it that no
    training begins."""
    before = guard.prepare(job)
    # As strict as a real process's streams: what cannot be encoded is an error there.
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    faults: list[str] = []
    code: int | None = None
    threads = set(threading.enumerate())
    here, umask, temporary = os.getcwd(), os.umask(0o022), tempfile.tempdir
    os.chdir(guard.place / "cwd")
    tempfile.tempdir = str(guard.place / "tmp")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), _bounded(seconds):
            code = call(guard.root)
    except ReachedError:
        code = 0
    except TooLongError:
        faults.append(f"took more than {seconds:g} seconds")
        _release(guard.root)
    except SystemExit as error:
        faults.append(f"SystemExit({error.code!r})")
    except BaseException as error:
        faults.append(f"{type(error).__name__} came out: {error}")
    finally:
        os.chdir(here)
        os.umask(umask)
        tempfile.tempdir = temporary
    out.flush()
    log = out.buffer.getvalue().decode()
    left = {thread for thread in threading.enumerate() if thread.is_alive()} - threads
    outcome = judge(code, log, guard, before, is_job=is_job)
    own = () if code is None and faults else outcome.faults
    stuck = [f"thread {thread.name} still runs" for thread in left if not thread.daemon]
    return Outcome(code, (*faults, *own, *stuck), outcome.failure, log)


def _release(root: Path) -> None:
    """Lets go who waits for a pipe to be opened."""
    for path in root.rglob("*"):
        if path.is_fifo():
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
