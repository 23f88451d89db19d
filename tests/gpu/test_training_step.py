"""A GPU runs every operation of a training step, and no large tensor of it waits in the host's memory."""

import gc
from collections import Counter
from typing import Any

import pytest
from findings import findings
from networks import DTYPES, FAMILIES, three_images
from placement import Operation, operations_of
from tiny_models import TINY, TINY_PADDED
from traced_functions import traced_functions
from training_steps import make_step

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.pipeline import Order, training_batches
from sagemaker_object_detection.hyperparameters.kinds import Choice
from sagemaker_object_detection.hyperparameters.table import ROWS
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.step.features import KeptFeatures

pytestmark = pytest.mark.gpu_wheels
EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)
TINY_MODELS = pytest.mark.parametrize(
    ("base", "dtype"),
    [*((TINY, dtype) for dtype in DTYPES), (TINY_PADDED, "mixed_bfloat16")],
    ids=[*DTYPES, "padded"],
)
"""For what is the same in every model."""
OPTIMIZERS = next(row.kind.options for row in ROWS if row.name == "optimizer" and isinstance(row.kind, Choice))


@pytest.fixture
def found(tmp_path):
    """What is found in all functions of a step on two images."""

    def find(base: BaseModel, dtype: str, *, kept: bool = False, **options: Any) -> Counter[str]:
        detector = build_detector(base, 2, dtype=dtype)
        features = KeptFeatures(detector, 3) if kept else None
        batches = training_batches(three_images(tmp_path), base, Order(3, 2, seed=0), augment=False)
        with traced_functions() as graphs:
            make_step(detector, features=features, **options)(next(iter(batches)))
        operations = [operation for graph in graphs for operation in operations_of(graph)]
        # Matching, forward and backward pass, update: nothing has been left out of the graphs.
        assert {operation.kind for operation in operations} >= {
            "ScatterNd",
            "Conv2D",
            "Conv2DBackpropFilter",
            "AssignVariableOp",
        }
        return findings(operations)

    yield find
    gc.collect()  # a graph refers to itself


@pytest.mark.parametrize("freeze", [False, True], ids=["moving", "frozen"])
@EVERY_DTYPE
@pytest.mark.parametrize("base", FAMILIES.values(), ids=FAMILIES)
def test_step_of_every_family(found, base, dtype, freeze):
    assert found(base, dtype, freeze=freeze) == {}


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])  # bfloat16's gradients are float32's
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_step_of_every_optimizer(found, optimizer, dtype):
    assert found(TINY, dtype, optimizer=optimizer) == {}


@TINY_MODELS
def test_step_of_only_the_top_layer(found, base, dtype):
    assert found(base, dtype, only_top_layer=True) == {}


@TINY_MODELS
def test_step_in_parts(found, base, dtype):
    # The sizes of the images of a part: of the first dimension it is only known that it is the part's at most.
    sizes = {"on the host: StridedSlice: output int32 [?, 3]": 1, "on the host: EnsureShape: input int32 [?, 3]": 1}
    assert found(base, dtype, micro_batch=1) == sizes


@pytest.mark.parametrize(("dtype", "kept_as"), [*zip(DTYPES, ("float32", "bfloat16", "float16"), strict=True)])
def test_step_on_kept_features(found, dtype, kept_as):
    choosing = {"All", "Greater", "Less", "LogicalNot", "LogicalOr", "Minimum", "SelectV2"}
    # What goes into the host's memory in the first epoch, and comes from there in the others.
    ends = ("ResourceScatterUpdate: updates", "Identity: input")
    copied = [f"{end} {feature}" for end in ends for feature in ("float32 [2, 516, 4]", f"{kept_as} [2, 8, 8, 24]")]
    assert found(TINY, dtype, only_top_layer=True, kept=True) == {
        **{f"pinned: {kind}": 1 for kind in choosing | {"ResourceGather", "ResourceScatterUpdate"}},
        **{f"on the host: {name}": 1 for name in copied},
    }


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", ["NcclAllReduce", "CollectiveReduceV2"])
def test_sums_over_several_gpus(kind, dtype):
    summed = Operation("sum", kind, (("T", (dtype,)),), is_pinned=False, inputs=[], outputs=[])
    assert summed.gpu_kernel is not None
