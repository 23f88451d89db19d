"""Prediction heads: towers of convolutions, shared by all levels, and a predictor each for boxes and classes."""

import math
from typing import Any

from keras import ops

from sagemaker_object_detection.models.layers import LayerFactory

# Initial probability of a class about 1 %: sigmoid(-4.6). Keeps the first steps' focal loss from being all background
# (Lin et al., "Focal Loss for Dense Object Detection", 4.1).
_CLASS_BIAS = -4.6


def tower_names(shared: bool) -> tuple[str, ...]:
    """The towers' names: one that feeds both predictors, or one for boxes and one for classes."""
    return ("tower",) if shared else ("box_tower", "class_tower")


def prediction_heads(
    layers: LayerFactory,
    levels: list[Any],
    *,
    first_level: int,
    depth: int,
    num_layers: int,
    num_anchors: int,
    num_columns: int,
) -> tuple[Any, Any, list[Any]]:
    """Builds the graph from the pyramid to the predictions of every anchor.

    The convolutions' kernels are shared by all levels; their batch normalisations are not, because the levels'
    statistics differ.

    Args:
        levels: maps [B, H, W, C], finest first.
        first_level: the number of the finest one.
        depth: channels of a tower's layers.
        num_layers: of a tower.
        num_anchors: anchors per cell.
        num_columns: class logits per anchor.

    Returns:
        Box encodings [B, A, 4] and class logits [B, A, num_columns], of the weights' dtype; anchors ordered by level,
        row, column and position in the cell. And what the class predictor is called with: maps [B, H, W, depth].
    """
    names = tower_names(layers.family.shared_tower)
    towers = {
        name: [layers.normed_convolution(f"{name}_{number}", depth) for number in range(num_layers)] for name in names
    }
    box_predictor = layers.predictor("box_predictor", num_anchors * 4, bias=0.0)
    class_predictor = layers.predictor("class_predictor", num_anchors * num_columns, bias=_CLASS_BIAS)

    def tower(name: str, level: int, x: Any) -> Any:
        for number, convolution in enumerate(towers[name]):
            x = layers.activate(layers.batch_norm(f"{name}_{number}_level_{level}_norm")(convolution(x)))
        return x

    outputs = [[tower(name, level, x) for name in names] for level, x in enumerate(levels, first_level)]
    class_maps = [found[-1] for found in outputs]
    dtype = layers.dtype.variable_dtype
    boxes = per_anchor([box_predictor(found[0]) for found in outputs], 4, dtype)
    return boxes, per_anchor([class_predictor(x) for x in class_maps], num_columns, dtype), class_maps


def per_anchor(maps: list[Any], columns: int, dtype: str) -> Any:
    """A predictor's outputs, [B, H, W, anchors * columns] of every level, as [B, A, columns]."""
    rows = [ops.reshape(x, (-1, math.prod(x.shape[1:]) // columns, columns)) for x in maps]
    return ops.cast(ops.concatenate(rows, axis=1), dtype)
