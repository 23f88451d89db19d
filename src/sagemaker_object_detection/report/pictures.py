"""The worst validation images, with what is there and what was found."""

import io
import logging
from dataclasses import dataclass

import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.images.decoding import decode
from sagemaker_object_detection.report.drawing import Mark, colour_of, draw
from sagemaker_object_detection.report.figures import BadImage, Figures

log = logging.getLogger(__name__)

_SIDES = (400, 640)
"""The longer side of a picture, pixels: an image that is smaller is blown up, so that letters have room."""
_REGION_COLOUR = "#808080"
_MAX_FOUND = 30
"""Detections that are drawn, the best: more would hide the image."""


@dataclass(frozen=True, eq=False)
class Picture:
    """file_name: relative to the data set's images. why: what is wrong, in a few words. image: RGB, boxes drawn."""

    file_name: str
    why: str
    image: Image.Image

    def encoded(self, format_name: str) -> bytes:
        """The bytes of a file, "PNG" or "JPEG"."""
        stream = io.BytesIO()
        self.image.save(stream, format_name, quality=85)
        return stream.getvalue()


def draw_worst(dataset: Dataset, figures: Figures) -> list[Picture]:
    """The worst images of the data set that the figures are of, decoded again; ground truth is dashed, and has its name
    where it was missed; ignored regions are dashed in grey.

    A file that is no longer there, or no longer an image, is left out with a warning.
    """
    pictures = []
    for bad in figures.worst:
        name = dataset.file_names[bad.index]
        try:
            pictures.append(Picture(name, bad.why, _drawn(dataset, bad)))
        except tf.errors.OpError:
            log.warning("The report does not show %r: the file cannot be read any more.", name)
    return pictures


def _drawn(dataset: Dataset, bad: BadImage) -> Image.Image:
    contents = tf.io.read_file(str(dataset.path(bad.index)))
    orientation = tf.constant(dataset.orientations[bad.index])
    image = Image.fromarray(decode(contents, orientation, sample_bits=dataset.sample_bits).numpy())
    longer = max(image.size)
    scale = min(max(longer, _SIDES[0]), _SIDES[1]) / longer
    if scale != 1:
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    names = dataset.labels.names
    truth = [
        Mark(_corners(box), f"missed: {names[index]}" if missed else "", colour_of(int(index)), dashed=True)
        for box, index, missed in zip(bad.image.truth_boxes, bad.image.truth_classes, bad.missed, strict=True)
    ]
    found = [
        Mark(_corners(box), f"{names[index]} {score:.2f}", colour_of(int(index)))
        for box, index, score in zip(bad.image.boxes, bad.image.classes, bad.image.scores, strict=True)
    ][:_MAX_FOUND]
    regions: list[Mark] = []
    if (ignored := dataset.ignored) is not None:
        rows = ignored.boxes[ignored.offsets[bad.index] : ignored.offsets[bad.index + 1]]
        regions = [Mark(_corners(box), "", _REGION_COLOUR, dashed=True) for box in rows]
    return draw(image, [*regions, *found[::-1], *truth])


def _corners(box: "tf.Tensor") -> tuple[float, float, float, float]:
    ymin, xmin, ymax, xmax = (float(side) for side in box)
    return xmin, ymin, xmax, ymax
