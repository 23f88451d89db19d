"""A few training steps on some devices of one host or of two.

`python replicated_steps.py OUT DEVICES HOSTS ME CASE...`: HOSTS is "alone", or the hosts' names with commas between, ME
this one's. Every case starts from the same weights and draws from the same whole batches; what its variables hold
before and after is written to OUT, as `CASE/before/0` and so on, its losses and its loss scales. "pipeline" is one too.
"""

import itertools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY, TINY_PADDED
from training_steps import (
    ALONE,
    MEMORY_ERRORS,
    Memory,
    assign,
    batch,
    calibrated,
    make_step,
    raise_instead,
    share_of,
    values_of,
)

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.dataset.pipeline import Batch, Order, training_batches
from sagemaker_object_detection.devices.replicas import Replicas, find_replicas
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.sample_data import write_sample_data

SGD = {"optimizer": "sgd", "momentum": "0.9", "learning_rate": "0.0003"}
ADAM = {"optimizer": "adam", "epsilon": "0.01", "learning_rate": "0.001"}


@dataclass(frozen=True)
class Case:
    batch_size: int
    optimizer: dict[str, Any]
    base: BaseModel = TINY
    steps: int = 6
    dtype: str = "float64"
    memory: int | None = None
    """How many images fit into a device's."""
    only_second: bool = False
    """Whether only the second device's memory is that small."""
    error: type[tf.errors.OpError] = tf.errors.ResourceExhaustedError
    """What is raised then."""
    micro_batch: int | None = None
    """How many images are taken at a time from the beginning."""
    xla: bool = False
    freeze: bool = True
    """Whether batch normalization keeps its statistics."""
    overflow: int | None = None
    """The step in which the last image is more than float16 can hold."""


CASES = {
    "sgd, 4 images": Case(4, SGD),
    "adam, 3 images": Case(3, ADAM),
    "sgd, 4 images, memory for 1": Case(4, SGD, memory=1),
    "drop-connect, 3 images": Case(3, ADAM, TINY_PADDED, steps=2),
    **{
        f"sgd, 4 images, {error.__name__} on the second replica": Case(4, SGD, memory=1, only_second=True, error=error)
        for error in MEMORY_ERRORS
    },
    "statistics, 4 images": Case(4, SGD, steps=2, freeze=False),
    "statistics, 4 images, memory for 1": Case(4, SGD, steps=2, freeze=False, memory=1),
    "sgd, 4 images, compiled": Case(4, SGD, steps=2, xla=True),
    "statistics, 2 images at a time": Case(4, SGD, steps=2, freeze=False, micro_batch=2),
    "statistics, 1 image at a time": Case(4, SGD, steps=2, freeze=False, micro_batch=1),
    "float16, 2 images": Case(2, SGD, dtype="mixed_float16", steps=7, overflow=5),
}


def find(devices: int, hosts: str, own: str) -> Replicas:
    if hosts != "alone":
        return find_replicas(hosts.split(","), own)
    if devices == 1:
        return ALONE
    names = [f"CPU:{number}" for number in range(devices)]
    return Replicas(tf.distribute.MirroredStrategy(names))


def parts_of(share: Batch, replicas: Replicas) -> list[Batch]:
    """Each local replica's."""
    count = replicas.count // replicas.hosts
    return [Batch(*columns) for columns in zip(*(tf.split(column, count) for column in share), strict=True)]


def whole_batch(case: Case, number: int) -> Batch:
    whole = batch(number, 3, case.batch_size, base=case.base, regions=[[0.0, 0.0, 0.5, 1.0]])
    if number == case.overflow:
        images = whole.images.numpy()
        images[-1] *= 1e30
        whole = whole._replace(images=tf.constant(images))
    return whole


def run(case: Case, replicas: Replicas) -> dict[str, list[np.ndarray]]:
    base = case.base
    with replicas.scope():
        detector = build_detector(base, 2, dtype=case.dtype)
    assign(
        detector.variables, values_of(calibrated(base, case.dtype.removeprefix("mixed_").replace("16", "32")).variables)
    )
    before = values_of(detector.variables)
    with pytest.MonkeyPatch.context() as patch:
        return taken(case, replicas, detector, before, patch)


def taken(
    case: Case, replicas: Replicas, detector: Detector, before: list[np.ndarray], patch: pytest.MonkeyPatch
) -> dict[str, list[np.ndarray]]:
    if case.memory is not None:
        first = case.batch_size // replicas.count if case.only_second else 0
        error = RuntimeError(MEMORY_ERRORS[case.error])
        Memory(detector, first_image=first, error=error).images = case.memory
        raise_instead(patch, case.error, MEMORY_ERRORS[case.error])
    with replicas.scope():
        step = make_step(
            detector,
            replicas=replicas,
            freeze=case.freeze,
            warm_up=False,
            micro_batch=case.micro_batch,
            xla=case.xla,
            **case.optimizer,
        )
    place = replicas.share(case.batch_size)
    scale = getattr(step.optimizer, "dynamic_scale", None)
    losses, scales = [], []
    for number in range(case.steps):
        losses.append(float(step(*parts_of(share_of(whole_batch(case, number), *place), replicas))[0]))
        scales.append(1.0 if scale is None else float(scale.numpy()))
    assert (step.micro_batch is None) == (case.memory is None and case.micro_batch is None)
    return {
        "before": before,
        "after": values_of(detector.variables),
        "optimizer": step.state,
        "losses": [np.array(losses)],
        "scales": [np.array(scales)],
    }


def dealt_out(replicas: Replicas) -> dict[str, list[np.ndarray]]:
    """Images and their indices of three steps of five images of the pipeline, as this host's replicas are handed them,
    laid end to end; each has to lie on its own device."""
    with tempfile.TemporaryDirectory() as folder:
        write_sample_data(Path(folder), images=6, validation_images=0, seed=0)
        data = load_splits(
            Path(folder) / "training",
            None,
            read({"validation_split_ratio": "0"}),
        ).training
        local = replicas.count // replicas.hosts
        stream = training_batches(data, TINY, Order(6, 5, seed=0), augment=True, share=replicas.share(5), parts=local)
        steps = list(itertools.islice(replicas.distributed(stream), 3))
    for parts in steps:
        assert [part.images.device[-5:] for part in parts] == [f"CPU:{number}" for number in range(local)]
    flat = [part for parts in steps for part in parts]
    return {"images": [part.images.numpy() for part in flat], "indices": [part.indices.numpy() for part in flat]}


def main(out: str, devices: str, hosts: str, own: str, *names: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(devices))
    replicas = find(int(devices), hosts, own)
    found = {name: dealt_out(replicas) if name == "pipeline" else run(CASES[name], replicas) for name in names}
    replicas.wait()
    arrays: dict[str, Any] = {
        f"{name}/{group}/{place}": value
        for name, groups in found.items()
        for group, values in groups.items()
        for place, value in enumerate(values)
    }
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
