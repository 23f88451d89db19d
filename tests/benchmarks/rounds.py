"""One round of a measurement, and processes that take rounds in turn.

A worker is a process of its own. It prepares what it measures (imports, weights, tracing and one warm-up round are not
counted), says so in one line of JSON with what is worth knowing of it, and then takes one round for every line it is
sent, and answers with one line of JSON. Workers that are compared are all started first and then take rounds in turn,
A B A B ..., so that what else the machine does falls on all of them alike; the ratio is formed round by round, and its
median counts. The others sleep meanwhile and cost no processor time, only memory.

Needs nothing but the standard library: the peers' environment imports it too.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
WorkerSpec = tuple[str, Mapping[str, Any], Path | str] | tuple[str, Mapping[str, Any], Path | str, Path]
"""The script of a worker, what it is to measure, the Python that runs it, and where not this one, the repository."""


@dataclass(frozen=True)
class Round:
    """What one round came to. `images` is 0 where there are none to count; `peak` is of the process so far."""

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    images: int = 0

    @property
    def throughput(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    @property
    def cpu_per_image(self) -> float:
        return self.cpu_seconds / self.images


class Contestant(Protocol):
    """Whatever takes rounds. `facts` says what it is, and what is worth knowing besides its rounds."""

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def round(self) -> Round: ...


@dataclass(frozen=True)
class Prepared:
    """What a worker measures: `take` is a round and returns how many images it took; `before` comes before each round
    and is not counted."""

    take: Callable[[], int]
    facts: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None


def serve(prepare: Callable[[Mapping[str, Any]], Prepared]) -> None:
    """The main function of a worker: its only argument is a JSON object, which `prepare` is handed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    began = time.perf_counter()
    prepared = prepare(json.loads(sys.argv[1]))
    preparation = time.perf_counter() - began
    prepared.take()
    first_round = time.perf_counter() - began - preparation
    facts = {**prepared.facts, "preparation_s": preparation, "first_round_s": first_round}
    print(json.dumps({**facts, "peak_megabytes": peak_megabytes()}), file=answers, flush=True)
    for _ in sys.stdin:
        prepared.before()
        wall, cpu = time.perf_counter(), time.process_time()
        images = prepared.take()
        found = Round(time.perf_counter() - wall, time.process_time() - cpu, peak_megabytes(), images)
        print(json.dumps(asdict(found)), file=answers, flush=True)


def peak_megabytes(process: int | str = "self") -> float:
    """The most memory a process was resident with; unlike getrusage's, not inherited from its parent."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


class Worker:
    """A contestant that is a process; `facts` are those of its first line."""

    def __init__(self, process: "subprocess.Popen[str]", name: str, log: IO[str]) -> None:
        self._process, self._name, self._log = process, name, log
        self.facts: Mapping[str, Any] = self._answer()

    def round(self) -> Round:
        assert self._process.stdin is not None
        print("go", file=self._process.stdin, flush=True)
        return Round(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            last = "".join(self._log.readlines()[-20:])
            sys.exit(f"{last}\n{self._name} ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def worker(
    script: str, spec: Mapping[str, Any], python: Path | str = sys.executable, repository: Path = REPOSITORY
) -> Iterator[Worker]:
    """A worker that runs a benchmark script of the repository, until the context is left."""
    name = f"{script} '{json.dumps(spec)}'"
    print(f"  starting {name}", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [python, repository / "tests/benchmarks" / script, json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(repository),
        ) as process,
    ):
        try:
            yield Worker(process, name, log)
        finally:
            process.kill()


def environment(repository: Path = REPOSITORY) -> dict[str, str]:
    """Of every process that is measured."""
    found = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(repository / "src"), os.environ.get("PYTHONPATH")]))
    return found


@dataclass(frozen=True)
class Measured:
    """A contestant's facts and the rounds it took."""

    facts: Mapping[str, Any]
    rounds: tuple[Round, ...]

    def median(self, figure: Callable[[Round], float]) -> float:
        return statistics.median(figure(found) for found in self.rounds)


def alternate(contestants: Mapping[str, Contestant], repeat: int) -> dict[str, Measured]:
    """Lets contestants take `repeat` rounds each, in turn."""
    rounds: dict[str, list[Round]] = {name: [] for name in contestants}
    for number in range(repeat):
        for name, contestant in contestants.items():
            rounds[name].append(contestant.round())
        print(f"  round {number + 1} of {repeat}", file=sys.stderr, flush=True)
    return {name: Measured(contestants[name].facts, tuple(found)) for name, found in rounds.items()}


def measure_workers(specs: Mapping[str, WorkerSpec], repeat: int) -> dict[str, Measured]:
    """Starts one worker after the other and lets them take rounds in turn."""
    with ExitStack() as stack:
        return alternate({name: stack.enter_context(worker(*spec)) for name, spec in specs.items()}, repeat)


@dataclass(frozen=True)
class Spread:
    """The ratios of rounds that were taken in turn."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def ratios(ours: Measured, other: Measured, figure: Callable[[Round], float]) -> Spread:
    """`figure` of ours divided by that of the other, round by round."""
    return spread([figure(a) / figure(b) for a, b in zip(ours.rounds, other.rounds, strict=True)])


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
