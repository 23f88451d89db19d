"""The detector: backbone, feature pyramid and heads of one base model, for a number of classes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.geometry.anchors import anchors_per_cell, generate_anchors
from sagemaker_object_detection.models.backbones.mobilenet_v2 import mobilenet_v2
from sagemaker_object_detection.models.batch_norm import BatchNormalization, MovingAverage
from sagemaker_object_detection.models.fpn import feature_pyramid
from sagemaker_object_detection.models.heads import prediction_heads
from sagemaker_object_detection.models.layers import LayerFactory

_BACKBONES: dict[str, Callable[[LayerFactory, Any], list[Any]]] = {"mobilenet_v2_fpnlite": mobilenet_v2}


class Predictions(NamedTuple):
    """What the heads say of every anchor, before any of it is a detection."""

    box_encodings: Any
    """float32 [B, A, 4]: ty, tx, th, tw (geometry/box_coder.py)."""
    class_logits: Any
    """float32 [B, A, K]: one column per class, after a background column where the family has one."""


class Detector(keras.Model):
    """Normalised images float32 [B, S, S, 3] -> Predictions. Made by `build_detector`."""

    def __init__(
        self,
        base: BaseModel,
        num_classes: int,
        backbone: keras.Model,
        pyramid: keras.Model,
        heads: keras.Model,
        moving_average: MovingAverage,
        dtype: keras.DTypePolicy,
    ) -> None:
        super().__init__(name="detector", dtype=dtype)
        self.base = base
        self.num_classes = num_classes
        self.backbone = backbone
        """Images -> the maps C2, C3, C4, C5."""
        self.pyramid = pyramid
        """The last three of those maps -> P3 .. P7."""
        self.heads = heads
        """P3 .. P7 -> box encodings, class logits."""
        self.moving_average = moving_average
        self.anchors: np.ndarray = generate_anchors(base)
        """float32 [A, 4], ymin xmin ymax xmax, normalised."""

    def call(self, images: Any, training: bool = False) -> Predictions:
        taps = self.backbone(images, training=training)
        levels = self.pyramid(taps[-3:], training=training)
        return Predictions(*self.heads(levels, training=training))

    @property
    def class_predictor(self) -> keras.layers.Layer:
        """The layer whose variables depend on the number of classes."""
        return self.heads.get_layer("class_predictor")

    @property
    def batch_norms(self) -> list[BatchNormalization]:
        parts: Sequence[keras.Model] = (self.backbone, self.pyramid, self.heads)
        return [layer for part in parts for layer in part.layers if isinstance(layer, BatchNormalization)]

    @property
    def regularized_kernels(self) -> list[keras.Variable]:
        """The variables whose squares the regularisation term sums; each carries its regularizer."""
        return [variable for variable in self.weights if variable.regularizer is not None]


def build_detector(base: BaseModel, num_classes: int, *, dtype: str = "float32", seed: int = 0) -> Detector:
    """Builds a detector with initial values drawn from `seed`.

    Variables' paths ("backbone/block_3_expand/kernel") are the same in every process and for every detector of a
    family: they name the variables in an artifact.

    Args:
        base: the base model.
        num_classes: classes to tell apart, without the background.
        dtype: Keras dtype policy; predictions are float32 under any.
        seed: of the initial values.
    """
    family = base.family
    layers = LayerFactory(family, dtype, seed)

    with keras.name_scope("backbone"):
        images = layers.input((base.input_size, base.input_size, 3))
        backbone = keras.Model(images, _BACKBONES[family.name](layers, images), name="backbone")
    with keras.name_scope("pyramid"):
        taps = [layers.input(tap.shape[1:]) for tap in backbone.outputs[-3:]]
        pyramid = keras.Model(taps, feature_pyramid(layers, taps), name="pyramid")
    with keras.name_scope("heads"):
        levels = [layers.input(level.shape[1:]) for level in pyramid.outputs]
        num_columns = num_classes + family.background_column
        outputs = prediction_heads(layers, levels, base.levels[0], anchors_per_cell(family), num_columns)
        heads = keras.Model(levels, outputs, name="heads")
    return Detector(base, num_classes, backbone, pyramid, heads, layers.moving_average, layers.dtype)
