"""The training step, the input pipeline and the epoch of this source beside those of an earlier commit, in turn.

    PYTHONPATH=src python tests/benchmarks/commits.py COMMIT [--only step pipeline epoch] [--repeat 5] [--quick]

Both run with the Python of this process, each with its own source and benchmark scripts. Ratios are of images a second,
round by round: above 1 this source is faster.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pictures import write_channel
from rounds import REPOSITORY, Contestant, alternate, ratios, worker
from timed_jobs import Epochs

OURS = "our_rounds.py"
BATCH_SIZE = 8


@dataclass(frozen=True)
class Size:
    """How much a round takes."""

    steps: int
    batches: int
    images: int
    epochs: int


FULL, QUICK = Size(steps=10, batches=40, images=160, epochs=3), Size(steps=1, batches=2, images=16, epochs=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--only", nargs="+", choices=tuple(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="does it run? The figures mean nothing")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder, checked_out(options.commit) as earlier:
        channel = write_channel(Path(folder), size.images, seed=0)
        print(f"| | this, images/s | {options.commit}, images/s | ratio (least to most) | CPU time | peak MB |")
        print("|---|---|---|---|---|---|", flush=True)
        for name in options.only:
            with ExitStack() as stack:
                contestants = {tree: CONTESTANTS[name](stack, tree, channel, size) for tree in (REPOSITORY, earlier)}
                measured = alternate(
                    {str(tree): contestant for tree, contestant in contestants.items()}, options.repeat
                )
            ours, theirs = measured[str(REPOSITORY)], measured[str(earlier)]
            faster = ratios(ours, theirs, lambda taken: taken.throughput)
            cpu = ratios(ours, theirs, lambda taken: taken.cpu_per_image)
            speeds = " | ".join(f"{found.median(lambda taken: taken.throughput):.2f}" for found in (ours, theirs))
            peaks = ", ".join(f"{found.rounds[-1].peak_megabytes:.0f}" for found in (ours, theirs))
            print(f"| {name} | {speeds} | {faster} | {cpu} | {peaks} |", flush=True)


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit of this repository."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "-C", REPOSITORY, "archive", commit], check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", folder], check=True, input=archive.stdout)
        yield Path(folder)


def _step(variant: str) -> "Make":
    def make(stack: ExitStack, tree: Path, channel: Path, size: Size) -> Contestant:
        spec = {"what": "step", "variant": variant, "batch_size": BATCH_SIZE, "steps": size.steps}
        return stack.enter_context(worker(OURS, spec, sys.executable, tree))

    return make


def _pipeline(stack: ExitStack, tree: Path, channel: Path, size: Size) -> Contestant:
    spec = {"what": "pipeline", "channel": str(channel), "batch_size": BATCH_SIZE, "steps": size.batches}
    spec |= {"waiting": size.batches, "augment": True, "keep": True}
    return stack.enter_context(worker(OURS, spec, sys.executable, tree))


def _epoch(stack: ExitStack, tree: Path, channel: Path, size: Size) -> Contestant:
    return Epochs(channel, size.images, size.epochs, {"batch_size": BATCH_SIZE}, tree)


Make = Callable[[ExitStack, Path, Path, Size], Contestant]
CONTESTANTS: Mapping[str, Make] = {
    "step": _step("ours"),
    "step, normalization frozen": _step("ours frozen"),
    "pipeline": _pipeline,
    "epoch": _epoch,
}


if __name__ == "__main__":
    main()
