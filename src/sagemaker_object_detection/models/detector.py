"""The detector: backbone, feature pyramid and heads of one base model, for a number of classes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.geometry.anchors import anchors_per_cell, generate_anchors
from sagemaker_object_detection.models.backbones import efficientnet
from sagemaker_object_detection.models.backbones.mobilenet import mobilenet_v1, mobilenet_v2
from sagemaker_object_detection.models.backbones.resnet_v1 import resnet_v1
from sagemaker_object_detection.models.batch_norm import BatchNormalization
from sagemaker_object_detection.models.drop_connect import DropConnect
from sagemaker_object_detection.models.folding import fold_normalizations
from sagemaker_object_detection.models.heads import per_anchor, prediction_heads
from sagemaker_object_detection.models.layers import LayerFactory
from sagemaker_object_detection.models.pyramids import bidirectional_feature_pyramid, feature_pyramid

BACKBONES: dict[str, Callable[[LayerFactory, Any], list[Any]]] = {
    "resnet50": partial(resnet_v1, blocks=(3, 4, 6, 3)),
    "resnet101": partial(resnet_v1, blocks=(3, 4, 23, 3)),
    "resnet152": partial(resnet_v1, blocks=(3, 8, 36, 3)),
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    **{name: partial(efficientnet.efficientnet, version=version) for name, version in efficientnet.VERSIONS.items()},
}
"""By name; each builds the graph from images to the maps C2 or C3 to C5."""


class Predictions(NamedTuple):
    """What the heads say of every anchor, before any of it is a detection; float64 where all of the detector is."""

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
        classifier: keras.Model | None,
        pyramid: keras.Model,
        heads: keras.Model,
        towers: keras.Model,
        layers: LayerFactory,
    ) -> None:
        super().__init__(name="detector", dtype=layers.dtype)
        self.base = base
        self.num_classes = num_classes
        self.backbone = backbone
        """Images -> the maps C2 or C3 to C5."""
        self.classifier = classifier
        """What is left of the network the backbone was trained in; kept for its variables, never called."""
        self.pyramid = pyramid
        """The last three of those maps -> P3 .. P7."""
        self.heads = heads
        """P3 .. P7 -> box encodings, class logits."""
        self.towers = towers
        """The heads without their class predictor: P3 .. P7 -> box encodings, the class predictor's inputs."""
        self.moving_average = layers.moving_average
        self.noise = layers.noise
        self.anchors: np.ndarray = generate_anchors(base)
        """float32 [A, 4], ymin xmin ymax xmax, normalised."""

    def call(self, images: Any, training: bool = False) -> Predictions:
        return Predictions(*self.heads(self._levels(images, training), training=training))

    def after_backbone(self, maps: Sequence[Any]) -> Predictions:
        """The rest of a forward pass in inference, from the backbone's maps on."""
        return Predictions(*self.heads(self.pyramid(list(maps)[-3:], training=False), training=False))

    def features(self, images: Any, training: bool = False) -> list[Any]:
        """The forward pass up to the class predictor: box encodings [B, A, 4] as in `Predictions`, then that layer's
        inputs, [B, H, W, C] of every level."""
        return list(self.towers(self._levels(images, training), training=training))

    def predict_classes(self, features: Sequence[Any]) -> Predictions:
        """The rest of the forward pass."""
        box_encodings, *maps = features
        logits = self.heads.outputs[1]
        return Predictions(
            box_encodings, per_anchor([self.class_predictor(x) for x in maps], logits.shape[-1], logits.dtype)
        )

    def _levels(self, images: Any, training: bool) -> list[Any]:
        """P3 .. P7."""
        levels: list[Any] = self.pyramid(self.backbone(images, training=training)[-3:], training=training)
        return levels

    @property
    def feature_shapes(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each of one image's features."""
        return [(tuple(x.shape[1:]), x.dtype) for x in self.towers.outputs]

    @property
    def is_noisy(self) -> bool:
        """Whether training steps draw noise, so that the same image has other features each time."""
        return any(isinstance(layer, DropConnect) and layer.rate > 0.0 for part in self.parts for layer in part.layers)

    @property
    def class_predictor(self) -> keras.layers.Layer:
        """The layer whose variables depend on the number of classes."""
        return self.heads.get_layer("class_predictor")

    @property
    def parts(self) -> tuple[keras.Model, ...]:
        """What a prediction depends on."""
        return (self.backbone, self.pyramid, self.heads)

    @property
    def batch_norms(self) -> list[BatchNormalization]:
        return [layer for part in self.parts for layer in part.layers if isinstance(layer, BatchNormalization)]

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
        dtype: Keras dtype policy; predictions are float32 also under mixed precision, and float64 under "float64".
        seed: of the initial values.
    """
    family = base.family
    layers = LayerFactory(family, dtype, seed)

    with keras.name_scope("backbone"):
        images = layers.input((base.input_size, base.input_size, 3))
        backbone = keras.Model(images, BACKBONES[base.backbone](layers, images), name="backbone")
    classifier = None
    if (version := efficientnet.VERSIONS.get(base.backbone)) is not None:
        with keras.name_scope("classifier"):
            c5 = layers.input(backbone.outputs[-1].shape[1:])
            classifier = keras.Model(c5, efficientnet.classifier(layers, c5, version), name="classifier")
    with keras.name_scope("pyramid"):
        taps = [layers.input(tap.shape[1:]) for tap in backbone.outputs[-3:]]
        own = layers.for_part(family.pyramid_initializer, family.l2), taps, base.pyramid_depth
        repeats = base.bifpn_repeats
        levels = bidirectional_feature_pyramid(*own, repeats) if repeats else feature_pyramid(*own)
        pyramid = keras.Model(taps, levels, name="pyramid")
    with keras.name_scope("heads"):
        levels = [layers.input(level.shape[1:]) for level in pyramid.outputs]
        boxes, logits, class_maps = prediction_heads(
            layers.for_part(family.head_initializer, family.l2),
            levels,
            first_level=base.levels[0],
            depth=base.pyramid_depth,
            num_layers=base.head_layers,
            num_anchors=anchors_per_cell(family),
            num_columns=num_classes + family.background_column,
        )
        heads = keras.Model(levels, [boxes, logits], name="heads")
        towers = keras.Model(levels, [boxes, *class_maps], name="towers")
    for part in (backbone, pyramid, heads):
        fold_normalizations(part)
    return Detector(base, num_classes, backbone, classifier, pyramid, heads, towers, layers)
