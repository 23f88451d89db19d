"""Weights that are put into the image when it is built."""

import functools
import json
import re
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import write_job
from containers import PROJECT, UNPRIVILEGED, docker, run
from published_archive import write_archive

from sagemaker_object_detection.catalogue import DEFAULT_MODEL

pytestmark = pytest.mark.docker

Build = Callable[..., tuple[subprocess.CompletedProcess[str], str]]


@pytest.fixture
def build(image: str) -> Iterator[Build]:
    """Builds an image beside the ordinary one, whose layers it shares; returns the finished process and the tag."""
    tag = f"sagemaker-object-detection:test-{uuid.uuid4().hex[:12]}"

    def build(*options: str) -> tuple[subprocess.CompletedProcess[str], str]:
        command = [f"{PROJECT}/scripts/build_image.sh", "--variant", "cpu", "--tag", tag, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False), tag

    yield build
    docker("image", "rm", tag)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """The address of a base model's weights, as TensorFlow Hub would hand them out, on this machine."""
    (tmp_path / "served").mkdir()
    write_archive(tmp_path / "served/model")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/model"
        finally:
            server.shutdown()
            thread.join()


def test_a_job_without_a_network_starts_from_the_weights_in_the_image(
    build: Build, mirror: str, sample_root: Path, tmp_path: Path
) -> None:
    built, tag = build("--bake", DEFAULT_MODEL.model_id, "--bake-from", mirror, "--", "--network=host")
    assert built.returncode == 0, built.stdout + built.stderr
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", tag).stdout)
    assert labels["sagemaker-object-detection.baked-models"] == DEFAULT_MODEL.model_id
    root = tmp_path / "job"
    shutil.copytree(sample_root / "input/data", root / "input/data")
    write_job(root, {"epochs": "1", "batch_size": "4"})
    root.chmod(0o777)
    finished = run(tag, *UNPRIVILEGED, root=root)
    assert finished.code == 0, finished.output + finished.errors
    assert re.search(
        rf"^Starting {DEFAULT_MODEL.name} from the weights of .*/opt/weights", finished.output, re.MULTILINE
    )
    assert (root / "model/1/saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("ssd_resnet_50_v1_fpn_640x640", "'ssd_resnet_50_v1_fpn_640x640': unknown; did you mean "),
        (DEFAULT_MODEL.name, f"ERROR: {DEFAULT_MODEL.name}: the weights cannot be fetched; "),
    ],
    ids=["no such model", "no network"],
)
def test_a_model_that_cannot_be_had_fails_the_build_with_its_sentence(build: Build, model: str, sentence: str) -> None:
    built, tag = build("--bake", model, "--", "--network=none")
    assert built.returncode != 0
    assert sentence in built.stdout
    assert "Traceback" not in built.stdout
    assert docker("image", "inspect", tag).returncode != 0
