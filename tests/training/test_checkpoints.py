"""Checkpoints: whole or not there, the newest that is whole is used, those of another job are refused."""

import copy
import dataclasses
import errno
import logging
import math
import os
import re
import zipfile
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.evaluation.evaluation import CocoFigures, Evaluation
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.hyperparameters.table import ROWS
from sagemaker_object_detection.step.readings import Reading
from sagemaker_object_detection.training import checkpoints as checkpoints_module
from sagemaker_object_detection.training.best import Best, Objective
from sagemaker_object_detection.training.checkpoints import Checkpoints, checkpoint_problems
from sagemaker_object_detection.training.identity import formerly, identity, settings
from sagemaker_object_detection.training.progress import Epoch, Progress, Slice, State
from sagemaker_object_detection.training.resume import find_state, restore

DETECTOR = [np.zeros((2, 3)), np.zeros(())]
"""Variables, of which their shapes are looked at."""
IDENTITY = {"learning_rate": "0.1", "the base model": "small"}

IN_FORCE = {
    "recipe": "fine-tuning",
    "learning_rate_schedule": "cosine",
    "relative_learning_rate": "0.25",
    "split_by": "group",
    "passes_per_epoch": "7",
    "freeze_batch_norm": "True",
    "max_detections": "300",
}


def progress(epochs: int = 1, **values: Any) -> Progress:
    best = Best(Objective("mAP", True), 0.01, 3, epoch=0, value=1 / 3, total_loss=0.1 + 0.2, reference=1 / 3, waited=2)
    validation = Evaluation({"mAP": 1 / 7}, 2 / 3, CocoFigures({"mAP": 1 / 7}, {"ace": {"mAP": 1 / 9}}), 3, 1 / 3)
    done = tuple(Epoch(number, 0.1 * number, 12.5, validation) for number in range(epochs))
    return Progress(best, done, losses=(1e-7, 1 / 3), loss_limit=1e4, in_force=IN_FORCE, micro_batch=3, **values)


def checkpoint(value: float = 1.0, best: float | None = 2.0, **values: Any) -> State:
    weights: list[Any] = [np.full((2, 3), value, np.float32), np.float32(value) * np.ones(())]
    optimizer: list[Any] = [np.array(7, np.int64), np.full((2, 3), -value, np.float32)]
    best_weights = weights if best is None else checkpoint(best, None).weights
    return State(progress(**values), weights, optimizer, best_weights)


def opened(folder, job=IDENTITY):
    return Checkpoints(folder, job)


def newest(folder, job=IDENTITY):
    return opened(folder, job).newest(DETECTOR)


def save(folder, *values: float) -> None:
    with opened(folder) as checkpoints:
        for value in values:
            checkpoints.save(checkpoint(value))


def same(first, second) -> bool:
    return len(first) == len(second) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(first, second, strict=True)
    )


def test_a_checkpoint_gets_its_name_when_all_of_it_is_on_the_disk(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(file):
        fsync(file)
        done.append(("fsync", os.readlink(f"/proc/self/fd/{file}"), os.fstat(file).st_size))

    def note_replace(old, new):
        replace(old, new)
        done.append(("replace", str(old), os.stat(new).st_size))

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    save(tmp_path, 1.0)
    size = (tmp_path / "checkpoint-000001.npz").stat().st_size
    unfinished = f"{tmp_path}/checkpoint-000001.npz.sagemaker-ignore"
    assert done == [("fsync", unfinished, size), ("replace", unfinished, size)]


@pytest.mark.parametrize("best", [2.0, None])
def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path, best):
    written = checkpoint(1 / 3, best)
    with opened(tmp_path / "new") as checkpoints:
        checkpoints.save(written)
    found = newest(tmp_path / "new")
    assert found.progress == written.progress
    assert same(found.weights, written.weights)
    assert same(found.optimizer, written.optimizer)
    assert same(found.best_weights, written.best_weights)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["checkpoint-000001.npz"]


def test_no_best_epoch_yet_stays_so(tmp_path):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(dataclasses.replace(checkpoint(epochs=0), best_weights=None))
    assert newest(tmp_path).best_weights is None


