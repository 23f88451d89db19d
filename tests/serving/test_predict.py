"""The verb `predict` on whole and on broken models, images and folders. The model here answers a constant."""

import contextlib
import errno
import io
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sagemaker_object_detection.__main__ import main
from sagemaker_object_detection.artifact.inference import SIGNATURE
from sagemaker_object_detection.artifact.model_info import FILE_NAME, add_thresholds
from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.images.decoding import decode_stored
from sagemaker_object_detection.report.drawing import colour_of
from sagemaker_object_detection.serving import predict
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


def describe(folder: Path, labels: list[str], ids: tuple[int, ...] = (0, 1)) -> None:
    content = {"format": 1, "base_model": DEFAULT_MODEL.name, "labels": labels, "category_ids": ids[: len(labels)]}
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
        ("variables/variables.index", 10, "the index is cut short, or none"),
        ("variables/variables.data-00000-of-00001", 500, "variable 'ballast/.ATTRIBUTES/VARIABLE_VALUE' ends"),
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


@pytest.mark.parametrize("labels", [["cat"], ["cat", "dog", "cow"]])
def test_labels_of_another_model(model: Path, image: Path, labels: list[str]) -> None:
    describe(model, labels, ids=(0, 1, 2))
    assert refusal(model, image) == (
        f"{model}/1: tells 2 classes apart, but model_info.json names {len(labels)}; expected the files of one model: "
        "copy the model directory again"
    )


def test_one_image_may_be_drawn_into_one_file(model: Path, image: Path, tmp_path: Path) -> None:
    for name, form in (("seen.png", "PNG"), ("seen.JPG", "JPEG")):
        (line,) = predict_files(model, [image], tmp_path / "new" / name, 0.3)
        assert json.loads(line)["drawing"] == str(tmp_path / "new" / name)
        with Image.open(tmp_path / "new" / name) as drawn:
            assert (drawn.size, drawn.format) == ((20, 10), form)


def test_the_best_detection_is_drawn_last_and_so_on_top() -> None:
    boxes = [[0.0, 0.0, 0.5, 0.5], [0.1, 0.1, 0.6, 0.6], [0.2, 0.2, 0.7, 0.7]]
    answer = {"normalized_boxes": boxes, "classes": [1, 0, 1], "scores": [0.9, 0.5, 0.49]}
    marks = [(mark.box, mark.text, mark.colour) for mark in predict._marks(answer, ["cat", "dog"], 0.5)]
    assert marks == [(tuple(boxes[1]), "cat 0.50", colour_of(0)), (tuple(boxes[0]), "dog 0.90", colour_of(1))]


def test_several_images_are_drawn_into_a_folder_whatever_it_is_called(model: Path, image: Path, tmp_path: Path) -> None:
    lines = predict_files(model, [image, image], tmp_path / "seen.png", 0.3)
    assert [Path(json.loads(line)["drawing"]).parent for line in lines] == [tmp_path / "seen.png"] * 2


@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_the_folder_for_drawings_leads_nowhere(model: Path, image: Path, tmp_path: Path, there: bool) -> None:
    target = tmp_path / "elsewhere"
    if there:
        target.write_text("kept")
    (tmp_path / "drawings").mkdir()
    (tmp_path / "drawings" / "0-a.png").symlink_to(target)
    os.mkfifo(tmp_path / "drawings" / "1-a.png")  # nobody reads it
    for line in predict_files(model, [image, image], tmp_path / "drawings", 0.3):
        drawing = Path(json.loads(line)["drawing"])
        assert not drawing.is_symlink()
        with Image.open(drawing) as drawn:
            assert drawn.size == (20, 10)
    assert target.exists() == there
    assert not there or target.read_text() == "kept"


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
    def fail(*_: object, **__: object) -> None:
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


def fault(model: Path, image: Path) -> str:
    """Why an image that looked good is not answered: the same in its line and to whom it may concern."""
    failed: list[str] = []
    (line,) = predict_files(model, [image], None, 0.3, failed=failed.append)
    assert json.loads(line) == {"image": str(image), "error": failed[0]}
    return failed[0]


