"""Event files, read back by TensorFlow's own reader."""

import io
import logging
from dataclasses import replace

import pytest
import tensorflow as tf
from made_findings import findings
from PIL import Image

from sagemaker_object_detection.evaluation.evaluation import CocoFigures
from sagemaker_object_detection.report.tensorboard import TensorBoard
from sagemaker_object_detection.step.readings import PARTS


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by tag, over all files."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return findings(tmp_path_factory.mktemp("images"))


def test_scalars_are_there_as_soon_as_their_epoch_is_finished(found, tmp_path):
    board = TensorBoard(tmp_path / "board")
    board.write(found.run.epochs[0])
    seen = scalars(tmp_path / "board")
    assert {tag: values for tag, values in seen.items() if not tag.startswith("AP/")} == {
        "train/loss": [(0, 2.0)],
        "train/samples_per_second": [(0, 10.0)],
        "train/regularization": [(0, 0.5)],
        **{f"gradient/{part}": [(0, norm)] for part, norm in zip(PARTS, (1.0, 2.0, 0.0, 4.0), strict=True)},
        **{f"movement/{part}": [(0, share)] for part, share in zip(PARTS, (0.25, 0.125, 0.0, 0.5), strict=True)},
        "validation/spread": [(0, 0.5)],
        "validation/dead_channels": [(0, 0.0625)],
        "validation/localization_loss": [(0, 0.25)],
        "validation/classification_loss": [(0, 0.5)],
        "validation/total_loss": [(0, 1.5)],
        "validation/mAP": [(0, 0.125)],
        "validation/mAP_50": [(0, 0.75)],
    }
    assert seen["AP/dog"] == [(0, 0.0)]
    board.write(found.run.epochs[1])
    assert scalars(tmp_path / "board")["validation/mAP"] == [(0, 0.125), (1, 0.5)]


def test_classes_have_their_average_precision_over_all_thresholds(found, tmp_path):
    coco = CocoFigures({}, {"cat": {"mAP": 0.25, "mAP_50": 0.75}})
    validation = replace(found.run.epochs[1].validation, coco=coco)
    TensorBoard(tmp_path).write(replace(found.run.epochs[1], validation=validation))
    assert {tag: values for tag, values in scalars(tmp_path).items() if tag.startswith("AP")} == {"AP/cat": [(1, 0.25)]}


def test_a_resumed_job_writes_the_earlier_epochs_and_replaces_its_own_files(found, tmp_path):
    TensorBoard(tmp_path).write(found.run.epochs[0])
    (tmp_path / "events.out.tfevents.1.of-another-program").touch()
    TensorBoard(tmp_path, found.run.epochs[:2]).write(found.run.epochs[2])
    assert scalars(tmp_path)["train/loss"] == [(0, 2.0), (1, 1.0), (2, 0.0)]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_epoch_without_validation_has_its_loss(found, tmp_path):
    TensorBoard(tmp_path).write(replace(found.run.epochs[1], validation=None, slices=(), movement=()))
    assert scalars(tmp_path) == {"train/loss": [(1, 1.0)], "train/samples_per_second": [(1, 10.0)]}


def test_pictures_are_those_of_the_report(found, tmp_path):
    TensorBoard(tmp_path).write_pictures(1, found.pictures)
    (path,) = tmp_path.iterdir()
    values = {
        value.tag: (event.step, value.image)
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert list(values) == ["worst images/1: a.png", "worst images/2: b.png", "worst images/3: c.png"]
    step, image = values["worst images/1: a.png"]
    assert (step, image.width, image.height, image.colorspace) == (1, 400, 267, 3)
    with Image.open(io.BytesIO(image.encoded_image_string)) as decoded:
        assert decoded.tobytes() == found.pictures[0].image.tobytes()


def test_a_host_without_a_folder_writes_nothing(found):
    board = TensorBoard(None, found.run.epochs)
    board.write(found.run.epochs[0])
    board.write_pictures(0, found.pictures)


@pytest.mark.parametrize("broken", ["at the start", "on the way"])
def test_what_goes_wrong_costs_one_warning(found, tmp_path, monkeypatch, caplog, broken):
    folder = tmp_path / "board"
    if broken == "at the start":
        folder.touch()
    with caplog.at_level(logging.INFO):
        board = TensorBoard(folder, found.run.epochs[:1])
        if broken == "on the way":
            monkeypatch.setattr(tf.summary.experimental, "write_raw_pb", lambda *_, **__: 1 / 0)
        board.write(found.run.epochs[1])
        board.write(found.run.epochs[2])
    (message,) = caplog.messages
    assert message.startswith("TensorBoard's event files could not be written (")
    assert message.endswith("): the job goes on without them.")
