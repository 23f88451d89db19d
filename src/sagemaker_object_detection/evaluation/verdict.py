"""What is to be said of a model by what its validation measured: that it collapsed, that it finds nothing, and why."""

from sagemaker_object_detection.evaluation.evaluation import Evaluation
from sagemaker_object_detection.hyperparameters.read import Hyperparameters

SAME_SCORES = 0.01
"""Of the variance of scores; below it, and a fifth of what it was at first, they hardly depend on the image. Healthy
models had 0.07 to 0.7, collapsed ones less than 0.001."""
DEAD_CHANNELS = 0.3
"""More than before training. Where that many had died, mAP was worse than with the recipe."""
WORSE_LOCALIZATION = 1.25
"""Times the localization loss before training: loaded weights place boxes on anything."""
NEXT_TO_NOTHING = 0.05
"""A mean average precision at IoU 0.5, below which nobody could use a model."""


def collapse(now: Evaluation, start: Evaluation | None) -> list[str]:
    """The signs that what was loaded is being destroyed; none if nothing was loaded, or if it was not measured.
    `start`: of the weights that training started from."""
    if start is None:
        return []
    signs = []
    if now.spread is not None and now.spread < min(SAME_SCORES, (start.spread or 0.0) / 5):
        signs.append("its scores hardly depend on the image")
    dead, first = now.dead_channels or 0.0, start.dead_channels or 0.0
    if dead - first > DEAD_CHANNELS:
        signs.append(f"{dead:.0%} of the backbone's channels are dead ({first:.0%} at first)")
    place, before = (each.metrics["localization_loss"] for each in (now, start))
    if place > WORSE_LOCALIZATION * before:
        signs.append(f"it places boxes worse than before training (localization loss {place:.3g}, {before:.3g} then)")
    return signs


def finds_nothing(now: Evaluation) -> bool:
    """Whether next to nothing is found where there is something."""
    return now.metrics.get("mAP_50", 1.0) < NEXT_TO_NOTHING


def collapse_advice(hyperparameters: Hyperparameters) -> str:
    """What to change; hyperparameters without Auto."""
    h = hyperparameters
    if h.train_only_on_top_layer:
        return (
            f"the class predictor alone was trained, at too high a rate: set learning_rate to {h.learning_rate / 10:g}"
        )
    if h.relative_learning_rate == 1.0:
        return (
            f"a learning_rate of {h.learning_rate:g} is too high for layers that were loaded: leave recipe and "
            f"relative_learning_rate at Auto, or set learning_rate to {h.learning_rate / 10:g}"
        )
    if not h.freeze_batch_norm:
        return f"batch normalization follows {h.batch_size} images a step: set freeze_batch_norm to True"
    lower = (h.relative_learning_rate or 0.0) / 3
    return f"the steps of loaded layers are too large: set relative_learning_rate to {lower:.2g}"


def _nothing_advice(hyperparameters: Hyperparameters, *, loaded: bool) -> str:
    """What to change where no collapse is the cause; hyperparameters without Auto."""
    h = hyperparameters
    if not loaded:
        return "random weights need many more epochs: start from trained ones if you can"
    if h.train_only_on_top_layer:
        return "the top layer alone cannot tell these classes apart: set train_only_on_top_layer to False"
    return (
        f"set passes_per_epoch above {h.passes_per_epoch}, raise learning_rate and relative_learning_rate if the loss "
        "falls slowly, and look at the boxes in the pictures"
    )


def sentence(
    now: Evaluation, start: Evaluation | None, hyperparameters: Hyperparameters, *, loaded: bool
) -> str | None:
    """What is wrong with the model whose validation this is, and what to do; None where nothing is."""
    signs = collapse(now, start)
    if signs:
        return f"The model has collapsed: {'; '.join(signs)}. The cause: {collapse_advice(hyperparameters)}."
    if finds_nothing(now):
        return (
            f"The model finds next to nothing (mAP@0.5 {now.metrics['mAP_50']:.3f}): it is of no use yet. "
            f"What to do: {_nothing_advice(hyperparameters, loaded=loaded)}."
        )
    return None


def shy(now: Evaluation) -> bool:
    """Whether a good model's scores stay low, as focal loss makes them: a threshold of 0.5 would hide all it finds."""
    return "mAP" in now.metrics and now.confident_images == 0 and not finds_nothing(now)
