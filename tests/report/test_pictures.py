"""What is drawn into the worst images: what is there and what was found, upright, the best on top."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_detections import make_dataset
from PIL import Image

from sagemaker_object_detection.report import pictures
from sagemaker_object_detection.report.drawing import Mark, colour_of
from sagemaker_object_detection.report.figures import BadImage, Compared, Figures
from sagemaker_object_detection.report.pictures import draw_worst

HERE, THERE = [0.125, 0.25, 0.5, 0.75], [0.5, 0.5, 1.0, 1.0]


def drawn(tmp_path, monkeypatch, orientation: int, found: int) -> tuple[Image.Image, list[Mark]]:
    """The picture, whose left half is white where it is stored, and the marks of boxes found, and of two there."""
    seen: list[tuple[Image.Image, list[Mark]]] = []
    monkeypatch.setattr(pictures, "draw", lambda image, marks: seen.append((image, marks)) or image)
    stored = Image.new("RGB", (600, 500))
    stored.paste("white", (0, 0, 300, 500))
    stored.save(tmp_path / "0.jpg", quality=95)
    dataset = make_dataset([[HERE, THERE]], [[0, 1]], [(500, 600)], ("cat", "dog"))
    dataset = replace(dataset, images=tmp_path, orientations=np.array([orientation], np.uint8))
    bad = BadImage(
        index=0,
        image=Compared(
            truth_boxes=np.array([HERE, THERE], np.float32),
            truth_classes=np.array([0, 1]),
            boxes=np.tile(np.array(HERE, np.float32), (found, 1)),
            classes=np.arange(found) % 2,
            scores=np.linspace(0.9, 0.5, found),
            overlap=np.zeros((found, 2)),
            excused=np.zeros(found, bool),
        ),
        missed=np.array([False, True]),
        why="1 missed",
    )
    draw_worst(dataset, Figures((), np.zeros((3, 3), np.int64), np.ones(1, np.int64), (bad,)))
    return seen[0]


def test_truth_is_dashed_and_named_where_it_was_missed(tmp_path, monkeypatch):
    _, marks = drawn(tmp_path, monkeypatch, orientation=1, found=2)
    here, there = (0.25, 0.125, 0.75, 0.5), (0.5, 0.5, 1.0, 1.0)
    assert marks == [
        Mark(here, "dog 0.50", colour_of(1)),
        Mark(here, "cat 0.90", colour_of(0)),
        Mark(here, "", colour_of(0), dashed=True),
        Mark(there, "missed: dog", colour_of(1), dashed=True),
    ]


def test_at_most_30_detections_are_drawn_the_best_on_top(tmp_path, monkeypatch):
    _, marks = drawn(tmp_path, monkeypatch, orientation=1, found=41)
    assert [mark.text.split()[1] for mark in marks[:-2]] == [f"{0.9 - n / 100:.2f}" for n in reversed(range(30))]


@pytest.mark.parametrize(("orientation", "white"), [(1, "left"), (2, "right"), (6, "top"), (8, "bottom")])
def test_photographs_are_shown_as_their_exif_orientation_says(tmp_path, monkeypatch, orientation, white):
    image, _ = drawn(tmp_path, monkeypatch, orientation, found=0)
    width, height = image.size
    assert image.size == ((500, 600) if orientation >= 5 else (600, 500))
    corners = {"left": (5, 5), "right": (width - 5, 5), "top": (5, 5), "bottom": (5, height - 5)}
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[white]
    pixels: Any = image.load()
    assert [pixels[corners[side]][0] > 128 for side in (white, opposite)] == [True, False]
