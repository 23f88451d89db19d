"""Prediction heads: one tower of convolutions, shared by all levels and by both predictors."""

from typing import Any

from keras import ops

from sagemaker_object_detection.models.layers import LayerFactory

# Initial probability of a class about 1 %: sigmoid(-4.6). Keeps the first steps' focal loss from being all background
# (Lin et al., "Focal Loss for Dense Object Detection", 4.1).
_CLASS_BIAS = -4.6


def prediction_heads(
    layers: LayerFactory, levels: list[Any], first_level: int, num_anchors: int, num_columns: int
) -> list[Any]:
    """Builds the graph from the pyramid to the predictions of every anchor.

    The convolutions' kernels are shared by all levels; their batch normalisations are not, because the levels'
    statistics differ.

    Args:
        levels: maps [B, H, W, C], finest first.
        first_level: the number of the finest one.
        num_anchors: anchors per cell.
        num_columns: class logits per anchor.

    Returns:
        Box encodings [B, A, 4] and class logits [B, A, num_columns], float32; anchors ordered by level, row, column and
        position in the cell.
    """
    family = layers.family
    tower = [
        layers.separable_convolution(f"tower_{number}", family.pyramid_depth) for number in range(family.head_layers)
    ]
    box_predictor = layers.separable_predictor("box_predictor", num_anchors * 4, bias=0.0)
    class_predictor = layers.separable_predictor("class_predictor", num_anchors * num_columns, bias=_CLASS_BIAS)

    boxes, logits = [], []
    for level, x in enumerate(levels, first_level):
        for number, convolution in enumerate(tower):
            x = ops.relu6(layers.batch_norm(f"tower_{number}_level_{level}_norm")(convolution(x)))
        count = x.shape[1] * x.shape[2] * num_anchors
        boxes.append(ops.reshape(box_predictor(x), (-1, count, 4)))
        logits.append(ops.reshape(class_predictor(x), (-1, count, num_columns)))
    return [ops.cast(ops.concatenate(parts, axis=1), "float32") for parts in (boxes, logits)]