def test_an_image_that_cannot_be_read_anymore(model: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, limit: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(predict, "read_regular", fail)
    assert fault(model, image) == (
        f"image '{image}' cannot be read (Permission denied). Expected a JPEG or PNG file that may be read."
    )


def test_an_image_that_is_a_pipe_is_not_opened(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert refusal(model, tmp_path / "pipe.png") == (
        f"image '{tmp_path}/pipe.png' cannot be read (Is a pipe). Expected a JPEG or PNG file that may be read."
    )


def test_an_image_that_is_cut_short(model: Path, image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-20])
    assert fault(model, image) == f"image '{image}' cannot be decoded: the file is cut short or damaged. Replace it."


def test_several_files_that_are_no_images_are_all_said(model: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError) as caught:
        list(predict_files(model, [tmp_path / "missing.jpg", tmp_path / "b.png"], None, 0.3))
    assert str(caught.value) == (
        f"2 problems:\n1. image '{tmp_path}/missing.jpg' does not exist.\n"
        f"2. image '{tmp_path}/b.png' is a GIF image. Expected a JPEG or PNG image: "
        'convert it, as "magick mogrify -format png FILE" does.'
    )


HOSTILE = "\x1b[2J\r\nERROR: forged\u2028\u202e" + "x" * 1_100_000


def test_hostile_text_of_files_and_models_is_escaped_and_cut(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f").mkdir()
    good, bad = (tmp_path / "f" / f"{kind}{HOSTILE[:200]}.png" for kind in "ab")
    shutil.copy(image, good)
    bad.write_bytes(b"GIF89a")
    command = ["predict", "--model", model, "--draw", tmp_path / "drawn", tmp_path / "f"]
    assert main([str(word) for word in command]) == 4
    _, failed = map(json.loads, capsys.readouterr().out.splitlines())
    describe(model, [HOSTILE, "dog" + HOSTILE])
    assert main([str(word) for word in command]) == 2
    (model / FILE_NAME).write_text(json.dumps({"format": 1, "base_model": HOSTILE}))
    assert main([str(word) for word in command]) == 2
    said = capsys.readouterr()
    for text in (failed["error"], *(said.out + said.err).splitlines()):
        assert text.isprintable()
        assert len(text) < 3_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of several sizes, one of them stored turned, with one name in two folders."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(folder / "a.jpg")
    Image.new("RGB", (64, 48)).save(folder / "more" / "a.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20)).save(folder / "more" / "b.jpg", exif=turned)
    (folder / "more" / "notes.txt").touch()
    return folder


SIZES = {"a.jpg": (30, 20), "more/a.png": (64, 48), "more/b.jpg": (20, 40)}
"""Width and height of these, as displayed."""


def test_a_folder_is_answered_in_order(model: Path, folder: Path) -> None:
    answers = [json.loads(line) for line in predict_files(model, [folder], None, 0.3)]
    assert [answer["image"] for answer in answers] == [str(folder / name) for name in SIZES]
    assert {answer["scores"][0] for answer in answers} == {0.5}


def test_images_are_answered_in_the_order_they_are_given(model: Path, folder: Path) -> None:
    given = [folder / "more/a.png", folder / "a.jpg", folder / "more/b.jpg"]
    assert [json.loads(line)["image"] for line in predict_files(model, given, None, 0.3)] == list(map(str, given))


def test_drawings_in_the_folder_that_is_read_are_not_read(model: Path, folder: Path) -> None:
    answers = [json.loads(line) for line in predict_files(model, [folder], folder, 0.3)]
    assert [answer["drawing"] for answer in answers] == [f"{folder}/{n}.png" for n in ("0-a", "1-a", "2-b")]
    for answer, size in zip(answers, SIZES.values(), strict=True):
        assert Image.open(answer["drawing"]).size == size
    assert sorted(path.name for path in folder.iterdir()) == ["0-a.png", "1-a.png", "2-b.png", "a.jpg", "more"]


def test_a_drawing_never_replaces_an_image_that_is_read(model: Path, image: Path, tmp_path: Path) -> None:
    ending = "would replace an image that is read; expected another place for the drawings"
    before = image.read_bytes()
    assert refusal(model, image, image) == f"--draw: '{image}' {ending}"
    first = Path(shutil.copy(image, tmp_path / "1-a.png"))
    with pytest.raises(UserError) as caught:
        list(predict_files(model, [first, image], tmp_path, 0.3))
    assert str(caught.value) == f"--draw: '{first}' {ending}"
    assert before == image.read_bytes() == first.read_bytes()


def test_a_drawing_that_fails_leaves_nothing(
    model: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Image.Image, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        list(predict_files(model, [image], tmp_path / "drawings", 0.3))
    assert os.listdir(tmp_path / "drawings") == []


def test_a_threshold_leaves_detections_out_of_the_results(model: Path, image: Path) -> None:
    def scores(threshold: float | str) -> list[float]:
        (line,) = predict_files(model, [image], None, 0.0, threshold=threshold)
        return list(json.loads(line)["scores"])

    assert (scores(0.5), scores(0.51)) == ([0.5], [])
    with pytest.raises(UserError, match=r"--threshold: got auto, but the model has no score thresholds"):
        scores("auto")
    info = json.loads((model / FILE_NAME).read_text())
    for threshold in (0.5, 0.51):
        add_thresholds(info, {"dog": threshold}, model)
        assert scores("auto") == [0.5] * (threshold <= 0.5)


@pytest.mark.parametrize("min_score", [0.5, 0.51])
def test_only_drawings_leave_out_low_scores(
    model: Path, image: Path, tmp_path: Path, min_score: float, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = predict_files(model, [image], tmp_path / "drawn.png", min_score)
    assert json.loads(line)["scores"] == [0.5]
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert (np.asarray(drawn) == 255).all() == (min_score > 0.5)
    assert caplog.messages == (min_score > 0.5) * [
        "--draw: no box is drawn, because no score reaches --min-score 0.51; the highest is 0.5"
    ]
    assert len(coco(model, [image], min_score=min_score)) == 1


def test_an_image_that_is_deleted_meanwhile(model: Path, folder: Path) -> None:
    lines = predict_files(model, [folder], None, 0.3)
    next(lines)
    (folder / "more/a.png").unlink()
    assert json.loads(next(lines))["error"] == (
        f"image '{folder}/more/a.png' cannot be read (No such file or directory). Expected a JPEG or PNG file that may "
        "be read."
    )


def test_names_that_are_not_utf_8(model: Path, image: Path, tmp_path: Path) -> None:
    odd = image.rename(tmp_path / os.fsdecode(b"caf\xe9 \n.png"))
    (line,) = predict_files(model, [odd], tmp_path / "drawings", 0.3)
    assert line.isascii()
    assert json.loads(line)["image"] == str(odd)
    assert Path(json.loads(line)["drawing"]).is_file()


def coco(model: Path, images: list[Path], annotations: Path | None = None, min_score: float = 0.3) -> Any:
    lines = predict_files(model, images, None, min_score, format="coco", annotations=annotations)
    return json.loads("\n".join(lines))


def write_annotations(path: Path, ids: dict[str, int | str], more: tuple[dict[str, Any], ...] = ()) -> Path:
    path.write_text(json.dumps({"images": [{"file_name": n, "id": i} for n, i in ids.items()] + list(more)}))
    return path


def test_coco_results_of_the_truth_have_the_precision_1(model: Path, folder: Path, tmp_path: Path) -> None:
    describe(model, ["cat", "dog"], ids=(7, 42))
    truth = {
        "images": [
            {"id": 10 * n, "file_name": name, "width": width, "height": height}
            for n, (name, (width, height)) in enumerate(SIZES.items(), 1)
        ],
        "annotations": [
            {
                "id": n,
                "image_id": 10 * n,
                "category_id": 42,
                "bbox": [width / 2, 0, width / 2, height],
                "area": width * height / 2,
                "iscrowd": 0,
            }
            for n, (width, height) in enumerate(SIZES.values(), 1)
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 42, "name": "dog"}],
    }
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps(truth))
    results = coco(model, [folder], annotations)
    assert results[2] == {"image_id": 30, "category_id": 42, "bbox": [10.0, 0.0, 10.0, 40.0], "score": 0.5}
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(annotations))
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_without_annotations_an_image_is_called_by_its_path(model: Path, folder: Path, image: Path) -> None:
    assert [result["image_id"] for result in coco(model, [image, folder])] == [str(image), *SIZES]


def test_ids_by_the_path_below_the_folder_or_the_plain_name_of_a_file(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    annotations = write_annotations(tmp_path / "a.json", {"a.jpg": "x", "more/a.png": 2, "b.jpg": 3, "more/b.jpg": 4})
    assert [result["image_id"] for result in coco(model, [folder], annotations)] == ["x", 2, 4]
    assert [result["image_id"] for result in coco(model, [folder / "more/b.jpg"], annotations)] == [3]


EXPECTED = (
    "expected one id for each image's path below the folder that is given, or for the plain name of a file that is "
    "given itself"
)


def test_images_without_one_id_are_said(model: Path, folder: Path, tmp_path: Path) -> None:
    annotations = write_annotations(tmp_path / "a.json", {"more/a.png": 2})
    with pytest.raises(UserError) as caught:
        coco(model, [folder], annotations)
    assert str(caught.value) == (
        f"--annotations: '{annotations}' does not list 2 of 3 images: 'a.jpg', 'more/b.jpg'; of its 1 file names the "
        f"first are 'more/a.png'; {EXPECTED}"
    )
    again = ({"file_name": "a.jpg", "id": 9},)
    write_annotations(annotations, {"a.jpg": 1, "more/a.png": 2, "more/b.jpg": 3}, again)
    with pytest.raises(UserError) as caught:
        coco(model, [folder], annotations)
    assert str(caught.value) == (
        f"--annotations: '{annotations}' has several ids for 1 of 3 images: 'a.jpg'; of its 3 file names the first are "
        f"'a.jpg', 'more/a.png', 'more/b.jpg'; {EXPECTED}"
    )


def test_images_that_would_share_an_id_are_said(model: Path, folder: Path, tmp_path: Path) -> None:
    one, other = folder / "a.jpg", folder / "more/a.png"
    ending = "expected an id for each: name every image once, or the folder that holds them all"
    with pytest.raises(UserError) as caught:
        coco(model, [folder / "more", other.rename(folder / "a.png").parent, folder / "more"])
    assert str(caught.value) == (
        "--format coco: several images would have the same image_id ('b.jpg'): "
        f"'{folder}/more/b.jpg', '{folder}/more/b.jpg'; {ending}"
    )
    annotations = write_annotations(tmp_path / "a.json", {"a.jpg": 1, "a.png": 1})
    with pytest.raises(UserError) as caught:
        coco(model, [one, folder / "a.png"], annotations)
    assert str(caught.value) == (
        f"--format coco: several images would have the same image_id (1): '{one}', '{folder}/a.png'; {ending}"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"[1]", "is not such a file (Expected `object`, got `array`)"),
        (b'{"images": [{"file_name": "a"}]}', "is not such a file (Object missing required field `id` - at `$.images"),
        (b"\xff", "is not such a file ("),
    ],
)
def test_annotations_that_cannot_be_used(
    content: bytes | None, reason: str, model: Path, image: Path, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        coco(model, [image], tmp_path / "a.json")
    assert str(caught.value).startswith(f"--annotations: '{tmp_path}/a.json' {reason}")
    assert str(caught.value).endswith("annotations.json of a channel, or a COCO file")


def test_no_detection_at_all_is_an_empty_array(model: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "coco_results", lambda *_: [])
    assert coco(model, [image]) == []


@pytest.fixture
def own_log() -> Iterator[None]:
    """The command line takes the log for itself."""
    log = logging.getLogger("sagemaker_object_detection")
    handlers, level, propagate = [*log.handlers], log.level, log.propagate
    yield
    log.handlers[:] = handlers
    log.setLevel(level)
    log.propagate = propagate


@pytest.mark.usefixtures("own_log")
def test_the_verb_writes_a_whole_file_or_none(model: Path, folder: Path, tmp_path: Path) -> None:
    arguments = ["predict", "--model", str(model), "--output", str(tmp_path / "new" / "answers")]
    assert main([*arguments, str(folder)]) == 0
    lines = (tmp_path / "new" / "answers").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == [str(folder / name) for name in SIZES]
    damaged = folder / "more" / "b.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    (tmp_path / "new" / "answers").unlink()
    shutil.rmtree(model)
    assert main([*arguments, "--format", "coco", str(folder)]) == 2
    assert os.listdir(tmp_path / "new") == []


@pytest.fixture
def mixed(folder: Path) -> dict[str, str]:
    """What is wrong with files of a folder that holds two good images too."""
    damaged = folder / "more" / "b.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    (folder / "damaged.png").write_bytes((folder / "more" / "a.png").read_bytes()[:-40])
    (folder / "empty.jpg").touch()
    (folder / "gone.jpg").symlink_to("nowhere")
    (folder / "zip.png").write_bytes(b"PK\x03\x04")
    return {
        "damaged.png": "cannot be decoded: the file is cut short or damaged. Replace it.",
        "empty.jpg": "is an empty file. Upload it again.",
        "gone.jpg": "does not exist.",
        "more/b.jpg": "is a damaged JPEG file: its header cannot be read. Replace it.",
        "zip.png": "is a zip archive. Expected a JPEG or PNG image: unpack it.",
    }


@pytest.mark.usefixtures("own_log")
def test_files_that_are_no_images_do_not_end_a_batch(
    model: Path, folder: Path, mixed: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", "--model", str(model), "--draw", str(tmp_path / "drawn"), str(folder)]
    assert main(arguments) == 4
    done = capsys.readouterr()
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer["image"] for answer in answers] == [
        str(folder / name) for name in sorted({"a.jpg", "more/a.png", *mixed})
    ]
    errors = {answer["image"]: answer["error"] for answer in answers if "error" in answer}
    assert errors == {str(folder / name): f"image '{folder / name}' {what}" for name, what in mixed.items()}
    good = [answer for answer in answers if "error" not in answer]
    assert [Path(answer["image"]).name for answer in good] == ["a.jpg", "a.png"]
    assert all(answer["scores"] == [0.5] and Path(answer["drawing"]).is_file() for answer in good)
    assert len(os.listdir(tmp_path / "drawn")) == 2
    assert done.err.splitlines()[-6:] == [
        "ERROR: 5 problems:",
        *(f"{number}. {error}" for number, error in enumerate(errors.values(), 1)),
    ]


@pytest.mark.usefixtures("own_log", "mixed")
def test_coco_results_leave_out_files_that_are_no_images(model: Path, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    assert main(["predict", "--model", str(model), "--format", "coco", "--output", str(output), str(folder)]) == 4
    assert [result["image_id"] for result in json.loads(output.read_text())] == ["a.jpg", "more/a.png"]


@pytest.mark.usefixtures("own_log")
def test_where_no_file_is_an_image_nothing_is_written(model: Path, image: Path, tmp_path: Path) -> None:
    image.write_bytes(b"PK\x03\x04")
    output = tmp_path / "answers"
    assert main(["predict", "--model", str(model), "--output", str(output), str(image), str(tmp_path / "no.png")]) == 2
    assert not output.exists()


@pytest.mark.parametrize(("used", "bits", "told"), [(4095, 12, 0), (4095, 16, 1), (65535, 12, 1), (4095, 13, 0)])
def test_16_bits_that_the_model_does_not_know_are_told(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, used: int, bits: int, told: int
) -> None:
    info = json.loads((model / "model_info.json").read_text())
    (model / "model_info.json").write_text(json.dumps({**info, "sample_bits": bits}))
    values = np.linspace(0, used, 48 * 64).reshape(48, 64).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    list(predict_files(model, [tmp_path / "deep.png"], tmp_path / "drawn.png", 1.0))
    messages = [message for message in caplog.messages if "16 bits" in message]
    assert [message.split(":")[0] for message in messages] == told * [
        f"1 images of 16 bits a sample ('{tmp_path}/deep.png') use other bits than the {bits} of the model's training "
        "images"
    ]
    with Image.open(tmp_path / "drawn.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn)[..., 0], np.minimum(values >> (bits - 8), 255))


@pytest.mark.usefixtures("own_log")
def test_the_verb_refuses_options_that_contradict(model: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = image.read_bytes()
    assert main(["predict", "--model", str(model), "--output", str(image), str(image)]) == 2
    assert main(["predict", "--model", str(model), "--annotations", "a.json", str(image)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"ERROR: --output: '{image}' is called like an image; expected a name for the results",
        "ERROR: --annotations: got 'a.json' without --format coco; it says the ids of images, which no other format "
        "has: add --format coco or leave it out",
    ]
    assert image.read_bytes() == before
