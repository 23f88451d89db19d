"""Published base models that nobody trained, in every form in which a model directory can hold one."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_models import TINY, add_backbones, add_telltales, add_to_catalogue

from sagemaker_object_detection.artifact.inference import respond
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.serving.predict import predict_files
from sagemaker_object_detection.serving.predictor import Predictor
from sagemaker_object_detection.serving.published import COCO, find_model
from sagemaker_object_detection.weights import coco_classes
from sagemaker_object_detection.weights.model_garden import checkpoint_variables


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    add_to_catalogue(monkeypatch.setattr)
    add_backbones()
    add_telltales(monkeypatch.setitem)


def write_variables(prefix: Path, detector: Detector) -> None:
    prefix.parent.mkdir(parents=True)
    variables = checkpoint_variables(detector)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.convert_to_tensor(variable.value) for variable in variables.values()],
    )


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The variables of a model that finds class 18, a dog, everywhere."""
    folder = tmp_path_factory.mktemp("variables")
    add_backbones()
    detector = build_detector(TINY, coco_classes.COLUMNS, seed=1)
    bias = detector.class_predictor.bias
    columns = coco_classes.COLUMNS + TINY.family.background_column
    values = np.full([bias.shape[0] // columns, columns], -9.0, np.float32)
    values[:, 17 + TINY.family.background_column] = 3.0
    bias.assign(values.reshape(-1))
    write_variables(folder / "variables/variables", detector)
    return folder / "variables"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (80, 60), (9, 99, 199)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def checkpoint(variables: Path, model: Path) -> None:
    (model / "checkpoint").mkdir(parents=True)
    for path in variables.iterdir():
        shutil.copy(path, model / "checkpoint" / path.name.replace("variables", "ckpt-0", 1))


def saved_model(variables: Path, model: Path) -> None:
    shutil.copytree(variables, model / "variables")
    (model / "saved_model.pb").write_bytes(b"a graph that is not read")


def jumpstart(variables: Path, model: Path) -> None:
    """As `infer-tensorflow-od1-*.tar.gz` unpacks."""
    saved_model(variables, model / "1")
    (model / "code/constants").mkdir(parents=True)
    (model / "code/inference.py").write_text("raise SystemExit\n")
    (model / "labels_info.json").write_text(json.dumps({"labels": ["person"]}))
    (model / "__models_info__.json").write_text("{}")


def archive(variables: Path, model: Path) -> None:
    tree = model.parent / "tree"
    saved_model(variables, tree)
    model.mkdir()
    with tarfile.open(model / "model.tar.gz", "w:gz") as packed:
        packed.add(tree, ".")


FORMS = [checkpoint, saved_model, jumpstart, archive]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_answers_with_cocos_classes(
    form: Callable[[Path, Path], None], variables: Path, tmp_path: Path, image: Path
):
    form(variables, tmp_path / "model")
    predictor = Predictor(tmp_path / "model")
    assert (predictor.labels, len(COCO)) == (COCO, 80)
    (outputs,) = predictor([image.read_bytes()])
    answer = respond(outputs, predictor.labels.names)
    assert answer["classes"]
    assert {COCO.names[index] for index in answer["classes"]} == {"dog"}
    assert {COCO.ids[index] for index in answer["classes"]} == {18}
    (raw,) = predictor.pixels([np.asarray(Image.open(image))])
    assert raw["detection_classes"] == outputs["detection_classes"]


@pytest.mark.slow
def test_predict_answers_too_and_executes_nothing_of_the_model(variables: Path, tmp_path: Path, image: Path):
    jumpstart(variables, tmp_path / "model")
    (line,) = predict_files(tmp_path / "model", [image], None, 0.3)
    answer = json.loads(line)
    assert answer["labels"] == list(COCO.names)
    assert answer["labels"][answer["classes"][0]] == "dog"


def test_other_classes_are_refused(tmp_path: Path):
    write_variables(tmp_path / "variables/variables", build_detector(TINY, 3, seed=1))
    with pytest.raises(
        UserError, match="tells 3 classes apart, and does not say which; expected a published base model"
    ):
        Predictor(tmp_path)


@pytest.mark.parametrize("content", [None, "text", "archive"])
def test_a_folder_that_holds_no_model(content: str | None, tmp_path: Path):
    if content is not None:
        (tmp_path / ("a.txt" if content == "text" else "model.tar.gz")).write_text("hello")
    with pytest.raises(
        UserError, match=r"holds no model_info.json; expected the model directory that a training job wrote"
    ):
        find_model(tmp_path)


def test_a_folder_whose_name_is_too_long_is_refused():
    with pytest.raises(UserError, match=r"^/a{300}: cannot be read \(File name too long\); expected the model"):
        find_model(Path("/" + "a" * 300))


def test_the_setting_names_another_size(tmp_path: Path, variables: Path, monkeypatch: pytest.MonkeyPatch):
    saved_model(variables, tmp_path / "model")
    monkeypatch.setenv("SAGEMAKER_OD_MODEL_ID", "nothing")
    with pytest.raises(UserError, match=r"^SAGEMAKER_OD_MODEL_ID: got 'nothing' in the environment; expected one of"):
        Predictor(tmp_path / "model")
    monkeypatch.setenv("SAGEMAKER_OD_MODEL_ID", "ssd_mobilenet_v1_fpn_640x640")
    with pytest.raises(UserError, match=r"^SAGEMAKER_OD_MODEL_ID: got .* but the variables of .* are those of"):
        Predictor(tmp_path / "model")
