"""Which number format is chosen for which device."""

import pytest

from sagemaker_object_detection.training.devices import dtype_policy


@pytest.mark.parametrize(
    ("mixed_precision", "capability", "policy"),
    [
        (None, None, "float32"),
        (None, (6, 1), "float32"),
        (None, (7, 5), "mixed_float16"),
        (None, (8, 6), "mixed_bfloat16"),
        (None, (9, 0), "mixed_bfloat16"),
        (True, None, "mixed_bfloat16"),
        (True, (7, 0), "mixed_float16"),
        (False, (9, 0), "float32"),
    ],
)
def test_policy(mixed_precision, capability, policy):
    assert dtype_policy(mixed_precision, capability) == policy
