"""JSON files with values, types, keys and syntax changed."""

import copy
import json
from typing import Any

from damaged_files import Random, bytes_change, garbage, some
from fuzzed_job import Job

TEXTS = (
    *("", " ", "0", "-1", "1", "1.0", "1e3", "1e999", "-1e999", "1e-400", "nan", "inf", "-Infinity", "0x10", "1_000"),
    *("True", "false", "None", "null", "Auto", "auto", "yes", "[]", "{}", '"quoted"', "'single'", '""', '"', "1,5"),
    *(
        "٣",
        "\uff11\uff12",
        "½",
        "²",
        "\U0001d7db",
        "🐕",
        "e\u0301",
        "\u202egnp.exe",
        "\ufeff1",
        "\u2028",
        "\x00",
        "a\x00b",
        "\x1b[2J",
    ),
    *("\ud800", "a\nERROR: forged", "%s%n%d", "{0}", "${HOME}", "$(touch evil)", "; touch evil", "x" * 10_000),
    *("9" * 5_000, "../../../etc/passwd", "/etc/passwd", "/dev/zero", "/proc/self/mem", "~", ".", "..", "C:\\evil"),
    *("s3://bucket/key", "s3://", "https://example.invalid/a.tar.gz", "http://", "file:///etc/passwd", "://", "a://b"),
    *("https://tfhub.dev/tensorflow/ssd_mobilenet_v2/fpnlite_320x320/1", "http://[::1", "http://a:b@c:99999999/"),
)
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 7, 31, 32, 33, 255, 2**31 - 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400),
    *(0.0, -0.0, 0.5, 1e-320, 1e308, -1e308, 31.999, 1e15),
    *(float("nan"), float("inf"), float("-inf")),
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    *NUMBERS,
    *(None, True, False, [], {}, [1], [[]], {"a": 1}, [None] * 5, {"": ""}, [[[[[]]]]], [1, 2, 3, 4], ["a", 1, None]),
)
# JSON: first the tree, then its text.


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    found = []
    todo = [tree]
    while todo:
        node = todo.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            todo.append(node[key])
    return found


def _nested(depth: int, rng: Random) -> str:
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    return opening * depth + "1" + closing * depth


RAW = "\ufffcraw:"
"""Begins a text that is written without its quotes: what `json.dumps` would never write."""


def _json_change(rng: Random, tree: list[Any]) -> str:
    """Changes one place of the tree, which is the only element of the list that is handed in."""
    places = _places(tree)
    container, key = rng.choice(places)
    what = rng.choice(("value", "value", "value", "kind", "delete", "rename", "copy", "wrap", "nest", "raw", "swap"))
    if container is tree:
        what = rng.choice(("value", "wrap", "nest"))
    if what == "value":
        container[key] = copy.deepcopy(rng.choice(VALUES))
    elif what == "kind":
        old = container[key]
        if isinstance(old, int | float):
            container[key] = rng.choice((str(old)[:100], [old], old * 10**10, -old, f"{old}.5"[:100], bool(old)))
        elif isinstance(old, str):
            container[key] = rng.choice((old.upper(), old + " ", [old], "\ufeff" + old, old * 50, f'"{old}"', old[:1]))
        else:
            container[key] = rng.choice((None, [], {}, json.dumps(old), [old, old]))
    elif what == "delete":
        del container[key]
    elif what == "rename" and isinstance(container, dict):
        new = rng.choice((key.upper(), f"{key} ", key[:-1], f"{key}{key}", "", "\u00e9", "\ud800", rng.choice(TEXTS)))
        container[new] = container.pop(key)
    elif what == "copy":
        if isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        else:
            container[f"{RAW}{json.dumps(key)}"] = rng.choice((container[key], rng.choice(VALUES)))  # the key twice
    elif what == "wrap":
        container[key] = rng.choice(([container[key]], {"a": container[key]}, {str(key): container[key]}))
    elif what == "nest":
        container[key] = RAW + _nested(rng.choice((5, 900, 1_100, 100_000)), rng)
    elif what == "swap":
        other, place = rng.choice(places)
        if other is not tree:
            other[place] = copy.deepcopy(container[key])
    else:
        container[key] = RAW + rng.choice(
            ("NaN", "-Infinity", "1e999", "-1e999", "01", "+1", ".5", "1.", "'a'", "undefined", "9" * 5_000, "1e", "-")
        )
    return f"{what} at {key!r}"[:60]


def _text(tree: Any) -> bytes:
    """JSON, with what begins with RAW written as it is."""
    text = json.dumps(tree)
    marker = json.dumps(RAW)[1:-1]
    parts = text.split(f'"{marker}')
    result = [parts[0]]
    for part in parts[1:]:
        raw, end = json.decoder.scanstring(part, 0)  # type: ignore[attr-defined]
        result += [raw, part[end:]]
    return "".join(result).encode("utf-8", "surrogatepass")


def _encoding_change(rng: Random, content: bytearray) -> str:
    text = content.decode("utf-8", "replace")
    encoding = rng.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"))
    content[:] = text.encode(encoding, "replace")
    return f"as {encoding}"


def json_file(rng: Random, job: Job, path: str, done: list[str]) -> None:
    content = job[path]
    assert isinstance(content, bytes)
    tree = [json.loads(content)]
    dice = rng.random()
    if dice < 0.75:
        some(rng, [_json_change], tree, done)
    text = bytearray(_text(tree[0]) if tree else b"")
    if 0.70 < dice < 0.92:
        some(rng, [bytes_change, bytes_change, bytes_change, _encoding_change], text, done)
    elif dice >= 0.92:
        text = bytearray(garbage(rng, done))
    job[path] = bytes(text)
