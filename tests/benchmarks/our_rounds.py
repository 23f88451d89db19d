"""Workers of this package (rounds.py): training steps, the input pipeline, validation, export and inference.

    python tests/benchmarks/our_rounds.py '{"what": "step", "variant": "ours", "batch_size": 8, "steps": 2}'

Each line on its standard input takes a round. "step" knows the variants below, of which "bare" is the limit and those
of stock layers are the peers; "forward" is the limit of validation and inference.
"""

import itertools
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import step_variants
import stock_network
import tensorflow as tf
from flops import forward_flops
from rounds import Prepared, serve

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.dataset.pipeline import Batch, Order, training_batches
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.images.decoded import DecodedImages


@dataclass(frozen=True)
class Variant:
    """How a training step is built: the loop, the layers, and what is frozen."""

    loop: str
    stock: bool = False
    frozen: bool = False
    top: bool = False


VARIANTS = {
    "ours": Variant("ours"),
    "ours frozen": Variant("ours", frozen=True),
    "ours top": Variant("ours", top=True),
    "bare": Variant("bare"),
    "bare frozen": Variant("bare", frozen=True),
    "stock": Variant("plain", stock=True),
    "stock frozen": Variant("plain", stock=True, frozen=True),
    "stock fit": Variant("fit", stock=True),
    "our layers, plain loop": Variant("plain"),
    "our layers, fit": Variant("fit"),
}


def prepare(spec: Mapping[str, Any]) -> Prepared:
    return {
        "step": step,
        "forward": forward,
        "pipeline": pipeline,
        "validation": validation,
        "export": export,
        "inference": inference,
    }[spec["what"]](spec)


def step(spec: Mapping[str, Any]) -> Prepared:
    """`steps` training steps on a fixed batch; the loss is read after the last."""
    base, batch_size, steps = step_variants.find_base(spec), spec["batch_size"], spec["steps"]
    variant, classes = VARIANTS[spec["variant"]], spec.get("classes", 3)
    batch = step_variants.fixed_batch(base, batch_size, classes, spec.get("boxes", step_variants.BOXES))
    detector = stock_network.build(base, classes, stock=variant.stock)
    facts = {
        "parameters": sum(math.prod(v.shape) for v in detector.weights),
        "versions": f"TensorFlow {tf.__version__}",
    }
    if spec.get("flops"):
        facts["flops"] = forward_flops(lambda images: detector(images, training=False), batch_size, base.input_size)

    if variant.loop != "ours":
        batch = step_variants.scaled(batch, base)
    if variant.loop == "fit":
        fit = step_variants.fit_step(detector)

        def take() -> int:
            fit(batch, steps)
            return int(steps * batch_size)

        return Prepared(take, facts)
    if variant.loop == "ours":
        run = step_variants.our_step(detector, freeze_batch_norm=variant.frozen, only_top_layer=variant.top)
    else:
        build = {"bare": step_variants.bare_step, "plain": step_variants.plain_step}[variant.loop]
        run = build(detector, freeze_batch_norm=variant.frozen)
    return Prepared(lambda: _taken(run, itertools.repeat(batch), steps, batch_size), facts)


def _taken(run: Callable[[Batch], tf.Tensor], batches: Iterator[Batch], steps: int, batch_size: int) -> int:
    for batch in itertools.islice(batches, steps):
        loss = run(batch)
    float(loss)
    return steps * batch_size


def forward(spec: Mapping[str, Any]) -> Prepared:
    """The network in inference mode and nothing else, on a fixed batch."""
    base, batch_size, steps = step_variants.find_base(spec), spec["batch_size"], spec["steps"]
    batch = step_variants.scaled(step_variants.fixed_batch(base, batch_size, classes=3), base)
    detector = stock_network.build(base, 3, stock=False)
    run = tf.function(lambda given: detector(given.images, training=False).box_encodings[0, 0, 0], autograph=False)
    return Prepared(lambda: _taken(run, itertools.repeat(batch), steps, batch_size))


def pipeline(spec: Mapping[str, Any]) -> Prepared:
    """`steps` batches of the training pipeline, which nobody looks at. A round begins where the one before ended,
    without the batches that were made while the others had their turn. "keep" says whether pixels stay in memory, as
    the check leaves them there."""
    base, batch_size, steps = step_variants.find_base(spec), spec["batch_size"], spec["steps"]
    data = _data(Path(spec["channel"]))
    if not spec["keep"]:
        data = replace(data, decoded=DecodedImages(0))
    order = Order(len(data.file_names), batch_size, seed=0)
    batches = iter(training_batches(data, base, order, augment=spec["augment"]))

    def leave_out(count: int) -> None:
        for _ in range(count):
            next(batches)

    def take() -> int:
        leave_out(steps)
        return int(steps * batch_size)

    return Prepared(take, before=lambda: leave_out(spec["waiting"]))


def validation(spec: Mapping[str, Any]) -> Prepared:
    """One validation of a channel's images by the job's evaluator."""
    from sagemaker_object_detection.evaluation.evaluator import Evaluator

    data = _data(Path(spec["channel"]))
    detector = stock_network.build(step_variants.find_base(spec), len(data.labels), stock=False)
    evaluate = Evaluator(detector, data, l2=None)

    def take() -> int:
        assert evaluate() is not None
        return len(data.file_names)

    return Prepared(take)


def export(spec: Mapping[str, Any]) -> Prepared:
    """The model directory, written by the job's own exporter."""
    from sagemaker_object_detection.artifact.export import Exporter

    data = _data(Path(spec["channel"]))
    detector = stock_network.build(step_variants.find_base(spec), len(data.labels), stock=False)

    def take() -> int:
        with tempfile.TemporaryDirectory() as folder:
            Exporter(detector, Path(folder)).write(data.labels, {})
        return 0

    return Prepared(take)


def inference(spec: Mapping[str, Any]) -> Prepared:
    """The exported model's default signature on decoded images of 800x600, one at a time."""
    from sagemaker_object_detection.artifact.export import SAVED_MODEL, Exporter
    from sagemaker_object_detection.images.decoding import decode_stored

    data = _data(Path(spec["channel"]))
    detector = stock_network.build(step_variants.find_base(spec), len(data.labels), stock=False)
    folder = Path(tempfile.mkdtemp())
    try:
        Exporter(detector, folder).write(data.labels, {})
        loaded = tf.saved_model.load(str(folder / SAVED_MODEL))
    finally:
        shutil.rmtree(folder)
    detect = loaded.signatures["serving_default"]
    images = [decode_stored((data.images / name).read_bytes())[None] for name in data.file_names[:8]]

    def take() -> int:
        for number in range(spec["steps"]):
            float(detect(images[number % len(images)])["num_detections"][0])
        return int(spec["steps"])

    return Prepared(take)


def _data(channel: Path) -> Dataset:
    """The checked data set of a channel, without a validation set."""
    return load_splits(
        channel,
        None,
        read({"validation_split_ratio": "0"}),
    ).training


if __name__ == "__main__":
    serve(prepare)
