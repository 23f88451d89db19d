"""The loss a detector is trained with: smooth L1 on box encodings, focal loss on class logits, L2 on kernels."""

from typing import Any, NamedTuple

from keras import ops

from sagemaker_object_detection.catalogue import Family
from sagemaker_object_detection.models.detector import Detector, Predictions
from sagemaker_object_detection.models.targets import Targets


class DetectionLosses(NamedTuple):
    """Sums over each image's anchors, not normalised; [B], of the predictions' dtype.

    `batch_terms` makes the reference's two loss terms of them.
    """

    localization: Any
    classification: Any
    matched: Any
    """Sum of the weights of the anchors that are not background."""


def detection_losses(predictions: Predictions, targets: Targets, family: Family) -> DetectionLosses:
    """The two data terms of each image; `predictions` and `targets` as their classes document them."""
    dtype = predictions.box_encodings.dtype
    targets = targets._replace(
        **{name: ops.cast(getattr(targets, name), dtype) for name in ("class_weights", "box_targets", "box_weights")}
    )
    return DetectionLosses(
        localization=ops.sum(localization_per_anchor(predictions, targets), axis=1),
        classification=ops.sum(classification_per_anchor(predictions, targets, family), axis=1),
        matched=ops.sum(targets.box_weights, axis=1),
    )


def batch_terms(losses: DetectionLosses, image_weights: Any, matched: Any = None) -> tuple[Any, Any]:
    """Localization and classification loss of a batch, scalars: the sums over its anchors, divided by the matches.

    Args:
        losses: of B images.
        image_weights: float32 [B], 0 for an image that only fills up the batch.
        matched: the matches of the batch that these images are a part of; the terms of all parts then add up to the
            batch's. None: these images are all of it.
    """
    image_weights = ops.cast(image_weights, losses.matched.dtype)
    if matched is None:
        matched = ops.sum(losses.matched * image_weights)
    matched = ops.maximum(1.0, ops.cast(matched, losses.matched.dtype))
    localization = ops.sum(losses.localization * image_weights) / (4.0 * matched)
    return localization, ops.sum(losses.classification * image_weights) / matched


def localization_per_anchor(predictions: Predictions, targets: Targets) -> Any:
    """Huber loss with delta 1, summed over the four encodings and weighted: float32 [B, A]."""
    error = ops.abs(predictions.box_encodings - targets.box_targets)
    # min(e, 1) * (e - min(e, 1) / 2) is e * e / 2 below 1 and e - 1 / 2 above.
    bounded = ops.minimum(error, 1.0)
    return ops.sum(bounded * (error - 0.5 * bounded), axis=-1) * targets.box_weights


def classification_per_anchor(predictions: Predictions, targets: Targets, family: Family) -> Any:
    """Sigmoid focal loss (Lin et al., 2017), summed over the columns and weighted: float32 [B, A].

    Background anchors have target 0 in every column, the background's own included.
    """
    logits = predictions.class_logits
    columns = ops.arange(logits.shape[-1], dtype="int64")
    # Background's -1 becomes 0 where a background column stands before the classes: it must not become its target.
    classes = ops.cast(targets.class_targets, "int64")
    background = ops.cast(family.background_column, "int64")
    target_columns = ops.where(classes >= 0, classes + background, ops.cast(-1, "int64"))
    # Products in place of choices: TensorFlow computes those, and their gradients, much slower. They are exact for an
    # alpha of 0.25, which every family has.
    positive = ops.cast(target_columns[..., None] == columns, logits.dtype)
    # With z the logit, negated for a positive target, the cross entropy is softplus(z) and 1 - p_t is sigmoid(z).
    z = logits * (1.0 - 2.0 * positive)
    # Any other power of the sigmoid by its logarithm, which is -softplus(-z).
    gamma = family.focal_gamma
    focus = ops.square(ops.sigmoid(z)) if gamma == 2.0 else ops.exp(-gamma * ops.softplus(-z))
    alpha = (1.0 - family.focal_alpha) - (1.0 - 2.0 * family.focal_alpha) * positive
    return ops.sum(alpha * focus * ops.softplus(z), axis=-1) * targets.class_weights


def regularization_loss(detector: Detector, l2: float | None = None) -> Any:
    """Sum over the regularised kernels of coefficient * sum(w ** 2), a scalar.

    Args:
        l2: the coefficient of every kernel; None for the model's own.
    """
    terms = [
        variable.regularizer(variable) if l2 is None else l2 * ops.sum(ops.square(variable))
        for variable in detector.regularized_kernels
    ]
    return ops.sum(ops.stack(terms))
