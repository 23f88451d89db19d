import errno
import os
import tempfile
from pathlib import Path

import pytest

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.paths import Paths, baked_weights, download_cache, prepare_outputs


@pytest.fixture(autouse=True)
def _umask():
    previous = os.umask(0o077)
    yield
    os.umask(previous)


def test_the_root_is_the_argument_then_the_variable_then_the_platforms(monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", "/elsewhere")
    assert Paths.find("relative").root == Path.cwd() / "relative"
    assert Paths.find().root == Path("/elsewhere")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", "")
    assert Paths.find(None).root == Path("/opt/ml")


def test_the_tree():
    paths = Paths(Path("/opt/ml"))
    names = ("hyperparameters", "inputdataconfig", "resourceconfig", "checkpointconfig")
    assert [str(getattr(paths, name)) for name in names] == [f"/opt/ml/input/config/{name}.json" for name in names]
    outputs = (paths.model, paths.output_data, paths.tensorboard, paths.failure, paths.checkpoints)
    assert [str(path) for path in outputs] == [
        "/opt/ml/model",
        "/opt/ml/output/data",
        "/opt/ml/output/tensorboard",
        "/opt/ml/output/failure",
        "/opt/ml/checkpoints",
    ]
    assert str(paths.channel("training")) == "/opt/ml/input/data/training"


def test_everyone_may_change_the_outputs(tmp_path):
    paths = Paths(tmp_path)
    prepare_outputs(paths)
    (paths.model / "labels.json").touch()
    modes = [path.stat().st_mode & 0o777 for path in (paths.model, paths.output_data, paths.model / "labels.json")]
    assert modes == [0o777, 0o777, 0o666]


def test_an_output_folder_that_cannot_be_used_is_the_users_to_mend(tmp_path, monkeypatch):
    (tmp_path / "model").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError) as caught:
        prepare_outputs(Paths(tmp_path))
    assert caught.value.problems == (
        f"{tmp_path}/model: cannot be created (File exists); expected a folder this process may write to",
        f"{tmp_path}/output/data: cannot be written; mount it writable or run the container as root",
    )


def failing_mkdir(number):
    def mkdir(path, *arguments, **named):
        raise OSError(number, os.strerror(number), str(path))

    return mkdir


def test_a_file_system_that_is_mounted_read_only_is_the_users_to_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", failing_mkdir(errno.EROFS))
    with pytest.raises(UserError) as caught:
        prepare_outputs(Paths(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/model: cannot be created (Read-only file system); mount {tmp_path} writable: the model and the "
        "job's other outputs are written there"
    )


def test_outputs_below_a_place_where_nothing_can_be_made_are_the_users_to_mend(tmp_path):
    (tmp_path / "output").symlink_to("/proc/self")
    with pytest.raises(UserError) as caught:
        prepare_outputs(Paths(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/output/data: cannot be created (No such file or directory); expected a folder this process may "
        "write to"
    )


def test_a_full_disk_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", failing_mkdir(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left on device"):
        prepare_outputs(Paths(tmp_path))


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, "/home/me/.cache/sagemaker-object-detection"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/sagemaker-object-detection"),
        ({"XDG_CACHE_HOME": "/x", "SAGEMAKER_OD_CACHE_DIR": "/chosen"}, "/chosen"),
        ({"HOME": "none"}, f"{tempfile.gettempdir()}/sagemaker-object-detection"),
    ],
)
def test_downloads_are_kept_where_caches_are(monkeypatch, environment, folder):
    for name, value in {"HOME": "/home/me", "XDG_CACHE_HOME": "", "SAGEMAKER_OD_CACHE_DIR": "", **environment}.items():
        monkeypatch.setenv(name, value)
    assert download_cache() == Path(folder)


def test_baked_weights_lie_outside_the_platforms_own_tree(monkeypatch):
    monkeypatch.delenv("SAGEMAKER_OD_WEIGHTS_DIR", raising=False)
    assert baked_weights() == Path("/opt/weights")
    monkeypatch.setenv("SAGEMAKER_OD_WEIGHTS_DIR", "/elsewhere")
    assert baked_weights() == Path("/elsewhere")
