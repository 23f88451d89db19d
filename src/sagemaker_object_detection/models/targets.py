"""What every anchor should predict: ground-truth boxes assigned to anchors.

Indices and classes are int64: TensorFlow computes with int32 on the host, and on a GPU all of them would cross the bus,
there and back, in every step.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from sagemaker_object_detection.catalogue import Family
from sagemaker_object_detection.geometry.anchors import MATCH_IOU
from sagemaker_object_detection.geometry.box_coder import encode_boxes
from sagemaker_object_detection.geometry.iou import pairwise_intersection, pairwise_iou

IGNORED_SHARE = 0.5
"""Of an anchor, in an ignored region, from which on it does not learn background. COCO's evaluation counts a detection
with half of itself in a crowd as no mistake at IoU 0.5, and the model is not to learn what it is not judged by."""


class Targets(NamedTuple):
    """Targets of every anchor; B images, A anchors."""

    matches: Any
    """int64 [B, A]: row of the ground truth the anchor is responsible for, -1 for background."""
    class_targets: Any
    """int64 [B, A]: 0-based class, -1 for background."""
    class_weights: Any
    """float32 [B, A]: 1 for background, 0 for that in an ignored region, else the ground truth's weight."""
    box_targets: Any
    """float32 [B, A, 4]: ty, tx, th, tw; 0 for background."""
    box_weights: Any
    """float32 [B, A]: 0 for background, else the ground truth's weight."""


def assign_targets(
    anchors: Any, boxes: Any, classes: Any, box_weights: Any, family: Family, regions: Any = None
) -> Targets:
    """Assigns ground truth to anchors.

    1. Each anchor takes the box it overlaps most (the first of equals) if their IoU is at least 0.5.
    2. Each box of positive weight takes the anchor that overlaps it most (the first of equals), even at IoU 0, so that
       no object goes unlearned. This overrides rule 1; of several boxes that pick one anchor, the first gets it.
    3. All other anchors are background. Those of which IGNORED_SHARE or more lies in one ignored region, of whatever
       class, have weight 0: what is there is not known.

    Args:
        anchors: float32 [A, 4], ymin xmin ymax xmax, normalised.
        boxes: float32 [B, G, 4], likewise. Padding rows are empty boxes, which overlap nothing.
        classes: int [B, G], 0-based.
        box_weights: float32 [B, G]; 0 marks a padding row. A box of weight 0 still takes anchors by rule 1.
        family: for the scale of the box encodings.
        regions: float32 [B, R, 4], as `boxes`, with padding rows; None for R = 0.
    """
    anchors = ops.convert_to_tensor(anchors, "float32")
    boxes = ops.convert_to_tensor(boxes, "float32")
    classes, background = ops.cast(classes, "int64"), ops.cast(-1, "int64")
    iou = pairwise_iou(boxes, anchors)
    matches = ops.where(ops.max(iou, axis=1) >= MATCH_IOU, _argmax(iou, axis=1), background)
    forced = _forced_matches(_argmax(iou, axis=2), box_weights > 0, anchors.shape[0])
    matches = ops.where(forced >= 0, forced, matches)

    matched = matches >= 0
    rows = _flat_rows(ops.maximum(matches, 0), ops.shape(boxes)[1])
    weights = ops.take(ops.reshape(ops.cast(box_weights, "float32"), (-1,)), rows)
    encodings = encode_boxes(ops.take(ops.reshape(boxes, (-1, 4)), rows, axis=0), anchors, family.box_code_scale)
    return Targets(
        matches=matches,
        class_targets=ops.where(matched, ops.take(ops.reshape(classes, (-1,)), rows), background),
        class_weights=ops.where(matched, weights, _background_weights(anchors, regions)),
        box_targets=encodings * ops.cast(matched, "float32")[..., None],  # much faster than a choice
        box_weights=ops.where(matched, weights, 0.0),
    )


def _background_weights(anchors: Any, regions: Any) -> Any:
    """Of anchors that no box is assigned to: float32 [B, A], or 1 if there are no regions."""
    if regions is None or regions.shape[1] == 0:
        return 1.0
    inside = ops.clip(anchors, 0.0, 1.0)  # a detection ends where the image does
    area = (inside[:, 2] - inside[:, 0]) * (inside[:, 3] - inside[:, 1])
    share = pairwise_intersection(ops.convert_to_tensor(regions, "float32"), inside)
    ignored = ops.any((share >= IGNORED_SHARE * area) & (share > 0.0), axis=1)
    return 1.0 - ops.cast(ignored, "float32")


def _argmax(values: Any, axis: int) -> Any:
    """Place of the largest value, the first of equals, int64."""
    if keras.backend.backend() != "tensorflow":
        return ops.cast(ops.argmax(values, axis=axis), "int64")
    # Keras's own looks for negative zeros first, with int32.
    import tensorflow as tf

    return tf.argmax(values, axis=axis, output_type=tf.int64)


def _forced_matches(best_anchors: Any, valid: Any, num_anchors: int) -> Any:
    """The box that each anchor is forced on, or -1: int64 [B, num_anchors].

    Args:
        best_anchors: int64 [B, G], the anchor each box picks.
        valid: bool [B, G], whether the box may pick.
    """
    count = ops.shape(best_anchors)[1]
    # [B, G, G]: does an earlier valid box pick the same anchor? [B, G, A] would be much larger.
    same_pick = best_anchors[:, :, None] == best_anchors[:, None, :]
    rows = ops.arange(count, dtype="int64")
    earlier = rows[None, :] < rows[:, None]
    taken = ops.any(same_pick & earlier & valid[:, None, :], axis=2)
    winners = valid & ~taken
    # Winners have an anchor each to themselves, so that the scattered sum of row + 1 is one row + 1, or 0.
    values = ops.where(winners, ops.arange(1, count + 1, dtype="int64"), ops.cast(0, "int64"))
    images = ops.shape(best_anchors)[0]
    flat = ops.reshape(_flat_rows(best_anchors, num_anchors), (-1, 1))
    scattered = ops.scatter(flat, ops.reshape(values, (-1,)), (images * num_anchors,))
    return ops.reshape(scattered, (-1, num_anchors)) - 1


def _flat_rows(indices: Any, rows_per_image: int) -> Any:
    """Indices [B, N] into the rows of each image, as indices into the rows of all images laid end to end."""
    images = ops.arange(ops.shape(indices)[0], dtype="int64")
    return indices + images[:, None] * ops.cast(rows_per_image, "int64")