def test_the_newest_few_are_kept_and_one_that_is_being_uploaded_is_left_alone(tmp_path):
    save(tmp_path, 1.0, 2.0)
    (tmp_path / "checkpoint-000001.npz.sagemaker-uploading").touch()
    save(tmp_path, 3.0, 4.0, 5.0)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == [
        f"checkpoint-{number:06d}.npz" for number in (1, 3, 4, 5)
    ]
    (tmp_path / "checkpoint-000001.npz.sagemaker-uploading").unlink()
    save(tmp_path, 6.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"checkpoint-{number:06d}.npz" for number in (4, 5, 6)]
    assert newest(tmp_path).weights[1] == 6.0


def damaged(path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        del content[len(content) * 2 // 3 :]
    elif how == "empty":
        content.clear()
    elif how == "flipped":
        content[content.index(np.float32(2.0).tobytes() * 4)] ^= 1
    elif how == "zeros":
        content[:] = bytes(len(content))
    elif how == "longer":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data + bytes(name == "weights/0.npy"))
        return
    elif how in ("compressed", "overlapping", "twice"):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        if how == "twice":
            members["progress.json"] = members["progress.json"].replace(b'"optimizer/1"', b'"weights/0"')
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if how == "compressed" else zipfile.ZIP_STORED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
            if how == "overlapping":  # one more entry of the directory, for bytes of others
                more = copy.copy(archive.getinfo("weights/0.npy"))
                more.filename, more.file_size, more.compress_size = "more", 2**20, 2**20
                archive.filelist.append(more)
        return
    elif how == "foreign":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("progress.json", '{"identity": {}, "progress": {}, "arrays": [[], [], []]}')
        return
    path.write_bytes(content)


HOWS = ["truncated", "empty", "flipped", "zeros", "longer", "compressed", "overlapping", "twice", "foreign"]


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_is_used(tmp_path, caplog, how):
    save(tmp_path, 1.0, 2.0)
    damaged(tmp_path / "checkpoint-000002.npz", how)
    assert newest(tmp_path).weights[1] == 1.0
    (message,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}/checkpoint-000002.npz is damaged \(.+\): it is left out\.",
        message,
    )
    save(tmp_path, 3.0)
    assert newest(tmp_path).weights[1] == 3.0


def test_where_no_checkpoint_is_whole_the_log_says_that_training_begins_anew(tmp_path, caplog):
    save(tmp_path, 1.0)
    damaged(tmp_path / "checkpoint-000001.npz", "truncated")
    assert newest(tmp_path) is None
    assert caplog.messages[-1] == f"No checkpoint in {tmp_path} is whole: the training begins anew."


def test_half_a_checkpoint_has_a_name_that_is_not_uploaded_and_is_cleared_away(tmp_path):
    save(tmp_path, 1.0)
    half = tmp_path / "checkpoint-000002.npz.sagemaker-ignore"
    half.write_bytes(b"PK")
    assert newest(tmp_path).weights[1] == 1.0
    assert not half.exists()


def test_the_checkpoints_of_another_job_are_refused(tmp_path):
    save(tmp_path, 1.0)
    with pytest.raises(UserError) as caught:
        newest(tmp_path, {**IDENTITY, "learning_rate": "0.2"})
    assert str(caught.value) == (
        f"checkpoints: {tmp_path} holds those of another job: learning_rate was 0.1 and is 0.2; expected its own: give "
        "this job an empty folder (checkpoint_s3_uri), or make it agree. Only early_stopping, "
        "early_stopping_min_delta, early_stopping_patience, epochs and xla may change"
    )


def test_without_a_folder_nothing_is_saved_and_nothing_found():
    checkpoints = opened(None)
    assert not checkpoints.can_save(last=True)
    assert not checkpoints.due
    assert checkpoints.newest(DETECTOR) is None


