"""The `fetch-weights` verb, with checkpoints of random weights that pass for published ones."""

import errno
import functools
import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import run_verb

from sagemaker_object_detection import fetch_weights as verb
from sagemaker_object_detection.catalogue import CATALOGUE, find
from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.job.stop import StoppedError
from sagemaker_object_detection.models import detector as detectors
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.weights.checkpoint import SUFFIX
from sagemaker_object_detection.weights.model_garden import checkpoint_variables
from sagemaker_object_detection.weights.sources import Source, find_source, source_at

SMALL, LARGE = "ssd_mobilenet_v2_fpnlite_320x320", "ssd_mobilenet_v2_fpnlite_640x640"
OTHER = "ssd_mobilenet_v1_fpn_640x640"


def write(folder, variables):
    (folder / "checkpoint").mkdir(parents=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / "checkpoint/ckpt-0"),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.convert_to_tensor(variable) for variable in variables.values()],
    )
    return folder


@pytest.fixture(scope="module")
def variables():
    """Those of a MobileNet v2 of any size, with COCO's classes."""
    detector = build_detector(find(SMALL), 90)
    return {name: variable.numpy() for name, variable in checkpoint_variables(detector).items()}


@pytest.fixture(scope="module")
def published(tmp_path_factory, variables):
    """A checkpoint, and what else its folder holds and is not needed; its configuration tells no size."""
    folder = write(tmp_path_factory.mktemp("published") / "model", variables)
    (folder / "pipeline.config").write_text("model {}")
    (folder / "saved_model").mkdir()
    (folder / "saved_model/saved_model.pb").write_text("large")
    return folder


@pytest.fixture(autouse=True)
def built_once(monkeypatch):
    """Detectors are built once for all tests."""
    monkeypatch.setattr(detectors, "build_detector", build_once)


build_once = functools.cache(build_detector)


@pytest.fixture
def catalogue_of(monkeypatch):
    """Answers for what is published with paths on this machine."""

    def answer(places):
        def published(base, said, ways):
            return source_at(str(places[base.name]), f"{said} ({base.weights.hub_handle})", ways)

        monkeypatch.setattr(verb, "published", published)

    return answer


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


COMPLETE = ["checkpoint/ckpt-0.data-00000-of-00001", "checkpoint/ckpt-0.index", "pipeline.config"]


@pytest.mark.slow
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
    assert missing == (
        f"{SMALL} ({find(SMALL).weights.hub_handle}): there is no such folder or file; name another place with --from"
    )
    held = " or ".join(base.name for base in CATALOGUE if base.stem == find(SMALL).stem)
    assert {SMALL, LARGE} <= {*held.split(" or ")}
    assert wrong == (
        f"{OTHER} ({find(OTHER).weights.hub_handle}): holds the weights of {held}; expected those of "
        f"{OTHER}: name that model, or give the address of this one's weights"
    )
    assert os.listdir(tmp_path) == [LARGE]


def test_the_first_failure_decides_whom_to_blame(tmp_path, monkeypatch):
    def fail(self, *_, **__):
        raise PlatformError(f"{self.origin}: broke")

    monkeypatch.setattr(Source, "fetch", fail)
    with pytest.raises(PlatformError) as raised:
        verb.fetch_weights(["all"], tmp_path)
    assert list(raised.value.problems) == [f"{base.name} ({base.weights.hub_handle}): broke" for base in CATALOGUE]


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


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda stored, name: stored.pop(name), "1 missing: {}"),
        (lambda stored, name: stored.update({name: np.zeros(3, np.float32)}), "1 of another shape: {} [3] instead of "),
        (lambda stored, name: stored.update({name: stored[name] * np.nan}), "1 not finite: {}"),
        (lambda stored, _: stored.update({f"model/x{SUFFIX}": np.zeros(3, np.float32)}), "1 left over: model/x"),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "model/_feature_extractor/classification_backbone/layer_with_weights-0/kernel",
        "model/_box_predictor/_prediction_heads/class_predictions_with_background/_class_predictor_layers/0/bias",
    ],
)
def test_weights_that_a_job_could_not_start_from_are_not_kept(tmp_path, variables, change, found, name):
    stored = dict(variables)
    change(stored, name + SUFFIX)
    place = write(tmp_path / "place", stored)
    with pytest.raises(UserError) as raised:
        verb.fetch_weights([SMALL], tmp_path / "weights", str(place))
    assert str(raised.value).startswith(
        f"{SMALL} ({place}) as weights of {SMALL}: the variables do not fit: {found.format(name)}"
    )
    assert str(raised.value).endswith("; expected exactly the variables of that model: give a whole file of it")
    assert os.listdir(tmp_path / "weights") == []


@pytest.mark.slow
def test_a_model_that_somebody_fine_tuned_is_kept(tmp_path):
    detector = build_once(find(SMALL), 2)
    place = write(tmp_path / "place", {key: value.numpy() for key, value in checkpoint_variables(detector).items()})
    verb.fetch_weights([SMALL], tmp_path / "weights", str(place))
    assert files(tmp_path / "weights" / SMALL) == COMPLETE[:2]


RESIZER = "model { ssd { image_resizer { fixed_shape_resizer { height: %d width: %d } } } }"


