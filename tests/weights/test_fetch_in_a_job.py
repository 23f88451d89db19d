"""When a job goes over the network: once, after everything else was found to be right, and not beyond a stop."""

import logging
import os
import shutil
import signal

import pytest
from conftest import write_job
from made_weights import make_tree, pack, send, serving

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.train import train


@pytest.fixture
def root(sample_root, tmp_path, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_OD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    shutil.copytree(sample_root / "input/data", tmp_path / "input/data")
    umask = os.umask(0o22)
    yield tmp_path
    os.umask(umask)


def test_a_handle_that_is_refused_ends_the_job_with_its_sentence(root):
    with serving(lambda request: send(request, b"", status=404)) as host:
        write_job(root, {"pretrained_weights": f"{host.address}/some/model/1"})
        with pytest.raises(UserError) as raised:
            train(read_job(Paths(root)))
    assert "answers 404 Not Found: there is no such model" in str(raised.value)
    assert len(host.requests) == 1


def test_wrong_data_is_told_before_anything_is_fetched(root):
    (root / "input/data/training/annotations.json").write_text("{}")
    with serving(lambda request: send(request, b"", status=404)) as host:
        write_job(root, {"pretrained_weights": f"{host.address}/some/model/1"})
        with pytest.raises(UserError, match=r"annotations\.json"):
            train(read_job(Paths(root)))
    assert host.requests == []


def test_a_stop_while_weights_are_on_their_way_ends_the_job_in_peace(root, caplog, monkeypatch):
    archive = pack(root / "m.tar.gz", make_tree(root / "m", "variables/variables.index"), ".").read_bytes()

    def answer(request):
        os.kill(os.getpid(), signal.SIGTERM)
        send(request, archive)

    monkeypatch.setattr(logging.getLogger("sagemaker_object_detection"), "propagate", True)
    with serving(answer) as host:
        write_job(root, {"pretrained_weights": f"{host.address}/some/model/1"})
        train(read_job(Paths(root)))
    assert caplog.messages[-1] == "Stopped by a signal before the first step: there is no model to save."
    assert list((root / "cache").iterdir()) == []
    assert list((root / "model").iterdir()) == []
