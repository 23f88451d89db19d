"""Boxes relative to anchors, as Faster R-CNN encodes them (Ren et al., 2015, equation 2), times fixed scales.

ty = (y - ya) / ha * sy,  tx = (x - xa) / wa * sx,  th = ln(h / ha) * sh,  tw = ln(w / wa) * sw
"""

from typing import Any

from keras import ops

# Keeps the logarithm of an empty box finite.
_EPSILON = 1e-8


def encode_boxes(boxes: Any, anchors: Any, scale: tuple[float, float, float, float]) -> Any:
    """Encodings of boxes relative to their anchors.

    Args:
        boxes: float32 [..., A, 4], ymin xmin ymax xmax.
        anchors: float32 [A, 4], of the same coordinates.
        scale: sy, sx, sh, sw.

    Returns:
        float32 [..., A, 4]: ty, tx, th, tw.
    """
    y, x, height, width = center_and_size(boxes)
    anchor_y, anchor_x, anchor_height, anchor_width = center_and_size(anchors)
    height, width = height + _EPSILON, width + _EPSILON
    anchor_height, anchor_width = anchor_height + _EPSILON, anchor_width + _EPSILON
    encodings = (
        (y - anchor_y) / anchor_height * scale[0],
        (x - anchor_x) / anchor_width * scale[1],
        ops.log(height / anchor_height) * scale[2],
        ops.log(width / anchor_width) * scale[3],
    )
    return ops.stack(encodings, axis=-1)


def decode_boxes(encodings: Any, anchors: Any, scale: tuple[float, float, float, float]) -> Any:
    """The inverse of `encode_boxes`, not clipped to the image: float32 [..., A, 4], ymin xmin ymax xmax."""
    anchor_y, anchor_x, anchor_height, anchor_width = center_and_size(anchors)
    half_height = ops.exp(encodings[..., 2] / scale[2]) * anchor_height / 2.0
    half_width = ops.exp(encodings[..., 3] / scale[3]) * anchor_width / 2.0
    y = encodings[..., 0] / scale[0] * anchor_height + anchor_y
    x = encodings[..., 1] / scale[1] * anchor_width + anchor_x
    return ops.stack((y - half_height, x - half_width, y + half_height, x + half_width), axis=-1)


def center_and_size(boxes: Any) -> tuple[Any, Any, Any, Any]:
    """y, x, height and width, each [..., N]."""
    height = boxes[..., 2] - boxes[..., 0]
    width = boxes[..., 3] - boxes[..., 1]
    return boxes[..., 0] + height / 2.0, boxes[..., 1] + width / 2.0, height, width
