"""How much each reader takes in 10 seconds and 1 GB: the largest n of every row of `tests/large_inputs.py`.

    python tests/benchmarks/largest_inputs.py [--seconds 10] [--gigabytes 1] [--most 4000000] [--reader names archives]

A process of its own reads each input; n grows fourfold until one takes longer, needs more memory on top of what Python
and the readers' imports have, or is larger than `--most`. The seconds are the processor's. A row says where it ended,
and what the last n in bounds took. What is refused by its size, before it is read, goes on to the end.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from large_inputs import LARGE, Large, run

WAIT = 6
"""Of how many times the bound a process may take by the clock, which also counts writing the input."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--most", type=int, default=4_000_000)
    parser.add_argument("--reader", nargs="+", help="rows of these readers alone")
    options = parser.parse_args()
    print("| reader | n | largest n | seconds | GB | what ended it |\n|---|---|---|---|---|---|")
    for large in LARGE:
        if options.reader and large.reader not in options.reader:
            continue
        best, ended = (0, 0.0, 0.0), "--most"
        for size in _sizes(large.size, options.most):
            measured = _measure(large, size, options.seconds)
            if measured is None or measured[0] > options.seconds:
                ended = f"time at {size:,}"
                break
            if measured[1] > options.gigabytes:
                ended = f"memory at {size:,}"
                break
            best = (size, *measured)
        size, seconds, gigabytes = best
        print(f"| {large.reader} | {large.what} | {size:,} | {seconds:.1f} | {gigabytes:.2f} | {ended} |", flush=True)


def _sizes(first: int, most: int) -> Iterator[int]:
    while first <= most:
        yield first
        first *= 4


def _measure(large: Large, size: int, seconds: float) -> tuple[float, float] | None:
    """Seconds of the processor, and gigabytes; None if it was ended."""
    context = multiprocessing.get_context("fork")  # what the readers import is there
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_read, args=(large, size, Path(folder), sender))
        process.start()
        sender.close()
        try:
            measured: tuple[float, float] | None = receiver.recv() if receiver.poll(WAIT * seconds) else None
        except EOFError:  # the system has ended it
            measured = None
        process.kill()
        process.join()
    return measured


def _read(large: Large, size: int, folder: Path, sender: Connection) -> None:
    start = _gigabytes("VmRSS")
    call = large.write(folder, size)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # from now on the peak is the reader's
    before = time.process_time()
    run(call)
    sender.send((time.process_time() - before, _gigabytes("VmHWM") - start))


def _gigabytes(name: str) -> float:
    """What the process has (VmRSS), or the most that it had at once (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:")) / 1e6


if __name__ == "__main__":
    main()
