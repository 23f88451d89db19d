"""What drawing charts costs a process, and a log."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, runpy, sys
sys.argv[1:] = ["describe"]
with contextlib.suppress(SystemExit):
    runpy.run_module("sagemaker_object_detection", run_name="__main__")
import sagemaker_object_detection.outputs
assert sys.modules["matplotlib"] is None and "jinja2" not in sys.modules
from sagemaker_object_detection.report.drawing import _font
assert "DejaVu" in str(_font(12).path)
from sagemaker_object_detection.report import charts
assert charts.over_epochs("\\u4e2d\\u6587", {"$\\\\frac{": [1.0]}, 0).startswith(b"\\x89PNG")
assert "matplotlib.pyplot" not in sys.modules
"""


@pytest.mark.slow
def test_nothing_imports_matplotlib_before_a_chart_is_drawn_and_it_needs_no_home(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "MPL"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment, "HOME": "/proc/nobody", "TMPDIR": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "atplotlib" not in done.stderr
    assert "Glyph" not in done.stderr
    assert list(tmp_path.glob("matplotlib-*")) == []