def test_a_checkpoint_is_due_when_minutes_have_passed_since_the_last(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with opened(tmp_path) as checkpoints:
        now[0] = checkpoints_module.SECONDS_BETWEEN
        assert checkpoints.due
        checkpoints.save(checkpoint())
        assert not checkpoints.due
        now[0] *= 2.5
        assert checkpoints.due


def test_nothing_is_taken_while_one_is_being_written_unless_it_is_the_last(tmp_path, monkeypatch):
    import threading

    going_on, original = threading.Event(), np.lib.format.write_array

    def slow(*arguments, **named):
        going_on.wait()
        original(*arguments, **named)

    monkeypatch.setattr(np.lib.format, "write_array", slow)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(checkpoint(1.0))
        assert not checkpoints.can_save(last=False)
        assert checkpoints.can_save(last=True)
        checkpoints.save(checkpoint(2.0))
        going_on.set()
    assert len(list(tmp_path.glob("*.npz"))) == 2
    assert newest(tmp_path).weights[1] == 2.0


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path, monkeypatch, caplog):
    save(tmp_path, 1.0)

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    save(tmp_path, 2.0)
    assert caplog.messages == [
        f"No checkpoint could be written to {tmp_path} (No space left on device): the training goes on, and a restart "
        "would begin at the one before."
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001.npz"]
    assert newest(tmp_path).weights[1] == 1.0


def test_what_may_differ_between_a_job_and_its_restart():
    first = read({"epochs": "3", "early_stopping": "True", "optimizer": "adam"})
    longer = read({"epochs": "9", "early_stopping": "False", "optimizer": "adam", "momentum": "0.5"})
    assert settings(first) == settings(longer)
    assert {row.name for row in ROWS if row.resume == "free"} >= {"epochs", "early_stopping", "xla"}
    assert set(settings(read({}))) >= {
        *("augmentation", "batch_size", "beta_1", "beta_2", "epsilon", "freeze_batch_norm", "learning_rate"),
        *("learning_rate_schedule", "optimizer", "passes_per_epoch", "recipe", "regularizers_l2"),
        *("reinitialize_top_layer", "relative_learning_rate", "seed", "train_only_on_top_layer"),
    }
    compared = {
        "model_id",
        "pretrained_weights",
        "bbox_format",
        "invalid_boxes",
        "invalid_images",
        "validation_split_ratio",
    }
    assert not settings(read({})).keys() & {*compared, "objective", "mixed_precision", "epochs", "xla"}


JOB: dict[str, Any] = {
    "hyperparameters": read({}),
    "base": DEFAULT_MODEL,
    "start": "weights",
    "training": SimpleNamespace(fingerprint="images", former_fingerprint=None, facts={"objects": "3 (a)"}),
    "validation": SimpleNamespace(fingerprint="other images", former_fingerprint=None, facts={"objects": "2 (b)"}),
    "objective": Objective("mAP", True),
    "number_format": "float32",
}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"hyperparameters": read({"seed": "1"})}, "seed"),
        ({"base": TINY}, "the base model"),
        ({"start": "changed"}, "the fingerprint of the starting weights"),
        (
            {"training": SimpleNamespace(fingerprint="changed", facts={"objects": "3 (a)"})},
            "the fingerprint of the training data",
        ),
        (
            {"validation": SimpleNamespace(fingerprint="changed", facts={"objects": "2 (b)"})},
            "the fingerprint of the validation data",
        ),
        ({"validation": None}, "the fingerprint of the validation data"),
        ({"objective": Objective("mAP_50", True)}, "the objective"),
        ({"number_format": "mixed_float16"}, "the number format"),
    ],
)
def test_what_a_checkpoint_depends_on_makes_another_job(change, name):
    before, after = identity(**JOB), identity(**{**JOB, **change})
    assert {key for key in before if key in after and before[key] != after[key]} == {name}


def test_checkpoint_that_names_the_same_weights_in_other_words_is_this_jobs(tmp_path):
    """Version 0.1.0 took another fingerprint of published weights."""
    (tmp_path / "old").mkdir()
    with opened(tmp_path / "old", identity(**{**JOB, "start": "0123456789abcdef, of the index"})) as checkpoints:
        checkpoints.save(checkpoint())
    data = (JOB["training"], None)
    former = formerly("0123456789abcdef, of the index", *data)
    assert Checkpoints(tmp_path / "old", identity(**JOB), former).newest(DETECTOR) is not None
    for other in (formerly("another", *data), formerly(None, *data)):
        with pytest.raises(UserError, match="the fingerprint of the starting weights was 0123456789abcdef and is weig"):
            Checkpoints(tmp_path / "old", identity(**JOB), other).newest(DETECTOR)


