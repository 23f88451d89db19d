"""The table of deliberate faults fits the source: each can still be put in, and is a program then."""

import ast
from collections import Counter

import pytest
from faults import FAULTS, ROOT, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_one_place_and_leaves_a_program(fault: Fault) -> None:
    source = (ROOT / fault.path).read_text(encoding="utf-8")
    changed = fault.planted(source)
    assert changed != source
    if fault.path.endswith(".py"):
        ast.parse(changed)


def test_names_are_different() -> None:
    assert max(Counter(fault.name for fault in FAULTS).values()) == 1
