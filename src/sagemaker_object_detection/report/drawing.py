"""Draws boxes and their names into a picture, so that a person sees what the model sees.

Every measure grows with the picture, so that a drawing reads the same whether it is 300 or 4000 pixels wide. A line has
a thin outline, and a label letters, of black or white, whichever stands out more from the colour: what is drawn is seen
on any picture.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442"),
    *("#8c00ff", "#5a0025", "#ffb3c8"),
)
"""The seven colours of Okabe and Ito, which colour-blind people tell apart (https://jfly.uni-koeln.de/color/), and
three more that are about as far from these and from one another."""

_LEAST_SIZE = 10
"""Letters are no smaller, in pixels."""
_LEAST_LABELS = 4
"""A picture that is not as high as this many labels shows boxes without labels."""
_CUT = "…"

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Rectangle = tuple[int, int, int, int]
"""left, top, right, bottom, in pixels; right and bottom lie outside."""


@dataclass(frozen=True)
class Mark:
    """One thing to draw.

    Attributes:
        box: xmin, ymin, xmax, ymax, normalised.
        text: what its label says; none where it is empty.
        colour: "#rrggbb".
        dashed: a line of dashes, for what should be there rather than what was found.
    """

    box: tuple[float, float, float, float]
    text: str
    colour: str
    dashed: bool = False


def colour_of(index: int) -> str:
    """The colour of a class, "#rrggbb"; they repeat after ten."""
    return _COLOURS[index % len(_COLOURS)]


def draw(image: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """A copy of the image in RGB with every mark; later marks lie on top of earlier ones, labels on top of all lines.

    Boxes are cut at the picture's edges. Nothing is seen of those that lie outside, or have a corner that is no number.
    A label stands where it hides no other, if its box has such a place, and is cut where the picture is too narrow.
    Where too many crowd, those of later marks are seen, and one of which a quarter would be hidden is left out.
    """
    drawn = image.convert("RGB")
    canvas = ImageDraw.Draw(drawn)
    scale = math.sqrt(drawn.width * drawn.height)
    font = _font(max(_LEAST_SIZE, round(scale / 42)))
    line = max(1, round(scale / 280))
    seen = [(mark, box) for mark in marks if (box := _pixels(mark.box, drawn.size)) is not None]
    for mark, box in seen:
        _draw_box(canvas, box, mark, line)
    # The last lie on top: they choose their places first.
    placed: list[_Rectangle] = []
    labels = []
    for mark, box in reversed(seen):
        text = _fitting(mark.text, font, drawn.width)
        width, height = _label_size(text, font)
        if not text or height * _LEAST_LABELS > drawn.height:
            continue
        place, hidden = _place(box, width, height, drawn.size, placed)
        if 4 * hidden < width * height:
            placed.append(place)
            labels.append((mark, text, place))
    for mark, text, place in reversed(labels):
        _fill(canvas, place, mark.colour)
        start = (place[0] + 2 * _padding(font), place[1] + _padding(font))
        canvas.text(start, text, fill=_contrast(mark.colour), font=font)
    return drawn


def _font(size: int) -> _Font:
    """DejaVu Sans, which comes with matplotlib: Pillow's own font has only the letters of ASCII."""
    package = PathFinder.find_spec("matplotlib")  # found, not imported, which takes half a second
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def drawable(text: str) -> list[str]:
    """The characters of a text, those that the font does not have as escapes such as \\u4e2d: it would draw the same
    empty box for each. A font for all scripts takes tens of megabytes."""
    return [
        character if _has_glyph(character) else character.encode("ascii", "backslashreplace").decode()
        for character in text.encode("utf-8", "replace").decode()
    ]


@cache
def _has_glyph(character: str) -> bool:
    return bytes(_probe().getmask(character)) != bytes(_probe().getmask("\uffff"))  # which no font has


@cache
def _probe() -> _Font:
    return _font(_LEAST_SIZE)


def _pixels(box: tuple[float, float, float, float], size: tuple[int, int]) -> _Rectangle | None:
    """The part of a normalised box that the picture holds, one pixel wide and high at least; None if it holds none."""
    if any(math.isnan(corner) for corner in box):
        return None
    edges = []
    for one, other, length in zip(box[:2], box[2:], size, strict=True):
        low, high = min(one, other), max(one, other)
        if high < 0 or low > 1:
            return None
        start = min(round(max(low, 0.0) * length), length - 1)
        edges.append((start, max(start + 1, round(min(high, 1.0) * length))))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def _draw_box(canvas: ImageDraw.ImageDraw, box: _Rectangle, mark: Mark, line: int) -> None:
    """The line lies inside the box, and its outline on both sides of the line. Between dashes the outline is whole."""
    left, top, right, bottom = box
    outline = max(1, line // 3)
    around = (left - outline, top - outline, right + outline, bottom + outline)
    for side in _sides(around, line + 2 * outline):
        _fill(canvas, side, _contrast(mark.colour))
    for x, y, end, foot in _sides(box, line):
        along_x = end - x > foot - y
        for start in range(0, max(end - x, foot - y), 12 * line) if mark.dashed else (0,):
            stop = start + 8 * line if mark.dashed else max(end - x, foot - y)
            dash = (x + start, y, min(x + stop, end), foot) if along_x else (x, y + start, end, min(y + stop, foot))
            _fill(canvas, dash, mark.colour)


def _sides(box: _Rectangle, line: int) -> tuple[_Rectangle, ...]:
    """The line along the inside of a box, as four rectangles."""
    left, top, right, bottom = box
    return (
        (left, top, right, min(top + line, bottom)),
        (left, max(bottom - line, top), right, bottom),
        (left, top, min(left + line, right), bottom),
        (max(right - line, left), top, right, bottom),
    )


def _fill(canvas: ImageDraw.ImageDraw, place: _Rectangle, colour: str) -> None:
    left, top, right, bottom = place
    canvas.rectangle((left, top, right - 1, bottom - 1), fill=colour)


def _height(font: _Font) -> int:
    """Of the highest letters and the deepest together."""
    return math.ceil(font.getbbox("Åg")[3])


def _padding(font: _Font) -> int:
    return max(1, _height(font) // 8)


def _label_size(text: str, font: _Font) -> tuple[int, int]:
    return math.ceil(font.getlength(text)) + 4 * _padding(font), _height(font) + 2 * _padding(font)


def _fitting(text: str, font: _Font, width: int) -> str:
    """The text in one line, or as much of its start as the picture is wide enough for."""
    pieces = drawable(" ".join(text[:width].split()))  # of which each takes a pixel; Pillow refuses a million
    if _label_size("".join(pieces), font)[0] <= width:
        return "".join(pieces)
    starts = ["".join(pieces[:end]) + _CUT for end in range(len(pieces))]
    length = bisect_right(starts, width, key=lambda start: _label_size(start, font)[0]) - 1
    return starts[length] if length > 0 else ""


def _place(
    box: _Rectangle, width: int, height: int, size: tuple[int, int], placed: Sequence[_Rectangle]
) -> tuple[_Rectangle, int]:
    """Where a label overlaps none placed so far, or else the least, and the pixels by which it does."""
    left, top, right, bottom = box
    corners = (
        (left, top - height),
        (left, top),
        (left, bottom),
        (right - width, top - height),
        (right - width, bottom),
        (left, bottom - height),
    )
    inside = [(max(0, min(x, size[0] - width)), max(0, min(y, size[1] - height))) for x, y in corners]
    places = [(x, y, x + width, y + height) for x, y in inside]
    hidden = [sum(_overlap(place, other) for other in placed) for place in places]
    best = hidden.index(min(hidden))
    return places[best], hidden[best]


def _overlap(one: _Rectangle, other: _Rectangle) -> int:
    """Pixels that both cover."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)


def _contrast(colour: str) -> str:
    """Black or white, whichever stands out more: by relative luminance, https://www.w3.org/TR/WCAG22/#contrast-ratio."""
    shares = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"
