"""A small data set to try a job with: circles, squares and triangles on cluttered backgrounds, in the training format.

Colour and texture hint at the class, neither decides it: hues overlap, and the clutter wears the same colours in other
shapes. Every picture is a pure function of (seed, channel, index), so the same seed writes the same annotations again.
"""

import json
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.disk import blaming
from sagemaker_object_detection.files.whole import is_free, whole_folder

logger = logging.getLogger(__name__)

_SUPERSAMPLING = 2
_MIN_VISIBLE = 0.5
"""Share of an object that later objects must leave visible."""
_EMPTY_EVERY = 12
"""One image in this many shows clutter only."""


@dataclass(frozen=True)
class _Shape:
    category_id: int
    name: str
    corners: int
    """Corners of the outline; 0 is an ellipse."""
    hue: float
    """Centre of its usual colours, degrees."""
    texture: str


# Ids with gaps, as real data has them: nothing may count on 1, 2, 3.
_SHAPES = (
    _Shape(1, "circle", 0, 10.0, "shaded"),
    _Shape(3, "square", 4, 130.0, "striped"),
    _Shape(7, "triangle", 3, 245.0, "dotted"),
)


def write_sample_data(folder: Path, *, images: int = 240, seed: int = 0, validation_images: int = 48) -> None:
    """Write `<folder>/training` and `<folder>/validation`, each with `annotations.json` and `images/`.

    Args:
        folder: a path that does not exist yet, or an empty folder, the current one included. The channels appear
            when they are complete, or not at all.
        images: number of training images, at least 1.
        seed: the same seed draws the same pictures; the two channels never share one.
        validation_images: number of validation images; 0 leaves the folder `validation` out.

    Raises:
        UserError: the folder holds something already or cannot be made, or a number is out of range.
    """
    folder = Path(folder)
    if images < 1 or validation_images < 0 or seed < 0:
        raise UserError(
            f"Sample data needs at least 1 training image, 0 or more validation images and a seed of 0 or more; "
            f"got {images}, {validation_images} and {seed}."
        )
    target = Path(os.path.realpath(folder))  # "." has no name

    def unwritable(error: OSError) -> str:
        place = "Name a folder for the sample data in a place that may be written to."
        return f"{folder} cannot be written ({error.strerror}). {place}"

    with blaming(unwritable):
        if not is_free(target):
            raise UserError(f"{folder} exists and is not an empty folder. Name a new folder for the sample data.")
        with whole_folder(target) as complete:
            for channel, (name, count) in enumerate((("training", images), ("validation", validation_images))):
                if count:
                    _write_channel(complete / name, count, seed, channel)
    logger.info("Wrote %d training and %d validation images to %s.", images, validation_images, folder)


def _write_channel(folder: Path, count: int, seed: int, channel: int) -> None:
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index in range(count):
        picture, objects = draw(seed, channel, index)
        name = f"{index:05d}.jpg"
        Image.fromarray(picture).save(folder / "images" / name, quality=90)
        images.append({"file_name": name, "height": picture.shape[0], "width": picture.shape[1], "id": index + 1})
        annotations += [{"image_id": index + 1, "bbox": box, "category_id": category} for category, box in objects]
    categories = [{"id": shape.category_id, "name": shape.name} for shape in _SHAPES]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")


def draw(seed: int, channel: int, index: int) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """One picture and what is in it: uint8 [H, W, 3] and (category id, [xmin, ymin, xmax, ymax] in pixels) per object.

    A box encloses the visible pixels of its object exactly.
    """
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, channel, index))))
    height, width = (int(side) for side in random.integers(250, 361, 2))
    backdrop = Image.fromarray(_background(random, height, width))
    for _ in range(random.integers(6, 16)):
        _draw_clutter(backdrop, random)
    picture = np.array(backdrop, np.float32)
    owner = np.full((height, width), -1, np.int8)
    kinds: list[_Shape] = []
    areas: list[int] = []
    wanted = 0 if index % _EMPTY_EVERY == _EMPTY_EVERY - 1 else int(random.integers(1, 6))
    for _ in range(4 * wanted):
        if len(kinds) == wanted:
            break
        shape = _SHAPES[int(random.integers(len(_SHAPES)))]
        alpha = _outline_mask(random, shape, height, width)
        inside = alpha >= 0.5
        claimed = np.where(inside, np.int8(len(kinds)), owner)
        visible = np.bincount(claimed[claimed >= 0], minlength=len(kinds) + 1)
        if (visible < _MIN_VISIBLE * np.array([*areas, inside.sum()])).any():
            continue
        owner = claimed
        kinds.append(shape)
        areas.append(int(inside.sum()))
        left, top, right, bottom = _extent(alpha > 0)
        patch = picture[top:bottom, left:right]
        # Around the class's hue; one object in six takes any hue.
        hue = random.uniform(0, 360) if random.random() < 1 / 6 else shape.hue + random.normal(0, 28)
        colour = _rgb(hue % 360, random.uniform(0.55, 1.0), random.uniform(0.55, 1.0))
        surface = _surface(random, shape.texture, colour, bottom - top, right - left)
        patch += (surface - patch) * alpha[top:bottom, left:right, None]
    noisy = picture + 4.0 * random.standard_normal(picture.shape, np.float32)
    objects = [(shape.category_id, _extent(owner == number)) for number, shape in enumerate(kinds)]
    return np.clip(noisy, 0, 255).astype(np.uint8), objects


