"""Data sets in other formats with something wrong, and the converter that reads them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from damaged_archives import FILE_NAMES
from damaged_files import Random, bytes_change, garbage, image, some, special
from damaged_json import json_file
from fuzzed_job import CONFIG, TRAINING, VALIDATION, Content, Job, dumped, parsed, valid_job
from written_sets import PROGRAM, WRITERS, Picture

PICTURES = (Picture("a.jpg", 64, 48, ((0, 16, 12, 32, 24), (1, 0, 0, 64, 48))), Picture("b.jpg", 64, 48))
TOKENS = (
    *(b"NaN", b"1e999", b"-1", b"null", b"[]", b"{}", b'""', b"true", b"0.5", b"9" * 5000, b"[" * 1100, b"<a>"),
    *(b"\xff", b"\0", b"\n", b"\r", b",", b";", b'"', b"\xe2\x80\xa8", b"/", b"../", b"data:,", b"rotation", b" "),
    *(b"\x1b[2J", b"\nERROR: forged", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"\xe2\x80\xaegnp", b"x" * 100_000),
    *(name.encode("utf-8", "surrogatepass") for name in FILE_NAMES),
)
_SOURCE, _ARGUMENTS, _TARGET = "input/source", "input/arguments.json", "model/new"


@dataclass(frozen=True)
class Source:
    """A data set that is right. arguments: of the program, with {} for its folder."""

    arguments: tuple[str, ...]
    files: Mapping[str, bytes]


SOURCES: dict[str, Source] = {}
"""By name; `write_sources` fills it."""


def write_sources(folder: Path) -> None:
    for name, write in WRITERS.items():
        place = folder / name
        arguments = tuple(each.replace(str(place), "{}") for each in write(place, PICTURES))
        files = {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*.*"))}
        SOURCES[name] = Source(arguments, files)


def _token_change(rng: Random, content: bytearray) -> str:
    """Some bytes are replaced by a token, by others of the file, or left out."""
    place, start = rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)
    piece = rng.choice((*TOKENS, bytes(content[start : start + rng.randint(1, 40)]), b""))
    content[place : place + rng.choice((0, 1, 1, 3, 20))] = piece
    return f"token near byte {place}"


def _damaged(rng: Random, path: str, content: bytes, done: list[str]) -> Content:
    if rng.random() < 0.1:
        done.append("special")
        return special(rng)
    if path.endswith((".jpg", ".png")):
        return image(rng, done)
    dice = rng.random()
    if dice < 0.05:
        return garbage(rng, done)
    if dice < 0.5 and path.endswith(".json"):
        job: Job = {path: content}
        json_file(rng, job, path, done)
        return job[path]
    if dice < 0.5 and path.endswith(".manifest"):
        lines = content.splitlines(keepends=True)
        number = rng.randrange(len(lines))
        job = {path: lines[number]}
        json_file(rng, job, path, done)
        line = job[path]
        assert isinstance(line, bytes)
        lines[number] = line + b"\n"
        return b"".join(lines)
    changed = bytearray(content)
    some(rng, [_token_change, _token_change, bytes_change], changed, done)
    return bytes(changed)


def sources(rng: Random, done: list[str]) -> Job:
    """A data set to convert. A text is damaged more often than an image."""
    name = rng.choice(list(SOURCES))
    done.append(name)
    files = SOURCES[name].files
    texts = [path for path in files if not path.endswith((".jpg", ".png"))]
    path = rng.choice(texts if rng.random() < 0.9 else list(files))
    job = unchanged_source(name, "--polygons", "enclosing", "--invalid-boxes", rng.choice(("drop", "error")))
    return job | {f"{_SOURCE}/{path}": _damaged(rng, path, files[path], done)}


def unchanged_source(name: str, *options: str) -> Job:
    files: Job = {f"{_SOURCE}/{path}": content for path, content in SOURCES[name].files.items()}
    return files | {_ARGUMENTS: dumped([*SOURCES[name].arguments, *options])}


def convert(root: Path) -> int:
    """Converts what `sources` made: exit code. Half a data set is never left, nor anything beside it."""
    arguments = [each.replace("{}", str(root / _SOURCE)) for each in json.loads((root / _ARGUMENTS).read_text())]
    code = PROGRAM.main([*arguments, "--to", str(root / _TARGET)])
    left = os.listdir(root / "model") if (root / "model").exists() else []
    assert left == (["new"] if code == 0 else []), f"exit code {code}, and there is {left}"
    return code


def manifests(rng: Random, done: list[str]) -> Job:
    """A job whose training channel holds a labelling job's manifest."""
    files = SOURCES["ground-truth"].files
    job = valid_job()
    for path in [path for path in job if path.startswith((TRAINING, VALIDATION))]:
        del job[path]
    entries = parsed(job[f"{CONFIG}/inputdataconfig.json"])
    job[f"{CONFIG}/inputdataconfig.json"] = dumped({"training": entries["training"]})
    job |= {f"{TRAINING}/{path.replace('pictures/', 'images/')}": content for path, content in files.items()}
    manifest = "output.manifest"
    job[f"{TRAINING}/{manifest}"] = _damaged(rng, manifest, files[manifest], done)
    return job
