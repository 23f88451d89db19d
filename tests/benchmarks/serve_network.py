#!/usr/bin/env python3
"""`serve` of the same model with its network file and without, on the CPU: ONNX Runtime beside TensorFlow.

    python tests/benchmarks/serve_network.py --model MODEL [MODEL ...] --images FOLDER [--clients 8] [--rounds 10]
        [--seconds 5] [--work FOLDER]

MODEL is a model directory, or an archive of a published base model, which has COCO's classes. Two servers, each a
process of its own, answer in turn: an image at a time for one client, then as many as they can for --clients. It
prints the median of one image's time, the images of a second, both by server and as the ratio of the rounds (median,
least and most), and how far the scores of the same image are apart.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from cpu_runtimes import model_directory
from servers import serving
from serving import Client

ALONE = 20
"""Images of one client in a round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=Path, required=True, help="JPEG and PNG files, at any depth")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5, help="for all clients, in a round")
    parser.add_argument("--work", type=Path, default=Path("serve-network-benchmark"))
    options = parser.parse_args()
    paths = sorted(path for path in options.images.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))[:ALONE]
    images = [path.read_bytes() for path in paths]
    for number, model in enumerate(options.model):
        folder, classes = _with_and_without(model, options.work / str(number))
        with ExitStack() as stack:
            addresses = {name: stack.enter_context(serving(folder / name)).address for name in ("without", "with")}
            print(f"{model}: {classes} classes, {options.clients} clients, {options.rounds} rounds")
            print(_table(addresses, images, options.clients, options.rounds, options.seconds), end="\n\n", flush=True)


def _with_and_without(model: Path, work: Path) -> tuple[Path, int]:
    """A folder with the model twice, and its number of classes."""
    from sagemaker_object_detection.artifact.export import ASSETS, SAVED_MODEL
    from sagemaker_object_detection.artifact.network_file import write_network

    model, classes = model_directory(model, work)
    for name in ("with", "without"):
        shutil.rmtree(work / name, ignore_errors=True)
        shutil.copytree(model, work / name)
        shutil.rmtree(work / name / SAVED_MODEL / ASSETS, ignore_errors=True)
    write_network(work / "with")
    return work, classes


def _table(addresses: dict[str, str], images: Sequence[bytes], clients: int, rounds: int, seconds: float) -> str:
    scores = {name: _scores(address, images) for name, address in addresses.items()}
    off = max(abs(a - b) for mine, its in zip(*scores.values(), strict=True) for a, b in zip(mine, its, strict=True))
    alone: dict[str, list[float]] = {name: [] for name in addresses}
    together: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(rounds):
        for name, address in addresses.items():
            alone[name].append(_alone(address, images))
        for name, address in addresses.items():
            together[name].append(_together(address, images, clients, seconds))
    lines = ["| | one image, p50 ms | images a second |", "|---|---|---|"]
    for name in addresses:
        time_of_one, rate = 1000 * statistics.median(alone[name]), statistics.median(together[name])
        lines.append(f"| {name} the file | {time_of_one:.1f} | {rate:.1f} |")
    faster = [_range(a / b for a, b in zip(alone["without"], alone["with"], strict=True))]
    faster.append(_range(b / a for a, b in zip(together["without"], together["with"], strict=True)))
    return "\n".join([*lines, f"| times as fast | {' | '.join(faster)} |", f"Scores are off by at most {off:.2g}."])


def _scores(address: str, images: Sequence[bytes]) -> list[list[float]]:
    client = Client(address)
    return [json.loads(client.ask(image))["scores"][:10] for image in images]


def _alone(address: str, images: Sequence[bytes]) -> float:
    client, times = Client(address), []
    for image in images:
        start = time.perf_counter()
        client.ask(image)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _together(address: str, images: Sequence[bytes], clients: int, seconds: float) -> float:
    counts = [0] * clients
    start = time.perf_counter()

    def ask(place: int) -> None:
        client = Client(address)
        while time.perf_counter() - start < seconds:
            client.ask(images[(place + counts[place]) % len(images)])
            counts[place] += 1

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))
    return sum(counts) / (time.perf_counter() - start)


def _range(ratios: Iterable[float]) -> str:
    found = sorted(ratios)
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


if __name__ == "__main__":
    main()