def _extent(mask: np.ndarray) -> list[int]:
    """[xmin, ymin, xmax, ymax] around the True pixels; the far edges lie behind the last pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """The colour of hue (degrees), saturation and value (0 to 1) as float [3] in 0..255."""
    offsets = (np.array([5.0, 3.0, 1.0]) + hue / 60.0) % 6.0
    return 255.0 * value * (1.0 - saturation * np.clip(np.minimum(offsets, 4.0 - offsets), 0.0, 1.0))


def _smooth_noise(random: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Noise in [-1, 1] that changes over about `cell` pixels: float32 [height, width, 3]."""
    coarse = random.uniform(-1, 1, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
    planes = (Image.fromarray(plane) for plane in np.moveaxis(coarse, 2, 0))
    smooth = [np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC)) for plane in planes]
    return np.stack(smooth, axis=2)


def _background(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two scales of coloured noise over a slope: uint8 [height, width, 3]."""
    base = _rgb(random.uniform(0, 360), random.uniform(0.0, 0.35), random.uniform(0.3, 0.9))
    slope = np.linspace(-1, 1, width)[None, :] * random.normal() + np.linspace(-1, 1, height)[:, None] * random.normal()
    noise = 28.0 * _smooth_noise(random, height, width, 64) + 14.0 * _smooth_noise(random, height, width, 9)
    return np.clip(noise + (base + 18.0 * slope[..., None]), 0, 255).astype(np.uint8)


def _draw_clutter(picture: Image.Image, random: np.random.Generator) -> None:
    """Blend one thing that is no object into the picture: a line, an arc, a cross or a smear, in any colour."""
    width, height = picture.size
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    x, y = random.uniform(0, width), random.uniform(0, height)
    reach, angle = random.uniform(10, 120), random.uniform(0, 2 * math.pi)
    along, across = reach * math.cos(angle), reach * math.sin(angle)
    thickness = int(random.integers(1, 6))
    opacity = int(random.integers(128, 256))
    kind = int(random.integers(4))
    if kind == 1:
        start = math.degrees(angle)
        sweep = random.uniform(60, 200)
        pen.arc((x - reach, y - reach, x + reach, y + reach), start, start + sweep, fill=opacity, width=thickness)
    elif kind == 3:
        points = [(x + random.normal(0, reach / 2), y + random.normal(0, reach / 6)) for _ in range(6)]
        pen.line(points, fill=opacity, width=3 * thickness, joint="curve")
    else:
        if kind == 2:
            along, across = along / 3, across / 3
            pen.line((x + across, y - along, x - across, y + along), fill=opacity, width=thickness)
        pen.line((x - along, y - across, x + along, y + across), fill=opacity, width=thickness)
    colour = _rgb(random.uniform(0, 360), random.uniform(0.2, 1.0), random.uniform(0.3, 1.0))
    picture.paste((int(colour[0]), int(colour[1]), int(colour[2])), mask=mask)


def _outline_mask(random: np.random.Generator, shape: _Shape, height: int, width: int) -> np.ndarray:
    """A shape somewhere in the picture, as coverage 0..1: float32 [height, width]."""
    side = random.uniform(0.10, 0.60) * min(height, width)
    stretch = math.sqrt(random.uniform(0.8, 1.25))
    half_width, half_height = side / 2 * stretch, side / 2 / stretch
    x = random.uniform(min(0.9 * half_width, width / 2), max(width - 0.9 * half_width, width / 2))
    y = random.uniform(min(0.9 * half_height, height / 2), max(height - 0.9 * half_height, height / 2))
    corners, reach, turn = shape.corners or 72, 1.0, 0.0
    if shape.corners:
        turn = random.uniform(-0.3, 0.3) + math.pi / 2 + (math.pi / 4 if corners == 4 else 0.0)
        reach = math.sqrt(2) if corners == 4 else 1.15
    angles = turn + 2 * math.pi * np.arange(corners) / corners
    points = [(x + reach * half_width * math.cos(a), y - reach * half_height * math.sin(a)) for a in angles]
    mask = Image.new("L", (_SUPERSAMPLING * width, _SUPERSAMPLING * height))
    ImageDraw.Draw(mask).polygon([(_SUPERSAMPLING * x, _SUPERSAMPLING * y) for x, y in points], fill=255)
    return np.asarray(mask.reduce(_SUPERSAMPLING), np.float32) / 255.0


def _surface(random: np.random.Generator, texture: str, colour: np.ndarray, height: int, width: int) -> np.ndarray:
    """What the object is made of: float32 [height, width, 3]."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    period, angle = random.uniform(8, 18), random.uniform(0, math.pi)
    u = (columns * math.cos(angle) + rows * math.sin(angle)) / period
    v = (rows * math.cos(angle) - columns * math.sin(angle)) / period
    if texture == "striped":
        shade = 0.75 + 0.25 * np.sign(np.sin(2 * math.pi * u))
    elif texture == "dotted":
        shade = 0.7 + 0.3 * np.sign(0.12 - ((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2))
    else:
        shade = 0.85 + 0.15 * np.sin(u / 6)
    grain = 10.0 * _smooth_noise(random, height, width, 24)
    return np.asarray(colour * shade[..., None] + grain, np.float32)
