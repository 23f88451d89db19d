"""What a job hands to its loop, and what it does before and after: in this process, with no step taken."""

import itertools
import json
import os
import re
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import TINY_JOB_VALUES, write_job
from tiny_models import TINY, add_backbones, add_to_catalogue
from training_steps import values_of

from sagemaker_object_detection import outputs
from sagemaker_object_detection.artifact import restore
from sagemaker_object_detection.artifact.restore import Start
from sagemaker_object_detection.dataset import anchor_coverage, load, readable
from sagemaker_object_detection.devices import prepare, replicas
from sagemaker_object_detection.devices.replicas import Replicas
from sagemaker_object_detection.evaluation import evaluator
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.job.stop import StoppedError
from sagemaker_object_detection.models import detector as detector_module
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.preflight import preflight
from sagemaker_object_detection.step import training_step as step_module
from sagemaker_object_detection.train import train
from sagemaker_object_detection.training import loop, recipe, resume
from sagemaker_object_detection.training.best import Best, Objective
from sagemaker_object_detection.training.checkpoints import Checkpoints
from sagemaker_object_detection.training.progress import Epoch, Progress, State
from sagemaker_object_detection.training.recipe import LEAST_STEPS

STEP_4 = [4, 0, 8, 7]
"""Of 10 images, 4 a step, seed 3: those of the second step of the second epoch, in this and in every other process."""


@dataclass
class Handed:
    """In place of the loop: keeps what it is given, and trains nothing."""

    step: Any
    schedule: Any
    divergence: Any
    evaluate: Any
    stop: Any
    replicas: Any
    checkpoints: Any
    on_epoch: Any
    measure_start: bool

    @property
    def detector(self) -> Any:
        return self.step.detector

    def run(self, batches: Any, state: State) -> Progress:
        self.batches, self.named = batches
        self.state, self.progress = state, state.progress
        return Progress(state.progress.best)

    def images_of_steps(self, count: int) -> list[list[int]]:
        return [parts[0].indices.numpy().tolist() for parts in itertools.islice(self.batches, count)]


@dataclass
class Jobs:
    """Jobs on the sample, below one root: what their loops were given, and what was to be written."""

    root: Path
    loops: list[Handed]
    written: list[tuple[Any, ...]]

    def run(self, **values: object) -> None:
        write_job(self.root, {**TINY_JOB_VALUES, "batch_size": "4", "seed": "3", "passes_per_epoch": "1", **values})
        train(read_job(Paths(self.root)))


@contextmanager
def jobs_below(root: Path, sample_root: Path) -> Iterator[Jobs]:
    (root / "input/config").mkdir(parents=True)
    (root / "input/data").symlink_to(sample_root / "input/data")
    jobs = Jobs(root, [], [])

    def hand_over(*arguments: Any, **named: Any) -> Handed:
        jobs.loops.append(Handed(*arguments, **named))
        return jobs.loops[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "umask", lambda mask: 0)
        add_to_catalogue(patch.setattr)
        add_backbones()
        patch.setattr(loop, "Loop", hand_over)
        patch.setattr(outputs, "write_outputs", lambda *arguments: jobs.written.append(arguments))
        patch.setattr(evaluator, "Evaluator", lambda *_, **named: SimpleNamespace(**named))
        patch.setattr(readable, "readable", lambda batches, data, indices: (batches, indices))
        yield jobs


@pytest.fixture
def jobs(sample_root: Path, tmp_path: Path) -> Iterator[Jobs]:
    with jobs_below(tmp_path, sample_root) as jobs:
        yield jobs


