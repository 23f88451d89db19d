"""Changes to a valid job: one to three each, structured so that they get past the first check, and plain garbage.

Everything is drawn from a `random.Random`, so that the number of an input stands for the input.
"""

import copy
import json
from collections.abc import Callable, Mapping

from damaged_archives import FILE_NAMES, archive
from damaged_checkpoints import KINDS as CHECKPOINTS
from damaged_checkpoints import below, damaged_checkpoint
from damaged_files import Random, bytes_change, garbage, image, some, special
from damaged_json import NUMBERS, TEXTS, VALUES, json_file
from damaged_requests import requests
from damaged_sources import manifests, sources
from fuzzed_job import CONFIG, TRAINING, VALIDATION, Content, Folder, Job, Link, Pipe, dumped, packed, parsed, valid_job
from long_images import long_image

from sagemaker_object_detection.hyperparameters.table import ROWS

TREES: dict[str, Mapping[str, bytes]] = {}
"""Trees of weights that are right, by name: filled in once by whoever runs the archives, as making them takes
TensorFlow."""


Kinds = tuple[tuple[str, Callable[[Random, list[str]], Job]], ...]


def mutate(number: int, seed: str, kinds: "Kinds") -> tuple[str, str, Job]:
    """The input of this number: its kind, what was done, and the files."""
    rng = Random(f"{seed}:{number}")
    name, make = kinds[number % len(kinds)]
    done: list[str] = []
    job = make(rng, done)
    return name, "; ".join(done), job


def hyperparameters(rng: Random, done: list[str]) -> Job:
    job = valid_job()
    path = f"{CONFIG}/hyperparameters.json"
    tree = json.loads(job[path])  # type: ignore[arg-type]
    if rng.random() < 0.75:
        names = [name for row in ROWS for name in (row.name, *row.aliases)]
        names += ["_tuning_objective_metric", "sagemaker_job_name", "model_dir", "sagemaker_region", "learning_rte"]
        for _ in range(rng.choice((1, 1, 2, 3))):
            name = rng.choice(names)
            legal = next((row.shown_default for row in ROWS if row.name == name), "1")
            tree[name] = copy.deepcopy(rng.choice((rng.choice(VALUES), rng.choice(TEXTS), legal, str(rng.random()))))
            done.append(f"{name} = {tree[name]!r}"[:60])
        job[path] = dumped(tree)
    else:
        json_file(rng, job, path, done)
    return job


def configuration(rng: Random, done: list[str]) -> Job:
    job = valid_job(checkpoints=True, weights={"readme": b"?"} if rng.random() < 0.1 else None)
    names = ("hyperparameters", "inputdataconfig", "resourceconfig", "checkpointconfig")
    path = f"{CONFIG}/{rng.choice(names)}.json"
    dice = rng.random()
    if dice < 0.85:
        json_file(rng, job, path, done)
    elif dice < 0.95:
        job[path] = special(rng)
        done.append(f"{path} is {job[path]!r}"[:80])
    else:
        del job[path]
        done.append(f"no {path}")
    if rng.random() < 0.1:
        gone = rng.choice([name for name in job if name.startswith("input/data")])
        del job[gone]
        done.append(f"no {gone}")
    return job


def annotations(rng: Random, done: list[str]) -> Job:
    job = valid_job()
    folder = rng.choice((TRAINING, TRAINING, VALIDATION))
    path = f"{folder}/annotations.json"
    dice = rng.random()
    if dice < 0.10:
        job[path] = special(rng)
        done.append(f"{path} is {job[path]!r}")
    elif dice < 0.30:
        tree = json.loads(job[path])  # type: ignore[arg-type]
        tree["images"][0]["file_name"] = rng.choice(FILE_NAMES)
        done.append(f"file_name {tree['images'][0]['file_name']!r}"[:60])
        job[path] = dumped(tree)
        specials: dict[str, Content] = {
            "pipe": Pipe(),
            "folder": Folder(),
            "link": Link("1.png"),
            "loop": Link("loop.jpg"),
        }
        specials |= {"outside": Link("/etc/passwd"), "device": Link("/dev/zero")}
        job |= {f"{folder}/images/{name}.jpg": content for name, content in specials.items()}
    elif dice < 0.55:
        tree = json.loads(job[path])  # type: ignore[arg-type]
        for _ in range(rng.choice((1, 2, 3))):
            box = rng.choice(tree["annotations"])
            if isinstance(box["bbox"], list):
                box["bbox"][rng.randrange(4)] = rng.choice((*NUMBERS, rng.uniform(-2, 34), "1", None))
            rng.choice((box, box, *tree["images"]))[
                rng.choice(("category_id", "image_id", "id", "height", "width"))
            ] = copy.deepcopy(rng.choice(VALUES))
        done.append("boxes, ids and sizes")
        job[path] = dumped(tree)
    else:
        json_file(rng, job, path, done)
    if rng.random() < 0.3:
        options = json.loads(job[f"{CONFIG}/hyperparameters.json"])  # type: ignore[arg-type]
        options |= rng.choice(({"invalid_boxes": "drop"}, {"bbox_format": "xywh"}, {"validation_split_ratio": "0.5"}))
        job[f"{CONFIG}/hyperparameters.json"] = dumped(options)
    return job