def test_checkpoint_of_a_version_that_read_the_data_otherwise_goes_on(tmp_path, caplog):
    """Version 0.1.0 took regions to ignore for objects."""
    before = {name: text for name, text in identity(**JOB).items() if not name.startswith("in the")}
    with opened(tmp_path, before) as checkpoints:
        checkpoints.save(checkpoint())
    facts = {"objects": "2 (c)"}
    data: Any = SimpleNamespace(fingerprint="without regions", former_fingerprint="images", facts=facts)
    now = {**JOB, "training": data}
    former = formerly(None, data, JOB["validation"])
    assert Checkpoints(tmp_path, identity(**now), former).newest(DETECTOR) is not None
    assert caplog.messages[0].startswith("The checkpoint is of an earlier version, which read the same files in ano")
    with pytest.raises(UserError, match="If neither annotations nor images were changed, this version holds out other"):
        Checkpoints(tmp_path, identity(**now)).newest(DETECTOR)


def test_part_of_the_data_that_differs_is_named(tmp_path):
    with opened(tmp_path, identity(**JOB)) as checkpoints:
        checkpoints.save(checkpoint())
    now = {**JOB, "training": SimpleNamespace(fingerprint="changed", facts={"objects": "4 (c)", "classes": "2 (d)"})}
    with pytest.raises(UserError, match=r"in the training data, objects was 3 \(a\) and is 4 \(c\)") as raised:
        Checkpoints(tmp_path, identity(**now)).newest(DETECTOR)
    assert "If neither" not in str(raised.value)


def test_first_second_tells_foreign_checkpoints_and_an_unwritable_folder(tmp_path, monkeypatch):
    hyperparameters = read({"learning_rate": "0.5"})
    with opened(tmp_path, settings(read({"learning_rate": "0.25"}))) as checkpoints:
        checkpoints.save(checkpoint())
        checkpoints.save(checkpoint())
    damaged(tmp_path / "checkpoint-000002.npz", "truncated")
    assert checkpoint_problems(tmp_path, hyperparameters) == [
        f"checkpoints: {tmp_path} holds those of another job: learning_rate was 0.25 and is 0.5; expected its own: "
        "give this job an empty folder (checkpoint_s3_uri), or make it agree. Only early_stopping, "
        "early_stopping_min_delta, early_stopping_patience, epochs and xla may change"
    ]
    assert checkpoint_problems(tmp_path / "new", hyperparameters) == []
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert checkpoint_problems(tmp_path / "new", hyperparameters) == [
        f"checkpoints: {tmp_path}/new cannot be written; expected a folder this process may write to: mount it "
        "writable, or run the container as root"
    ]


class TwoHosts:
    """This is the second: the first one tells these things, one after the other, and perhaps that it gives up."""

    hosts = 2

    def __init__(self, *told, gives_up=False):
        self._told, self._gives_up, self.taken = list(told), gives_up, None

    def tell(self, data):
        return msgspec.json.encode(self._told.pop(0))

    def any(self, flag):
        return flag or self._gives_up

    def take_from_chief(self, variables):
        self.taken = variables


def with_variables(variables: list[Any]) -> Any:
    """In place of a detector, or of an optimizer."""
    return SimpleNamespace(variables=variables)


def test_a_host_without_checkpoints_goes_on_where_the_first_one_does():
    fresh = dataclasses.replace(progress().best, epoch=-1, patience=8)
    hosts: Any = TwoHosts(IDENTITY, progress())
    state = find_state(opened(None), fresh, with_variables(DETECTOR), hosts)
    assert state.progress == progress().stopping_as(fresh)
    assert (state.progress.best.patience, state.weights) == (8, ())
    hosts = TwoHosts()
    step: Any = SimpleNamespace(detector=with_variables([1, 2]), optimizer=with_variables([3]))
    restore(state, step, hosts)
    assert hosts.taken == [1, 2, 3]


