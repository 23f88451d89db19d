"""Boxes and labels in pictures of every size."""

import math
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from sagemaker_object_detection.report import drawing
from sagemaker_object_detection.report.drawing import Mark, colour_of, draw

BLUE, YELLOW = "#0000ff", "#ffff00"


def painted(image: Image.Image, colour: str) -> np.ndarray:
    """bool [height, width]: what has exactly this colour."""
    return (np.asarray(image) == ImageColor.getrgb(colour)).all(axis=2)


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    """bool [height, width]"""
    return (np.asarray(before.convert("RGB")) != np.asarray(after)).any(axis=2)


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what is set; right and bottom lie outside."""
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize("size", [(20, 20), (400, 200), (4000, 3000)])
def test_a_box_is_drawn_where_it_is(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "white")
    drawn = draw(image, [Mark((0.5, 0.5, 0.75, 0.9), "", BLUE)])
    width, height = size
    assert extent(painted(drawn, BLUE)) == (width // 2, height // 2, width * 3 // 4, height * 9 // 10)
    assert not changed(image, Image.new("RGB", size, "white")).any()


def test_a_label_stands_above_its_box_and_the_object_stays_to_be_seen() -> None:
    image = Image.new("RGB", (400, 200), "#808080")
    mask = changed(image, draw(image, [Mark((0.5, 0.5, 0.75, 0.9), "cat 0.80", BLUE)]))
    left, top, right, bottom = extent(mask)
    assert (left, right, bottom) == (199, 301, 181)  # the box and its outline
    assert 80 < top < 90
    assert not mask[105:175, 205:295].any()


@pytest.mark.parametrize("ground", ["white", "black", "#808080", BLUE, YELLOW])
@pytest.mark.parametrize("colour", [BLUE, YELLOW])
def test_a_box_is_seen_on_any_ground(ground: str, colour: str) -> None:
    image = Image.new("RGB", (200, 200), ground)
    drawn = draw(image, [Mark((0.25, 0.25, 0.75, 0.75), "", colour)])
    lightness = np.abs(np.asarray(drawn.convert("L")).astype(int) - np.asarray(image.convert("L")))
    assert extent(lightness > 75) in ((49, 49, 151, 151), (50, 50, 150, 150))


def test_letters_stand_out_from_their_label() -> None:
    for colour, letters, other in ((BLUE, "white", "black"), (YELLOW, "black", "white")):
        drawn = draw(Image.new("RGB", (600, 600), "#808080"), [Mark((0.2, 0.2, 0.8, 0.8), "HHH", colour)])
        label = drawn.crop((121, 101, 150, 117))
        assert painted(label, letters).sum() > 20
        assert not painted(label, other).any()


def test_letters_are_of_what_stands_out_more_from_the_label() -> None:
    """The contrast ratio of WCAG 2.2, of every class and of greys on both sides of where it turns."""
    for colour in (*(colour_of(index) for index in range(10)), "#747474", "#777777"):
        red, green, blue = (side / 255 for side in ImageColor.getrgb(colour))
        light = sum(
            weight * (side / 12.92 if side <= 0.04045 else ((side + 0.055) / 1.055) ** 2.4)
            for weight, side in ((0.2126, red), (0.7152, green), (0.0722, blue))
        )
        expected = "black" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "white"
        assert drawing._contrast(colour) == expected, colour


def test_a_label_that_would_be_hidden_by_a_quarter_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    image, hidden = Image.new("RGB", (400, 300), "white"), 0

    def place(box, width, height, size, placed):
        return (0, 0, width, height), -(-width * height // 4) - 1 + hidden

    monkeypatch.setattr(drawing, "_place", place)
    for hidden, drawn in ((0, True), (1, False)):  # noqa: B007
        assert painted(draw(image, [Mark((0.5, 0.5, 0.8, 0.8), "cat", BLUE)]), BLUE)[:10].any() == drawn


def test_lines_and_letters_grow_with_the_picture() -> None:
    heights, lines = [], []
    for length in (200, 800, 3200):
        drawn = draw(Image.new("RGB", (length, length)), [Mark((0.25, 0.5, 0.75, 0.75), "cat", YELLOW)])
        column = painted(drawn, YELLOW)[:, length // 4]
        heights.append(length // 2 - int(np.nonzero(column)[0].min()))
        lines.append(int(painted(drawn, YELLOW)[:, length * 5 // 8].sum()) // 2)
    assert heights[0] >= 12
    assert 4 * heights[1] == pytest.approx(heights[2], rel=0.15)
    assert lines == [1, 3, 11]


def test_labels_at_every_edge_stay_inside_the_picture() -> None:
    image = Image.new("RGB", (160, 100), "#808080")

    def soft_edges(box: tuple[float, float, float, float]) -> int:
        """Pixels of letters only: neither ground nor box, outline or label."""
        drawn = draw(image, [Mark(box, "label", BLUE)])
        return int((~(painted(drawn, "#808080") | painted(drawn, BLUE) | painted(drawn, "white"))).sum())

    whole = soft_edges((0.3, 0.5, 0.7, 0.9))
    assert whole > 20
    corners = [(0, 0, 0.2, 0.2), (0.8, 0, 1, 0.2), (0, 0.8, 0.2, 1), (0.8, 0.8, 1, 1), (0, 0, 1, 1)]
    assert [soft_edges(box) for box in corners] == [whole] * 5


def test_a_label_wider_than_the_picture_is_cut() -> None:
    image = Image.new("RGB", (100, 100), "white")
    long = draw(image, [Mark((0.4, 0.5, 0.9, 0.9), "a rather long name of a class 0.80", BLUE)])
    row = painted(long, BLUE)[37]
    assert 85 <= row.sum() <= 100
    short = draw(image, [Mark((0.4, 0.5, 0.9, 0.9), "a", BLUE)])
    assert painted(short, BLUE)[37].sum() < 20


def test_labels_of_boxes_that_lie_together_do_not_hide_one_another() -> None:
    image = Image.new("RGB", (400, 300), "white")
    colours = [colour_of(index) for index in range(4)]
    areas = [int(painted(draw(image, [Mark((0.4, 0.4, 0.7, 0.7), "label", c)]), c).sum()) for c in colours]
    drawn = draw(image, [Mark((0.4, 0.4, 0.7, 0.7), "label", c) for c in colours])
    lines = painted(draw(image, [Mark((0.4, 0.4, 0.7, 0.7), "", colours[0])]), colours[0]).sum()
    for colour, area in zip(colours, areas, strict=True):
        assert painted(drawn, colour).sum() >= area - lines


def test_later_marks_lie_on_top_and_have_the_first_choice_of_place() -> None:
    image = Image.new("RGB", (400, 300), "white")
    one, other = Mark((0.4, 0.4, 0.7, 0.7), "label", BLUE), Mark((0.4, 0.4, 0.7, 0.7), "label", YELLOW)
    for below, above in ((one, other), (other, one)):
        both, alone = draw(image, [below, above]), draw(image, [above])
        assert painted(alone, above.colour)[:119].sum() > 200  # the label's place, above the box
        assert (painted(both, above.colour)[:119] == painted(alone, above.colour)[:119]).all()
        assert not painted(both, below.colour)[:119].any()


def test_where_labels_crowd_the_best_stay_whole() -> None:
    image = Image.new("RGB", (80, 60), "white")
    box = (0.3, 0.3, 0.7, 0.7)
    best = Mark(box, "best", BLUE)
    crowd = draw(image, [*[Mark(box, f"worse {n}", YELLOW) for n in range(50)], best])
    label = changed(draw(image, [Mark(box, "", BLUE)]), draw(image, [best]))
    assert label.sum() > 200
    assert not (label & changed(draw(image, [best]), crowd)).any()
    few = draw(image, [*[Mark(box, f"worse {n}", YELLOW) for n in range(46, 50)], best])
    assert not changed(few, crowd)[label | painted(few, YELLOW)].any()


def test_dashes_tell_a_box_from_a_whole_one() -> None:
    image = Image.new("RGB", (800, 600), "white")
    whole, dashed = (painted(draw(image, [Mark((0.2, 0.2, 0.8, 0.8), "", BLUE, d)]), BLUE) for d in (False, True))
    assert extent(whole)[:2] == extent(dashed)[:2]
    assert dashed.sum() == pytest.approx(whole.sum() * 2 / 3, rel=0.1)
    for side in (dashed[121, 160:640], dashed[478, 160:640], dashed[120:480, 161], dashed[120:480, 638]):
        assert side.any()
        assert not side.all()


def test_letters_that_are_not_ascii_have_shapes_of_their_own() -> None:
    image = Image.new("RGB", (200, 100), "white")
    drawings = [draw(image, [Mark((0, 0, 1, 1), text, BLUE)]).tobytes() for text in ("é", "Ж", "ß", "Ω")]
    assert all(one != other for one, other in combinations(drawings, 2))


def test_without_matplotlib_there_are_still_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (200, 100), "white")
    monkeypatch.setattr(drawing, "PathFinder", SimpleNamespace(find_spec=lambda _: None))
    assert painted(draw(image, [Mark((0, 0.5, 1, 1), "cat", BLUE)]), BLUE)[:48].any()


@pytest.mark.parametrize("text", ["中文 日本語 한국어", "قط", "\ud800", "two\nlines\t\x00", "👩‍👧", " ", "a" * 5000])
def test_any_text_can_be_drawn(text: str) -> None:
    image = Image.new("RGB", (200, 100), "white")
    drawn = draw(image, [Mark((0, 0.5, 1, 1), text, BLUE)])
    assert painted(drawn, BLUE)[:48].any() == bool(text.strip())


corner = st.one_of(st.floats(-2, 3), st.floats())


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.lists(st.tuples(st.tuples(corner, corner, corner, corner), st.text(max_size=9), st.booleans()), max_size=5),
    st.sampled_from(["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "F"]),
)
def test_no_box_and_no_picture_is_too_odd(size, marks, mode) -> None:
    image = Image.new(mode, size)
    drawn = draw(image, [Mark(box, text, BLUE, dashed) for box, text, dashed in marks])
    assert (drawn.size, drawn.mode) == (size, "RGB")


@pytest.mark.parametrize(
    ("box", "seen"),
    [
        ((0.6, 0.7, 0.2, 0.3), (20, 30, 60, 70)),
        ((0.5, 0.5, 0.5, 0.5), (50, 50, 51, 51)),
        ((-0.5, 0.5, 0.5, 9.0), (0, 50, 50, 100)),
        ((-math.inf, 0.5, 0.5, math.inf), (0, 50, 50, 100)),
        ((1.0, 1.0, 1.0, 1.0), (99, 99, 100, 100)),
        ((1.1, 0.5, 1.3, 0.7), None),
        ((0.2, -0.4, 0.3, -0.1), None),
        ((math.nan, 0.2, 0.5, 0.5), None),
    ],
)
def test_what_is_seen_of_an_odd_box(box: tuple[float, float, float, float], seen: object) -> None:
    image = Image.new("RGB", (100, 100), "white")
    drawn = draw(image, [Mark(box, "", BLUE)])
    if seen is None:
        assert not changed(image, drawn).any()
    else:
        assert extent(painted(drawn, BLUE)) == seen


def test_ten_classes_have_colours_of_their_own() -> None:
    colours = [colour_of(index) for index in range(20)]
    assert len(set(colours[:10])) == 10
    assert colours[10:] == colours[:10]


def test_letters_that_the_font_does_not_have_are_escapes():
    text = "cat Ωж 猫🦊\ud800 ￿"
    assert "".join(drawing.drawable(text)) == r"cat Ωж \u732b\U0001f98a? \uffff"
