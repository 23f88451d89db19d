"""What `check` costs beside an earlier commit's, in turn, on the same channel of small photographs that all differ.

    PYTHONPATH=src python tests/benchmarks/check_cost.py COMMIT [--images 20000] [--repeat 3] [--data FOLDER]

Both run with the Python of this process. Ratios are of CPU time, user and system, round by round: the machine may be
busy with something else meanwhile.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from commits import checked_out
from pictures import picture, write_annotations
from PIL import Image
from rounds import REPOSITORY, environment

DISTINCT = 500
"""Pictures, out of which parts are cut and encoded anew."""
LEAST, MOST = 320, 640
"""Pixels that a part is wide."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--data", type=Path, help="where the images are kept for another time")
    options = parser.parse_args()
    with _folder(options.data) as folder, checked_out(options.commit) as earlier:
        root = write_job(folder / f"{options.images}-parts", options.images)
        taken: dict[Path, list[float]] = {REPOSITORY: [], earlier: []}
        for number in range(options.repeat):
            for tree in taken:
                taken[tree].append(cpu_seconds_of_check(root, tree))
            ours, theirs = (seconds[-1] for seconds in taken.values())
            print(f"round {number}: {ours:.1f} and {theirs:.1f} CPU-seconds, {ours / theirs:.3f}", flush=True)
    ratios = sorted(ours / theirs for ours, theirs in zip(*taken.values(), strict=True))
    print(f"median {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def cpu_seconds_of_check(root: Path, tree: Path) -> float:
    """Ends the benchmark if the data is found wrong."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "sagemaker_object_detection", "check", "--root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(tree), check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_job(root: Path, images: int) -> Path:
    """A root with a channel of so many JPEG files, each another part of one of a few pictures, in another size and
    quality, with one box. Does nothing where it is there already."""
    channel = root / "input/data/training"
    if (channel / "annotations.json").exists():
        return root
    (channel / "images").mkdir(parents=True, exist_ok=True)
    config = root / "input/config/hyperparameters.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps({"pretrained_weights": "none"}))
    random = np.random.default_rng(0)
    entries: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(min(DISTINCT, images)):
        whole = Image.fromarray(picture(0, number)[0])
        for part in range(number, images, DISTINCT):
            width = int(random.integers(LEAST, MOST))
            height = width * 3 // 4
            left, top = (int(random.integers(side - part_side + 1)) for side, part_side in _sides(whole, width, height))
            name = f"{part:06d}.jpg"
            cut = whole.crop((left, top, left + width, top + height))
            cut.save(channel / "images" / name, quality=int(random.integers(75, 96)))
            entries.append({"file_name": name, "height": height, "width": width, "id": part})
            box = [width / 4, height / 4, width / 2, height / 2]
            annotations.append({"image_id": part, "bbox": box, "category_id": part % 3})
    write_annotations(channel, entries, annotations, range(3))
    return root


def _sides(whole: Image.Image, width: int, height: int) -> Iterator[tuple[int, int]]:
    yield from zip(whole.size, (width, height), strict=True)


if __name__ == "__main__":
    main()
