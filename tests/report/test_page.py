"""The page as a browser takes it: whole in itself, harmless, and honest about what is missing."""

import base64
import io
import re
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from made_detections import make_dataset
from made_findings import data, evaluation, findings
from PIL import Image

from sagemaker_object_detection.catalogue import find
from sagemaker_object_detection.dataset.problems import Likeness, SecondLook
from sagemaker_object_detection.evaluation.coco import DetectionSet
from sagemaker_object_detection.report import charts
from sagemaker_object_detection.report.drawing import colour_of
from sagemaker_object_detection.report.figures import compute_figures
from sagemaker_object_detection.report.page import MAX_CONFUSION, write_page
from sagemaker_object_detection.report.pictures import draw_worst

HOSTILE = ("<script>alert(1)</script>", '中文 "&amp;" $\\frac{', "_hidden")
HOSTILE_FILES = ("<img src=x onerror=alert(1)>.png", '"><script>alert(2)<!--.png', "&lt;中文&gt;.png")


class Page(HTMLParser):
    """Every tag with its attributes, and the text between them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def images(self) -> list[str]:
        return [attributes["src"] for tag, attributes in self.tags if tag == "img"]


def written(found, folder) -> Page:
    folder.mkdir(exist_ok=True)
    return Page(write_page(found, folder).read_text(encoding="utf-8"))


@pytest.fixture
def undrawn(monkeypatch):
    """Charts take most of a page's time: for tests of what stands beside them they are empty."""
    monkeypatch.setattr(charts, "_png", lambda figure: b"")


def test_the_page_says_how_good_the_saved_weights_are(tmp_path, undrawn):
    text = written(findings(tmp_path / "images"), tmp_path / "data").text
    assert "ssd_mobilenet_v2_fpnlite_320x320" in text
    assert "0.500 mAP@[.5:.95] of the saved weights" in text
    assert "0.750 mAP@.5 of the saved weights" in text
    assert "2 of 3 validation images have a detection above 0.5" in text
    assert "1 saved epoch, counted from 0; 3 finished" in text
    assert "3 training images with 3 boxes" in text
    assert "of no use" not in text
    # cat: found, but so is what is no cat; dog: never found.
    assert "cat 1 1 1.000 1.000 0.900 0.50 1.00 0.67" in text
    assert "dog 2 2 0.000 0.000 - - - -" in text
    assert "cat 1 0 0 dog 0 0 2 nothing there 1 0" in text
    assert "The anchors of ssd_mobilenet_v2_fpnlite_320x320 reach from 32 to 724 pixels" in text
    assert "batch_size 3" in text
    assert "python 3.11.0" in text


def test_it_shows_what_is_wrong_with_the_worst_images(tmp_path, undrawn):
    text = written(findings(tmp_path / "images"), tmp_path / "data").text
    assert "3 of 3 have a mistake" in text
    assert "1 missed a.png 1 missed b.png 1 where nothing is c.png" in text


def test_a_confusion_matrix_is_shaded_by_the_shares_of_its_rows(tmp_path, undrawn):
    page = written(findings(tmp_path / "images"), tmp_path / "data")
    cells = [attributes for tag, attributes in page.tags if tag == "td" and "style" in attributes]
    # Of one cat one was found, of two dogs none; what was found where nothing is was a cat.
    assert [cell["style"] for cell in cells] == [
        f"--share:{share}" for share in (0.75, 0.0, 0.0, 0.0, 0.0, 0.75, 0.75, 0.0)
    ]
    assert [cell["class"] for cell in cells[:5]] == ["right", "wrong", "wrong", "wrong", "right"]


def test_box_tables_are_of_training_boxes_as_the_network_sees_them(tmp_path, undrawn, monkeypatch):
    """An image with an anchor, exactly half of it and less, and one that fills half of the network input."""
    sizes: list[np.ndarray] = []
    monkeypatch.setattr(charts, "box_sizes", lambda found, *_: sizes.append(found) or b"")
    cats, dogs = [[244, 244, 276, 276], [244, 252, 276, 268], [0, 0, 4, 4]], [[10, 10, 14, 16]] * 5
    training = make_dataset([cats, dogs], [[0] * 3, [1] * 5], [(512, 512), (256, 512)], ("cat", "dog"))
    base = find("ssd_efficientdet_d0_512x512")
    text = written(findings(tmp_path / "images", run={"training": training}, base=base), tmp_path / "data").text
    assert "cat 3 1 1.000" in text
    assert "dog 5 2 0.000" in text
    assert "cat 3 66.7% 0.50 dog 5 0.0% 0.02" in text
    assert "Anchors: of 5 boxes of 'dog' 5 (100.0%) overlap no anchor by half at 512 x 512 pixels" in text
    assert "boxes of 'cat'" not in text  # of which there are too few to say
    np.testing.assert_allclose(sizes[0], [[32, 32], [16, 32], [4, 4], *[[6, 4]] * 5], atol=1e-4)


