"""What is in the image, and what is not."""

import json
from typing import Any

import pytest
from containers import docker, run

from sagemaker_object_detection import __version__
from sagemaker_object_detection.describe import describe_json, describe_markdown

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def config(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", image).stdout)[0]["Config"]
    return found


def shell(image: str, script: str) -> str:
    finished = run(image, command=["sh", "-c", script])
    assert finished.code == 0, finished.errors
    return finished.output


@pytest.mark.smoke
def test_it_runs_train_without_an_entrypoint_a_shell_or_another_user(config: dict[str, Any]) -> None:
    assert config["Entrypoint"] is None
    assert config["Cmd"] == ["train"]
    assert config["User"] == ""


def test_its_labels_say_what_it_is(config: dict[str, Any]) -> None:
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "sagemaker-object-detection"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["sagemaker-object-detection.variant"] == "cpu"
    assert labels["sagemaker-object-detection.baked-models"] == ""


def test_the_nvidia_runtime_gives_it_every_gpu_for_computing(config: dict[str, Any]) -> None:
    assert "NVIDIA_VISIBLE_DEVICES=all" in config["Env"]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in config["Env"]


def test_nothing_lies_where_the_platform_mounts(image: str) -> None:
    assert shell(image, "ls -A /opt") == "venv\nweights\n"


def test_no_compiler_cache_or_index_setting_is_left(image: str) -> None:
    assert shell(image, "for tool in gcc cc g++ clang ld make git; do command -v $tool; done; true") == ""
    assert shell(image, "find /tmp /var/tmp ~/.cache /var/lib/apt/lists /var/cache/apt -type f 2>/dev/null; true") == ""
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert "INDEX" not in history
    assert "proxy" not in history


BYTECODE = """
import importlib.util, pathlib, sagemaker_object_detection as package
print(package.__version__, package.__file__)
for place in ("/opt/venv/lib/python3.11/site-packages/keras", "/usr/local/lib/python3.11/json", package.__path__[0]):
    for source in pathlib.Path(place).rglob("*.py"):
        compiled = pathlib.Path(importlib.util.cache_from_source(source))
        # The second word of the file: 1 is "by hash, and not checked" (PEP 552), which costs no look at the source.
        if not compiled.is_file() or compiled.read_bytes()[4:8] != (1).to_bytes(4, "little"):
            print("without bytecode:", source)
"""


def test_the_package_is_installed_and_compiled_ahead(image: str) -> None:
    place = "/opt/venv/lib/python3.11/site-packages/sagemaker_object_detection"
    finished = run(image, command=["python", "-P", "-c", BYTECODE])
    assert (finished.code, finished.output) == (0, f"{__version__} {place}/__init__.py\n"), finished.errors
    assert shell(image, "python -m pip list --editable") == ""


def test_every_verb_is_on_the_path(image: str) -> None:
    assert run(image, command=["describe"]).output == f"{describe_markdown()}\n"
    assert json.loads(run(image, command=["describe", "--format", "json"]).output) == describe_json()
    for verb in ("train", "serve", "check", "evaluate", "export", "predict", "fetch-weights", "sample-data"):
        finished = run(image, command=[verb, "--help"])
        assert finished.code == 0, verb
        assert finished.output.startswith(f"usage: sagemaker-object-detection {verb} ")


def test_train_is_ours_and_scripts_of_a_job_can_import_us_and_the_toolkit(image: str) -> None:
    assert shell(image, "command -v train; find / -xdev -name train -perm -u+x -type f") == (
        "/usr/local/bin/train\n/usr/local/bin/train\n"
    )
    assert "5.1.4" in shell(
        image,
        "python -c 'import gethostname, sagemaker_object_detection, importlib.metadata as m;"
        ' print(m.version("sagemaker-training"))\'',
    )
