"""What the tests trace: the smallest model of every family in each number format, and images for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sagemaker_object_detection.catalogue import CATALOGUE
from sagemaker_object_detection.dataset.annotations import Dataset, Labels

DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")
FAMILIES = {
    base.family.name: replace(base, input_size=128, head_layers=1, bifpn_repeats=min(base.bifpn_repeats, 1))
    for base in reversed(CATALOGUE)
}
"""By their names, with small maps and nothing that is merely repeated: kernels depend on neither."""


def three_images(folder: Path) -> Dataset:
    """A landscape, a portrait and a square one of three colours, with a box each."""
    sizes = np.array([[60, 90], [90, 60], [80, 80]], np.int32)
    for number, (height, width) in enumerate(sizes):
        Image.new("RGB", (width, height), (number, 100, 200)).save(folder / f"{number}.png")
    return Dataset(
        images=folder,
        file_names=("0.png", "1.png", "2.png"),
        sizes=sizes,
        orientations=np.ones(3, np.uint8),
        offsets=np.arange(4, dtype=np.int64),
        boxes=np.array([[0.2, 0.2, 0.7, 0.8]] * 3, np.float32),
        classes=np.array([0, 1, 0], np.int32),
        labels=Labels(ids=(1, 2), names=("cat", "dog")),
        fingerprint="",
    )
