"""A trained model or a published one, to be built anew as a detector: what measures or converts it takes no graph."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagemaker_object_detection.artifact.model_info import ModelInfo, read_model_info
from sagemaker_object_detection.artifact.restore import restore_detector
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.images.headers import SAMPLE_BITS
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.serving.published import COCO, published_detector
from sagemaker_object_detection.weights.sources import Weights


@dataclass(frozen=True, eq=False)
class RestoredModel:
    """What is known of a model before it is built; of a published one, that it tells COCO's classes apart."""

    weights: Weights
    info: ModelInfo | None
    """None for a published base model."""
    labels: Labels = COCO
    sample_bits: int = SAMPLE_BITS
    thresholds: tuple[float, ...] | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """As its own job ran with them."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of the data sets that its own job read, by channel."""

    @classmethod
    def of(cls, weights: Weights) -> "RestoredModel":
        """Raises UserError where its model_info.json describes no model."""
        if weights.artifact is None:
            return cls(weights, None)
        info = read_model_info(weights.artifact)
        return cls(
            weights, info, info.labels, info.sample_bits, info.thresholds, info.hyperparameters, info.fingerprints
        )

    def detector(self, number_format: str = "float32") -> Detector:
        """Built, with its weights. Raises UserError where these do not fit."""
        if self.info is None or self.weights.artifact is None:
            return published_detector(self.weights, number_format)
        return restore_detector(self.weights.artifact, self.info, number_format)
