"""Ten times the images, the boxes of an image, or the classes: what grows, and by how much for each of them.

    python tests/benchmarks/scaling.py [--only jobs,coco] [--images 48] [--json FILE]

jobs: four jobs of the real `train` from random weights, with a validation of 16 images after each epoch; pictures of
800x600 whose boxes and classes are drawn at random. Loading is all up to the line that says the data is checked; epoch
and validation are the second ones, which trace nothing; peak is of resident memory. The slope is the difference to the
first job divided by what was added: per image, per box of an image, per class.

coco: an annotation file of the size of COCO's training set (118,000 images, 860,000 boxes, 80 classes, no
segmentations), whose images are hard links to a few files: seconds and peak memory to read it, to look at every image's
header and to check every box, in a process of its own. Nothing is decoded.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pictures import HEIGHT, WIDTH, write_annotations, write_channel
from rounds import environment, peak_megabytes
from timed_jobs import TRAINED, VALIDATED, Line, find, follow, job

PARTS = ("jobs", "coco")
FACTOR = 10
VALIDATION_IMAGES = 16
DISTINCT = 16
COCO_IMAGES, COCO_BOXES, COCO_CLASSES = 118_000, 860_000, 80


@dataclass(frozen=True)
class Size:
    images: int
    boxes: int
    """Of every image."""
    classes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--images", type=int, default=48, help="of the smallest job")
    parser.add_argument("--coco-images", type=int, default=COCO_IMAGES, help="fewer to see that it runs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read)))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_channel(Path(folder), DISTINCT, seed=0, distinct=DISTINCT) / "images"
        if "jobs" in options.only:
            found["jobs"] = jobs(Path(folder), pictures, Size(options.images, boxes=3, classes=3))
        if "coco" in options.only:
            boxes = COCO_BOXES * options.coco_images // COCO_IMAGES
            channel = _channel(Path(folder) / "coco", pictures, options.coco_images, boxes, COCO_CLASSES)
            found["coco"] = coco(channel, options.coco_images, boxes)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def jobs(folder: Path, pictures: Path, base: Size) -> dict[str, dict[str, float]]:
    """Figures of the job of size `base`, and of those ten times as large in one respect."""
    sizes = {"": base}
    sizes |= {name: replace(base, **{name: FACTOR * count}) for name, count in asdict(base).items()}
    found = {name: _job_figures(folder / f"job-{name}", pictures, size) for name, size in sizes.items()}
    smallest = found[""]
    print(f"{base.images} images with {base.boxes} boxes each, of {base.classes} classes\n")
    print(f"| | that many | {FACTOR} times the images | the boxes | the classes | per image | per box | per class |")
    print("|---|---|---|---|---|---|---|---|")
    for figure, value in smallest.items():
        cells = [f"{value:.2f}"] + [f"{found[name][figure]:.2f}" for name in list(sizes)[1:]]
        added = {name: (FACTOR - 1) * count for name, count in asdict(base).items()}
        cells += [f"{(found[name][figure] - value) / count:+.4f}" for name, count in added.items()]
        print(f"| {figure} | {' | '.join(cells)} |")
    print()
    return found


def _job_figures(folder: Path, pictures: Path, size: Size) -> dict[str, float]:
    print(f"  {size}", file=sys.stderr, flush=True)
    training = _channel(folder / "training", pictures, size.images, size.images * size.boxes, size.classes)
    shown = (VALIDATION_IMAGES, VALIDATION_IMAGES * size.boxes, size.classes)
    validation = _channel(folder / "validation", pictures, *shown)
    with job(training, {"epochs": 3, "batch_size": 8, "seed": 1}, validation, checkpoints=True) as command:
        lines = follow(command, VALIDATED.format(1))
    loaded, began = _line(lines, "training: "), _line(lines, VALIDATED.format(0))
    trained, validated = _line(lines, TRAINED.format(1)), _line(lines, VALIDATED.format(1))
    return {
        "loading, CPU-seconds": loaded.cpu_seconds,
        "loading, peak MB": loaded.peak_megabytes,
        "epoch, seconds": trained.seconds - began.seconds,
        "epoch, CPU-seconds": trained.cpu_seconds - began.cpu_seconds,
        "validation, CPU-seconds": validated.cpu_seconds - trained.cpu_seconds,
        "peak MB": validated.peak_megabytes,
    }


def _line(lines: Sequence[Line], beginning: str) -> Line:
    line = find(lines, beginning)
    assert line is not None, f"no line begins with {beginning!r}"
    return line


def _channel(channel: Path, pictures: Path, images: int, boxes: int, classes: int) -> Path:
    """A channel whose images are links to `pictures`, with as many boxes spread over them evenly."""
    (channel / "images").mkdir(parents=True)
    files = sorted(pictures.iterdir())
    names = [f"{number:06d}.jpg" for number in range(images)]
    for number, name in enumerate(names):
        os.link(files[number % len(files)], channel / "images" / name)
    random = np.random.default_rng(0)
    centres = random.uniform(0.2, 0.8, (boxes, 2))
    halves = random.uniform(0.02, 0.2, (boxes, 2))
    corners = np.round(np.concatenate([centres - halves, centres + halves], axis=1) * ([WIDTH, HEIGHT] * 2), 2)
    write_annotations(
        channel,
        [{"file_name": name, "height": HEIGHT, "width": WIDTH, "id": number} for number, name in enumerate(names)],
        [
            {"id": number, "image_id": number % images, "category_id": number % classes, "bbox": box, "iscrowd": 0}
            for number, box in enumerate(corners.tolist())
        ],
        range(classes),
    )
    return channel


def coco(channel: Path, images: int, boxes: int) -> dict[str, Any]:
    """Prints what reading a large channel takes."""
    command = [sys.executable, __file__, "--read", str(channel)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment()).stdout
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    size = (channel / "annotations.json").stat().st_size / 1e6
    print(f"{images} images, {boxes} boxes, annotations.json of {size:.0f} MB; nothing of it decoded\n")
    print("| | seconds | CPU-seconds | peak MB of the process |")
    print("|---|---|---|---|")
    for name, (seconds, cpu_seconds, peak) in figures.items():
        print(f"| {name} | {seconds:.2f} | {cpu_seconds:.2f} | {peak:.0f} |")
    return figures


def read(channel: Path) -> Mapping[str, tuple[float, float, float]]:
    """Seconds, CPU-seconds and peak megabytes after each part of reading a channel."""
    from sagemaker_object_detection.dataset.annotation_file import read_annotations
    from sagemaker_object_detection.dataset.check_boxes import check_boxes
    from sagemaker_object_detection.dataset.check_images import check_images

    found = {"before": (0.0, 0.0, peak_megabytes())}
    wall, cpu = time.perf_counter(), time.process_time()

    def done(name: str) -> None:
        nonlocal wall, cpu
        found[name] = (time.perf_counter() - wall, time.process_time() - cpu, peak_megabytes())
        wall, cpu = time.perf_counter(), time.process_time()

    table, problems = read_annotations("training", channel)
    assert table is not None
    assert not problems, problems[:3]
    done("annotations read")
    images, problems = check_images(table)
    assert not problems, problems[:3]
    done("headers read")
    _, problems, _ = check_boxes(table, images.sizes, "xyxy", lenient=False)
    assert not problems, problems[:3]
    done("boxes checked")
    return found


if __name__ == "__main__":
    main()
