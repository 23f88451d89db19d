"""Which epoch is the best by the objective, and when to stop waiting for a better one."""

import logging
from dataclasses import dataclass, replace

from sagemaker_object_detection.evaluation.evaluation import Evaluation
from sagemaker_object_detection.job import metrics
from sagemaker_object_detection.sentences import shown

log = logging.getLogger(__name__)

TOTAL_LOSS = "total_loss"


@dataclass(frozen=True)
class Objective:
    """A figure of the validation and the direction in which it gets better."""

    key: str
    maximize: bool

    def gain(self, new: float, old: float) -> float:
        """By how much `new` is better than `old`; negative where it is worse."""
        return new - old if self.maximize else old - new


def choose_objective(setting: str, tuning_objective: str | None, has_boxes: bool) -> Objective:
    """The hyperparameter `objective`, resolved.

    Auto is the tuner's objective inside a tuning job, else mAP. Without a single box in the validation set every mAP is
    undefined: total loss.
    """
    key = {"Auto": "mAP"}.get(setting, setting)
    if setting == "Auto" and tuning_objective is not None:
        known = metrics.objective_key(tuning_objective)
        if known in (None, "loss"):
            log.warning("The tuning job ranks by %s, which no validation gives: using mAP.", shown(tuning_objective))
        key = known if known not in (None, "loss") else "mAP"
    if not has_boxes and key != TOTAL_LOSS:
        log.warning("The validation set has no boxes, so %s says nothing: the objective is the total loss.", key)
        key = TOTAL_LOSS
    maximize = {metric.key for metric in metrics.METRICS if metric.direction == "Maximize"}
    return Objective(key, key in maximize)


@dataclass(frozen=True)
class Best:
    """The best epoch so far. `epoch` is -1 before the first; `waited` counts epochs without an improvement by more
    than `min_delta` over `reference`, the figure that last reset the count."""

    objective: Objective
    min_delta: float
    patience: int | None
    epoch: int = -1
    value: float = 0.0
    total_loss: float = 0.0
    reference: float = 0.0
    waited: int = 0

    def seen(self, epoch: int, evaluation: Evaluation) -> "Best":
        """The state after `epoch`. A better objective wins; on a tie the lower total loss does."""
        total = evaluation.total_loss
        value = total if self.objective.key == TOTAL_LOSS else evaluation.metrics[self.objective.key]
        if self.epoch < 0:
            return replace(self, epoch=epoch, value=value, total_loss=total, reference=value)
        improved = self.objective.gain(value, self.reference) > self.min_delta
        state = replace(self, reference=value, waited=0) if improved else replace(self, waited=self.waited + 1)
        if (self.objective.gain(value, self.value), self.total_loss - total) > (0.0, 0.0):
            state = replace(state, epoch=epoch, value=value, total_loss=total)
        return state

    @property
    def exhausted(self) -> bool:
        """Whether early stopping ends the training here."""
        return self.patience is not None and self.waited >= self.patience