@pytest.mark.parametrize("arrays", [(), (np.zeros(3),), (np.zeros(2), np.zeros(2))])
def test_arrays_of_another_optimizer_are_refused(arrays):
    state = dataclasses.replace(checkpoint(), optimizer=arrays)
    optimizer = with_variables([tf.Variable(np.zeros(2))])
    step: Any = SimpleNamespace(detector=with_variables([*map(tf.Variable, DETECTOR)]), optimizer=optimizer)
    alone: Any = SimpleNamespace(any=bool)
    with pytest.raises(UserError, match="the newest holds other arrays than the optimizer of this job has"):
        restore(state, step, alone)


@pytest.mark.parametrize(
    ("hosts", "problem"),
    [
        (
            TwoHosts({**IDENTITY, "learning_rate": "0.2"}),
            "this host's job is not the first host's: learning_rate differ; ",
        ),
        (
            TwoHosts(IDENTITY, gives_up=True),
            "another host of this job has other data, weights or hyperparameters than ",
        ),
    ],
)
def test_hosts_with_different_jobs_all_give_up(hosts, problem):
    with pytest.raises(UserError, match=problem):
        find_state(opened(None), progress().best, with_variables(DETECTOR), hosts)


def test_a_job_has_begun_with_its_first_step():
    assert progress(epochs=0).begun
    assert not Progress(progress().best).begun


def test_early_stopping_follows_the_present_hyperparameters():
    stored = progress()
    present = Best(Objective("mAP", True), 0.5, None)
    resumed = stored.stopping_as(present)
    assert (resumed.best.min_delta, resumed.best.patience, resumed.best.waited) == (0.5, None, 2)
    assert not resumed.finished(epochs=2)
    assert stored.stopping_as(dataclasses.replace(present, patience=2)).finished(epochs=2)


@pytest.mark.parametrize("kind", ["pipe", "folder", "leftover"])
def test_what_only_bears_the_name_of_a_checkpoint_is_left_alone_and_hinders_nothing(tmp_path, caplog, kind):
    if kind == "pipe":
        os.mkfifo(tmp_path / "checkpoint-000009.npz")
    elif kind == "folder":
        (tmp_path / "checkpoint-000009.npz").mkdir()
    else:
        (tmp_path / "checkpoint-000009.npz.sagemaker-ignore").mkdir()
    assert checkpoint_problems(tmp_path, read({})) == []
    assert newest(tmp_path) is None
    save(tmp_path, 1.0, 2.0, 3.0, 4.0)
    assert newest(tmp_path).weights[1] == 4.0
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 3
    assert (
        caplog.messages
        == ["Resuming from " + str(tmp_path / "checkpoint-000004.npz: 1 epoch is done, and 2 steps of the next.")][
            : len(caplog.messages)
        ]
    )


def impossible(**values):
    whole = checkpoint()
    return dataclasses.replace(whole, progress=dataclasses.replace(whole.progress, **values))


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (impossible(best=dataclasses.replace(progress().best, epoch=99)), "its progress contradicts itself"),
        (impossible(epochs=()), "its progress contradicts itself"),
        (impossible(micro_batch=0), "its progress contradicts itself"),
        (impossible(loss_limit=-1.0), "its progress contradicts itself"),
        (checkpoint(np.nan), "its weights are not the detector's"),
        (checkpoint(best=np.nan), "its weights are not the detector's"),
        (dataclasses.replace(checkpoint(), weights=[np.zeros(3)]), "its weights are not the detector's"),
    ],
)
def test_a_checkpoint_that_cannot_be_is_damaged(tmp_path, caplog, contents, reason):
    save(tmp_path, 1.0)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(contents)
    assert newest(tmp_path).weights[1] == 1.0
    assert f"{tmp_path}/checkpoint-000002.npz is damaged ({reason}): it is left out." in caplog.messages


def test_whatever_fails_in_writing_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(np.lib.format, "write_array", lambda *arguments, **named: 1 / 0)
    save(tmp_path, 1.0)
    assert caplog.messages == [
        f"No checkpoint could be written to {tmp_path} (division by zero): the training goes on, and a restart would "
        "begin at the one before."
    ]


