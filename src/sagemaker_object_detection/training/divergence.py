"""Ends a job that has diverged, in a sentence that names epoch, step, learning rate and images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sagemaker_object_detection.dataset.pipeline import Order
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.evaluation.evaluation import Evaluation
from sagemaker_object_detection.sentences import listed

EXPLOSION = 1e4
"""A loss this many times the first step's never recovered in our runs; the built-in trained on with 942796.3."""


@dataclass(frozen=True)
class DivergenceCheck:
    """Looks at losses and weights, and knows what its sentences name.

    A limit is what a loss may come to; None before the first.

    order: of the training images, whose names are `file_names`.
    """

    learning_rate: float
    order: Order
    file_names: Sequence[str]

    def check_losses(self, losses: Sequence[float], limit: float | None, *, epoch: int, step: int) -> float | None:
        """Looks at the losses of consecutive steps, the first of which is `step` of the whole run; returns the limit.

        Raises:
            UserError: one is not finite, or above the limit.
        """
        for number, loss in enumerate(losses, step):
            if limit is None and math.isfinite(loss):
                limit = EXPLOSION * max(loss, 1.0)
            if _is_bad(loss, limit):
                images = listed([self.file_names[index] for index in self.order.batch(number)])
                raise self._diverged(f"the loss became {loss:g} in epoch {epoch}, step {number}, on images {images}")
        return limit

    def check_validation(self, evaluation: Evaluation, limit: float | None, when: str) -> None:
        """A network can blow up in inference mode alone: its moving statistics lag behind its weights."""
        for key, value in {**evaluation.metrics, "total_loss": evaluation.total_loss}.items():
            if _is_bad(value, limit):
                raise self._diverged(f"{key} of the validation became {value:g} {when}")

    def check_weights(self, weights: Sequence[np.ndarray], *, epoch: int) -> None:
        """The last step's update comes after its loss, so that no loss vouches for it."""
        if not all(np.isfinite(value).all() for value in weights):
            raise self._diverged(f"weights are no longer finite after epoch {epoch}")

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"training diverged at learning_rate {self.learning_rate:g}: {what}; expected a finite loss that falls. "
            "Lower learning_rate (a tenth is a good next try), or regularizers_l2 where it was raised, and keep "
            "beta_1, beta_2 and momentum below 1 and epsilon above 0, and begin with an empty checkpoint folder; no "
            "model was saved"
        )


def _is_bad(loss: float, limit: float | None) -> bool:
    return not math.isfinite(loss) or (limit is not None and loss > limit)
