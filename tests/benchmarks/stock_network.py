"""A base model's network, in our layers or in stock Keras ones: only the batch normalisation is another."""

import keras

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.models.layers import LayerFactory


def build(base: BaseModel, classes: int, *, stock: bool) -> Detector:
    """The network, at random weights. Stock: Keras's own batch normalisation, of the same momentum and epsilon."""

    def batch_norm(self: LayerFactory, name: str) -> keras.layers.Layer:
        momentum, epsilon = self.family.batch_norm_momentum, self.family.batch_norm_epsilon
        return keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name, dtype=self.dtype)

    ours = LayerFactory.batch_norm
    if stock:
        LayerFactory.batch_norm = batch_norm  # type: ignore[method-assign]
    try:
        return build_detector(base, classes)
    finally:
        LayerFactory.batch_norm = ours  # type: ignore[method-assign]
