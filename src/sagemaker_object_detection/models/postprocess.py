"""From predictions to detections: decoding, non-maximum suppression per class, and the frame of the original image."""

from typing import Any, NamedTuple

import tensorflow as tf

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.geometry.box_coder import decode_boxes
from sagemaker_object_detection.models.detector import Predictions

MAX_DETECTIONS = 100
"""Of an image, as COCO's evaluation counts them, unless more are asked for."""
_AT_ONCE = 100
"""Detections whose anchors are looked for at a time: for each, every anchor is held against it."""
SCORE_THRESHOLD = 1e-8
LOOKED_AT = 20
"""Anchors for each detection that suppression begins with, the best: with 90 classes it takes a third of the time."""


class Detections(NamedTuple):
    """The best detections of each image, best first; rows past `count` are 0."""

    boxes: Any
    """float32 [B, D, 4], ymin xmin ymax xmax; [0, 1] spans the image without its padding."""
    scores: Any
    """float32 [B, D]."""
    classes: Any
    """int32 [B, D], 0-based."""
    count: Any
    """int32 [B]."""
    anchor_indices: Any
    """int32 [B, D]: the anchor each detection was predicted at."""


def detections(
    predictions: Predictions, anchors: Any, true_shapes: Any, base: BaseModel, max_detections: int = MAX_DETECTIONS
) -> Detections:
    """The detections in each image of a batch. Made of operations that TensorFlow Serving has had since 1.15.

    The best anchors are looked at first. If they do not settle the matter for every image, all are; the result is the
    same, but for the order of equal scores.

    1. Decode the boxes; they may reach outside the image and are not clipped yet.
    2. Per class, drop every box that overlaps a better one by more than `family.nms_iou`; keep D.
    3. Over all classes, best first: clip to the true image, drop what has no area left, keep D.
    4. Move to the frame of the true image, which excludes the padding of the network input.

    Args:
        predictions: of B images.
        anchors: float32 [A, 4], ymin xmin ymax xmax, normalised by the input size.
        true_shapes: int32 [B, 3], height, width and channels of each image inside the network input.
        base: for the input size, the box code and the threshold.
        max_detections: D.
    """
    raw_boxes = decode_boxes(predictions.box_encodings, tf.convert_to_tensor(anchors), base.family.box_code_scale)
    raw_scores = tf.sigmoid(predictions.class_logits)[..., base.family.background_column :]  # [B, A, classes]
    size = tf.cast(true_shapes[:, :2], tf.float32) / base.input_size
    frame = tf.concat([size, size], axis=-1)[:, None, :]

    def best_of_all() -> Detections:
        return _best(raw_boxes, raw_scores, frame, base.family.nms_iou, max_detections)

    looked_at = LOOKED_AT * max_detections
    if raw_boxes.shape[1] <= looked_at:
        return best_of_all()
    # Suppression takes boxes by falling score, and drops one only for a better one. So if D detections come of the best
    # anchors, all of them better than any other anchor could be, they are the D best of all.
    of_anchors = tf.reduce_max(raw_scores, axis=2)  # [B, A]
    least, places = tf.math.top_k(of_anchors, looked_at, sorted=False)
    # Equal scores stay in the order of the anchors. As floats, which hold them exactly: a GPU negates no integers.
    places = tf.cast(tf.sort(tf.cast(places, tf.float32), axis=1), tf.int32)
    boxes, scores = (tf.gather(rows, places, batch_dims=1) for rows in (raw_boxes, raw_scores))
    found = _best(boxes, scores, frame, base.family.nms_iou, max_detections)
    found = found._replace(anchor_indices=tf.gather(places, found.anchor_indices, batch_dims=1))
    sure = (found.count == max_detections) & (found.scores[:, -1] > tf.reduce_min(least, axis=1))
    return Detections(*tf.cond(tf.reduce_all(sure), lambda: tuple(found), lambda: tuple(best_of_all())))


def _best(raw_boxes: Any, raw_scores: Any, frame: Any, nms_iou: float, max_detections: int) -> Detections:
    """Steps 2 to 4 of `detections`, of boxes [B, A, 4] and scores [B, A, classes]; frame: [B, 1, 4], of each image."""
    with tf.device("CPU:0"):  # no GPU can
        boxes, scores, classes, valid = tf.image.combined_non_max_suppression(
            raw_boxes[:, :, None, :],
            raw_scores,
            max_output_size_per_class=max_detections,
            # All of them, because step 3 may drop any number before it keeps D.
            max_total_size=max_detections * raw_scores.shape[-1],
            iou_threshold=nms_iou,
            score_threshold=SCORE_THRESHOLD,
            clip_boxes=False,
        )
    clipped = tf.clip_by_value(boxes, 0.0, frame)
    area = (clipped[..., 2] - clipped[..., 0]) * (clipped[..., 3] - clipped[..., 1])
    keep = (tf.range(tf.shape(scores)[1]) < valid[:, None]) & (area > 0.0)
    # top_k puts the first of equals first, so that the order of the suppression stays.
    _, order = tf.math.top_k(tf.where(keep, scores, -1.0), max_detections)
    kept = tf.gather(keep, order, batch_dims=1)

    scores = tf.gather(scores, order, batch_dims=1)
    classes = tf.cast(tf.gather(classes, order, batch_dims=1), tf.int32)
    anchor_indices = _find_anchors(tf.gather(boxes, order, batch_dims=1), scores, classes, raw_boxes, raw_scores)
    return Detections(
        boxes=tf.where(kept[..., None], tf.gather(clipped, order, batch_dims=1) / frame, 0.0),
        scores=tf.where(kept, scores, 0.0),
        classes=tf.where(kept, classes, 0),
        count=tf.reduce_sum(tf.cast(kept, tf.int32), axis=1),
        anchor_indices=tf.where(kept, anchor_indices, 0),
    )


def _find_anchors(boxes: Any, scores: Any, classes: Any, raw_boxes: Any, raw_scores: Any) -> Any:
    """The anchors that boxes [B, N, 4] came from, int32 [B, N]: the suppression returns boxes, not indices.

    A detection's box and score are bitwise those of its anchor. Where several anchors have the same of both, the first
    is the one the suppression kept. More than _AT_ONCE detections are taken in rounds: in one go they fill gigabytes.
    """
    count = boxes.shape[1]
    if count > _AT_ONCE:
        rounds = -(-count // _AT_ONCE)

        def in_rounds(rows: Any) -> Any:
            """[B, N, ...] to [rounds, B, _AT_ONCE, ...]."""
            padding = [[0, 0], [0, rounds * _AT_ONCE - count]] + [[0, 0]] * (len(rows.shape) - 2)
            return tf.stack(tf.split(tf.pad(rows, padding), rounds, axis=1))

        def of_round(part: tuple[Any, Any, Any]) -> Any:
            return _find_anchors(part[0], part[1], part[2], raw_boxes, raw_scores)

        parts = (in_rounds(boxes), in_rounds(scores), in_rounds(classes))
        found = tf.map_fn(of_round, parts, fn_output_signature=tf.int32, parallel_iterations=1)
        return tf.concat(tf.unstack(found, num=rounds), axis=1)[:, :count]
    class_columns = tf.gather(tf.transpose(raw_scores, [0, 2, 1]), classes, batch_dims=1)  # [B, N, A]
    same = class_columns == scores[..., None]
    for corner in range(4):
        same &= boxes[:, :, None, corner] == raw_boxes[:, None, :, corner]
    return tf.argmax(tf.cast(same, tf.float32), axis=-1, output_type=tf.int32)  # a GPU finds no integer's