@pytest.fixture(scope="module")
def finished(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """One job of a tuning job, which went well where an earlier one had failed; read only."""
    root = tmp_path_factory.mktemp("finished")
    (root / "output").mkdir()
    (root / "output/failure").write_text("of an earlier run")
    with jobs_below(root, sample_root) as jobs:
        jobs.run(regularizers_l2="0.5", max_detections="150", _tuning_objective_metric='"validation:localization_loss"')
    return jobs


@pytest.fixture
def handed(finished: Jobs) -> Handed:
    (handed,) = finished.loops
    return handed


@pytest.fixture(scope="module")
def interrupted(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State]:
    """A checkpoint of loaded weights after four steps, normalization frozen, batches halved; and its folder."""
    with jobs_below(tmp_path_factory.mktemp("interrupted"), sample_root) as jobs, pytest.MonkeyPatch.context() as patch:
        start_from(patch, loaded=True)
        jobs.run()
    (fresh,) = jobs.loops
    progress = replace(
        fresh.progress,
        best=replace(fresh.progress.best, epoch=0, value=0.5),
        epochs=(Epoch(0, 0.5, 1.0, None),),
        losses=(0.25,),
        micro_batch=2,
    )
    weights, optimizer = values_of(fresh.detector.variables), fresh.step.state
    changed = [[value + value.dtype.type(1) for value in values] for values in (weights, optimizer)]
    state = State(progress, changed[0], changed[1], weights)
    with Checkpoints(jobs.root / "checkpoints", fresh.checkpoints.identity) as checkpoints:
        checkpoints.save(state)
    return jobs.root / "checkpoints", state


def start_from(patch: pytest.MonkeyPatch, *, loaded: bool, former: str | None = None) -> None:
    weights: Any = SimpleNamespace(origin="somewhere") if loaded else None
    said = f"loaded: {loaded}" if former is None else "by its values"
    start = Start(TINY, lambda detector: None, weights, said, new_top_layer=True, former_fingerprint=former)
    patch.setattr(restore, "find_start", lambda *_: start)


class TwoReplicas(Replicas):
    """Of one host, or of two, of which this is the second and agrees with the first."""

    def __init__(self, hosts: int) -> None:
        super().__init__(tf.distribute.get_strategy(), hosts, host=hosts - 1)
        self.count = 2

    def any(self, flag: bool) -> bool:
        return flag

    def tell(self, data: bytes) -> bytes:
        return data

    def take_from_chief(self, variables: Any) -> None:
        pass


def ending_at(patch: pytest.MonkeyPatch, module: ModuleType, name: str) -> Callable[[], SimpleNamespace]:
    """Ends the job where it calls this; returns what was passed there."""
    calls = []

    def end(*arguments: Any, **named: Any) -> None:
        calls.append(SimpleNamespace(arguments=arguments, **named))
        raise StoppedError

    patch.setattr(module, name, end)
    return lambda: calls.pop()


def test_a_job_that_goes_well_removes_the_failure_file_of_an_earlier_one(finished):
    assert not (finished.root / "output/failure").exists()


def test_the_objective_of_a_tuning_job_chooses_the_best_epoch(handed):
    assert handed.progress.best == Best(Objective("localization_loss", maximize=False), min_delta=0.0, patience=None)


def test_checkpoints_tell_the_jobs_weights_and_both_of_its_data_sets_apart(finished, handed):
    ((_, _, _, _, _, splits, *_),) = finished.written
    names = [f"the fingerprint of the {what}" for what in ("starting weights", "training data", "validation data")]
    expected = ["random weights", splits.training.fingerprint[:16], splits.validation.fingerprint[:16]]
    assert [handed.checkpoints.identity[name] for name in names] == expected
    assert len(set(expected)) == 3


def test_the_order_of_the_images_is_the_same_in_every_process(handed):
    assert handed.images_of_steps(5)[-1] == STEP_4
    assert handed.divergence.order.batch(4).tolist() == STEP_4
    assert handed.divergence.file_names == tuple(f"0000{index}.jpg" for index in range(10))


def test_an_epoch_ends_with_a_step_that_takes_what_is_left(handed):
    assert handed.schedule.steps_per_epoch == 3


def test_training_and_validation_have_the_same_l2_term(handed):
    assert handed.step.on_replica._l2 == handed.evaluate.l2 == 0.5


def test_validation_and_the_model_have_as_many_detections(finished, handed):
    written = finished.written[0][3]
    assert handed.evaluate.max_detections == written.max_detections == 150


def test_random_weights_are_those_of_the_seed(handed):
    for seed, same in ((3, True), (4, False)):
        other = build_detector(TINY, 3, seed=seed).class_predictor.variables[0]
        assert np.array_equal(other, handed.detector.class_predictor.variables[0]) == same


def test_what_is_written_has_the_hyperparameters_that_the_base_model_decides(finished, handed):
    ((detector, _, _, hyperparameters, *_),) = finished.written
    assert detector is handed.detector
    assert (hyperparameters.model_id, hyperparameters.epochs) == (TINY.name, TINY.default_epochs)
    assert handed.schedule.epochs == TINY.default_epochs


def test_what_auto_comes_to_decides_what_may_move_and_how_far(jobs, monkeypatch):
    start_from(monkeypatch, loaded=True)
    jobs.run(passes_per_epoch="Auto")
    (handed,) = jobs.loops
    assert not any(layer.trainable for layer in handed.detector.batch_norms)
    kernel = handed.detector.backbone.get_layer("level_1").kernel
    rate = 0.002 * float(np.sqrt(np.mean(np.square(kernel.numpy()))))
    optimizer, new = handed.step.optimizer, handed.detector.class_predictor.pointwise_kernel
    assert optimizer.own_rate(kernel, 0.001) == pytest.approx(rate)
    assert optimizer.own_rate(new, 0.001) == 0.001
    assert handed.schedule.total_steps == LEAST_STEPS
    assert handed.progress.in_force["freeze_batch_norm"] == "True"
    assert handed.measure_start
    ((*_, hyperparameters, start, _, _, _, _, _),) = jobs.written
    assert (hyperparameters.freeze_batch_norm, start.origin) == (True, "somewhere")


@pytest.mark.parametrize("loaded", [True, False])
def test_moving_statistics_are_warmed_up_from_random_weights_alone(jobs, monkeypatch, loaded):
    start_from(monkeypatch, loaded=loaded)
    call = ending_at(monkeypatch, step_module, "TrainingStep")
    jobs.run()
    assert call().warm_up_statistics != loaded


@pytest.mark.parametrize(
    ("only_top", "augmentation", "count", "kept"),
    [("True", "False", 1, True), ("True", "True", 1, False), ("True", "False", 2, False), ("False", "False", 1, False)],
)
def test_features_are_kept_where_nothing_before_them_changes(jobs, monkeypatch, only_top, augmentation, count, kept):
    if count == 2:
        monkeypatch.setattr(replicas, "find_replicas", lambda *_: TwoReplicas(hosts=1))
    call = ending_at(monkeypatch, step_module, "TrainingStep")
    jobs.run(train_only_on_top_layer=only_top, augmentation=augmentation)
    assert (call().features is not None) == kept


def test_a_host_that_is_not_the_first_takes_its_images_and_writes_nothing(jobs, monkeypatch):
    hosts = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
    (jobs.root / "input/config/resourceconfig.json").write_text(json.dumps(hosts))
    (jobs.root / "checkpoints").mkdir()
    monkeypatch.setattr(replicas, "find_replicas", lambda *_: TwoReplicas(hosts=2))
    jobs.run(batch_size="5")
    (handed,) = jobs.loops
    assert handed.evaluate is None
    # Of five images each replica takes three, or two and a blank one.
    assert handed.images_of_steps(1) == [[*handed.named(0).tolist(), -1]] == [[0, 3, -1]]
    handed.on_epoch(replace(handed.progress, epochs=(Epoch(0, 0.5, 1.0, None),)))
    assert not handed.checkpoints.can_save(last=True)
    assert jobs.written == []
    assert [path for path in jobs.root.rglob("*") if path.is_file() and path.parent.name != "config"] == []


@pytest.mark.parametrize("former", [None, "loaded: True"], ids=["its own", "of version 0.1.0"])
def test_a_restarted_job_is_handed_all_that_its_checkpoint_holds(jobs, interrupted, monkeypatch, former):
    folder, stored = interrupted
    shutil.copytree(folder, jobs.root / "checkpoints")
    start_from(monkeypatch, loaded=True, former=former)
    # As with more replicas: "Auto" would not freeze now what it froze before.
    monkeypatch.setattr(recipe, "FEW_IMAGES_PER_REPLICA", 0)
    jobs.run(early_stopping="True", early_stopping_patience="7", early_stopping_min_delta="0.25")
    (handed,) = jobs.loops
    assert handed.progress == replace(stored.progress, best=replace(stored.progress.best, patience=7, min_delta=0.25))
    assert stored.progress.in_force["freeze_batch_norm"] == "True"
    assert not any(layer.trainable for layer in handed.detector.batch_norms)
    assert handed.step.micro_batch == 2
    for found, expected in (
        (values_of(handed.detector.variables), stored.weights),
        (handed.step.state, stored.optimizer),
        (handed.state.best_weights, stored.best_weights),
    ):
        np.testing.assert_equal(found, expected)
    assert handed.images_of_steps(1) == [handed.named(0).tolist()] == [STEP_4]


@pytest.mark.parametrize(("written", "split_by"), [({}, "image"), ({"split_by": "group"}, "group"), (None, "Auto")])
def test_a_restarted_job_splits_its_images_as_it_began(jobs, interrupted, monkeypatch, written, split_by):
    """A checkpoint of a version without groups is of a split of single images."""
    if written is not None:
        shutil.copytree(interrupted[0], jobs.root / "checkpoints")
        (path,) = (jobs.root / "checkpoints").glob("*.npz")
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        document = json.loads(members["progress.json"])
        for known in (document["identity"], document["progress"]["in_force"]):
            known.pop("split_by", None)
        document["progress"]["in_force"] |= written
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (members | {"progress.json": json.dumps(document).encode()}).items():
                archive.writestr(name, content)
    start_from(monkeypatch, loaded=True)
    asked = ending_at(monkeypatch, load, "load_splits")
    sample = (jobs.root / "input/data").readlink()
    (jobs.root / "input/data").unlink()
    (jobs.root / "input/data").mkdir()  # with no validation channel: images are held out of training
    (jobs.root / "input/data/training").symlink_to(sample / "training")
    jobs.run()
    assert asked().arguments[2].split_by == split_by


def stop(*arguments: Any, **named: Any) -> None:
    """In place of something that a job does: a signal comes."""
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("moment", [(prepare, "prepare_devices"), (anchor_coverage, "log_coverage")])
def test_a_stop_before_the_first_step_leaves_no_model(jobs, monkeypatch, caplog, moment):
    monkeypatch.setattr(*moment, stop)
    jobs.run()
    assert jobs.loops == jobs.written == []
    assert caplog.messages[-1] == "Stopped by a signal before the first step: there is no model to save."


def test_a_stop_before_the_first_step_leaves_the_model_of_an_earlier_checkpoint(jobs, interrupted, monkeypatch):
    shutil.copytree(interrupted[0], jobs.root / "checkpoints")
    start_from(monkeypatch, loaded=True)
    monkeypatch.setattr(prepare, "prepare_devices", stop)
    jobs.run()
    assert len(jobs.loops) == len(jobs.written) == 1


@pytest.mark.parametrize(
    ("hosts", "batch_size", "said"),
    [
        (1, 3, "2 replicas on 1 host take 2 of the 3 images of a batch each."),
        (2, 1, "2 replicas on 2 hosts take 1 of the 1 images of a batch each; 1 of them have none."),
    ],
    ids=["images to fill up", "an idle replica"],
)
def test_how_a_batch_is_divided_is_said(caplog, hosts, batch_size, said):
    statistics = "Batch normalization uses the statistics of each replica's own images."
    with caplog.at_level("INFO"):
        TwoReplicas(hosts).log_share(batch_size, frozen=True)
        TwoReplicas(hosts).log_share(batch_size, frozen=False)
        Replicas(tf.distribute.get_strategy()).log_share(batch_size, frozen=False)
    assert caplog.messages == [said, said, statistics]


@pytest.mark.parametrize(
    ("boxes", "tuner", "objective", "warning"),
    [
        (True, "train:loss", "mAP", "The tuning job ranks by 'train:loss', which no validation gives: using mAP."),
        (
            False,
            "validation:mAP",
            "total_loss",
            "The validation set has no boxes, so mAP says nothing: the objective is the total loss.",
        ),
    ],
    ids=["of no validation", "of no boxes"],
)
def test_an_objective_that_the_validation_does_not_give_is_replaced(
    jobs, monkeypatch, caplog, boxes, tuner, objective, warning
):
    original = load.load_splits

    def load_splits(*arguments: Any, **named: Any) -> Any:
        splits = original(*arguments, **named)
        return splits if boxes else replace(splits, validation=replace(splits.validation, boxes=np.zeros([0, 4])))

    monkeypatch.setattr(load, "load_splits", load_splits)
    monkeypatch.setattr(detector_module, "build_detector", lambda *_, **named: None)
    call = ending_at(monkeypatch, resume, "find_state")
    jobs.run(_tuning_objective_metric=tuner)
    assert call().arguments[1].objective.key == objective
    assert warning in [record.message for record in caplog.records if record.levelname == "WARNING"]


def test_the_checkpoints_of_another_job_are_refused_in_the_first_second(jobs, interrupted):
    shutil.copytree(interrupted[0], jobs.root / "checkpoints")
    write_job(jobs.root, {**TINY_JOB_VALUES, "batch_size": "5", "seed": "3"})
    (problem,) = preflight(read_job(Paths(jobs.root))).problems
    assert "holds those of another job: batch_size was 4 and is 5; " in problem


def test_checkpoints_are_not_held_against_a_value_that_is_wrong(jobs, interrupted):
    shutil.copytree(interrupted[0], jobs.root / "checkpoints")
    write_job(jobs.root, {**TINY_JOB_VALUES, "batch_size": "four", "seed": "3"})
    (problem,) = preflight(read_job(Paths(jobs.root))).problems
    assert problem.startswith("batch_size: got 'four'")


def test_a_share_of_the_training_images_is_a_validation_set_too(sample_root, tmp_path):
    (tmp_path / "input/data").mkdir(parents=True)
    (tmp_path / "input/data/training").symlink_to(sample_root / "input/data/training")
    for ratio, count in (("0.2", 0), ("0", 1)):
        write_job(tmp_path, {"pretrained_weights": "none", "early_stopping": "True", "validation_split_ratio": ratio})
        assert len(preflight(read_job(Paths(tmp_path))).problems) == count


def test_the_model_channel_comes_before_pretrained_weights_and_says_so(sample_root, tmp_path):
    shutil.copytree(sample_root / "input/data/training", tmp_path / "input/data/training")
    (tmp_path / "input/data/model").mkdir()
    with tarfile.open(tmp_path / "input/data/model/model.tar.gz", "w:gz") as archive:
        archive.add(__file__, "model_info.json")
    write_job(tmp_path, {"pretrained_weights": "none"})
    found = preflight(read_job(Paths(tmp_path)))
    assert found.source is not None
    assert found.source.origin == f'channel "model" ({tmp_path}/input/data/model)'
    assert found.hyperparameters.notes == (
        "pretrained_weights: has no effect, because the model channel brings the weights",
    )


def test_what_has_no_effect_and_what_repeats_is_said_once(jobs, monkeypatch, caplog):
    ending_at(monkeypatch, restore, "find_start")
    with caplog.at_level("INFO"):
        jobs.run(batch_size="11", momentum="0.5")
    for message in (
        "momentum: has no effect, because optimizer is adam; it is used when optimizer is sgd or nesterov",
        "batch_size is 11, but there are 10 training images: every step repeats images.",
        f"No checkpoints: a job that is restarted begins anew. Give it checkpoint_s3_uri, or {jobs.root}/checkpoints.",
    ):
        assert caplog.messages.count(message) == 1
    assert re.fullmatch(r"Device: CPU, \d+ cores?\.", caplog.messages[0])
