"""Writes small channels for tests: a few real images and an annotation file, whole or broken on purpose."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.pipeline import Order, training_batches

# Two images, 64 x 48 and 60 x 40 pixels (width x height), with boxes that make sense only as corners.
GOOD: dict[str, Any] = {
    "images": [
        {"file_name": "a.jpg", "height": 48, "width": 64, "id": 1},
        {"file_name": "b.png", "height": 40, "width": 60, "id": 2},
    ],
    "annotations": [
        {"image_id": 1, "bbox": [4, 6, 60, 40], "category_id": 7},
        {"image_id": 1, "bbox": [30, 20, 50, 44], "category_id": 42},
        {"image_id": 2, "bbox": [20, 10, 58, 38], "category_id": 42},
    ],
    "categories": [{"id": 42, "name": "dog"}, {"id": 7, "name": "cat"}],
}


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours, so that JPEG keeps them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_annotations(channel: Path, content: Any) -> None:
    """content: bytes and text as they are, everything else as JSON."""
    channel.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, bytes | str):
        content = json.dumps(content)
    (channel / "annotations.json").write_bytes(content.encode() if isinstance(content, str) else content)


def write_channel(channel: Path, content: Any = None, seed: int = 0) -> Path:
    """Images of the names and sizes of GOOD, and `content` (GOOD where None) as the annotations."""
    write_annotations(channel, GOOD if content is None else content)
    (channel / "images").mkdir()
    picture(64, 48, seed).save(channel / "images" / "a.jpg", quality=95)
    picture(60, 40, seed + 1).save(channel / "images" / "b.png")
    return channel


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one entry replaced, e.g. changed("annotations.1.bbox", [1, 2, 3, 4]); DELETED removes it."""
    content = json.loads(json.dumps(GOOD))
    place = content
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in steps:
        place = place[step]
    if value is DELETED:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return content


DELETED = object()


def training_stream(
    dataset: Dataset, base: BaseModel, batch_size: int, *, seed: int, augment: bool, **given: Any
) -> tf.data.Dataset:
    """Training batches of a data set in the order of this seed."""
    order = Order(len(dataset.file_names), batch_size, seed)
    return training_batches(dataset, base, order, augment=augment, **given)
