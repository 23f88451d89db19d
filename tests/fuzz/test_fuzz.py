"""Thousands of changed jobs, data sets to convert and requests, each through its own entry: it is accepted, or refused
with a sentence; within seconds and bytes, with nothing left over and nothing touched beside it.

All that happens before a detector is built is real: configuration, hyperparameters, data sets, weights and what model
they are of. Weights of a tiny base model are also installed, in a detector that is built once. The inputs of a seed
come in one order, of which a run takes as many as its seconds allow.

    SOD_FUZZ_SECONDS=3600 SOD_FUZZ_SEED=mine pytest -n 0 -m slow tests/fuzz    a longer run, on other inputs
    SOD_FUZZ_ONLY=1234 pytest -n 0 -m slow tests/fuzz                          one input again, with its log
"""

import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import mutations
import numpy as np
import pytest
from conftest import child_environment
from damaged_requests import handle, serve
from damaged_sources import SOURCES, convert, unchanged_source, write_sources
from fuzzed_job import (
    ACCEPTED,
    INPUT_SECONDS,
    REFUSED,
    REFUSED_BY_PLATFORM,
    REFUSED_REQUEST,
    Guard,
    Outcome,
    ReachedError,
    judge,
    run_in_process,
    valid_job,
)
from mutations import JOBS, KINDS, mutate
from tiny_models import TINY, add_backbones, add_telltales, add_to_catalogue

SECONDS = float(os.environ.get("SOD_FUZZ_SECONDS", "30"))
LEAST = 50
"""Inputs that a run takes however slow the machine is: several of every kind."""
SEED = os.environ.get("SOD_FUZZ_SEED", "2026")
ONLY = os.environ.get("SOD_FUZZ_ONLY")
PROCESSES = max(6, round(SECONDS / 4))
NAMES = {
    ACCEPTED: "accepted",
    REFUSED: "UserError",
    REFUSED_REQUEST: "RequestError",
    REFUSED_BY_PLATFORM: "PlatformError",
}
CALLS = {"sources": convert, "requests": serve, "handler": handle}
"""What takes the inputs of a kind; those of all others are jobs."""
# As `python -m sagemaker_object_detection`, but for what is stopped in this process as well.
_PROGRAM = """
import runpy, sys
import test_fuzz, fuzzed_job, tiny_models
from sagemaker_object_detection import preflight
tiny_models.add_to_catalogue()
look = preflight.preflight
def look_and_stop(*arguments):
    found = look(*arguments)
    if not found.problems:  # else TensorFlow is not even imported
        tiny_models.add_backbones()
        tiny_models.add_telltales()
        test_fuzz.stop_after_the_checks(setattr)
    return found
preflight.preflight = look_and_stop
sys.argv[1:] = ["train", "--root", sys.argv[1]]
try:
    runpy.run_module("sagemaker_object_detection", run_name="__main__", alter_sys=True)
except fuzzed_job.ReachedError:
    sys.exit(0)
"""


def stop_after_the_checks(replace: Callable[[Any, str, Any], None], detector: Any = None) -> None:
    """Replaces what comes after the checks by `ReachedError`, and the network by its absence.

    detector: of the tiny model and two classes; weights that are right, and its, are installed in it.
    """
    from sagemaker_object_detection.errors import PlatformError
    from sagemaker_object_detection.weights import sources

    def no_network(address: str, *_: object) -> NoReturn:
        raise PlatformError(f"{address}: there is no network here")

    def reached(*_: object) -> NoReturn:
        raise ReachedError

    replace(sources, "fetch_hub", no_network)
    replace(sources, "fetch_s3", no_network)
    from sagemaker_object_detection.script_mode import supervisor

    replace(supervisor, "run_script", reached)
    from sagemaker_object_detection.artifact import restore
    from sagemaker_object_detection.devices import replicas

    find_replicas, find_start = replicas.find_replicas, restore.find_start

    def one_host(*_: object) -> object:
        return find_replicas(("algo-1",), "algo-1")  # others would be waited for

    def start_and_stop(weights: Any, hyperparameters: Any, labels: Any) -> NoReturn:
        start = find_start(weights, hyperparameters, labels)
        hyperparameters.for_model(start.base).resolved()
        if detector is not None and (start.base, len(labels)) == (detector.base, detector.num_classes):
            start.install(detector)
        raise ReachedError

    replace(replicas, "find_replicas", one_host)
    replace(restore, "find_start", start_and_stop)


@pytest.fixture(scope="module")
def detector() -> Any:
    from sagemaker_object_detection.models.detector import build_detector

    add_backbones()
    return build_detector(TINY, 2)


