"""By its network file a model finds what its SavedModel finds; a damaged file and one of other weights are not used."""

import io
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import StopWhen, once
from PIL import Image
from same_detections import pictures, with_contrasts
from tiny_models import TINY, TINY_PADDED

from sagemaker_object_detection.artifact import network_process
from sagemaker_object_detection.artifact.export import ASSETS, Exporter
from sagemaker_object_detection.artifact.model_info import model_info, read_model_info
from sagemaker_object_detection.artifact.network_file import read_network, write_network
from sagemaker_object_detection.artifact.network_process import NetworkProcess
from sagemaker_object_detection.catalogue import CATALOGUE, DEFAULT_MODEL, BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.job.stop import NEVER
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.serving.predictor import Predictor

LABELS = Labels(ids=(1, 2, 3), names=("circle", "square", "Dreieck ▲"))
MOST = 7


def write_model(folder: Path, base: BaseModel) -> Path:
    detector = with_contrasts(build_detector(base, 3))
    kept = {"max_detections": MOST}
    info = model_info(base, LABELS, hyperparameters=kept, weights={}, fingerprints={}, epoch=None, metrics={})
    Exporter(detector, folder, MOST).write(LABELS, info)
    return folder


BASES = [TINY, pytest.param(TINY_PADDED, marks=pytest.mark.nightly)]


@pytest.fixture(params=BASES, ids=lambda base: base.name)
def model(request, tiny_catalogue, tmp_path_factory) -> Path:
    def make(folder: Path) -> Path:
        write_network(write_model(folder, request.param))
        return folder

    return once(tmp_path_factory, f"network-{request.param.name}", make)


def encoded() -> list[bytes]:
    """PNG files, and one that is turned."""
    files = []
    for image, turned in zip(pictures(5), (1, 1, 6, 1, 1), strict=True):
        exif = Image.Exif()
        exif[0x0112] = turned
        Image.fromarray(image).save(file := io.BytesIO(), "PNG", exif=exif)
        files.append(file.getvalue())
    return files


def assert_equal(ours, reference):
    assert len(ours) == len(reference)
    for found, expected in zip(ours, reference, strict=True):
        assert sorted(found) == sorted(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_all_outputs_are_the_saved_models_for_files_and_for_pixels(model):
    reference, by_network = Predictor(model), Predictor(model, by_network=True)
    answers = by_network(encoded())
    assert len(answers[0]["detection_scores"]) == MOST
    assert_equal(answers, reference(encoded()))
    assert_equal(by_network.pixels(pictures(3)), reference.pixels(pictures(3)))


@pytest.mark.slow
def test_no_weights_of_the_saved_model_are_read(model, tmp_path):
    """So that it is known whose answers the test above compares, and that memory holds the weights once."""
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "1/variables/variables.data-00000-of-00001").unlink()
    assert len(Predictor(copy, by_network=True)(encoded()[:1])) == 1


@pytest.mark.slow
def test_a_file_that_is_not_the_models_is_not_used_and_named(model, tmp_path, caplog):
    for name, damage in {
        "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
        "one bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
        "empty": lambda path: path.write_bytes(b""),
        "no file": lambda path: (path.unlink(), path.mkdir()),
        "of other weights": lambda path: (path.parents[1] / "variables/variables.index").write_bytes(b"other"),
    }.items():
        copy = shutil.copytree(model, tmp_path / name)
        (path,) = (copy / "1" / ASSETS).iterdir()
        damage(path)
        caplog.clear()
        assert read_network(copy, read_model_info(copy)) is None, name
        assert f"{path} is not used (" in caplog.text, name
        assert "TensorFlow computes the network" in caplog.text, name


@pytest.mark.slow
def test_a_file_with_a_name_that_fits_but_another_network_is_not_used(model, tmp_path, caplog):
    from sagemaker_object_detection.artifact import network_file

    for contents in (b"", b"no ONNX", b"\x08\x09" * 1000):
        copy = shutil.copytree(model, tmp_path / str(len(contents)))
        shutil.rmtree(copy / "1" / ASSETS)
        (copy / "1" / ASSETS).mkdir()
        (copy / "1" / ASSETS / network_file._name(copy, contents)).write_bytes(contents)
        caplog.clear()
        assert read_network(copy, read_model_info(copy)) is None
        assert "is not used (" in caplog.text
    fewer = read_model_info(model)
    fewer = type(fewer)(fewer.base, Labels(ids=(1,), names=("circle",)))
    assert read_network(model, fewer) is None
    assert "its outputs have the shapes" in caplog.text


def test_a_model_of_an_earlier_version_has_none(tmp_path, caplog):
    (tmp_path / "1").mkdir()
    info = None
    assert read_network(tmp_path, info) is None
    assert not caplog.text


@pytest.mark.slow
def test_the_process_writes_the_file_of_the_default_model(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = write_model(tmp_path / "model", DEFAULT_MODEL)
    with NetworkProcess(folder, DEFAULT_MODEL, NEVER):
        pass
    assert "Endpoints on a CPU will compute the network by ONNX Runtime" in caplog.text
    assert_equal(Predictor(folder, by_network=True)(encoded()[:2]), Predictor(folder)(encoded()[:2]))
    assert [path.suffix for path in (folder / "1" / ASSETS).iterdir()] == [".onnx"]


def test_a_stop_ends_the_process_and_leaves_nothing_of_it(tmp_path, caplog):
    (tmp_path / "1").mkdir()
    process = NetworkProcess(tmp_path, DEFAULT_MODEL, StopWhen(lambda: (tmp_path / "1" / ASSETS).exists()))
    with process:
        (tmp_path / "1" / ASSETS).mkdir()
        (tmp_path / "1" / ASSETS / ".unfinished").touch()
    assert "could not be written as an ONNX file (the job was stopped)" in caplog.text
    assert process._process.returncode == -9
    assert not list((tmp_path / "1").iterdir())


@pytest.mark.slow
def test_what_goes_wrong_in_the_process_is_one_warning(tmp_path, caplog):
    with NetworkProcess(tmp_path, DEFAULT_MODEL, NEVER):
        pass
    (record,) = caplog.records
    assert "could not be written as an ONNX file" in record.getMessage()
    assert "holds no model_info.json" in record.getMessage()


def test_without_room_in_memory_no_process_begins(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(network_process, "available_memory", lambda: 10**9)
    process = NetworkProcess(tmp_path, DEFAULT_MODEL, NEVER)
    with process:
        assert process._process is None
    assert "1.0 GB of the memory are free, and it takes 2.1" in caplog.text


def test_models_that_would_not_be_faster_get_no_file(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for base in CATALOGUE:
        if "resnet" in base.name or "mobilenet_v1" in base.name:
            with NetworkProcess(tmp_path, base, NEVER):
                pass
    assert not caplog.text
