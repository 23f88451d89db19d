"""The table of deliberate faults fits the source: each can still be put in, and is a program then."""

import ast
import subprocess
import sys
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


def test_no_fault_is_caught_for_a_name_that_is_not_there(tmp_path):
    for fault in FAULTS:
        if fault.path.endswith(".py"):
            planted = fault.planted((ROOT / fault.path).read_text(encoding="utf-8"))
            (tmp_path / f"{fault.name}.py").write_text(planted, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821", str(tmp_path)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_different() -> None:
    assert max(Counter(fault.name for fault in FAULTS).values()) == 1
