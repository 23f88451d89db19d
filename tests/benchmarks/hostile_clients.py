"""`serve` under attack: what 100 honest clients feel of others who want it to wait, and what that costs.

    python tests/benchmarks/hostile_clients.py --model job/model --images FOLDER [--seconds 60] [--rounds 2]

Rounds without and with the attack take turns, on one server. The attackers are one process of their own: connections
that say nothing; connections that send a byte a second, half of them of headers, half of a body of 20 MB that they
have announced; and bombs, images of 20,000 scans and of headers of 20 MB, one after the other on each connection. One
that is closed is opened again. Honest clients keep a connection each and ask for one image after the other; pings come
on a new connection each, four a second.
"""

import argparse
import asyncio
import http.client
import itertools
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
from serving import Client, _percentiles

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
from long_images import LONG
from servers import Server
from servers import serving as started_server

HEADERS = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
BODY = HEADERS + b"Content-Length: 20000000\r\n\r\n\x89PNG\r\n\x1a\n"
BOMBS = (("scans", 20_000), ("fill bytes", 2_000_000), ("scans", 20_000), ("segments", 5_000_000))
"""The kind of each, and how many of them."""
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
    parser.add_argument("--bombs", type=int, default=10, help="connections that post them")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    paths = sorted(path for path in options.images.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))[:64]
    images = [path.read_bytes() for path in paths]
    p99: dict[bool, list[float]] = {False: [], True: []}
    with started_server(options.model) as server, tempfile.TemporaryFile("w+") as answers:
        process = psutil.Process(server.process.pid)
        _round(server, images, options.clients, options.seconds / 4)  # fills caches and pools
        for number in range(2 * options.rounds):
            attacked = bool(number % 2)
            numbers = [server.port, options.idle, options.dripping, options.bombs]
            command = [sys.executable, __file__, "attack", *map(str, numbers)]
            attack = subprocess.Popen(command, stdout=answers, text=True) if attacked else None
            try:
                while attack is not None and process.num_fds() < options.idle + options.dripping:
                    time.sleep(0.1)
                times, dropped, pings = _round(server, images, options.clients, options.seconds)
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
        answers.seek(0)
        print("answers to bombs:", dict(Counter(answers.read().splitlines())))
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


async def _attack(port: int, idle: int, dripping: int, bombs: int) -> None:
    files = [LONG[kind]((1600, 1200), amount) for kind, amount in BOMBS]
    posts = [HEADERS + f"Content-Length: {len(file)}\r\n\r\n".encode() + file for file in files]
    waiting = [_keep_open(port, number - idle) for number in range(idle + dripping)]
    bombing = [_throw(port, number, posts) for number in range(bombs)]
    await asyncio.gather(*waiting, *bombing)


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


async def _throw(port: int, number: int, posts: Sequence[bytes]) -> None:
    """One attacker who posts one after the other, each at another first, and prints the status of every answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for turn in itertools.count(number):
        try:
            post = memoryview(posts[turn % len(posts)])
            for start in range(0, len(post), 2**16):  # written at once, it would be copied, on the server's cores
                writer.write(post[start : start + 2**16])
                await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(head.lower().split("content-length:")[1].split()[0]))
            print(head.split()[1], flush=True)
        except (OSError, asyncio.IncompleteReadError):
            print("closed", flush=True)
            writer.close()
            await asyncio.sleep(0.1)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)


if __name__ == "__main__":
    main()
