"""How fast every part of a job is: one table, each part beside its limit or its peers, measured in turn.

    scripts/benchmark.sh [--only step,pipeline] [--repeat 5] [--json FILE] [--work DIR] [--quick]

which makes the peers' environment and runs this file. Every contestant is a process of its own; those of a group take
rounds in turn, A B A B ..., and the median of the ratios counts, with the least and the most beside it (rounds.py).
Nothing else should run on the machine. The first round of each is not counted: it traces.

start       process start to the end of the first step: the real `train` on eight small images, against stock_fit.py
step        a training step on a fixed batch of 8, MobileNetV2 FPNLite 320, 3 classes, adam: against the bare forward
            and backward pass of the same network, the same network in stock Keras layers in a plain loop, and `fit`
retinanet   ResNet-50 FPN 640 at batch 2 against KerasHub's RetinaNet, in CPU-seconds per image, FLOPs of both
epoch       whole epochs of the real `train` after the first, 800x600 JPEG files: against the step alone on a fixed
            batch; and those of train_only_on_top_layer, with augmentation and without
pipeline    the input pipeline alone, with the pixels that the data check left in memory, and where they do not fit into
            it: against libjpeg-turbo's decoder and OpenCV's bilinear resizing on one thread, in CPU-seconds per image
validation  the job's evaluator on 800x600 files, against the network's forward pass alone
export      the model directory
inference   the exported model on one decoded 800x600 image after the other, against the forward pass alone

Images per second, CPU-seconds per image and the peak of resident memory are of the process that is measured. --quick
takes as few images as will do to see that everything runs; its figures mean nothing.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pictures import write_channel
from rounds import REPOSITORY, Contestant, WorkerSpec, alternate, measure_workers, worker
from speed_table import Comparison, Group, print_group, write_json
from timed_jobs import TRAINED, Epochs, FirstStep, job, stock_fit

from sagemaker_object_detection.sample_data import write_sample_data

PEERS = REPOSITORY / ".venv-peers/bin/python"
OURS = "our_rounds.py"
BATCH_SIZE = 8
RESNET = "ssd_resnet50_v1_fpn_640x640"
GPU_CORES = 8
WAITING = 6
"""More batches than the pipeline makes ahead of time."""


@dataclass(frozen=True)
class Settings:
    """How much is measured: rounds of each contestant, and the size of a round."""

    repeat: int
    steps: int
    """Training steps of batch 8."""
    large_steps: int
    """Training steps of ResNet-50 at batch 2."""
    epoch_images: int
    epochs: int
    """Of a job; all but the first are measured."""
    batches: int
    """Of the input pipeline."""
    images: int
    """To validate, and for which to run the exported model."""


FULL = Settings(repeat=5, steps=12, large_steps=2, epoch_images=96, epochs=3, batches=24, images=64)
QUICK = Settings(repeat=1, steps=2, large_steps=1, epoch_images=16, epochs=2, batches=6, images=8)


def start(settings: Settings, work: Path) -> Group:
    data = work / "small"
    if not data.exists():
        write_sample_data(data, images=BATCH_SIZE, validation_images=0, seed=0)
    with job(data / "training", {"epochs": 1, "batch_size": BATCH_SIZE}) as command:
        contestants: dict[str, Contestant] = {
            "train": FirstStep(command, TRAINED.format(0)),
            "stock fit script": FirstStep(stock_fit(BATCH_SIZE), "[Epoch 0] is done"),
        }
        measured = alternate(contestants, settings.repeat)
    notes = [f"train, {name}: {median(times):.2f} s" for name, times in measured["train"].facts["milestones"].items()]
    return Group("start", measured, [Comparison("train", "stock fit script", 0.6, "share")], notes)


def step(settings: Settings, work: Path) -> Group:
    variants = ["ours", "bare", "stock", "ours frozen", "bare frozen", "stock frozen", "ours top"]
    variants += ["our layers, fit", "our layers, plain loop", "stock fit"]
    specs: dict[str, WorkerSpec] = {name: (OURS, _step_spec(settings, name), sys.executable) for name in variants}
    forward = {"what": "forward", "batch_size": BATCH_SIZE, "steps": settings.steps}
    specs["forward pass"] = (OURS, forward, sys.executable)
    comparisons = [
        Comparison("ours", "bare", 0.9),
        Comparison("ours frozen", "bare frozen", 0.9),
        Comparison("ours", "stock", 1.25),
        Comparison("ours frozen", "stock frozen"),
        Comparison("ours", "stock fit"),
        Comparison("ours", "our layers, fit"),
        Comparison("ours", "our layers, plain loop"),
        Comparison("ours top", "ours"),
        Comparison("ours top", "forward pass"),
    ]
    return Group("step", measure_workers(specs, settings.repeat), comparisons)


def _step_spec(settings: Settings, variant: str) -> dict[str, Any]:
    return {"what": "step", "variant": variant, "batch_size": BATCH_SIZE, "steps": settings.steps}


def retinanet(settings: Settings, work: Path) -> Group:
    sizes = {"batch_size": 2, "steps": settings.large_steps}
    ours = {"what": "step", "variant": "ours", "model": RESNET, "flops": True, **sizes}
    specs: dict[str, WorkerSpec] = {
        "ours": (OURS, ours, sys.executable),
        "KerasHub RetinaNet": ("peer_rounds.py", {"what": "retinanet", **sizes}, _peers()),
    }
    measured = measure_workers(specs, settings.repeat)
    notes = [
        f"{name}: {found.facts['flops'] / 1e9:.1f} GFLOPs forward per image, "
        f"{found.facts['parameters'] / 1e6:.1f} million weights; {found.facts['versions']}"
        for name, found in measured.items()
    ]
    return Group("retinanet", measured, [Comparison("ours", "KerasHub RetinaNet", 1.0, "cpu")], notes)


def epoch(settings: Settings, work: Path) -> Group:
    channel = write_channel(work, settings.epoch_images, seed=0)
    sizes = (settings.epoch_images, settings.epochs)
    top = {"batch_size": BATCH_SIZE, "train_only_on_top_layer": True}
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {
            "train": Epochs(channel, *sizes, {"batch_size": BATCH_SIZE}),
            "step alone": stack.enter_context(worker(OURS, _step_spec(settings, "ours"))),
            "train, top layer only": Epochs(channel, *sizes, top),
            "train, top layer only, not augmented": Epochs(channel, *sizes, {**top, "augmentation": False}),
        }
        measured = alternate(contestants, settings.repeat)
    comparisons = [
        Comparison("train", "step alone", 0.9),
        Comparison("train, top layer only", "train", 5.0),
        Comparison("train, top layer only, not augmented", "train", 5.0),
    ]
    return Group("epoch", measured, comparisons)


def pipeline(settings: Settings, work: Path) -> Group:
    channel = write_channel(work, settings.epoch_images, seed=0)
    common = {"what": "pipeline", "channel": str(channel), "batch_size": BATCH_SIZE, "steps": settings.batches}

    def ours(augment: bool, keep: bool) -> WorkerSpec:
        return OURS, {**common, "waiting": WAITING, "augment": augment, "keep": keep}, sys.executable

    count = settings.batches * BATCH_SIZE
    limit = {"what": "decode_and_resize", "images": str(channel / "images"), "size": 320, "count": count}
    specs: dict[str, WorkerSpec] = {
        "augmented": ours(True, True),
        "not augmented": ours(False, True),
        "augmented, beyond the memory": ours(True, False),
        "not augmented, beyond the memory": ours(False, False),
        "decode + resize": ("peer_rounds.py", limit, _peers()),
    }
    measured = measure_workers(specs, settings.repeat)
    comparisons = [
        Comparison("augmented", "decode + resize", 0.8, "cpu"),
        Comparison("not augmented", "decode + resize", 0.8, "cpu"),
        Comparison("augmented, beyond the memory", "decode + resize", 0.8, "cpu"),
        Comparison("not augmented, beyond the memory", "decode + resize", 0.8, "cpu"),
    ]
    notes = [
        f"{name}: {GPU_CORES / found.median(lambda taken: taken.cpu_per_image):.0f} images per second on {GPU_CORES} "
        "such cores: a GPU that trains on fewer never waits for them"
        for name, found in measured.items()
        if name != "decode + resize"
    ]
    return Group("pipeline", measured, comparisons, notes)


def validation(settings: Settings, work: Path) -> Group:
    channel = write_channel(work, settings.images, seed=0)
    return _beside_forward("validation", settings, {"channel": str(channel)}, BATCH_SIZE)


def export(settings: Settings, work: Path) -> Group:
    channel = write_channel(work, settings.images, seed=0)
    spec = {"what": "export", "channel": str(channel)}
    return Group("export", measure_workers({"export": (OURS, spec, sys.executable)}, settings.repeat))


def inference(settings: Settings, work: Path) -> Group:
    channel = write_channel(work, settings.images, seed=0)
    return _beside_forward("inference", settings, {"channel": str(channel), "steps": settings.images}, batch_size=1)


def _beside_forward(what: str, settings: Settings, spec: dict[str, Any], batch_size: int) -> Group:
    limit = {"what": "forward", "batch_size": batch_size, "steps": settings.images // batch_size}
    specs = {what: (OURS, {"what": what, **spec}, sys.executable), "forward pass": (OURS, limit, sys.executable)}
    return Group(what, measure_workers(specs, settings.repeat), [Comparison(what, "forward pass")])


def _peers() -> Path:
    if not PEERS.exists():
        sys.exit("speed: there is no environment .venv-peers; scripts/benchmark.sh makes it")
    return PEERS


GROUPS: dict[str, Callable[[Settings, Path], Group]] = {
    function.__name__: function for function in (start, step, retinanet, epoch, pipeline, validation, export, inference)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_names, default=list(GROUPS), metavar="ROW,...", help=", ".join(GROUPS))
    parser.add_argument("--repeat", type=int, help=f"rounds of each contestant (default {FULL.repeat})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all rounds of all contestants")
    parser.add_argument("--quick", action="store_true", help="does it run? The figures mean nothing")
    parser.add_argument("--work", type=Path, metavar="DIR", help="pictures are kept here and used again")
    options = parser.parse_args()
    chosen = QUICK if options.quick else FULL
    settings = Settings(**{**asdict(chosen), "repeat": options.repeat or chosen.repeat})
    groups = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.only:
            print(name, file=sys.stderr, flush=True)
            groups.append(GROUPS[name](settings, options.work or Path(temporary)))
            print_group(groups[-1])
            sys.stdout.flush()
            if options.json:  # after every group: an interrupted run leaves what it has
                write_json(options.json, groups, asdict(settings))


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in GROUPS]:
        raise argparse.ArgumentTypeError(f"unknown row {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return names


if __name__ == "__main__":
    main()
