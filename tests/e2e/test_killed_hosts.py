"""A job of two hosts, of a tiny model, is killed and started again; the chief alone has its checkpoints."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, child_environment
from test_hosts import assert_the_chief_alone_speaks_and_saves, free_ports, job
from test_kill import digest, metric_lines

pytestmark = pytest.mark.slow

VALUES = {"batch_size": "4", "learning_rate": "1e-3", "seed": "2"}


def command(root: Path, moment: str, count: int) -> list[str]:
    script = Path(__file__).with_name("killed_job.py")
    return [sys.executable, str(script), str(root), "SIGKILL", moment, str(count), "--few", "3"]


def on_hosts(roots: list[Path], moment: str = "never", count: int = 0) -> list[Run]:
    """The chief first; at that moment it is killed, and then the others."""
    hosts = sorted(f"127.0.0.1:{port}" for port in free_ports(len(roots)))
    processes: list[subprocess.Popen[str]] = []
    try:
        for root, host in zip(roots, hosts, strict=True):
            config = {"current_host": host, "hosts": hosts}
            (root / "input/config/resourceconfig.json").write_text(json.dumps(config))
            processes.append(
                subprocess.Popen(
                    command(root, moment if host == hosts[0] else "never", count),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env=child_environment(),
                )
            )
        outputs = [processes[0].communicate(timeout=1200)[0]]
        if moment != "never":
            for process in processes[1:]:
                process.kill()
        outputs += [process.communicate(timeout=1200)[0] for process in processes[1:]]
    finally:
        for process in processes:
            process.kill()
    return [Run(r, p.returncode, o, "") for r, p, o in zip(roots, processes, outputs, strict=True)]


def two_roots(folder: Path, trained: Run) -> list[Path]:
    roots = [job(folder / name, trained.root / "input/data", trained.root / "model", **VALUES) for name in ("a", "b")]
    (roots[0] / "checkpoints").mkdir()
    return roots


def newest_weights(root: Path) -> list[np.ndarray]:
    with np.load(max((root / "checkpoints").iterdir())) as stored:
        return [stored[name] for name in stored.files if name.startswith("weights/")]


def test_it_ends_as_if_nothing_had_happened_on_two_hosts_and_on_one(trained, tmp_path):
    reference = on_hosts(two_roots(tmp_path / "reference", trained))
    assert [host.code for host in reference] == [0, 0], reference[0].output
    chief, worker = reference
    assert_the_chief_alone_speaks_and_saves(chief, worker, VALUES["batch_size"])

    roots = two_roots(tmp_path / "killed", trained)
    killed = on_hosts(roots, "step", 5)
    assert killed[0].code == -9
    before = newest_weights(roots[0])
    alone = [tmp_path / "alone"]
    shutil.copytree(roots[0], alone[0])

    resumed = on_hosts(roots)
    assert [host.code for host in resumed] == [0, 0], resumed[0].output
    assert "Resuming from" in resumed[0].output
    assert digest(roots[0]) == digest(reference[0].root)
    assert metric_lines(killed[0], resumed[0]) == metric_lines(reference[0])
    assert not (roots[1] / "checkpoints").exists()

    (single,) = on_hosts(alone)
    assert single.code == 0, single.output
    # "Auto" would no longer freeze with all images of a batch on one host; 56 variables are batch normalization's.
    unchanged = [np.array_equal(one, other) for one, other in zip(newest_weights(alone[0]), before, strict=True)]
    assert (sum(unchanged), len(unchanged)) == (56, 83)
    regex = r"loss=([\d.]+)\."
    expected = [float(loss) for loss in re.findall(regex, reference[0].output)]
    found = [float(loss) for loss in re.findall(regex, killed[0].output + single.output)]
    assert found == pytest.approx(expected, rel=1e-3)
