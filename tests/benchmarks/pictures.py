"""The data the benchmarks train on: pictures of the size of photographs, of shapes that `sample-data` draws."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sagemaker_object_detection.sample_data import draw

WIDTH, HEIGHT, QUALITY = 800, 600, 90
_GRAIN = 2.0
"""Standard deviation of the noise added: at quality 90 a file then has 0.25 to 0.3 bytes per pixel, as photographs."""


def write_channel(folder: Path, images: int, *, seed: int, distinct: int = 32) -> Path:
    """A channel of `images` JPEG files of 800x600 pixels, quality 90; every file beyond the first `distinct` ones is a
    copy of one of them. Does nothing where it is there already."""
    channel = folder / f"{images}-pictures-seed-{seed}"
    if (channel / "annotations.json").exists():
        return channel
    (channel / "images").mkdir(parents=True, exist_ok=True)
    entries, annotations = [], []
    pictures = [picture(seed, number) for number in range(min(distinct, images))]
    for number in range(images):
        name = f"{number:06d}.jpg"
        pixels, objects = pictures[number % len(pictures)]
        path = channel / "images" / name
        if number < len(pictures):
            Image.fromarray(pixels).save(path, quality=QUALITY)
        else:
            path.write_bytes((channel / "images" / f"{number % len(pictures):06d}.jpg").read_bytes())
        entries.append({"file_name": name, "height": HEIGHT, "width": WIDTH, "id": number})
        annotations += [{"image_id": number, "bbox": box, "category_id": category} for category, box in objects]
    write_annotations(channel, entries, annotations, sorted({int(str(a["category_id"])) for a in annotations}))
    return channel


def write_annotations(
    channel: Path,
    images: Sequence[dict[str, object]],
    annotations: Sequence[dict[str, object]],
    categories: Sequence[int],
) -> None:
    """The channel's `annotations.json`, last of its files."""
    names = [{"id": number, "name": f"class {number}"} for number in categories]
    document = {"images": images, "annotations": annotations, "categories": names}
    (channel / "annotations.json").write_text(json.dumps(document))


def picture(seed: int, number: int) -> tuple[np.ndarray, list[tuple[int, list[float]]]]:
    """uint8 [600, 800, 3], and category and corners in pixels of what is in it."""
    small, objects = draw(seed, 0, number)
    height, width = small.shape[:2]
    enlarged = np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
    noise = _GRAIN * np.random.default_rng((seed, number)).standard_normal(enlarged.shape, np.float32)
    pixels = np.clip(enlarged + noise, 0, 255).astype(np.uint8)
    stretch = np.array([WIDTH / width, HEIGHT / height] * 2)
    return pixels, [(category, (stretch * box).tolist()) for category, box in objects]
