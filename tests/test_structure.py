"""The direction of the data's flow, held against the imports, and what a wrong job may not have to wait for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_job

PACKAGE = Path(__file__).parents[1] / "src/sagemaker_object_detection"
NAME = "sagemaker_object_detection"
FLOW = [
    {"errors", "catalogue", "sentences", "__init__"},
    {"files"},
    {"job"},
    {"hyperparameters", "guard", "script_mode"},
    {"geometry", "images"},
    {"dataset", "sample_data", "describe"},
    {"models"},
    {"weights"},
    {"evaluation"},
    {"devices"},
    {"step"},
    {"training"},
    {"artifact"},
    {"report"},
    {"serving"},
    {"preflight", "outputs", "convert"},
    {"train", "check", "evaluate", "fetch_weights", "launch"},
    {"runtimes"},
    {"__main__"},
]
"""Rooms from first to last. A room imports from those before it, and from itself."""
TOOLKIT = {"launch.py": {"sagemaker_training", "botocore"}}
"""What the process that becomes a job's own script imports besides: it does nothing else."""


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rank(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOW) if name in rooms)


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a module imports, anywhere in it; relative imports are not used in this package."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == NAME else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name and name.startswith(f"{NAME}.")}
    return {name for name in rooms if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_upwards(path):
    own = room(path)
    against = {name for name in imported_rooms(path) if name != own and rank(name) >= rank(own)}
    assert not against, f"{path.relative_to(PACKAGE)} imports from {sorted(against)}"


@pytest.mark.parametrize("name", ["files", "sentences", "job", "script_mode", "hyperparameters", "errors", "catalogue"])
def test_the_first_rooms_import_only_the_standard_library(name):
    files = [PACKAGE / f"{name}.py"] if (PACKAGE / f"{name}.py").is_file() else sorted((PACKAGE / name).glob("*.py"))
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            for module in modules:
                allowed = {NAME, *sys.stdlib_module_names, *TOOLKIT.get(path.name, ())}
                assert module.split(".")[0] in allowed, f"{path.name} imports {module}"


def test_a_wrong_job_fails_in_under_a_second_of_process_time(tmp_path):
    write_job(tmp_path, {"epochs": "many", "learning_rte": "0.1", "pretrained_weights": "none"})
    (tmp_path / "input/data/training").mkdir(parents=True)
    (tmp_path / "input/data/training/annotations.json").write_text("{}")
    before = _children_seconds()
    done = subprocess.run(
        [sys.executable, "-m", NAME, "train", "--root", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert _children_seconds() - before < 1.0
    assert "epochs: got 'many'" in done.stdout
    assert "learning_rte: unknown; did you mean learning_rate?" in done.stdout
    failure = (tmp_path / "output/failure").read_text()
    assert failure.startswith("UserError: 1 of 2: epochs: got 'many'")


def _children_seconds() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_the_tour_tells_of_every_room():
    tour = (PACKAGE / "README.md").read_text(encoding="utf-8")
    names = {name for rooms in FLOW for name in rooms} - {"__init__"}
    untold = {name for name in names if f"`{name}/`" not in tour and f"`{name}.py`" not in tour}
    assert not untold


def test_what_decides_whether_a_gpus_tests_run_is_there():
    root = PACKAGE.parents[1]
    script = (root / ".ci/run").read_text(encoding="utf-8")
    begin = script.index("package=")
    listed = script[begin : script.index("gpu_unchanged_since=")]
    shown = subprocess.run(
        ["bash", "-c", f'{listed}\nprintf "%s\\n" "${{gpu_paths[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    ).stdout.split()
    assert len(shown) > 10
    assert not [path for path in shown if not (root / path).exists()]
