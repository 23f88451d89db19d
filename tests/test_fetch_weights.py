"""The `fetch-weights` verb, with small checkpoints that pass for published ones."""

import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
from conftest import run_verb

from sagemaker_object_detection import fetch_weights as verb
from sagemaker_object_detection.catalogue import CATALOGUE, find
from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.weights.bounds import StoppedError
from sagemaker_object_detection.weights.sources import Source, find_source, source_at

SMALL, LARGE = "ssd_mobilenet_v2_fpnlite_320x320", "ssd_mobilenet_v2_fpnlite_640x640"
OTHER = "ssd_mobilenet_v1_fpn_640x640"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The variables that tell a MobileNet v2 from the others, as a checkpoint; what else its folder holds is not "
    "needed."""
    folder = tmp_path_factory.mktemp("published")
    model = tf.Module()
    model.kernel = tf.Variable(np.ones((1, 1, 1280, 128), np.float32))
    tf.train.Checkpoint(model=model).write(str(folder / "checkpoint/ckpt-0"))
    (folder / "pipeline.config").write_text("model {}")
    (folder / "saved_model").mkdir()
    (folder / "saved_model/saved_model.pb").write_text("large")
    return folder


@pytest.fixture
def catalogue_of(monkeypatch):
    """Answers the catalogue's handles with paths on this machine, or with nothing."""

    def answer(places):
        by_handle = {find(name).hub_handle: place for name, place in places.items()}
        monkeypatch.setattr(
            verb, "source_at", lambda place, origin: source_at(str(by_handle.get(place, place)), origin)
        )

    return answer


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


COMPLETE = ["checkpoint/ckpt-0.data-00000-of-00001", "checkpoint/ckpt-0.index", "pipeline.config"]


def test_each_model_gets_a_folder_with_what_a_job_needs(tmp_path, published, catalogue_of, monkeypatch):
    catalogue_of({SMALL: published, LARGE: published})
    verb.fetch_weights([find(SMALL).model_id, LARGE, SMALL], tmp_path / "weights")
    assert sorted(os.listdir(tmp_path / "weights")) == [SMALL, LARGE]
    assert files(tmp_path / "weights" / LARGE) == COMPLETE
    monkeypatch.setenv("SAGEMAKER_OD_WEIGHTS_DIR", str(tmp_path / "weights"))
    found = find_source("auto", None, LARGE).fetch()
    assert found.checkpoint == tmp_path / "weights" / LARGE / "checkpoint/ckpt-0"
    assert found.pipeline_config == tmp_path / "weights" / LARGE / "pipeline.config"


def test_the_form_of_tensorflow_hub_keeps_its_form(tmp_path, published, catalogue_of):
    hub = tmp_path / "hub"
    (hub / "variables").mkdir(parents=True)
    for suffix in ("index", "data-00000-of-00001"):
        shutil.copyfile(published / f"checkpoint/ckpt-0.{suffix}", hub / f"variables/variables.{suffix}")
    catalogue_of({SMALL: hub})
    verb.fetch_weights([SMALL], tmp_path / "weights")
    assert files(tmp_path / "weights" / SMALL) == [
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]


def test_what_is_there_is_not_fetched_again(tmp_path, published, catalogue_of):
    catalogue_of({SMALL: published})
    verb.fetch_weights([SMALL], tmp_path)
    catalogue_of({SMALL: "/nonexistent"})
    verb.fetch_weights([SMALL], tmp_path)
    assert files(tmp_path / SMALL) == COMPLETE


def test_a_failure_is_told_and_the_others_are_fetched(tmp_path, published, catalogue_of):
    catalogue_of({SMALL: "/nonexistent", OTHER: published, LARGE: published})
    with pytest.raises(UserError) as raised:
        verb.fetch_weights([SMALL, OTHER, LARGE], tmp_path)
    missing, wrong = raised.value.problems
    assert missing.startswith(f"{SMALL} ({find(SMALL).hub_handle}): there is no such folder or file; ")
    assert wrong == (
        f"{OTHER} ({find(OTHER).hub_handle}): holds the weights of {SMALL} or {LARGE}, not of {OTHER}; name that "
        "model, or give the address of this one's weights"
    )
    assert os.listdir(tmp_path) == [LARGE]


def test_the_first_failure_decides_whom_to_blame(tmp_path, monkeypatch):
    def fail(self, *_, **__):
        raise PlatformError(f"{self.origin}: broke")

    monkeypatch.setattr(Source, "fetch", fail)
    with pytest.raises(PlatformError) as raised:
        verb.fetch_weights(["all"], tmp_path)
    assert list(raised.value.problems) == [f"{base.name} ({base.hub_handle}): broke" for base in CATALOGUE]


def test_damaged_weights_are_not_kept(tmp_path, published, catalogue_of):
    damaged = shutil.copytree(published, tmp_path / "damaged")
    data = damaged / "checkpoint/ckpt-0.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[-50_000] ^= 1
    data.write_bytes(content)
    catalogue_of({SMALL: damaged})
    with pytest.raises(UserError, match="the checkpoint cannot be read"):
        verb.fetch_weights([SMALL], tmp_path / "weights")
    assert os.listdir(tmp_path / "weights") == []


def test_a_model_that_was_trained_here_is_no_base_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model_info.json").write_text("{}")
    with pytest.raises(UserError) as raised:
        verb.fetch_weights([SMALL], tmp_path / "weights", str(tmp_path / "model"))
    assert str(raised.value) == (
        f"{SMALL} ({tmp_path}/model): is a model that was trained here; expected the weights of a published base model"
    )


@pytest.mark.parametrize(
    ("models", "place", "told"),
    [
        (
            ["ssd_resnet50_v1_fpn_640"],
            None,
            "'ssd_resnet50_v1_fpn_640': unknown; did you mean ssd_resnet50_v1_fpn_640x640?",
        ),
        (
            ["yolo"],
            None,
            f"'yolo': unknown; expected all, or one of {', '.join(base.name for base in CATALOGUE)}",
        ),
        (["all"], "s3://b/k", "--from: names the weights of one model, and there are 13; fetch them one by one"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, models, place, told):
    with pytest.raises(UserError) as raised:
        verb.fetch_weights(models, tmp_path, place)
    assert str(raised.value) == told


def test_a_signal_ends_it_and_leaves_nothing(tmp_path, published, monkeypatch):
    def stop_in_the_middle(self, stop_requested, **_):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_requested()
        raise StoppedError

    monkeypatch.setattr(Source, "fetch", stop_in_the_middle)
    with pytest.raises(StoppedError):
        verb.fetch_weights([SMALL, LARGE], tmp_path)
    assert os.listdir(tmp_path) == []


def test_the_command_line_fetches_one_model_from_elsewhere(tmp_path, published):
    done = run_verb("fetch-weights", SMALL, "--to", tmp_path / "weights", "--from", published)
    assert (done.code, done.output) == (0, f"{SMALL}: in {tmp_path}/weights/{SMALL}.\n")
    assert files(tmp_path / "weights" / SMALL) == COMPLETE
    assert (tmp_path / "weights" / SMALL).stat().st_mode & 0o777 == 0o755

    done = run_verb("fetch-weights", OTHER, "--to", tmp_path / "weights", "--from", tmp_path / "none")
    assert done.code == 2
    assert done.output.startswith(f"ERROR: {OTHER} ({tmp_path}/none): there is no such folder or file; ")
