"""What a training step costs a GPU to start, counted without one: operations after graph optimisation, and what crosses
from one device to another.

    PYTHONPATH=src:tests python tests/benchmarks/graph_size.py [--models NAME...] [--image-size 128] [--trainable]

Batch normalization is frozen but for `--trainable`. Operations are those of the graphs that TensorFlow runs on the CPU
once it has optimised them, without those that no device computes (constants, reads of variables, reshaping). Crossings
are what one of two logical devices, or the host, receives from another in a step of both.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.devices.replicas import Replicas
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.step.optimizer import build_optimizer
from sagemaker_object_detection.step.training_step import TrainingStep, choose_trainable

MODELS = ("ssd_mobilenet_v2_fpnlite_320x320", "ssd_resnet50_v1_fpn_640x640", "ssd_efficientdet_d0_512x512")
_NOTHING_COMPUTED = {
    *("Const", "HostConst", "_Arg", "_Retval", "_Send", "_Recv", "_HostSend", "_HostRecv", "NoOp", "Placeholder"),
    *("Identity", "IdentityN", "VarHandleOp", "ReadVariableOp", "Shape", "StridedSlice"),
    *("Reshape", "Squeeze", "ExpandDims"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--trainable", action="store_true", help="batch normalization follows the batches")
    options = parser.parse_args()
    print(
        "| model | operations | Pow | adam's updates | crossings with two devices |\n|---|---|---|---|---|", flush=True
    )
    for name in options.models:
        # A process for each: what two strategies of one process sum up is mistaken for each other's.
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            print(alone.submit(row, name, options.image_size, frozen=not options.trainable).result(), flush=True)


def row(name: str, image_size: int, *, frozen: bool) -> str:
    """A model's row of the table."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
    base = catalogue.find(name)
    assert base is not None
    base = replace(base, input_size=image_size)
    alone = step_graphs(base, [], frozen=frozen)
    both = step_graphs(base, ["CPU:1", "CPU:2"], frozen=frozen)
    kinds = Counter(node.op for graph in alone for node in graph.node)
    computed = sum(count for kind, count in kinds.items() if kind not in _NOTHING_COMPUTED)
    return f"| {name} | {computed} | {kinds['Pow']} | {kinds['ResourceApplyAdam']} | {crossings(both)} |"


def step_graphs(base: BaseModel, devices: Sequence[str], *, frozen: bool) -> list[tf.compat.v1.GraphDef]:
    """The graphs that one step of a batch of two runs, one for each device and function."""
    strategy = tf.distribute.MirroredStrategy(devices) if devices else tf.distribute.get_strategy()
    replicas = Replicas(strategy)
    with replicas.scope():
        detector = build_detector(base, 3)
        step = TrainingStep(
            detector,
            build_optimizer(read({"learning_rate_schedule": "constant"}), total_steps=1000),
            choose_trainable(detector, only_top_layer=False, freeze_batch_norm=frozen),
            l2=None,
            warm_up_statistics=False,
            replicas=replicas,
        )
    context.enable_run_metadata()
    try:
        float(step(*_parts(fixed_batch(base), devices))[0])
        metadata = context.export_run_metadata()
    finally:
        context.disable_run_metadata()
    # The largest function is the step; others copy a tensor or read a variable.
    graphs = max(metadata.function_graphs, key=lambda each: sum(len(graph.node) for graph in each.partition_graphs))
    return list(graphs.partition_graphs)


def _parts(batch: Batch, devices: Sequence[str]) -> list[Batch]:
    """Each device's part of a batch, where a job has it."""
    parts = [list(columns) for columns in zip(*(tf.split(x, max(1, len(devices))) for x in batch), strict=True)]
    for columns, device in zip(parts, devices, strict=False):
        with tf.device(device):
            columns[:] = [tf.identity(column) for column in columns]
    return [Batch(*columns) for columns in parts]


def crossings(graphs: Sequence[tf.compat.v1.GraphDef]) -> int:
    """Tensors that one device receives from another."""
    received = [node.attr for graph in graphs for node in graph.node if node.op in ("_Recv", "_HostRecv")]
    return sum(attributes["send_device"].s != attributes["recv_device"].s for attributes in received)


def fixed_batch(base: BaseModel) -> Batch:
    random = np.random.default_rng(0)
    size, rows = base.input_size, 4
    corners = np.sort(random.uniform(0.0, 1.0, (2, rows, 2, 2)), axis=2).reshape(2, rows, 4)
    return Batch(
        images=tf.constant(random.integers(0, 256, (2, size, size, 3)), tf.uint8),
        true_shapes=tf.constant([[size, size, 3]] * 2, tf.int32),
        boxes=tf.constant(corners, tf.float32),
        classes=tf.zeros([2, rows], tf.int64),
        box_weights=tf.ones([2, rows]),
        regions=tf.zeros([2, 0, 4]),
        image_weights=tf.ones([2]),
        indices=tf.range(2, dtype=tf.int64),
    )


if __name__ == "__main__":
    main()
