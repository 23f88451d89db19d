#!/usr/bin/env python3
"""How good is fine-tuning published weights as it comes: the recipe, the plain way, the top layer alone, a search.

    SHARED_DIR=... python tests/benchmarks/fine_tuning.py --work FOLDER [--arms ARM,...] [--data NAME,...]
        [--sizes N,...] [--forms NAME,...] [--seeds N ...] [--search]

Every job is the real command on `bccd` and `cards` of SHARED_DIR (or on pictures of single objects that are cut out of
them, `--data single-cards,white-cells`), from each form of the weights in its `weights/`, in five epochs, which is the
default; the training set is cut to 20 and 60 images, or not ("all"). It prints mean and spread of mAP@0.5 and
mAP@[.5:.95] of the saved weights for each arm, and whether the recipe is where it should be: in the mean at most 0.02
behind the best of the search, nowhere more than 0.03 behind the top layer alone, nowhere behind the plain way by more
than the spread, and with no collapse.

`--search` looks for the best of 32 settings by halving: all of them on 60 images of the last data set (of BCCD all come
to about the same) in two fifths of the steps, with one seed and one form of the weights, the best three in all steps on
both, and the best two on all sets; what comes out is the arm "best of the search". Complete
jobs in FOLDER are used again, so that an interrupted benchmark goes on where it was.
"""

import itertools
import json
import random
import shutil
import statistics
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crops import one_object_each
from jobs import Finished, arguments, stop_the_job_with_the_benchmark, train
from shared import SHARED_DIR

EPOCHS = 5
ARMS: dict[str, dict[str, object]] = {
    "recipe": {},
    "plain": {"recipe": "plain"},
    "top layer alone": {"train_only_on_top_layer": True},
}
SEARCHED = [
    {
        "relative_learning_rate": relative,
        "learning_rate": rate,
        "learning_rate_schedule": schedule,
        "freeze_batch_norm": frozen,
    }
    for relative, rate, schedule, frozen in itertools.product(
        (0.0005, 0.002, 0.008, 1), (0.0003, 0.001), ("constant", "cosine"), (True, False)
    )
]
SHORT = {"passes_per_epoch": 4}
"""Of the first round of the search: two fifths of the steps."""
CROPS = {"single-cards": ("cards", None), "white-cells": ("bccd", "WBC")}
"""Sets of one class, one large object in each picture: what they are cut out of, and the class, None for all."""
BEHIND_SEARCH, BEHIND_TOP = 0.02, 0.03
FIGURES = {"mAP_50": "mAP@0.5", "mAP": "mAP@[.5:.95]"}


@dataclass(frozen=True)
class Cell:
    """One place of the table."""

    data: str
    size: str
    form: str

    def __str__(self) -> str:
        return f"{self.data}, {self.size}, {self.form}"


@dataclass(frozen=True)
class Result:
    """What a job came to: figures of the saved weights, and whether it says that they have collapsed."""

    figures: Mapping[str, float]
    collapsed: bool


