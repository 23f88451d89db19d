"""A long run on data whose images have very different numbers of boxes: one trace, and host memory stays flat."""

import itertools

import numpy as np
import psutil
import pytest
from tiny_models import TINY, add_backbones

from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.dataset.pipeline import Order, training_batches
from sagemaker_object_detection.devices.replicas import find_replicas
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.step.optimizer import build_optimizer
from sagemaker_object_detection.step.training_step import TrainingStep, choose_trainable

STEPS, SETTLED = 300, 100
# What the allocators of a process of this size were seen to move by; a leak of one batch a step would be 29 MB.
ALLOWED_MEGABYTES = 8


@pytest.mark.slow
def test_one_trace_and_flat_memory_over_300_steps(sample_root):
    add_backbones()
    splits = load_splits(
        sample_root / "input/data/training",
        sample_root / "input/data/validation",
        read({}),
    )
    data = splits.training
    assert len(np.unique(np.diff(data.offsets))) >= 4
    detector = build_detector(TINY, len(data.labels))
    variables = choose_trainable(detector, only_top_layer=False, freeze_batch_norm=False)
    optimizer = build_optimizer(read({"learning_rate_schedule": "constant"}), STEPS)
    step = TrainingStep(
        detector, optimizer, variables, l2=None, warm_up_statistics=True, replicas=find_replicas(["algo-1"], "algo-1")
    )
    batches = training_batches(data, TINY, Order(len(data.file_names), 3, seed=0), augment=True)
    process = psutil.Process()
    memory = []
    for batch in itertools.islice(batches, STEPS):
        assert np.isfinite(float(step(batch)[0]))
        memory.append(process.memory_info().rss / 2**20)
    assert step.traces == 1
    growth = np.mean(memory[-20:]) - np.mean(memory[SETTLED : SETTLED + 20])
    assert growth < ALLOWED_MEGABYTES, f"host memory grew by {growth:.0f} MB over {STEPS - SETTLED} steps"
