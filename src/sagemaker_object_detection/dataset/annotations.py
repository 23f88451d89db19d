"""The data set as columns: what the checks hand on, and all that training and evaluation see of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sagemaker_object_detection.images.headers import SAMPLE_BITS

if TYPE_CHECKING:
    from sagemaker_object_detection.images.decoded import DecodedImages


@dataclass(frozen=True)
class Labels:
    """The classes, ids sorted (numbers, then text). Class c inside the program is `ids[c]` in the annotations."""

    ids: tuple[int | str, ...]
    names: tuple[str, ...]
    """From `categories`, or the ids as text where there are none."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class IgnoredRegions:
    """R regions of N images that are no objects: crowds, and what is marked so. Nothing that is found there is wrong.

    offsets: int64 [N + 1]; the regions of image i are rows offsets[i] to offsets[i + 1]. boxes: float32 [R, 4], ymin
    xmin ymax xmax, normalised. classes: int32 [R], 0-based: COCO's figures ignore a region for its own class.
    """

    offsets: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """N checked images with M boxes, in the order of the annotation file.

    images: folder that `files` are relative to. file_names: N names, as the annotation file has them. sizes: int32
    [N, 2], height and width as displayed, after any EXIF turn. orientations: uint8 [N], EXIF orientation to apply when
    decoding, 1 for none. offsets: int64 [N + 1]; the boxes of image i are rows offsets[i] to offsets[i + 1]. boxes:
    float32 [M, 4], ymin xmin ymax xmax, normalised. classes: int32 [M], 0-based. fingerprint: changes when any of this,
    or the size of an image file, changes; not with the folder. former_fingerprint: what version 0.1.0 said of the same
    files, which took ignored regions for objects, repeated boxes for several and knew nothing of 16 bits; None if it
    said the same. facts: what the fingerprint is of, each in a few characters that change with it. decoded: where the
    checks left the pixels of images. renamed: the files, below the folder, of those names that are not their paths.
    ignored: the regions that are no objects, None if there are none. sample_bits: how many bits the samples of images
    of 16 bits use, in all channels together.
    """

    images: Path
    file_names: tuple[str, ...]
    sizes: np.ndarray
    orientations: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    labels: Labels
    fingerprint: str
    former_fingerprint: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    decoded: "DecodedImages | None" = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    ignored: IgnoredRegions | None = None
    sample_bits: int = SAMPLE_BITS

    @property
    def files(self) -> list[str]:
        """Paths of the N images below the folder."""
        return [self.renamed.get(name, name) for name in self.file_names]

    def path(self, index: int) -> Path:
        """An image's file."""
        name = self.file_names[index]
        return self.images / self.renamed.get(name, name)

    @property
    def max_boxes(self) -> int:
        """The most boxes of one image, at least 1."""
        return max(1, int(np.diff(self.offsets).max()))

    @property
    def max_regions(self) -> int:
        """The most ignored regions of one image."""
        return 0 if self.ignored is None else int(np.diff(self.ignored.offsets).max())