def images(rng: Random, done: list[str]) -> Job:
    job = valid_job()
    for _ in range(rng.choice((1, 1, 2))):
        path = rng.choice([name for name in job if "/images/" in name])
        dice = rng.random()
        content = job[path]
        if dice < 0.5 and isinstance(content, bytes):
            changed = bytearray(content)
            some(rng, [bytes_change], changed, done)
            job[path] = bytes(changed)
        elif dice < 0.65:
            job[path], (width, height) = long_image(rng, done)
            folder, _, name = path.partition("/images/")
            table = parsed(job[f"{folder}/annotations.json"])
            row = next(row for row in table["images"] if row["file_name"] == name)
            row |= {"width": width, "height": height}
            job[f"{folder}/annotations.json"] = dumped(table)
        elif dice < 0.85:
            changed = bytearray(image(rng, done))
            if rng.random() < 0.25:
                some(rng, [bytes_change], changed, done)
            job[path] = bytes(changed)
        elif dice < 0.93:
            job[path] = special(rng)
            done.append(f"{path} is {job[path]!r}")
        else:
            job[path] = garbage(rng, done)
    return job


def archives(rng: Random, done: list[str]) -> Job:
    tree = rng.choice(list(TREES))
    files = dict(TREES[tree])
    done.append(tree)
    dice = rng.random()
    if dice < 0.35:  # the files themselves
        path = rng.choice(list(files))
        if files[path][:1] == b"{":
            job: Job = {path: files[path]}
            json_file(rng, job, path, done)
            files[path] = job[path]  # type: ignore[assignment]
        else:
            content = bytearray(files[path])
            some(rng, [bytes_change], content, done)
            files[path] = bytes(content)
        weights: Mapping[str, Content] = {"model.tar.gz": packed(files)} if rng.random() < 0.3 else files
    elif dice < 0.40:
        weights = dict(files)
        weights[rng.choice(list(files))] = special(rng)
        done.append("special")
    else:
        content = bytearray(archive(rng, files, done))
        if dice > 0.85:
            some(rng, [bytes_change], content, done)
        if dice > 0.97:
            content = bytearray(garbage(rng, done))
        if rng.random() < 0.2:
            done.append("in the place of JumpStart's script")
            return _source_job(bytes(content) if rng.random() < 0.8 else special(rng))
        name = rng.choice(("model.tar.gz", "model.tar.gz", "model.tgz", "m/model.tar.gz", "model.tar", "\u00e9.tar.gz"))
        weights = {name: bytes(content)}
        if rng.random() < 0.05:
            weights["second.tar.gz"] = bytes(content)
    return valid_job(weights=weights)


def _source_job(source: Content) -> Job:
    """One whose script may be JumpStart's own, which is told by what its archive holds."""
    job, place = valid_job(), "input/data/code/sourcedir.tar.gz"
    options = parsed(job[f"{CONFIG}/hyperparameters.json"])
    options |= {"sagemaker_program": "transfer_learning.py", "sagemaker_submit_directory": f"/opt/ml/{place}"}
    return job | {f"{CONFIG}/hyperparameters.json": dumped(options), place: source}


def checkpoints(rng: Random, done: list[str]) -> Job:
    kind = rng.choice(CHECKPOINTS)
    done.append(kind)
    form = rng.choice(("m/checkpoint/ckpt-0", "variables/variables", "1/variables/variables"))
    weights = below(form, damaged_checkpoint(rng, kind))
    if form.startswith("1/"):
        weights["model_info.json"] = TREES["artifact"]["model_info.json"]
    files = {name: content for name, content in weights.items() if isinstance(content, bytes)}
    if len(files) == len(weights) and rng.random() < 0.5:
        weights = {"model.tar.gz": packed(files)}
    return valid_job(weights=weights)


JOBS: Kinds = (
    ("hyperparameters", hyperparameters),
    ("annotations", annotations),
    ("configuration", configuration),
    ("images", images),
    ("annotations", annotations),
    ("archives", archives),
    ("checkpoints", checkpoints),
    ("manifests", manifests),
    ("hyperparameters", hyperparameters),
    ("images", images),
)
"""In turns."""
KINDS: Kinds = (
    *JOBS,
    *(("sources", sources), ("requests", requests), ("handler", requests), ("sources", sources)),
    *(("requests", requests), ("handler", requests)),
)
