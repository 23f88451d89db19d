"""The known ways of writing a box's four numbers: an order, in a unit."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

MAX_OVERHANG = 1.0
"""Pixels. Tools round differently, so a box may end this far outside its image and is then clipped."""
_THINNEST = 1.0 - 1e-6
_SMALLEST_IMAGE = 16
"""Pixels. On smaller images a box of a pixel at the origin is no share."""


@dataclass(frozen=True)
class Order:
    """What the four numbers are. name: the word of `bbox_format`; empty if it has none. owner: who writes so."""

    fields: tuple[str, str, str, str]
    name: str = ""
    owner: str = ""

    @cached_property
    def matrix(self) -> np.ndarray:
        """float64 [4, 4]; it times the four numbers is xmin ymin xmax ymax."""
        x0, x1 = self._ends("xmin", "xmax", "centre x", "width")
        y0, y1 = self._ends("ymin", "ymax", "centre y", "height")
        return np.stack([x0, y0, x1, y1])

    def _ends(self, low: str, high: str, centre: str, size: str) -> tuple[np.ndarray, np.ndarray]:
        part = dict(zip(self.fields, np.eye(4), strict=True))
        if size not in part:
            return part[low], part[high]
        if centre in part:
            return part[centre] - part[size] / 2, part[centre] + part[size] / 2
        return (part[low], part[low] + part[size]) if low in part else (part[high] - part[size], part[high])


@dataclass(frozen=True)
class Unit:
    """What the numbers are counted in. name: what follows the order in `bbox_format`. full: the number at the right or
    lower edge of every image; None where that is its size in pixels times `factor`."""

    text: str
    name: str = ""
    full: float | None = None
    factor: float = 1.0

    def scale(self, sizes: np.ndarray, axis: int) -> np.ndarray | float:
        """By what numbers along an axis (0: y, 1: x), less the padding, are multiplied to be pixels of images of these
        heights and widths, [..., 2]."""
        return 1 / self.factor if self.full is None else sizes[..., axis] / self.full

    def padding(self, sizes: np.ndarray, axis: int) -> np.ndarray | float:
        return 0.0


@dataclass(frozen=True)
class PaddedUnit(Unit):
    """Pixels of copies with something around the image.

    side: of square copies, with the image in their middle; None: the longer side of each image. scaled: whether the
    image was scaled first, so that its longer side is that of the square (a letterbox). centred: whether it is in the
    middle, or in the upper left corner. border: instead, rows above and columns on the left of each image.
    """

    side: float | None = None
    scaled: bool = False
    centred: bool = True
    border: tuple[float, float] | None = None

    def scale(self, sizes: np.ndarray, axis: int) -> np.ndarray | float:
        return sizes.max(axis=-1) / self.side if self.scaled and self.side is not None else 1.0

    def padding(self, sizes: np.ndarray, axis: int) -> np.ndarray | float:
        if self.border is not None:
            return self.border[axis]
        side = sizes.max(axis=-1) if self.side is None else self.side
        return (side - sizes[..., axis] / self.scale(sizes, axis)) / 2 if self.centred else 0.0


@dataclass(frozen=True)
class Convention:
    """first: the number of the first pixel where the corners are the first and the last pixel of a box, as Pascal VOC
    has them; 0 where they are measured along the edges between pixels."""

    order: Order
    unit: Unit
    first: int = 0

    def __str__(self) -> str:
        counted = f", counted from {self.first}" if self.first else ""
        return f"{self.order.owner}[{', '.join(self.order.fields)}] {self.unit.text}{counted}"

    @property
    def expected(self) -> str:
        """What sentences expect of a box."""
        if self == CORNERS:
            return "xmin < xmax and ymin < ymax, in pixels, inside the image"
        sizes = ", with width and height above 0" if "width" in self.order.fields else ""
        return f"{self}{sizes}, inside the image".removeprefix(self.order.owner)

    @property
    def inverted(self) -> str:
        """What sentences say of a box that ends before it begins."""
        return "has a negative width or height" if "width" in self.order.fields else "is inverted"

    def is_like(self, other: "Convention") -> bool:
        """Whether both are the same but for the number of the first pixel."""
        return (self.order, self.unit) == (other.order, other.unit)

    @property
    def setting(self) -> str | None:
        """The value of `bbox_format`, if it has one."""
        if not self.order.name or self.first or (self.unit != PIXELS and not self.unit.name):
            return None
        return f"{self.order.name}_{self.unit.name}" if self.unit.name else self.order.name

    def to_xyxy_pixels(self, written: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Boxes as written to corners.

        Args:
            written: float64 [M, 4].
            sizes: float64 [M, 2], height and width of each box's image.

        Returns:
            float64 [M, 4], xmin ymin xmax ymax, pixels. What is beyond float64 is infinite.
        """
        return np.stack(self._corners(written, sizes), axis=1)

    def _corners(self, written: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        corners = []
        with np.errstate(over="ignore", invalid="ignore"):
            for side, row in enumerate(self.order.matrix):
                corner = sum(written[:, place] * row[place] for place in np.flatnonzero(row).tolist())
                if self.unit != PIXELS:
                    axis = 1 - side % 2
                    corner = (corner - self.unit.padding(sizes, axis)) * self.unit.scale(sizes, axis)
                corners.append(np.asarray(corner - self.first if self.first and side < 2 else corner))
        return corners

    def fits(self, written: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """bool [M], which boxes lie in their images and are a pixel wide and high; arguments as `to_xyxy_pixels`."""
        x0, y0, x1, y1 = self._corners(written, sizes)
        inside = (np.minimum(x0, y0) >= -MAX_OVERHANG) & (x1 <= sizes[:, 1] + MAX_OVERHANG)
        with np.errstate(over="ignore", invalid="ignore"):
            thick = np.minimum(x1 - x0, y1 - y0) >= _THINNEST
        fits = inside & (y1 <= sizes[:, 0] + MAX_OVERHANG) & thick
        return np.asarray(fits if self.unit == SHARES else fits & ~look_like_shares(written, sizes))

    def is_empty(self, written: np.ndarray) -> np.ndarray:
        """bool [M], which boxes have no width or no height, to the last digit: points are no boxes in any convention.
        Where sizes or far ends come last, none of these is 0 in any box, whether they are sizes or ends."""
        matrix = self.order.matrix
        with np.errstate(over="ignore", invalid="ignore"):
            empty = (written @ (matrix[2:] - matrix[:2]).T == 0).any(axis=1)
        sizes_last = {"xmin", "ymin", "centre x", "centre y"}.isdisjoint(self.order.fields[2:])
        return np.asarray(empty | ((written[:, 2:] == 0).any(axis=1) if sizes_last else False))


def look_like_shares(written: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """bool [M], whether a box's numbers are all from 0 to 1, which is a pixel at most."""
    looks = np.minimum(sizes[:, 0], sizes[:, 1]) > _SMALLEST_IMAGE
    for column in written.T:
        looks &= (column >= 0) & (column <= 1)
    return np.asarray(looks)


PIXELS = Unit("in pixels")
SHARES = Unit("as shares of the image, from 0 to 1", "normalized", 1.0)
PERCENT = Unit("in percent of the image", "percent", 100.0)
UNITS = (
    PIXELS,
    SHARES,
    PERCENT,
    Unit("in thousandths of the image", "thousandths", 1000.0),
)


def copies_by(factor: float) -> Unit:
    """Of boxes drawn on copies of the images that are so many times as wide and high."""
    return Unit(f"in the pixels of copies {factor:.3g} times as wide and high as the images", factor=factor)


ORDERS = (
    Order(("xmin", "ymin", "xmax", "ymax"), "xyxy"),
    Order(("xmin", "ymin", "width", "height"), "xywh", "COCO's "),
    Order(("centre x", "centre y", "width", "height"), "cxcywh", "YOLO's "),
    Order(("ymin", "xmin", "ymax", "xmax"), "yxyx", "TensorFlow's "),
    Order(("xmin", "xmax", "ymin", "ymax"), "xxyy"),
    Order(("ymin", "ymax", "xmin", "xmax")),
    Order(("xmax", "ymax", "xmin", "ymin")),
    Order(("ymax", "xmax", "ymin", "xmin")),
    Order(("xmin", "ymax", "xmax", "ymin")),  # lower left and upper right, or y from below
    Order(("xmax", "ymin", "xmin", "ymax")),
    Order(("ymin", "xmax", "ymax", "xmin")),  # dlib's and CSS's way around
    Order(("xmax", "xmin", "ymax", "ymin")),
    Order(("xmin", "ymin", "height", "width")),
    Order(("ymin", "xmin", "height", "width")),
    Order(("ymin", "xmin", "width", "height")),
    Order(("width", "height", "xmin", "ymin")),  # Rekognition's keys as they come
    Order(("height", "width", "ymin", "xmin")),
    Order(("xmin", "width", "ymin", "height")),
    Order(("centre x", "centre y", "height", "width")),
    Order(("centre y", "centre x", "height", "width")),
    Order(("xmin", "ymax", "width", "height")),
    Order(("xmax", "ymax", "width", "height")),
)
"""The common ones, which `bbox_format` has, before the others. Sources: keras.utils.bounding_boxes, torchvision's
BoundingBoxFormat, detectron2's BoxMode, Open Images' columns, Rekognition's BoundingBox, and slips of these."""
COMMON_ORDERS = tuple(order for order in ORDERS if order.name)
CONVENTIONS = tuple(Convention(order, unit) for unit in UNITS for order in ORDERS if order.name or unit in UNITS[:2])
"""The common ones before the others. Percent and thousandths fit many boxes loosely, and uncommon orders of them would
fit nearly anything."""
BY_SETTING = {convention.setting: convention for convention in CONVENTIONS if convention.setting}
"""By value of `bbox_format`, but for Auto."""
CORNERS = BY_SETTING["xyxy"]
