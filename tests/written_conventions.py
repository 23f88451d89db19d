"""Sets of boxes, written in every convention that is known, and innocent ones that look like one.

`SETS` is the table: what `check_boxes` must make of each set. A mild set has one box in twenty in the other convention,
a strong one all of them.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.conventions import (
    BY_SETTING,
    CORNERS,
    ORDERS,
    UNITS,
    Convention,
    PaddedUnit,
    Unit,
)

SIZES = np.array([[480, 640], [640, 480], [375, 500], [600, 800]])
"""Height and width of images, in turns."""
COPIES = (
    Unit("in the pixels of copies of 300 x 300", full=300.0),
    Unit("in the pixels of copies of 512 x 512", full=512.0),
    Unit("in the pixels of copies 0.5 times as wide and high as the images", factor=0.5),
    Unit("in the pixels of copies 2 times as wide and high as the images", factor=2.0),
)
PADDINGS = (
    PaddedUnit("in the pixels of copies scaled to 640 x 640, and padded on both sides", side=640.0, scaled=True),
    PaddedUnit("in the pixels of copies padded to 1024 x 1024 on all sides", side=1024.0),
    PaddedUnit("in the pixels of copies padded to squares, on both sides"),
    PaddedUnit("in the pixels of copies with a border, of 90 pixels on the left and 70 above", border=(70.0, 90.0)),
)
REFUSED, TOLD, PASSED, MIXED = "refused", "told", "passed", "mixed"


@dataclass(frozen=True, eq=False)
class BoxSet:
    """boxes: float64 [M, 4], as written. sizes: int64 [N, 2], height and width of the images; images: int64 [M], the
    image of each box. verdict: REFUSED as a whole, MIXED of two ways, TOLD of single boxes, or PASSED. likely: how
    refused ones, or a part of them, are written."""

    name: str
    boxes: np.ndarray
    sizes: np.ndarray
    images: np.ndarray
    verdict: str = PASSED
    likely: Convention | None = None

    @property
    def table(self) -> AnnotationTable:
        images, boxes = len(self.sizes), len(self.boxes)
        return AnnotationTable(
            channel="training",
            folder=Path(),
            file_names=[f"{number}.jpg" for number in range(images)],
            image_rows=np.arange(images),
            image_sizes=self.sizes,
            box_rows=np.arange(boxes),
            box_images=self.images,
            bboxes=self.boxes,
            box_categories=np.arange(boxes) % 3,
            category_ids=[1, 2, 3],
            categories=None,
        )


def objects(count: int = 400, sizes: np.ndarray = SIZES, seed: int = 0) -> BoxSet:
    """Objects of all sizes anywhere in their images, cut at the edges: corners in whole pixels, four an image."""
    random = np.random.default_rng(seed)
    images = np.arange(count) // 4
    image_sizes = sizes[np.arange(images[-1] + 1) % len(sizes)]
    limits = image_sizes[images][:, ::-1].astype(np.float64)
    sides = limits * np.exp(random.normal(-1.8, 0.7, (count, 2))).clip(0.03, 0.9)
    centres = limits * random.uniform(0, 1, (count, 2))
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).clip(0, np.tile(limits, 2))
    corners = np.rint(corners)
    corners[:, 2:] = np.minimum(np.maximum(corners[:, 2:], corners[:, :2] + 4), limits)
    corners[:, :2] = np.minimum(corners[:, :2], corners[:, 2:] - 4)
    return BoxSet("objects", corners, image_sizes, images)


def write(convention: Convention, corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Corners in pixels, float64 [M, 4], as the convention writes them; undoes `Convention.to_xyxy_pixels`."""
    unit, sizes = convention.unit, sizes.astype(np.float64)
    drawn = [
        corners[:, side] / unit.scale(sizes, axis) + unit.padding(sizes, axis) for side, axis in enumerate((1, 0, 1, 0))
    ]
    return np.linalg.solve(convention.order.matrix, np.stack(drawn)).T.round(4)


def strong(convention: Convention, base: BoxSet) -> BoxSet:
    boxes = write(convention, base.boxes, base.sizes[base.images])
    return replace(base, name=f"{convention}", boxes=boxes, verdict=REFUSED, likely=convention)


def mild(convention: Convention, base: BoxSet) -> BoxSet:
    """With one box in twenty in the other convention. It is TOLD if one of those cannot be what is declared."""
    boxes = base.boxes.copy()
    boxes[::20] = write(convention, base.boxes, base.sizes[base.images])[::20]
    fits = BY_SETTING["xyxy"].fits(boxes, base.sizes[base.images].astype(np.float64))
    return replace(base, name=f"some {convention}", boxes=boxes, verdict=PASSED if fits.all() else TOLD)


