"""`metrics.json`: its figures, and that it is whole or not there."""

import json
from pathlib import Path

import pytest

from sagemaker_object_detection.evaluation.evaluation import CocoFigures, Evaluation
from sagemaker_object_detection.report.metrics_file import epoch_figures, write_metrics
from sagemaker_object_detection.training.progress import Epoch, Slice

METRICS = {"localization_loss": 0.25, "classification_loss": 0.5, "mAP": 0.125, "mAP_50": 0.75}
COCO = CocoFigures({"mAP": 0.125, "AR_1": 0.375}, {"cat": {"mAP": 0.0625, "mAP_50": 0.875}})


def test_figures_of_an_epoch():
    loss = {"epoch": 3, "loss": 2.0, "samples_per_second": 10.0}
    assert epoch_figures(Epoch(3, 2.0, 10.0, None)) == loss
    assert epoch_figures(Epoch(3, 2.0, 10.0, Evaluation(METRICS, 1.5, COCO, confident_images=7))) == {
        "dead_channels": None,
        "spread": None,
        **loss,
        "validation": {**METRICS, "total_loss": 1.5},
        "coco": {"mAP": 0.125, "AR_1": 0.375},
        "per_class": {"cat": {"mAP": 0.0625, "mAP_50": 0.875}},
        "images_with_a_confident_detection": 7,
    }


def test_figures_of_training_go_by_the_parts_of_the_network():
    slices = (Slice(1, 0.5, (1.0, 2.0, 3.0, 4.0)), Slice(3, 0.5, (3.0, 2.0, 1.0, 0.0)))
    figures = epoch_figures(Epoch(3, 2.0, 10.0, None, slices, (0.5, 0.25, 0.125, 0.0625)))
    assert figures["regularization"] == 0.25
    assert figures["gradients"] == {"backbone": 1.0, "pyramid": 1.0, "heads": 1.0, "class predictor": 1.0}
    assert figures["movement"] == {"backbone": 0.5, "pyramid": 0.25, "heads": 0.125, "class predictor": 0.0625}


def test_file_has_the_saved_epoch_and_thresholds_where_they_are_known(tmp_path):
    epochs = [Epoch(number, 1.0, 10.0, None) for number in range(2)]
    told = [epoch_figures(epoch) for epoch in epochs]
    path = write_metrics(epochs, epochs[1], tmp_path / "new")
    assert json.loads(path.read_text()) == {"saved_epoch": 1, "epochs": told}
    assert write_metrics(epochs, None, tmp_path / "new", {"cat": 0.5}) == path == tmp_path / "new/metrics.json"
    assert json.loads(path.read_text()) == {"saved_epoch": None, "score_thresholds": {"cat": 0.5}, "epochs": told}
    assert list(path.parent.iterdir()) == [path]


def test_file_stays_as_it_was_where_a_new_one_cannot_be_written(tmp_path, monkeypatch):
    path = write_metrics([], None, tmp_path)
    write_text = Path.write_text

    def fill_the_disk(target, text, **options):
        write_text(target, text[:10], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        write_metrics([Epoch(0, 1.0, 10.0, None)], None, tmp_path)
    assert json.loads(path.read_text()) == {"saved_epoch": None, "epochs": []}