def main() -> None:
    parser = arguments(__doc__, "fine-tuning-benchmark")
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--arms", type=words, default=list(ARMS), help=f"of {', '.join(ARMS)}")
    parser.add_argument("--data", type=words, default=["bccd", "cards"])
    parser.add_argument("--sizes", type=words, default=["20", "60", "all"])
    parser.add_argument("--forms", type=words, default=["scaled", "folded"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--search", action="store_true", help="also look for the best setting, which takes hours")
    options = parser.parse_args()
    stop_the_job_with_the_benchmark()
    cells = [Cell(*place) for place in itertools.product(options.data, options.sizes, options.forms)]
    arms = {name: ARMS[name] for name in options.arms}
    if options.search:
        arms["best of the search"] = _search(options.work, options.data, options.forms, options.seeds[0])
        print(f"best of the search: {arms['best of the search']}\n")
    found: dict[tuple[str, Cell], list[Result]] = {}
    # Seed by seed, so that an interrupted benchmark has whole tables.
    for seed, cell, (arm, values) in itertools.product(options.seeds, cells, arms.items()):
        found.setdefault((arm, cell), []).append(_run(options.work, cell, seed, values))
    for figure, name in FIGURES.items():
        print(_table(name, figure, cells, list(arms), found), end="\n\n")
    if "recipe" in arms:
        print("\n".join(_judge(cells, list(arms), found)))


def _search(work: Path, data: Sequence[str], forms: Sequence[str], seed: int) -> dict[str, object]:
    """The best setting in the mean of both figures, found by halving."""
    first = [Cell(name, "60", forms[0]) for name in data]
    rounds = [(first[-1:], SHORT, 3), (first, {}, 2)]
    rounds += [([Cell(name, size, form) for name in data for size in ("20", "all") for form in forms], {}, 1)]
    left = SEARCHED
    for cells, length, kept in rounds:
        scores = {
            number: statistics.mean(
                statistics.mean(_run(work, cell, seed, values | length).figures.values()) for cell in cells
            )
            for number, values in enumerate(left)
        }
        left = [left[number] for number in sorted(scores, key=lambda number: -scores[number])[:kept]]
    return left[0]


def run(
    work: Path, cell: Cell, seed: int, values: Mapping[str, object], *, name: str | None = None, may_fail: bool = False
) -> Result | None:
    """The job of a place of the table with these hyperparameters; None if it fails, where it may.

    Args:
        name: of its folder; None: made of the values.
    """
    name = name or "-".join(f"{key}-{value}" for key, value in sorted(values.items())) or "as-it-comes"
    root = work / f"{cell.data}-{cell.size}-{cell.form}-seed-{seed}-{name}"
    given = {"epochs": EPOCHS, "invalid_boxes": "drop", "seed": seed, **values}
    try:
        return _result(train(root, _data(work, cell), given, start=_weights(work, cell.form)))
    except SystemExit:
        if not may_fail:
            raise
        return None


def _run(work: Path, cell: Cell, seed: int, values: Mapping[str, object]) -> Result:
    result = run(work, cell, seed, values)
    assert result is not None
    return result


def _result(done: Finished) -> Result:
    metrics = json.loads((done.root / "output/data/metrics.json").read_text(encoding="utf-8"))
    figures = metrics["epochs"][done.saved_epoch]["validation"]
    log = (done.root / "train.log").read_text(encoding="utf-8", errors="replace")
    return Result({name: figures[name] for name in FIGURES}, "The model has collapsed" in log)


def _data(work: Path, cell: Cell) -> Path:
    """The folder of a data set, its training images cut to as many as the cell says, the same in every run."""
    source, category = CROPS.get(cell.data, (cell.data, None))
    whole = SHARED_DIR / "datasets" / source
    if not (whole / "training/annotations.json").exists():
        sys.exit(f"{whole} is not there: set SHARED_DIR to the folder that holds datasets/{source}")
    if cell.data in CROPS:
        photographs = whole
        whole = _made(work / "data" / cell.data, lambda folder: one_object_each(photographs, folder, category))
    if cell.size == "all":
        return whole
    return _made(work / "data" / f"{cell.data}-{cell.size}", lambda folder: _cut(whole, folder, int(cell.size)))


def _cut(whole: Path, folder: Path, size: int) -> None:
    (folder / "training/images").mkdir(parents=True)
    document = json.loads((whole / "training/annotations.json").read_text(encoding="utf-8"))
    images = sorted(document["images"], key=lambda image: str(image["id"]))
    random.Random(5).shuffle(images)
    document["images"] = images[:size]
    ids = {image["id"] for image in document["images"]}
    document["annotations"] = [box for box in document["annotations"] if box["image_id"] in ids]
    (folder / "training/annotations.json").write_text(json.dumps(document), encoding="utf-8")
    for image in document["images"]:
        name = image["file_name"]
        shutil.copyfile(whole / "training/images" / name, folder / "training/images" / name)
    (folder / "validation").symlink_to((whole / "validation").resolve())


def _weights(work: Path, form: str) -> Path:
    """The folder of published weights, unpacked."""
    archive = SHARED_DIR / "weights" / f"{form}.tar.gz"
    if not archive.exists():
        sys.exit(f"{archive} is not there: set SHARED_DIR to the folder that holds weights/")

    def unpack(folder: Path) -> None:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")

    return _made(work / "weights" / form, unpack)


def _made(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, which `make` fills if it is not there yet; it is never there in part."""
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def _values(results: Sequence[Result], figure: str) -> list[float]:
    return [result.figures[figure] for result in results]


def _table(
    name: str, figure: str, cells: Sequence[Cell], arms: Sequence[str], found: Mapping[tuple[str, Cell], list[Result]]
) -> str:
    lines = [f"| {name}: mean ± spread | {' | '.join(arms)} |", f"|---|{'---|' * len(arms)}"]
    for cell in cells:
        shown = []
        for arm in arms:
            results = found[arm, cell]
            values = _values(results, figure)
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            collapsed = sum(result.collapsed for result in results)
            shown.append(f"{statistics.mean(values):.3f} ± {spread:.3f}" + f", {collapsed} collapsed" * (collapsed > 0))
        lines.append(f"| {cell} | {' | '.join(shown)} |")
    means = [statistics.mean(v for cell in cells for v in _values(found[arm, cell], figure)) for arm in arms]
    lines.append(f"| all | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(lines)


def _judge(cells: Sequence[Cell], arms: Sequence[str], found: Mapping[tuple[str, Cell], list[Result]]) -> list[str]:
    """What was asked of the recipe, and where it is missed."""
    lines = []
    for figure, name in FIGURES.items():
        mean = {(arm, cell): statistics.mean(_values(found[arm, cell], figure)) for arm in arms for cell in cells}
        if "best of the search" in arms:
            gap = statistics.mean(mean["best of the search", cell] - mean["recipe", cell] for cell in cells)
            lines.append(f"{name}: {gap:+.3f} behind the best of the search; {_met(gap, BEHIND_SEARCH)}.")
        if "top layer alone" in arms:
            gap, where = max((mean["top layer alone", cell] - mean["recipe", cell], str(cell)) for cell in cells)
            lines.append(f"{name}: {gap:+.3f} behind the top layer alone in {where}; {_met(gap, BEHIND_TOP)}.")
        if "plain" in arms:
            worse = []
            for cell in cells:
                values = [_values(found[arm, cell], figure) for arm in ("plain", "recipe")]
                spread = max(statistics.stdev(each) if len(each) > 1 else 0.0 for each in values)
                if mean["plain", cell] - mean["recipe", cell] > spread:
                    worse.append(str(cell))
            lines.append(f"{name}: behind the plain way by more than the spread in: {'; '.join(worse) or 'none'}.")
    collapsed = sum(result.collapsed for cell in cells for result in found["recipe", cell])
    return [*lines, f"Collapsed with the recipe: {collapsed} of {sum(len(found['recipe', cell]) for cell in cells)}."]


def _met(gap: float, most: float) -> str:
    return f"{most:g} is {'met' if gap <= most else 'MISSED'}"


if __name__ == "__main__":
    main()