def mixed(convention: Convention, base: BoxSet, every: int) -> BoxSet:
    """With every second image, or fifth, in the other convention."""
    boxes, part = base.boxes.copy(), base.images % every == 0
    boxes[part] = write(convention, base.boxes, base.sizes[base.images])[part]
    return replace(base, name=f"1/{every} {convention}", boxes=boxes, verdict=MIXED, likely=convention)


def innocent() -> list[BoxSet]:
    """Corners in pixels, as they are declared."""
    random = np.random.default_rng(1)
    base, square = objects(), objects(sizes=np.array([[512, 512]]))
    whole = np.concatenate([np.zeros((400, 2)), base.sizes[base.images][:, ::-1]], axis=1)
    centred = np.array([30, 30, 70, 70]) + random.integers(-18, 18, (400, 4))
    logo = np.array([10, 10, 100, 100]) + random.integers(0, 2, (400, 4))
    middle = np.array([220.0, 180, 260, 200]) + random.integers(-20, 20, (400, 1))
    tiny_images = objects(sizes=np.array([[24, 32]]))
    few = [replace(objects(4 * number, seed=number), name=f"{4 * number} boxes") for number in range(1, 6)]
    singles = replace(objects(100), images=np.arange(100), sizes=SIZES[np.arange(100) % 4])
    limits = singles.sizes[:, ::-1]
    half, signs, larger, outside = base.images % 2 == 0, base.boxes.copy(), base.boxes.copy(), base.boxes.copy()
    starts = random.integers(0, 40, (400, 2)).astype(np.float64)
    signs[half] = np.concatenate([starts, starts + 50], axis=1)[half]
    larger[half] = np.concatenate([starts, starts + 90], axis=1)[half]
    outside[::25, 2:] += 9
    invalid = base.boxes.copy()
    invalid[[7, 99]] = [[50, 60, 50, 90], [80, 90, 40, 120]]
    return [
        base,
        *few,
        replace(square, name="square images"),
        replace(base, name="near the origin", boxes=centred.astype(np.float64)),
        replace(base, name="a logo in the corner", boxes=logo.astype(np.float64)),
        replace(base, name="boxes that fill the image", boxes=whole.astype(np.float64)),
        replace(base, name="small boxes in the middle", boxes=middle),
        replace(base, name="fractions of pixels", boxes=(base.boxes * 0.9973).round(2)),
        replace(tiny_images, name="tiny images"),
        replace(singles, name="a box an image", boxes=np.minimum(singles.boxes, np.tile(limits, 2) - [4, 4, 0, 0])),
        replace(base, name="overhangs of a pixel", boxes=np.add(base.boxes, [-1, -1, 1, 1])),
        replace(base, name="two invalid boxes", boxes=invalid, verdict=TOLD),
        replace(base, name="signs in the first 90 pixels of half of the images", boxes=signs),
        replace(base, name="signs in the first 130 pixels of half of the images", boxes=larger),
        replace(base, name="a few boxes that reach outside", boxes=outside, verdict=TOLD),
        replace(base, name="one class in the left half", boxes=(base.boxes * [0.5, 1, 0.5, 1]).round()),
        replace(base, name="one class in the upper half", boxes=(base.boxes * [1, 0.5, 1, 0.5]).round()),
    ]


_BASE = objects()
_CROWDED = replace(objects(sizes=SIZES[:1]), images=np.arange(400) // 8, sizes=SIZES[:1].repeat(50, axis=0))
_PARTS = [BY_SETTING[name] for name in ("xywh", "cxcywh", "yxyx", "xyxy_normalized", "xywh_normalized", "xyxy_percent")]
_OTHERS = [Convention(order, unit) for order in ORDERS for unit in (*UNITS, *COPIES) if order.name or unit in UNITS[:2]]
SETS = [
    *innocent(),
    *(strong(convention, _BASE) for convention in _OTHERS if convention.setting != "xyxy"),
    *(strong(Convention(CORNERS.order, unit), _BASE) for unit in PADDINGS),
    *(mixed(convention, _CROWDED, every) for convention in _PARTS for every in (2, 3, 5)),
    *(mild(convention, _BASE) for convention in _OTHERS if convention.setting != "xyxy"),
]
