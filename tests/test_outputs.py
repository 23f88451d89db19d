"""What a job leaves when all goes well, when the report does not, and when a stop leaves little time."""

import json
import logging
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf
from made_findings import data, findings, found_in

from sagemaker_object_detection import outputs
from sagemaker_object_detection.artifact.restore import Start
from sagemaker_object_detection.dataset.load import Splits
from sagemaker_object_detection.evaluation import verdict
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.job.paths import Paths, prepare_outputs
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.report import page
from sagemaker_object_detection.report.figures import compute_figures
from sagemaker_object_detection.report.tensorboard import TensorBoard
from sagemaker_object_detection.training.best import Best, Objective
from sagemaker_object_detection.training.progress import Progress

BEST = Best(Objective("mAP", maximize=True), min_delta=0.0, patience=None)


class Evaluator:
    """Makes the detections of the saved epoch once more."""

    def __init__(self, dataset, stop):
        self.dataset, self.stop = dataset, stop

    def detections(self, evaluation, seconds):
        assert evaluation.metrics["mAP"] == 0.5
        return None if self.stop.seconds_left < seconds else found_in(self.dataset)


@pytest.fixture
def exported():
    """What model_info.json was to say."""
    return []


@pytest.fixture
def write(tmp_path, exported):
    """Writes what a job with these class names leaves below tmp_path; returns metrics.json."""

    def export(labels, info):
        assert list((tmp_path / "output/data").glob("*.json")) == []  # what matters most comes first
        exported.append(info)

    exporter: Any = SimpleNamespace(write=export)
    prepare_outputs(Paths(tmp_path))

    def write(names=("cat", "dog"), *, stopped_since=None, saved=True):
        found = findings(tmp_path / "images", names)
        dataset = data(tmp_path / "images", names)
        stop = StopSignal()
        if stopped_since is not None:
            stop._since = time.monotonic() - stopped_since
        detector: Any = SimpleNamespace(base=replace(found.base, backbone="of a model without a network file"))
        evaluator: Any = Evaluator(dataset, stop)
        outputs.write_outputs(
            detector,
            exporter,
            Progress(replace(BEST, epoch=1), found.run.epochs if saved else ()),
            found.run.hyperparameters,
            Start(found.base, lambda detector: None, None, "random weights", new_top_layer=True),
            Splits(dataset, dataset, found.report),
            evaluator,
            TensorBoard(tmp_path / "board"),
            stop,
            Paths(tmp_path),
        )
        return json.loads((tmp_path / "output/data/metrics.json").read_text())

    return write


