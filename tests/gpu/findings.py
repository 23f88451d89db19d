"""What the tests count in the operations of a step, an evaluation or a served model."""

from collections import Counter
from collections.abc import Iterable

from placement import Operation, large_on_host, pinned, without_gpu_kernel

LARGE = 1000
"""A tensor with more elements than that takes long to copy over the bus."""


def findings(operations: Iterable[Operation]) -> Counter[str]:
    """Operations without a GPU kernel, kinds that are pinned, large tensors on the host: best is none at all."""
    operations = list(operations)
    return Counter(
        {
            **{f"no GPU kernel: {name}": count for name, count in without_gpu_kernel(operations).items()},
            **{f"pinned: {kind}": 1 for kind in pinned(operations)},
            **{f"on the host: {name}": count for name, count in large_on_host(operations, LARGE).items()},
        }
    )