def test_a_folder_that_cannot_be_one_is_refused_in_words(tmp_path):
    folder = tmp_path / ("x" * 300)
    assert checkpoint_problems(folder, read({})) == [
        f"checkpoints: {folder} cannot be a folder (File name too long); expected one such as /opt/ml/checkpoints"
    ]


def older(folder, identity: dict[str, str], **fields: Any) -> None:
    """Turns the checkpoint in a folder into one of a version that knew none of the rows that have come since."""
    (path,) = folder.glob("*.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    document = msgspec.json.decode(members["progress.json"])
    for name in ("in_force", "slices", "start"):
        del document["progress"][name]
    document["progress"] |= fields
    document["identity"] = identity
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"progress.json": msgspec.json.encode(document)}).items():
            archive.writestr(name, content)


BEFORE = {"recipe", "relative_learning_rate", "passes_per_epoch", "split_by"}
"""Rows that came later."""


@pytest.mark.parametrize(
    ("given_before", "given_now", "in_force"),
    [
        ({}, {}, {"learning_rate_schedule": "constant", "recipe": "plain", "max_detections": "100"}),
        ({}, {"max_detections": "100"}, {"passes_per_epoch": "1", "max_detections": "100"}),
        ({"learning_rate_schedule": "cosine"}, {}, {"learning_rate_schedule": "cosine", "recipe": "plain"}),
        ({}, {"recipe": "plain", "relative_learning_rate": "1"}, {"relative_learning_rate": "1.0"}),
        ({}, {"freeze_batch_norm": "True"}, {"freeze_batch_norm": "True"}),
    ],
)
def test_a_checkpoint_of_before_a_row_goes_on_with_what_was_in_force_then(tmp_path, given_before, given_now, in_force):
    save(tmp_path, 1.0)
    known = {name: text for name, text in settings(read(given_before)).items() if name not in BEFORE}
    constant = {"learning_rate_schedule": "constant"} if not given_before else {}  # the default of that time
    older(tmp_path, known | constant, freeze_batch_norm=True)
    job = read(given_now)
    assert checkpoint_problems(tmp_path, job) == []
    found = newest(tmp_path, settings(job)).progress
    assert {name: found.in_force[name] for name in in_force} == in_force
    assert (found.in_force["freeze_batch_norm"], found.losses) == ("True", progress().losses)


def test_what_a_row_is_set_to_must_be_what_was_in_force_before_it(tmp_path):
    save(tmp_path, 1.0)
    older(tmp_path, {name: text for name, text in settings(read({})).items() if name not in BEFORE})
    (problem,) = checkpoint_problems(tmp_path, read({"recipe": "fine-tuning", "passes_per_epoch": "2"}))
    assert "recipe was plain and is fine-tuning; passes_per_epoch was 1 and is 2; expected its own" in problem


def test_what_was_left_to_auto_may_be_set_to_what_it_came_to(tmp_path):
    with opened(tmp_path, settings(read({}))) as checkpoints:
        checkpoints.save(checkpoint())
    assert checkpoint_problems(tmp_path, read({"passes_per_epoch": "7", "relative_learning_rate": "0.25"})) == []
    (problem,) = checkpoint_problems(tmp_path, read({"passes_per_epoch": "8"}))
    assert "passes_per_epoch was 7 and is 8" in problem


def test_whether_the_top_layer_starts_anew_is_never_taken_from_a_checkpoint(tmp_path):
    with opened(tmp_path, settings(read({"reinitialize_top_layer": "True"}))) as checkpoints:
        checkpoints.save(checkpoint())
    (problem,) = checkpoint_problems(tmp_path, read({}))
    assert "reinitialize_top_layer was True and is Auto" in problem


def test_a_step_that_overflows_leaves_a_checkpoint_that_can_be_read(tmp_path):
    reading = Reading.of(tf.constant([0.5, 0.25, math.inf, math.nan, 4.0, 0.0]))
    assert reading == Reading(0.5, 0.25, (0.0, 0.0, 2.0, 0.0))
    slices = (Slice(1, reading.regularization, reading.gradients),)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(checkpoint(slices=slices))
    assert newest(tmp_path).progress.slices == slices