@pytest.fixture(scope="module")
def trees(detector: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Data sets that are right, and weights: a Model Garden checkpoint, a SavedModel of the same, and an artifact; all
    of zeros, which take no room in an archive."""
    import tensorflow as tf

    from sagemaker_object_detection.artifact.model_info import model_info
    from sagemaker_object_detection.dataset.annotations import Labels
    from sagemaker_object_detection.weights.checkpoint import SUFFIX
    from sagemaker_object_detection.weights.model_garden import checkpoint_variables

    write_sources(tmp_path_factory.mktemp("sources"))

    def saved(variables: dict[str, Any], prefix: str) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp("weights")
        tf.raw_ops.SaveV2(
            prefix=str(folder / "v"),
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=[np.zeros(variable.shape, np.float32) for variable in variables.values()],
        )
        return {f"{prefix}{path.name[1:]}": path.read_bytes() for path in sorted(folder.iterdir())}

    published = checkpoint_variables(detector)
    own = {f"weights/{v.path.replace('/', '.S')}{SUFFIX}": v for v in detector.variables}
    info = model_info(
        detector.base,
        Labels((7, 42), ("cat", "dog")),
        hyperparameters={},
        weights={},
        fingerprints={},
        epoch=0,
        metrics={},
    )
    import msgspec

    mutations.TREES |= {
        "checkpoint": {"m/pipeline.config": b"model { }", **saved(published, "m/checkpoint/ckpt-0")},
        "saved model": saved(published, "variables/variables"),
        "artifact": {"model_info.json": msgspec.json.encode(info), **saved(own, "1/variables/variables")},
    }


@pytest.mark.slow
def test_whatever_the_input_it_is_accepted_or_refused_with_a_sentence(
    tmp_path: Path,
    trees: None,
    detector: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from sagemaker_object_detection.__main__ import main

    def train(root: Path) -> int:
        return main(["train", "--root", str(root)])

    guard = Guard(tmp_path / "guard")
    for name, value in guard.environment.items():
        monkeypatch.setenv(name, value)
    add_to_catalogue(monkeypatch.setattr)
    add_telltales(monkeypatch.setitem)
    stop_after_the_checks(monkeypatch.setattr, detector)
    for weights in (None, *mutations.TREES.values()):
        unchanged = run_in_process(train, valid_job(weights=weights), guard, seconds=60)
        assert (unchanged.code, unchanged.faults) == (0, ()), unchanged
    for name in SOURCES:
        unchanged = run_in_process(convert, unchanged_source(name), guard, is_job=False)
        assert (unchanged.code, unchanged.faults) == (0, ()), unchanged
    assert _begin_threads(guard) == ACCEPTED
    counts: Counter[tuple[str, str]] = Counter()
    bad: list[str] = []
    slowest, begun = (0.0, 0, ""), time.monotonic()
    for number in [int(ONLY)] if ONLY else itertools.count():
        if number >= LEAST and not ONLY and time.monotonic() - begun > SECONDS:
            break
        kind, what, job = mutate(number, SEED, KINDS)
        started = time.monotonic()
        outcome = run_in_process(CALLS.get(kind, train), job, guard, is_job=kind not in CALLS)
        slowest = max(slowest, (time.monotonic() - started, number, f"{kind}: {what}"))
        counts[kind, NAMES[outcome.code or 0] if not outcome.faults else "FAULT"] += 1
        if outcome.faults:
            bad.append(f"input {number} ({kind}: {what}): {', '.join(outcome.faults)}")
        if ONLY:
            print(kind, what, outcome.code, outcome.log, outcome.failure, sep="\n")
    seconds = time.monotonic() - begun
    with capsys.disabled():
        print(
            f"\nfuzz: {counts.total()} inputs of seed {SEED} in {seconds:.0f} s; {INPUT_SECONDS:g} s allowed for each,"
        )
        print(f"the slowest took {slowest[0]:.1f} s (input {slowest[1]}, {slowest[2][:60]!r})")
        print(_table(counts))
    assert not bad, "\n".join([f"{len(bad)} of {counts.total()} inputs of seed {SEED}:", *bad[:20]])


@pytest.mark.slow
def test_some_of_them_as_real_processes(tmp_path: Path, trees: None, capsys: pytest.CaptureFixture[str]) -> None:
    def run(number: int) -> tuple[str, str, Outcome]:
        guard = Guard(tmp_path / str(number))
        kind, what, job = mutate(number, f"{SEED} processes", JOBS)
        before = guard.prepare(job)
        done = subprocess.run(
            [sys.executable, "-B", "-c", _PROGRAM, guard.root],
            cwd=guard.place / "cwd",
            env=child_environment() | guard.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=9 * INPUT_SECONDS,
            check=False,
        )
        return kind, what, judge(done.returncode, done.stdout.decode(), guard, before)

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(run, range(PROCESSES)))
    counts = Counter(
        (kind, NAMES[outcome.code or 0] if not outcome.faults else "FAULT") for kind, _, outcome in outcomes
    )
    bad = [
        f"{kind}: {what}: {', '.join(outcome.faults)}\n{outcome.log}"
        for kind, what, outcome in outcomes
        if outcome.faults
    ]
    with capsys.disabled():
        print(f"\nfuzz: {PROCESSES} inputs as processes of their own")
        print(_table(counts))
    assert not bad, f"{len(bad)} of {PROCESSES}, the first: {bad[0]}"


def _begin_threads(guard: Guard) -> int:
    """Answers a request, so that the threads which live as long as the process are there."""
    picture = next(content for name, content in valid_job().items() if name.endswith(".png"))
    files = {"input/body": picture, "input/headers.json": b'{"content-type": "image/png", "accept": "*/*"}'}
    guard.prepare(files)
    return serve(guard.root)


def _table(counts: Counter[tuple[str, str]]) -> str:
    columns = (*NAMES.values(), "FAULT")
    rows = [f"{'':16}" + "".join(f"{column:>15}" for column in columns)]
    kinds = sorted({kind for kind, _ in counts})
    rows += [f"{kind:16}" + "".join(f"{counts[kind, column]:15}" for column in columns) for kind in kinds]
    totals = [sum(counts[kind, column] for kind in kinds) for column in columns]
    rows.append(f"{'all':16}" + "".join(f"{total:15}" for total in totals))
    return "\n".join(rows)
