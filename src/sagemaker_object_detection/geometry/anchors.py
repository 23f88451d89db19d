"""Anchors: the boxes that a detector's predictions are relative to.

The order of the float32 operations is the reference's. It decides which anchor wins where two overlap a box equally: in
float64, or dividing by the image size, up to two matches per image come out differently.
"""

import numpy as np

from sagemaker_object_detection.catalogue import BaseModel, Family

MATCH_IOU = 0.5
"""An anchor that overlaps a box by less is responsible for it only where no other overlaps it more."""


def anchors_per_cell(family: Family) -> int:
    return len(family.aspect_ratios) * family.scales_per_octave


def generate_anchors(base: BaseModel) -> np.ndarray:
    """Anchors of every cell of every level.

    Returns:
        float32 [A, 4], ymin xmin ymax xmax, normalised by the input size, not clipped to the image; ordered by level,
        row, column, aspect ratio and scale.
    """
    corners = []
    for level in base.levels:
        cells, half = anchor_centers(base, level), np.float32(0.5) * anchor_shapes(base, level)
        centers = np.stack(np.meshgrid(cells, cells, indexing="ij"), axis=-1)[:, :, None]  # [rows, columns, 1, (y, x)]
        corners.append(np.concatenate([centers - half, centers + half], axis=-1).reshape(-1, 4))
    return np.concatenate(corners) * np.float32(1 / base.input_size)


def anchor_shapes(base: BaseModel, level: int) -> np.ndarray:
    """The anchors of one cell: float32 [K, 2], height and width, pixels of the input; by aspect ratio and scale."""
    family = base.family
    scales = np.array([2.0 ** (i / family.scales_per_octave) for i in range(family.scales_per_octave)], np.float32)
    ratios = np.sqrt(np.array(family.aspect_ratios, np.float32))[:, None]
    side = np.float32(family.anchor_scale * 2**level)
    return np.stack([(scales / ratios * side).ravel(), (scales * ratios * side).ravel()], axis=-1)


def anchor_centers(base: BaseModel, level: int) -> np.ndarray:
    """Where the cells have their centres, along the rows and along the columns alike: float32 [cells], pixels."""
    # A level whose stride does not divide the input (level 7 of 320 pixels) has its centres on the grid, not in the
    # middle of its cells: so the published models were trained.
    stride = 2**level
    offset = np.float32(stride / 2 if base.input_size % stride == 0 else 0)
    return np.arange(-(-base.input_size // stride), dtype=np.float32) * np.float32(stride) + offset
