"""`serve` under attack: what 100 honest clients feel of 500 idle and 200 dripping connections, and what it costs.

    python tests/benchmarks/hostile_clients.py --model job/model --images FOLDER [--seconds 60] [--rounds 2]

Rounds without and with the attack take turns, on one server. The attackers are one process of their own: connections
that say nothing, and connections that send a byte a second, half of them of headers, half of a body of 20 MB that they
have announced. One that is closed is opened again. Honest clients keep a connection each and ask for one image after
the other; pings come on a new connection each, four a second.
"""

import argparse
import asyncio
import http.client
import itertools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from serving import Client, _percentiles

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from servers import Server
from servers import serving as started_server

HEADERS = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
BODY = HEADERS + b"Content-Length: 20000000\r\n\r\n\x89PNG\r\n\x1a\n"
DRIPPING = HEADERS + b"X-Drip: "


def main() -> None:
    if sys.argv[1:2] == ["attack"]:
        asyncio.run(_attack(*map(int, sys.argv[2:])))
    if sys.argv[1:2] == ["ping"]:
        _ping(int(sys.argv[2]), float(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="JPEG and PNG files, at any depth")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--idle", type=int, default=500)
    parser.add_argument("--dripping", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    paths = sorted(path for path in options.images.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))[:64]
    images = [path.read_bytes() for path in paths]
    p99: dict[bool, list[float]] = {False: [], True: []}
    with started_server(options.model) as server:
        _round(server, images, options.clients, options.seconds / 4)  # fills caches and pools
        for number in range(2 * options.rounds):
            attacked = bool(number % 2)
            command = [sys.executable, __file__, "attack", server.port, options.idle, options.dripping]
            attack = subprocess.Popen(list(map(str, command))) if attacked else None
            try:
                if attack is not None:
                    time.sleep(5)
                times, dropped, pings = _round(server, images, options.clients, options.seconds)
                process = psutil.Process(server.process.pid)
                megabytes, files = process.memory_info().rss / 2**20, process.num_fds()
            finally:
                if attack is not None:
                    attack.kill()
                    attack.wait()
            p99[attacked].append(statistics.quantiles(times, n=100)[98])
            print(
                f"{'attack' if attacked else 'alone ':6} {_percentiles(times)}, {len(times) / options.seconds:6.1f} a "
                f"second, {dropped} dropped; slowest ping {1000 * max(pings):5.0f} ms; "
                f"{megabytes:6.0f} MB, {files:4} files",
                flush=True,
            )
    ratio = statistics.median(p99[True]) / statistics.median(p99[False])
    print(f"p99 under attack / p99 alone: {ratio:.2f}")


def _round(
    server: Server, images: Sequence[bytes], clients: int, seconds: float
) -> tuple[list[float], int, list[float]]:
    """Latencies of the answers, how many requests had none, and latencies of pings."""
    times: list[float] = []
    dropped: list[str] = []
    turn, end = itertools.count(), time.perf_counter() + seconds
    # Apart from the many clients of this process, which wait for each other.
    pinging = subprocess.Popen(
        [sys.executable, __file__, "ping", str(server.port), str(seconds)], stdout=subprocess.PIPE, text=True
    )

    def ask() -> None:
        client = Client(server.address)
        while (start := time.perf_counter()) < end:
            try:
                client.ask(images[next(turn) % len(images)])
            except (OSError, ValueError, http.client.HTTPException) as error:
                dropped.append(str(error))
                client = Client(server.address)
            else:
                times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if dropped:
        print(f"dropped: {dropped[0]}", file=sys.stderr)
    return times, len(dropped), [float(line) for line in pinging.communicate()[0].split()]


def _ping(port: int, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/ping")
        assert connection.getresponse().status == 200
        connection.close()
        print(time.perf_counter() - start)
        time.sleep(0.25)


async def _attack(port: int, idle: int, dripping: int) -> None:
    await asyncio.gather(*(_keep_open(port, number - idle) for number in range(idle + dripping)))


async def _keep_open(port: int, number: int) -> None:
    """One attacker: idle for a negative number, else dripping."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if number < 0:
                await reader.read()
            else:
                writer.write(BODY if number % 2 else DRIPPING)
                while not reader.at_eof():
                    await asyncio.sleep(1)
                    writer.write(b"x")
                    await writer.drain()
            writer.close()
        except OSError:
            await asyncio.sleep(1)


if __name__ == "__main__":
    main()
