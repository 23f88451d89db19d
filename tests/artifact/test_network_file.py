"""By its network file a model finds what its SavedModel finds; a damaged file and one of other weights are not used."""

import io
import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import StopWhen, once
from onnx import TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor,
    make_tensor_value_info,
)
from PIL import Image
from same_detections import pictures, with_contrasts
from tiny_models import TINY, TINY_PADDED

from sagemaker_object_detection.artifact import network_process
from sagemaker_object_detection.artifact.export import ASSETS, Exporter
from sagemaker_object_detection.artifact.model_info import model_info, read_model_info
from sagemaker_object_detection.artifact.network_file import OPSET, Network, read_network, write_network
from sagemaker_object_detection.artifact.network_process import NetworkProcess
from sagemaker_object_detection.catalogue import CATALOGUE, DEFAULT_MODEL, BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.geometry.anchors import generate_anchors
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
    assert "its outputs are [" in caplog.text


def made_network(dtype: int, batch: int | None, shapes: list[list[int]], inputs: list[str]) -> bytes:
    """An ONNX file whose outputs are zeros, of `batch` images whatever it gets, or of as many as it gets."""
    sizes = [np.array([batch or 0, *shape], np.int64) for shape in shapes]
    constants = [onnx.numpy_helper.from_array(size, f"size_{index}") for index, size in enumerate(sizes)]
    nodes = [make_node("Shape", [inputs[0]], ["all"]), make_node("Gather", ["all", "first"], ["batch"])]
    constants.append(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "first"))
    for index, name in enumerate(("box_encodings", "class_logits")):
        mask = np.array([batch is None, False, False])
        constants.append(onnx.numpy_helper.from_array(mask, f"mask_{index}"))
        nodes += [
            make_node("Where", [f"mask_{index}", "batch", f"size_{index}"], [f"shape_{index}"]),
            make_node("ConstantOfShape", [f"shape_{index}"], [name], value=make_tensor("zero", dtype, [1], [0])),
        ]
    side = TINY.input_size
    taken = [make_tensor_value_info(name, TensorProto.FLOAT, [None, side, side, 3]) for name in inputs]
    made = [make_tensor_value_info(name, dtype, None) for name in ("box_encodings", "class_logits")]
    graph = make_graph(nodes, "made", taken, made, constants)
    return make_model(graph, opset_imports=[make_opsetid("", OPSET)], ir_version=8).SerializeToString()


def test_a_network_has_to_answer_before_it_is_used(capfd):
    """What it declares may be right, and what it says wrong: each image would be said to be damaged."""
    anchors = len(generate_anchors(TINY))
    columns = 3 + TINY.family.background_column
    right = {
        "dtype": TensorProto.FLOAT,
        "batch": None,
        "shapes": [[anchors, 4], [anchors, columns]],
        "inputs": ["images"],
    }
    Network(made_network(**right), TINY, 3)
    for wrong, said in {
        ("dtype", TensorProto.DOUBLE): "float64",
        ("batch", 1): "'float32', 1, ",
        ("shapes", ((anchors + 1, 4), (anchors, columns))): f"{anchors + 1}, 4",
        ("inputs", ("images", "more")): "more",
        ("inputs", ("pixels",)): "images",
    }.items():
        with pytest.raises(ValueError, match=said):
            Network(made_network(**{**right, wrong[0]: wrong[1]}), TINY, 3)
    with pytest.raises(ValueError, match="utf-8"):
        Network(made_network(**right).replace(b"size_0", b"size_\xff", 1), TINY, 3)
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_link_where_its_folder_is_to_be_is_not_followed(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    shutil.rmtree(copy / "1" / ASSETS)
    (tmp_path / "other").mkdir(mode=0o700)
    (copy / "1" / ASSETS).symlink_to(tmp_path / "other")
    with pytest.raises(FileExistsError):
        write_network(copy)
    assert not list((tmp_path / "other").iterdir())
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o700


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
