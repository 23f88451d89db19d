"""The verb `export`: what it refuses, what it compares, and that a file that is not as good is not there."""

import json
import logging
import shutil
import signal
import tarfile

import pytest

from sagemaker_object_detection.__main__ import main
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.runtimes import export_model as verb
from sagemaker_object_detection.runtimes.comparison import Comparison
from sagemaker_object_detection.runtimes.export_model import export_model


def export(*words: object) -> int:
    """The verb in this process, whose log and signals it leaves as they were."""
    log, terminated = logging.getLogger("sagemaker_object_detection"), signal.getsignal(signal.SIGTERM)
    handlers, level, propagate = [*log.handlers], log.level, log.propagate
    try:
        return main(["export", *map(str, words)])
    finally:
        log.handlers[:] = handlers
        log.setLevel(level)
        log.propagate = propagate
        signal.signal(signal.SIGTERM, terminated)


def test_every_wrong_argument_is_told_at_once(tmp_path, capfd):
    output = tmp_path / "taken.onnx"
    output.write_text("mine")
    given = ("--model", tmp_path, "--format", "onnx", "--precision", "int8", "--output", output)
    assert export(*given) == 2
    said = capfd.readouterr().err
    assert "--precision: got 'int8' with --format onnx; expected float32" in said
    assert f"--model {tmp_path}" in said
    assert "--data: is missing; --precision int8" in said
    assert f"--output: '{output}' exists" in said
    assert output.read_text() == "mine"


def test_a_channel_that_is_no_folder_is_told(tmp_path, capfd):
    given = ("--model", tmp_path, "--format", "tflite", "--data", tmp_path / "none", "--output", tmp_path / "m.tflite")
    assert export(*given) == 2
    assert "--data: " in (said := capfd.readouterr().err)
    assert str(tmp_path / "none") in said


def test_a_folder_without_a_model_is_told(tmp_path, capfd):
    assert export("--model", tmp_path, "--format", "tflite", "--output", tmp_path / "m.tflite") == 2
    assert str(tmp_path) in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_catalogue")
def test_an_archive_becomes_a_file_that_is_compared_with_its_saved_model(trained, tmp_path, capsys):
    archive, output = tmp_path / "model.tar.gz", tmp_path / "made/here/model.tflite"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(trained.root / "model", ".")
    data = trained.root / "input/data/validation"
    assert export("--model", archive, "--format", "tflite", "--data", data, "--output", output) == 0
    head, *rows, told = capsys.readouterr().out.splitlines()
    assert head.split() == ["5", "images", "SavedModel", "tflite", "float32"]
    figures = {name: values for name, *values in (row.split() for row in rows)}
    assert list(figures) == ["mAP@[.5:.95]", "mAP@.5"]
    for ours, exported in figures.values():
        assert float(exported) == pytest.approx(float(ours), abs=1e-3)
    assert told.startswith(f"{output}: tiny_64x64 as tflite float32, ")
    assert output.read_bytes()[4:8] == b"TFL3"
    assert [path.name for path in output.parent.iterdir()] == ["model.tflite"]


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_catalogue")
def test_a_file_that_loses_too_much_is_not_there(trained, tmp_path, monkeypatch, capsys):
    result = Comparison(5, {"mAP": 0.5, "mAP_50": 0.7}, {"mAP": 0.49, "mAP_50": 0.64})
    monkeypatch.setattr(verb, "compare", lambda *given: result)
    monkeypatch.setattr(verb, "convert_tflite", lambda *given, **named: b"TFL3")
    monkeypatch.setattr(verb, "TFLiteDetector", lambda *given: None)
    output, data = tmp_path / "model.tflite", trained.root / "input/data/validation"

    def run(max_loss: float) -> None:
        export_model(trained.root / "model", output, "tflite", precision="int8", data=data, max_loss=max_loss, given={})

    with pytest.raises(UserError, match=r"loses 0\.0600 .* more than --max-loss 0\.05"):
        run(0.05)
    assert "0.7000            0.6400" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    run(0.07)
    assert output.read_bytes() == b"TFL3"


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_catalogue")
def test_a_channel_without_boxes_compares_nothing(trained, tmp_path):
    data, output = tmp_path / "data", tmp_path / "model.tflite"
    shutil.copytree(trained.root / "input/data/validation", data)
    content = json.loads((data / "annotations.json").read_text())
    (data / "annotations.json").write_text(json.dumps({**content, "annotations": []}))
    given: dict[str, str] = {}
    with pytest.raises(UserError, match="has no box to find, so that nothing can be compared"):
        export_model(
            *(trained.root / "model", output, "tflite"), precision="int8", data=data, max_loss=0.02, given=given
        )
    assert not output.exists()
