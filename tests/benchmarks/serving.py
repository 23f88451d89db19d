"""`serve` under many clients, beside the bare call of the same model: what is dropped or mixed up, and how fast it is.

    python tests/benchmarks/serving.py --model job/model --images FOLDER [--clients 200] [--seconds 30] [--address URL]

Starts the server as a process of its own (or asks the one at --address, such as a container's), learns each image's
answer from a single request, and then lets clients with a connection each ask for images in turn. An answer counts as
mixed up when it is not that of its image: images whose answers are too alike to be told apart are left out. The bare
call is the SavedModel's own, one image at a time in a process of its own, before and after.
"""

import argparse
import http.client
import itertools
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from servers import serving

HEADERS = {"Content-Type": "application/x-image", "Accept": "application/json"}
TOLERANCE = 1e-3
"""Of a score: the same image in batches of other sizes differs by some 1e-6."""
BARE = """
import sys, time
import tensorflow as tf
model, *paths = sys.argv[1:]
detect = tf.saved_model.load(model + "/1").signatures["encoded_images"]
images = [tf.constant([open(path, "rb").read()]) for path in paths]
detect(images[0])
for image in images:
    start = time.perf_counter()
    detect(image)["detection_scores"].numpy()
    print(time.perf_counter() - start)
"""


class Client:
    """One connection."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def ask(self, image: bytes) -> bytes:
        self._connection.request("POST", "/invocations", image, HEADERS)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ValueError(f"{response.status}: {body.decode()}")
        return body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="JPEG and PNG files, at any depth")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--address", help="of a server that serves --model already")
    options = parser.parse_args()
    paths = sorted(path for path in options.images.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))[:64]
    bare = _bare(options.model, paths)
    with ExitStack() as stack:
        address = options.address or stack.enter_context(serving(options.model)).address
        client = Client(address)
        answers = {path.read_bytes(): client.ask(path.read_bytes()) for path in paths}
        images = _distinct(answers)
        if len(images) < 2:
            parser.error(f"{len(images)} of {len(paths)} images can be told apart by their answers; train for longer")
        alone = []
        for image in images:
            start = time.perf_counter()
            client.ask(image)
            alone.append(time.perf_counter() - start)
        times, dropped, mixed_up, seconds = _load(address, options.clients, options.seconds, images, answers)
    bare += _bare(options.model, paths)
    throughput, bare_throughput = len(times) / seconds, len(bare) / sum(bare)
    print(f"{len(images)} images that can be told apart, of {len(paths)}")
    print(f"bare call                {_percentiles(bare)}, {bare_throughput:.1f} images a second")
    print(f"one client               {_percentiles(alone)}")
    print(f"{options.clients:3} clients, {seconds:3.0f} s      {_percentiles(times)}, {throughput:.1f} images a second")
    print(f"{len(times)} answered, {len(dropped)} dropped, {mixed_up} mixed up {sorted(set(dropped))[:3] or ''}")
    print(f"one client's p50 / bare p50: {statistics.median(alone) / statistics.median(bare):.2f}")
    print(f"throughput / bare throughput: {throughput / bare_throughput:.2f}")
    sys.exit(1 if dropped or mixed_up else 0)


def _bare(model: Path, paths: Sequence[Path]) -> list[float]:
    done = subprocess.run([sys.executable, "-c", BARE, model, *paths], capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def _distinct(answers: dict[bytes, bytes]) -> list[bytes]:
    """Images of which no two have the same answer."""
    chosen: list[bytes] = []
    for image, answer in answers.items():
        if not any(_alike(answer, answers[other]) for other in chosen):
            chosen.append(image)
    return chosen


def _alike(answer: bytes, other: bytes) -> bool:
    if answer == other:
        return True
    scores, others = json.loads(answer)["scores"], json.loads(other)["scores"]
    return len(scores) == len(others) and all(
        abs(score - also) < TOLERANCE for score, also in zip(scores, others, strict=True)
    )


def _load(
    address: str, clients: int, seconds: float, images: Sequence[bytes], answers: dict[bytes, bytes]
) -> tuple[list[float], list[str], int, float]:
    """Latencies of what was answered, why others were not, how many were mixed up, and the seconds it all took."""
    times: list[float] = []
    dropped: list[str] = []
    mixed_up: list[bytes] = []
    turn = itertools.count()
    end = time.perf_counter() + seconds

    def ask() -> None:
        client = Client(address)
        while (start := time.perf_counter()) < end:
            image = images[next(turn) % len(images)]
            try:
                answer = client.ask(image)
            except (OSError, ValueError, http.client.HTTPException) as error:
                dropped.append(f"{type(error).__name__}: {error}")
                client = Client(address)
                continue
            times.append(time.perf_counter() - start)
            if not _alike(answer, answers[image]):
                mixed_up.append(image)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, dropped, len(mixed_up), time.perf_counter() - start


def _percentiles(times: Sequence[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {1000 * cuts[49]:7.0f} ms, p99 {1000 * cuts[98]:7.0f} ms"


if __name__ == "__main__":
    main()
