"""Which number format is chosen for which device."""

import pytest

from sagemaker_object_detection.devices.number_format import choose_number_format


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
def test_policy_is_what_is_fast_on_the_device(mixed_precision, capability, policy, caplog):
    caplog.set_level("INFO")
    assert choose_number_format(mixed_precision, capability) == policy
    said = [record.levelname for record in caplog.records]
    assert said == ["INFO"] * (policy != "float32") + ["WARNING"] * (policy != "float32" and capability is None)