def test_it_needs_nothing_beside_it_and_every_image_decodes(tmp_path):
    page = written(findings(tmp_path / "images"), tmp_path / "data")
    assert len(page.images) == 8 + 3
    for source in page.images:
        kind, content = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", source).groups()
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as image:
            image.load()
            assert image.format == kind.upper()
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "a", "base"})
    assert "url(" not in (tmp_path / "data/report.html").read_text()
    pictures = sorted((tmp_path / "data/report").iterdir())
    assert [path.name for path in pictures] == [
        "box_sizes.png",
        "channels.png",
        "gradients.png",
        "losses.png",
        "map.png",
        "movement.png",
        "precision_recall.png",
        "rate.png",
        "worst_1.png",
        "worst_2.png",
        "worst_3.png",
    ]
    for path in pictures:
        with Image.open(path) as image:
            image.load()


def test_names_are_text_whatever_they_hold(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of letters that no font has
        page = written(findings(tmp_path / "images", HOSTILE, HOSTILE_FILES), tmp_path / "data")
    assert {tag for tag, _ in page.tags}.isdisjoint({"script"})
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    for name in (*HOSTILE, *HOSTILE_FILES, "A <b>warning</b>."):
        assert name in page.text
    assert all(source.startswith("data:") for source in page.images)


def test_what_is_wrong_with_a_model_is_said_loudly(tmp_path, undrawn):
    fault = "The model has collapsed: its scores hardly depend on the image. The cause: a rate."
    page = written(findings(tmp_path / "images", run={"fault": fault}), tmp_path / "data")
    assert f"The model has collapsed. {fault}" in page.text
    assert ("div", {"class": "loud"}) in page.tags


def test_low_scores_of_a_good_model_are_no_fault(tmp_path, undrawn):
    found = findings(tmp_path / "images")
    shy = evaluation(found.evaluated, 0.5, confident=0)
    page = written(replace(found, result=shy), tmp_path / "data")
    assert "No score is above 0.5, which is how focal loss leaves them and no fault: go by the thresholds" in page.text
    assert ("div", {"class": "loud"}) not in page.tags


def test_the_charts_of_training_show_each_part_of_the_network_that_moves(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(charts, "over_steps", lambda title, lines, **_: drawn.update({title: lines}) or b"")
    monkeypatch.setattr(charts, "over_epochs", lambda title, values, *_, **__: drawn.update({title: values}) or b"")
    written(findings(tmp_path / "images"), tmp_path / "data")
    gradients = drawn["Norm of the gradient"]
    assert list(gradients) == ["backbone", "pyramid", "class predictor"]
    assert [list(values) for values in gradients["backbone"]] == [[0.25, 0.75, 1.25, 1.75, 2.25, 2.75], [1.0] * 6]
    assert drawn["Weights' movement in an epoch"]["class predictor"] == ([0, 1, 2], [0.5] * 3)
    epochs, rates = drawn["Learning rate"][""]
    assert (epochs[0], rates[0], max(rates)) == (0.0, pytest.approx(0.001), pytest.approx(0.001))
    assert list(rates) == sorted(rates, reverse=True)
    assert drawn["Losses"]["of which L2"] == [0.5] * 3
    assert drawn["Share of the backbone's channels that are dead"] == {"dead channels": [0.0625] * 3}


def test_without_a_validation_set_it_has_the_rest_and_says_why(tmp_path, undrawn):
    found = findings(tmp_path / "images", figures=None, pictures=[], second_looks=[])
    epochs = tuple(replace(epoch, validation=None) for epoch in found.run.epochs)
    run = replace(found.run, epochs=epochs, saved=epochs[2])
    page = written(replace(found, run=run, evaluated=None, result=None), tmp_path / "data")
    assert "There is no validation set: the job has no validation channel and validation_split_ratio is 0." in page.text
    assert [path.stem for path in sorted((tmp_path / "data/report").iterdir())] == [
        *("box_sizes", "gradients", "losses", "movement", "rate"),
    ]
    assert "2 saved epoch" in page.text
    assert "cat 1 dog 2" in page.text
    assert "threshold" not in page.text.replace("score thresholds and no pictures", "")


def test_without_a_finished_epoch_it_has_the_data_and_says_why(tmp_path, undrawn):
    run = {"epochs": (), "saved": None}
    found = findings(tmp_path / "images", figures=None, pictures=[], second_looks=[], run=run, result=None)
    page = written(found, tmp_path / "data")
    assert "No epoch was finished before the job was stopped." in page.text
    assert [path.stem for path in sorted((tmp_path / "data/report").iterdir())] == ["box_sizes"]
    assert "none saved epoch" in page.text


def test_after_a_stop_without_time_it_has_the_figures_of_the_epoch_and_says_why(tmp_path, undrawn):
    page = written(findings(tmp_path / "images", figures=None, pictures=[], second_looks=[]), tmp_path / "data")
    assert "too little time was left to go over the validation images once more" in page.text
    assert "0.500 mAP@[.5:.95]" in page.text
    assert len(page.images) == 7


@pytest.mark.parametrize("count", [MAX_CONFUSION, MAX_CONFUSION + 1])
def test_of_many_classes_the_pairs_that_are_confused_most_are_listed(tmp_path, undrawn, count):
    names = tuple(f"class {number}" for number in range(count))
    found = findings(tmp_path / "images", names)
    dataset = make_dataset([[[0, 0, 50, 50]]] * 3, [[4], [4], [7]], [(100, 100)] * 3, names)
    boxes = dataset.boxes[:, np.newaxis]
    taken_for = np.array([[5], [5], [4]], np.int32)
    seen = DetectionSet(boxes, np.full((3, 1), 0.9, np.float32), taken_for, np.ones(3, np.int32))
    page = written(replace(found, figures=compute_figures(dataset, seen), pictures=[]), tmp_path / "data")
    many = count > MAX_CONFUSION
    assert ("The pairs of classes that are confused most" in page.text) == many
    assert ("class 4 class 5 2 class 7 class 4 1" in page.text) == many
    assert any(attributes.get("class") == "matrix" for _, attributes in page.tags) != many


def test_an_earlier_page_is_replaced(tmp_path, undrawn):
    folder = tmp_path / "data"
    (folder / "report").mkdir(parents=True)
    (folder / "report/worst_8.png").touch()
    (folder / "report.html").write_text("old")
    written(findings(tmp_path / "images"), folder)
    assert not (folder / "report/worst_8.png").exists()
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in folder.iterdir()) == ["report", "report.html"]


def test_links_in_its_place_are_replaced_and_not_followed(tmp_path, undrawn):
    (tmp_path / "elsewhere/report").mkdir(parents=True)
    (tmp_path / "elsewhere/report.html").write_text("precious")
    (tmp_path / "page").mkdir()
    for name in ("report", "report.html"):
        (tmp_path / "page" / name).symlink_to(tmp_path / "elsewhere" / name)
    written(findings(tmp_path / "images"), tmp_path / "page")
    assert not (tmp_path / "page/report").is_symlink()
    assert list((tmp_path / "elsewhere/report").iterdir()) == []
    assert (tmp_path / "elsewhere/report.html").read_text() == "precious"


def test_nothing_is_left_of_a_page_that_cannot_be_made(tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("no chart")

    found = findings(tmp_path / "images")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "report.html").write_text("of another job")
    monkeypatch.setattr(charts, "box_sizes", fail)
    with pytest.raises(ValueError, match="no chart"):
        write_page(found, folder)
    assert list(folder.iterdir()) == []


def test_of_each_colour_one_class_has_it_in_a_chart():
    drawn = charts._named(range(25))
    assert drawn == list(range(10))
    assert charts._named([13, 3, 1]) == [13, 1]
    assert colour_of(13) == colour_of(3)


def test_pictures_are_as_large_as_letters_need(tmp_path):
    found = findings(tmp_path / "images")
    assert [picture.image.size for picture in found.pictures] == [(400, 267), (400, 400), (400, 267)]
    dataset = data(tmp_path / "images")
    Image.new("RGB", (2000, 1000)).save(dataset.images / "a.png")
    assert draw_worst(dataset, found.figures)[0].image.size == (640, 320)


def test_the_data_section_tells_what_images_have_in_common_and_how_they_were_split(tmp_path, undrawn):
    found = findings(tmp_path / "images")
    alike = Likeness("training and validation", "equal <files>", 1234, 2, (("a&b.jpg", "<c>.jpg"), ("d.jpg", "e.jpg")))
    report = replace(found.report, decisions=("Held out by <group>.",), alike=(alike,))
    page = written(replace(found, report=report), tmp_path / "data")
    assert "Held out by <group>." in page.text
    assert "training and validation equal <files> 1,234 2 a&b.jpg and <c>.jpg; d.jpg and e.jpg" in page.text


def test_the_images_worth_a_second_look_are_listed_with_figures(tmp_path, undrawn):
    look = SecondLook("<img>.png", "'<b>' at 0.93 has no box", 1.5, 0.93)
    page = written(findings(tmp_path / "images", second_looks=[look]), tmp_path / "data")
    assert "image why highest score loss <img>.png '<b>' at 0.93 has no box 0.93 1.500" in page.text
    assert "Worth a second look" not in written(findings(tmp_path / "images", second_looks=[]), tmp_path / "more").text


def test_a_legend_has_escapes_for_letters_that_the_font_does_not_have():
    assert charts._short("Katze 猫") == r"Katze \u732b"
    assert charts._short("Žlutá кошка γάτα") == "Žlutá кошка γάτα"
    assert charts._short("中文" * 9) == r"\u4e2d\u6587\u4e2d\u6587…"
    assert charts._short("x" * 40) == "x" * 27 + "…"
