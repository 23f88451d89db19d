"""What is said about boxes that no anchor can match. Images are squares of 640 pixels unless a test says otherwise."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import CATALOGUE, find
from sagemaker_object_detection.dataset.anchor_coverage import find_coverage, log_coverage
from sagemaker_object_detection.dataset.annotations import Dataset, Labels

BASE_320, BASE_640 = (find(f"ssd_mobilenet_v2_fpnlite_{size}x{size}") for size in (320, 640))


@pytest.fixture(autouse=True)
def published(monkeypatch):
    """Sentences name the best of the published models, whatever sizes there are besides."""
    monkeypatch.setattr(catalogue, "CATALOGUE", [base for base in CATALOGUE if base.is_published])


def data_of(shapes, image=(640, 640)):
    """shapes: for each class its boxes, height and width in pixels, in the middle of an image of its own each."""
    image = np.array(image, np.float32)
    middles = [(image / 2, np.array(shape) / 2) for boxes in shapes.values() for shape in boxes]
    boxes = [np.concatenate([(middle - half) / image, (middle + half) / image]) for middle, half in middles]
    classes = [number for number, boxes in enumerate(shapes.values()) for _ in boxes]
    return Dataset(
        images=Path("images"),
        file_names=tuple(f"{number}.jpg" for number in range(len(boxes))),
        sizes=np.tile(image.astype(np.int32), (len(boxes), 1)),
        orientations=np.ones(len(boxes), np.uint8),
        offsets=np.arange(len(boxes) + 1),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        classes=np.array(classes, np.int32),
        labels=Labels(tuple(range(len(shapes))), tuple(shapes)),
        fingerprint="",
    )


def sentences(shapes, base, image=(640, 640)):
    return [(finding.bad, finding.text) for finding in find_coverage(data_of(shapes, image), base)]


LEARNT_WORSE = "Training gives such a box one anchor at most, where others have several, so that it is learnt worse."


def test_small_objects_get_a_model_with_a_larger_input():
    # 36 pixels are 18 of an input of 320 pixels, 28.8 of 512.
    shapes = {"cell": [(200, 200)] * 30, "platelet": [(36, 36)] * 6 + [(100, 100)] * 4}
    assert sentences(shapes, BASE_320) == [
        (
            True,
            "Anchors: of 10 boxes of 'platelet' 6 (60.0%) overlap no anchor by half at 320 x 320 pixels: 6 cover less "
            "than the smallest anchor, 32 x 32. The base model ssd_efficientdet_d0_512x512 would leave less than 1%.",
        ),
        (False, f"Anchors: of all 40 boxes 6 (15.0%) overlap no anchor by half. {LEARNT_WORSE}"),
    ]


def test_the_smallest_input_that_is_enough_and_then_the_model_most_alike_is_named():
    # 27 pixels are 13.5 of 320 and 21.6 of 512: too few.
    (bad, text), _ = sentences({"dot": [(27, 27)] * 10}, BASE_320)
    assert bad
    assert text.endswith("The base model ssd_mobilenet_v2_fpnlite_640x640 would leave less than 1%.")
    (bad, text), _ = sentences({"dot": [(27, 27)] * 10}, find("ssd_efficientdet_d0_512x512"))
    assert bad
    assert text.endswith("The base model ssd_efficientdet_d1_640x640 would leave less than 1%.")
    # 15 pixels of 640 are 21 of 896 and 24 of 1024.
    (bad, text), _ = sentences({"dot": [(15, 15)] * 10}, find("ssd_resnet101_v1_fpn_640x640"))
    assert bad
    assert text.endswith("The base model ssd_resnet101_v1_fpn_1024x1024 would leave less than 1%.")


def test_objects_too_small_for_every_model_are_said_to_need_tiles():
    (bad, text), _ = sentences({"speck": [(5, 5)] * 10}, BASE_640)
    assert bad
    assert text.endswith(
        "Every base model leaves at least half as many. Cut the images into tiles, in which the objects are larger."
    )


def test_boxes_thinner_than_a_pixel_are_told_and_need_no_tiles():
    (_, text), *_ = sentences({"line": [(0.4, 0.4)] * 10}, BASE_320)
    assert "10 are thinner than a pixel of their image" in text
    assert "tiles" not in text


def test_a_model_that_is_better_but_not_enough_is_named():
    (bad, text), _ = sentences({"dot": [(36, 36)] * 30 + [(5, 5)] * 10}, BASE_320)
    assert bad
    assert "100.0%" in text
    assert "No base model leaves less than 10%; ssd_efficientdet_d0_512x512 leaves least, about 25%. Cut" in text


def test_elongated_objects_fit_no_model():
    (bad, text), _ = sentences({"pole": [(500, 50)] * 7 + [(50, 500)] * 2 + [(100, 100)]}, BASE_640)
    assert bad
    assert text == (
        "Anchors: of 10 boxes of 'pole' 9 (90.0%) overlap no anchor by half at 640 x 640 pixels: 9 have one side more "
        "than 4.5 times as long as the other. Every base model leaves at least half as many."
    )


def test_objects_that_only_stretching_elongates_fit_a_model_that_keeps_the_aspect_ratio():
    (bad, text), _ = sentences({"person": [(300, 300)] * 10}, BASE_640, image=(640, 4000))
    assert bad
    assert "10 have one side more than 4.5 times as long as the other" in text
    assert text.endswith("The base model ssd_efficientdet_d1_640x640 would leave less than 1%.")


@pytest.mark.parametrize("base", CATALOGUE, ids=lambda base: base.name)
def test_no_object_is_too_large_for_any_model(base):
    ((_, text),) = sentences({"wall": [(640, 640), (640, 320), (500, 640)]}, base)
    assert text.startswith("Anchors: each of the 3 boxes overlaps an anchor by half")


def test_elongated_objects_in_elongated_images_fit_a_model_that_stretches_them():
    (bad, text), _ = sentences({"train": [(100, 600)] * 10}, find("ssd_efficientdet_d2_768x768"), image=(640, 4000))
    assert bad
    assert text.endswith("The base model ssd_resnet50_v1_fpn_640x640 would leave less than 1%.")


def test_a_class_of_few_boxes_or_with_few_of_them_unmatched_is_no_warning():
    shapes = {
        "rare": [(4, 4)] * 4,
        "common": [(4, 4)] * 10 + [(100, 100)] * 90,
        "fine": [(100, 100)] * 9,
        "absent": [],
    }
    assert sentences(shapes, BASE_640) == [
        (False, "Anchors: of 4 boxes of 'rare' 4 (100.0%) overlap no anchor by half at 640 x 640 pixels."),
        (False, "Anchors: of 100 boxes of 'common' 10 (10.0%) overlap no anchor by half at 640 x 640 pixels."),
        (False, f"Anchors: of all 113 boxes 14 (12.4%) overlap no anchor by half. {LEARNT_WORSE}"),
    ]


def test_five_unmatched_boxes_of_a_class_are_enough_for_a_warning():
    (bad, text), _ = sentences({"rare": [(4, 4)] * 5}, BASE_640)
    assert bad
    assert text.startswith(
        "Anchors: of 5 boxes of 'rare' 5 (100.0%) overlap no anchor by half at 640 x 640 pixels: 5 cover"
    )


def test_a_model_that_leaves_a_tenth_is_good_enough():
    (_, text), _ = sentences({"dot": [(36, 36)] * 9 + [(5, 5)]}, BASE_320)
    assert text.endswith("The base model ssd_efficientdet_d0_512x512 would leave about 10%.")


def test_a_box_that_an_anchor_overlaps_by_exactly_half_is_matched():
    # Half of the smallest anchor, around one of its centres: in 512ths, which float32 holds exactly.
    data = replace(data_of({"post": [(32, 16)]}, (512, 512)), boxes=np.array([[244, 252, 276, 268]], np.float32) / 512)
    (found,) = find_coverage(data, find("ssd_efficientdet_d0_512x512"))
    assert found.text == "Anchors: each of the 1 boxes overlaps an anchor by half at 512 x 512 pixels."


def test_boxes_that_are_all_matched_are_one_line():
    shapes = {"fine": [(100, 100)] * 3, "absent": []}
    assert sentences(shapes, BASE_640) == [
        (False, "Anchors: each of the 3 boxes overlaps an anchor by half at 640 x 640 pixels.")
    ]


def test_without_boxes_there_is_nothing_to_say():
    assert sentences({"absent": []}, BASE_640) == []


def test_of_many_classes_the_worst_are_listed():
    shapes = {f"class {number}": [(4, 4)] * number + [(100, 100)] * (100 - number) for number in range(1, 31)}
    *classes, (_, summary) = sentences(shapes, BASE_640)
    assert [text.split("'")[1] for _, text in classes] == [f"class {number}" for number in range(30, 10, -1)]
    assert summary.startswith(
        "Anchors: of all 3,000 boxes of 30 classes, of which the worst are listed, 465 (15.5%) overlap no anchor by "
        "half."
    )


def test_the_log_warns_of_what_is_bad_and_has_nothing_that_looks_like_a_metric(caplog):
    caplog.set_level(logging.INFO, logger="sagemaker_object_detection")
    log_coverage(data_of({"cell": [(200, 200)] * 30, "100%s": [(36, 36)] * 6}), BASE_320)
    assert [(record.levelname, record.getMessage()[:40]) for record in caplog.records] == [
        ("WARNING", "Anchors: of 6 boxes of '100%s' 6 (100.0%"),
        ("INFO", "Anchors: of all 36 boxes 6 (16.7%) overl"),
    ]
    assert not any(word in caplog.text for word in ("loss=", "Val_"))


@pytest.mark.parametrize("base", CATALOGUE, ids=lambda base: base.name)
def test_no_model_is_told_to_be_replaced_by_itself(base):
    for shape in ((5, 5), (20, 20), (640, 60)):
        for _, text in sentences({"object": [shape] * 10}, base):
            assert base.name not in text
