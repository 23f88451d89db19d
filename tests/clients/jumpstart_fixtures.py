"""AWS on this machine for the tests of both SDKs: S3 with JumpStart's bucket, and an archive of published weights."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jumpstart_bucket
import pytest
from client_tests import aws_on_this_machine

_MAKE_ARCHIVE = Path(__file__).parents[1] / "published_archive.py"


@pytest.fixture(scope="session")
def base_model(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of published weights, written by the image, because the environments of the SDKs lack TensorFlow."""
    folder = tmp_path_factory.mktemp("base_model")
    mounts = ["-v", f"{_MAKE_ARCHIVE}:/make.py:ro", "-v", f"{folder}:/made"]
    subprocess.run(
        ["docker", "run", "--rm", "--network", "none", *mounts, image, "python", "/make.py", "/made/model.tar.gz"],
        check=True,
        capture_output=True,
    )
    return folder / "model.tar.gz"


@pytest.fixture
def jumpstart(sample_root: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of S3, which has JumpStart's bucket and the user's own, `mine`."""
    with aws_on_this_machine(monkeypatch, tmp_path) as session:
        client = session.client("s3")
        jumpstart_bucket.fill(client, sample_root / "input/data/training", base_model)
        client.create_bucket(Bucket="mine")
        yield client