def test_the_report_comes_with_thresholds_in_the_metrics_and_the_log(write, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        metrics = write()
    assert metrics["score_thresholds"] == {"cat": pytest.approx(0.9)}
    info = json.loads((tmp_path / "model/model_info.json").read_text())
    assert info["score_thresholds"] == {"cat": 0.899999}  # rounded down, of the float32 below 0.9
    assert info["per_class"]["cat"].keys() == {"mAP", "mAP_50"}
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == [0, 1, 2]
    assert (
        "Suggested score thresholds, by the best F1 at IoU 0.5 (all are in model_info.json): 'cat' 0.900."
        in caplog.messages
    )
    assert f"The report is in {tmp_path}/output/data/report.html." in caplog.messages
    assert (tmp_path / "output/data/report/worst_3.png").is_file()
    (board,) = (tmp_path / "board").iterdir()
    tags = [(e.step, v.tag) for e in tf.compat.v1.train.summary_iterator(str(board)) for v in e.summary.value]
    assert tags == [(1, "worst images/1: a.png"), (1, "worst images/2: b.png"), (1, "worst images/3: c.png")]


def test_the_last_validation_lines_and_the_model_are_of_the_saved_epoch(write, exported, monkeypatch, caplog):
    useful = []
    monkeypatch.setattr(page, "write_page", lambda *_: "a place")
    monkeypatch.setattr(verdict, "sentence", lambda now, *_, **named: useful.append(now))
    with caplog.at_level(logging.INFO):
        metrics = write()
    assert [message for message in caplog.messages if "Val_" in message] == [
        "[Epoch 1], Val_localization=0.250000, Val_classification=0.500000",
        "[Epoch 1], Val_mAP=0.500000, Val_mAP_50=0.750000",
    ]
    first = next(place for place, message in enumerate(caplog.messages) if "Val_" in message)
    before = caplog.messages[first - 1]
    assert before == "The saved model is that of epoch 1. Its metrics once more, as a tuning job takes the last value:"
    (info,) = exported
    assert (info["epoch"], info["metrics"]["mAP"], metrics["saved_epoch"]) == (1, 0.5, 1)
    assert [evaluation.metrics["mAP"] for evaluation in useful] == [0.5]
    assert info["weights"] == {"origin": "none", "fingerprint": "random weights"}
    assert set(info["data_fingerprints"]) == {"training", "validation"}


def test_a_report_that_fails_leaves_the_job_as_it_is(write, tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise MemoryError

    (tmp_path / "output/data/report.html").write_text("of an earlier job")
    monkeypatch.setattr(page, "write_page", fail)
    with caplog.at_level(logging.INFO):
        metrics = write()
    assert metrics["saved_epoch"] == 1
    assert caplog.messages[-1] == "The report could not be written (MemoryError: no message): the model is whole."
    assert f"The model is in {tmp_path}/model." in caplog.messages
    assert sorted(path.name for path in (tmp_path / "output/data").iterdir()) == ["data_report.json", "metrics.json"]


@pytest.mark.parametrize(("stopped_since", "reported"), [(10.0, True), (100.0, False)])
def test_after_a_stop_there_is_a_report_only_if_there_is_time(write, tmp_path, caplog, stopped_since, reported):
    page = tmp_path / "output/data/report.html"
    page.write_text("of an earlier run")
    with caplog.at_level(logging.INFO):
        metrics = write(stopped_since=stopped_since)
    assert f"Saving the model; {120 - stopped_since:.0f} seconds are left" in caplog.text
    assert f"The model is in {tmp_path}/model." in caplog.messages
    assert ("score_thresholds" in metrics) == reported
    assert page.exists() == reported
    assert ("There is no report: 20 seconds are left before the process is killed." in caplog.messages) != reported


def test_figures_that_there_is_no_time_for_are_missed_in_the_report(write, tmp_path, monkeypatch):
    monkeypatch.setattr(Evaluator, "detections", lambda *_: None)
    assert "score_thresholds" not in write(stopped_since=10.0)
    assert "too little time was left" in (tmp_path / "output/data/report.html").read_text()


def test_a_first_epoch_cut_short_has_a_report_without_figures(write, tmp_path):
    assert write(stopped_since=1.0, saved=False) == {"saved_epoch": None, "epochs": []}
    assert "No epoch was finished" in (tmp_path / "output/data/report.html").read_text()


def test_the_log_says_if_no_detection_is_right(write, monkeypatch, caplog):
    def all_wrong(*arguments):
        figures = compute_figures(*arguments)
        return replace(figures, classes=tuple(replace(one, threshold=None) for one in figures.classes))

    monkeypatch.setattr(outputs, "compute_figures", all_wrong)
    with caplog.at_level(logging.INFO):
        assert write()["score_thresholds"] == {}
    assert "(all are in model_info.json): none, as no detection is right." in caplog.text


def test_a_collapse_is_told_in_the_epoch_in_which_it_happens(tmp_path, caplog):
    found = findings(tmp_path / "images")
    board = TensorBoard(None)
    hyperparameters = read({"recipe": "plain", "relative_learning_rate": "1"})
    start = found.run.epochs[0].validation
    first, second, third = found.run.epochs[0], collapsed(found.run.epochs[1]), collapsed(found.run.epochs[2])
    for epochs, count in (((first,), 0), ((first, second), 1), ((first, second, third), 1)):
        outputs.tell_epoch(Progress(BEST, epochs=epochs, start=start), board, hyperparameters)
        assert len(caplog.messages) == count
    (message,) = caplog.messages
    assert message.startswith(
        "After epoch 1 the model is collapsing: its scores hardly depend on the image. The cause: a "
    )


def test_a_job_that_ends_in_a_collapse_says_so_at_its_end_and_in_the_report(write, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(verdict, "collapse", lambda now, start: ["a sign"])
    write()
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("The model has collapsed: a sign. The cause: ")
    assert "The model has collapsed" in (tmp_path / "output/data/report.html").read_text()


def collapsed(epoch):
    return replace(epoch, validation=replace(epoch.validation, spread=0.0))
