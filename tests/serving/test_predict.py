"""The verb `predict` on whole and on broken models, images and folders. The model here answers a constant."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.artifact.inference import SIGNATURE
from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.dataset.preprocess import decode_stored
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving.predict import predict_files

AGAIN = "expected the SavedModel that a training job wrote: copy the model directory again"


class Constant(tf.Module):
    """One detection of the second of two classes, over the right half of any image."""

    def __init__(self) -> None:
        super().__init__()
        self.score = tf.Variable(tf.fill([1, 1], 0.5))
        self.ballast = tf.Variable(tf.random.stateless_uniform([5000], [1, 2]))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def detect(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.map_fn(lambda contents: tf.size(decode_stored(contents)), image_bytes, tf.int32)
        each = tf.ones_like(pixels, tf.float32)[:, None]
        return {
            "detection_boxes": each[..., None] * tf.constant([[[0.0, 0.5, 1.0, 1.0]]]),
            "detection_scores": each * self.score + 0.0 * tf.reduce_sum(self.ballast),
            "detection_classes": each * 2.0,
            "num_detections": each[:, 0],
            "detection_multiclass_scores": tf.ensure_shape(each[..., None] * tf.zeros([1, 1, 3]), [None, 1, 3]),
        }


def save(folder: Path, signatures: Any = None) -> Path:
    module = Constant()
    chosen = signatures(module) if signatures else {SIGNATURE: module.detect}
    tf.saved_model.save(module, str(folder / "1"), signatures=chosen)
    describe(folder, ["cat", "dog"])
    return folder


def describe(folder: Path, labels: list[str]) -> None:
    content = {"format": 1, "base_model": DEFAULT_MODEL.name, "labels": labels, "category_ids": [*range(len(labels))]}
    (folder / "model_info.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("constant") / "model")


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10), "white").save(path)
    return path


def refusal(model: Path, image: Path, drawings: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        list(predict_files(model, [image], drawings, 0.3))
    return str(caught.value)


def test_an_answer_is_a_line_and_a_drawing(model: Path, image: Path, tmp_path: Path) -> None:
    (line,) = predict_files(model, [image], tmp_path / "new" / "drawings", 0.3)
    assert json.loads(line) == {
        "image": str(image),
        "normalized_boxes": [[0.5, 0.0, 1.0, 1.0]],
        "classes": [1],
        "scores": [0.5],
        "labels": ["cat", "dog"],
        "drawing": f"{tmp_path}/new/drawings/0-a.png",
    }
    with Image.open(tmp_path / "new" / "drawings" / "0-a.png") as drawn:
        assert drawn.size == (20, 10)


MISSING = [
    ("", "saved_model.pb"),
    ("saved_model.pb", "saved_model.pb"),
    ("variables/variables.index", "variables/variables.index"),
    ("variables/variables.data-00000-of-00001", "variables/variables.data-00000-of-00001"),
]


@pytest.mark.parametrize(("lost", "named"), MISSING)
def test_half_a_model(model: Path, image: Path, lost: str, named: str) -> None:
    path = model / "1" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert refusal(model, image) == f"{model}/1: holds no file {named}; {AGAIN}"


@pytest.mark.parametrize(
    ("name", "length", "reason"),
    [
        ("saved_model.pb", 0, "Importing a SavedModel with `tf.saved_model.load` requires a `tags=` argument"),
        ("saved_model.pb", 1000, "Cannot parse file"),
        ("variables/variables.index", 10, "file is too short to be an sstable"),
        ("variables/variables.data-00000-of-00001", 500, "Read less bytes than requested"),
    ],
)
def test_a_model_that_is_cut_short(model: Path, image: Path, name: str, length: int, reason: str) -> None:
    path = model / "1" / name
    path.write_bytes(path.read_bytes()[:length])
    sentence = refusal(model, image)
    assert sentence.startswith(f"{model}/1: cannot be loaded ({reason}")
    assert sentence.endswith(f"); {AGAIN}")
    assert "\n" not in sentence
    assert len(sentence) < len(str(model)) + 350


def test_a_graph_that_is_junk(model: Path, image: Path) -> None:
    (model / "1/saved_model.pb").write_bytes(b"junk" * 100)
    assert refusal(model, image).startswith(f"{model}/1: cannot be loaded (Cannot parse file")


def test_a_memory_that_is_full_is_not_blamed_on_the_model(
    model: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise MemoryError

    monkeypatch.setattr(tf.saved_model, "load", fail)
    with pytest.raises(MemoryError):
        list(predict_files(model, [image], None, 0.3))


def test_a_model_without_the_signature(tmp_path: Path, image: Path) -> None:
    model = save(tmp_path / "other", lambda module: {"classify": module.detect})
    assert refusal(model, image) == f"{model}/1: has no signature encoded_images; {AGAIN}"


def test_a_model_that_answers_something_else(tmp_path: Path, image: Path) -> None:
    def scores(module: Constant) -> Any:
        answer = tf.function(lambda: {"detection_scores": module.score * 1.0}, autograph=False, input_signature=[])
        return {SIGNATURE: answer}

    model = save(tmp_path / "other", scores)
    assert refusal(model, image) == (
        f"{model}/1: its signature encoded_images has no output detection_boxes, detection_classes, num_detections, "
        f"detection_multiclass_scores; {AGAIN}"
    )


def test_labels_of_another_model(model: Path, image: Path) -> None:
    describe(model, ["cat"])
    assert refusal(model, image) == (
        f"{model}/1: tells 2 classes apart, but model_info.json names 1; expected the files of one model: copy the "
        "model directory again"
    )


def test_one_image_may_be_drawn_into_one_file(model: Path, image: Path, tmp_path: Path) -> None:
    (line,) = predict_files(model, [image], tmp_path / "new" / "seen.png", 0.3)
    assert json.loads(line)["drawing"] == str(tmp_path / "new" / "seen.png")
    assert Image.open(tmp_path / "new" / "seen.png").size == Image.open(image).size


def test_several_images_are_drawn_into_a_folder_whatever_it_is_called(model: Path, image: Path, tmp_path: Path) -> None:
    lines = predict_files(model, [image, image], tmp_path / "seen.png", 0.3)
    assert [Path(json.loads(line)["drawing"]).parent for line in lines] == [tmp_path / "seen.png"] * 2


def test_drawings_where_no_folder_can_be(model: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    rest = "expected a folder that may be written to, or a path where one can be made"
    for place, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "in", "Not a directory")):
        assert refusal(model, image, place) == f"--draw: '{place}' cannot be written ({reason}); {rest}"
    (tmp_path / "drawings" / "0-a.png").mkdir(parents=True)
    assert refusal(model, image, tmp_path / "drawings") == (
        f"--draw: '{tmp_path}/drawings/0-a.png' cannot be written (Is a directory); {rest}"
    )


def test_a_full_disk_is_not_blamed_on_the_folder(
    model: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        list(predict_files(model, [image], tmp_path / "drawings", 0.3))


def test_a_long_name_is_cut_for_the_drawing(model: Path, image: Path, tmp_path: Path) -> None:
    long = image.rename(tmp_path / ("é" * 125 + ".png"))
    assert len(os.fsencode(long.name)) == 254
    (line,) = predict_files(model, [long], tmp_path / "drawings", 0.3)
    assert json.loads(line)["drawing"] == f"{tmp_path}/drawings/0-{'é' * 124}.png"
    assert os.listdir(tmp_path / "drawings") == [f"0-{'é' * 124}.png"]


def test_an_image_that_cannot_be_read_anymore(model: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert refusal(model, image) == (
        f"image '{image}' cannot be read (Permission denied). Expected a JPEG or PNG file that may be read."
    )


def test_an_image_that_is_a_pipe_is_not_opened(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert refusal(model, tmp_path / "pipe.png") == (
        f"image '{tmp_path}/pipe.png' is a pipe. Expected a JPEG or PNG file."
    )


def test_an_image_that_is_cut_short(model: Path, image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-20])
    assert refusal(model, image) == f"image '{image}': cannot be decoded: cut short or damaged; replace it"