@pytest.mark.parametrize("says", ["the pipeline.config beside the variables", "their name"])
def test_weights_for_another_input_size_are_refused(tmp_path, published, says):
    if says == "their name":
        place = shutil.copytree(published, tmp_path / find(LARGE).weights.tarball)
    else:
        place = shutil.copytree(published, tmp_path / "place")
        (place / "pipeline.config").write_text(RESIZER % (640, 640))
    with pytest.raises(UserError) as raised:
        verb.fetch_weights([SMALL], tmp_path / "weights", str(place))
    assert str(raised.value) == (
        f"{SMALL} ({place}): holds weights for an input of 640 pixels, as {says} says; expected those of {SMALL}: name "
        "the model that they are of, or give the address of this one's weights"
    )
    assert os.listdir(tmp_path / "weights") == []
    verb.fetch_weights([LARGE], tmp_path / "weights", str(place))
    assert os.listdir(tmp_path / "weights") == [LARGE]


def test_a_folder_that_was_damaged_since_is_to_be_deleted(tmp_path, published):
    verb.fetch_weights([SMALL], tmp_path, str(published))
    (tmp_path / SMALL / "checkpoint/ckpt-0.data-00000-of-00001").write_bytes(b"")
    (tmp_path / LARGE).mkdir()
    (tmp_path / OTHER).write_text("")
    with pytest.raises(UserError) as raised:
        verb.fetch_weights([SMALL, LARGE, OTHER], tmp_path)
    damaged, empty, file = raised.value.problems
    assert damaged.startswith(f"{SMALL} ({tmp_path}/{SMALL}): the checkpoint cannot be read (")
    assert damaged.endswith(f"); delete {tmp_path}/{SMALL} and run fetch-weights again")
    assert empty == (
        f"{LARGE} ({tmp_path}/{LARGE}): found nothing, which are no weights; delete {tmp_path}/{LARGE} and run "
        "fetch-weights again"
    )
    assert file == (
        f"{OTHER} ({tmp_path}/{OTHER}): {OTHER} cannot be unpacked (it is no .tar.gz archive); delete "
        f"{tmp_path}/{OTHER} and run fetch-weights again"
    )


@pytest.mark.parametrize("winner", ["whole", "damaged"])
def test_of_two_processes_the_slower_takes_what_the_faster_left_if_it_is_whole(
    tmp_path, published, monkeypatch, winner
):
    rename = Path.rename

    def overtaken(self, target):
        monkeypatch.setattr(Path, "rename", rename)
        shutil.copytree(published, target)
        if winner == "damaged":
            (target / "checkpoint/ckpt-0.index").write_bytes(b"")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    if winner == "whole":
        verb.fetch_weights([SMALL], tmp_path / "weights", str(published))
        assert (tmp_path / "weights" / SMALL / "saved_model").is_dir()
    else:
        with pytest.raises(UserError, match=f"delete {tmp_path}/weights/{SMALL} and run fetch-weights again"):
            verb.fetch_weights([SMALL], tmp_path / "weights", str(published))
    assert os.listdir(tmp_path / "weights") == [SMALL]


@pytest.mark.parametrize(("kind", "reason"), [("file", "File exists"), ("below", "Not a directory"), ("long", "long")])
def test_a_target_that_cannot_be_is_refused_before_anything_is_fetched(tmp_path, monkeypatch, kind, reason):
    monkeypatch.setattr(Source, "fetch", None)
    (tmp_path / "file").touch()
    target = {"file": tmp_path / "file", "below": tmp_path / "file/x", "long": tmp_path / ("x" * 300)}[kind]
    with pytest.raises(UserError) as raised:
        verb.fetch_weights([SMALL], target)
    assert str(raised.value).startswith(f"--to: {target} cannot be written to (")
    assert reason in str(raised.value)
    assert str(raised.value).endswith(
        "); expected a folder, which is made where there is none: name another one, or allow writing to it"
    )


def test_a_target_without_the_right_to_write_is_refused_unless_everything_is_there(tmp_path, published, monkeypatch):
    verb.fetch_weights([SMALL], tmp_path, str(published))

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    verb.fetch_weights([SMALL], tmp_path)
    with pytest.raises(UserError, match=r"^--to: .* cannot be written to \(Permission denied\); "):
        verb.fetch_weights([SMALL, LARGE], tmp_path)


def test_a_password_is_not_repeated(tmp_path):
    with pytest.raises(UserError) as raised:
        verb.fetch_weights([SMALL], tmp_path, "https://user:secret@host/model")
    assert str(raised.value).startswith(f"{SMALL} (https://...@host/model): holds a user name or a password")
    assert "secret" not in str(raised.value)


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
        (
            ["all"],
            "s3://b/k",
            f"--from: names the weights of one model, and there are {len(CATALOGUE)}; fetch them one by one",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, models, place, told):
    with pytest.raises(UserError) as raised:
        verb.fetch_weights(models, tmp_path, place)
    assert str(raised.value) == told


def test_a_signal_ends_it_and_leaves_nothing(tmp_path, published, monkeypatch):
    def stop_in_the_middle(self, stop, **_):
        os.kill(os.getpid(), signal.SIGTERM)
        stop.check()

    monkeypatch.setattr(Source, "fetch", stop_in_the_middle)
    with pytest.raises(StoppedError):
        verb.fetch_weights([SMALL, LARGE], tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_the_command_line_fetches_one_model_from_elsewhere(tmp_path, published):
    done = run_verb("fetch-weights", SMALL, "--to", tmp_path / "weights", "--from", published)
    assert (done.code, done.output) == (0, f"{SMALL}: in {tmp_path}/weights/{SMALL}.\n")
    assert files(tmp_path / "weights" / SMALL) == COMPLETE
    assert (tmp_path / "weights" / SMALL).stat().st_mode & 0o777 == 0o755

    done = run_verb("fetch-weights", OTHER, "--to", tmp_path / "weights", "--from", tmp_path / "none")
    assert done.code == 2
    assert done.output.startswith(f"ERROR: {OTHER} ({tmp_path}/none): there is no such folder or file; ")
