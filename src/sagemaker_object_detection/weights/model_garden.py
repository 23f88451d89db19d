"""What the Model Garden's checkpoints call a detector's variables.

The published object-based checkpoints name a variable by the path of Python attributes that leads to it, so that the
keys follow the reference's source rather than a layer's purpose. This is the rule for each part, seen in the index
files of the published checkpoints.
"""

from collections.abc import Iterator

import keras

from sagemaker_object_detection.models.detector import Detector

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

_PYRAMID = {
    "lateral_5": "_fpn_features_generator/top_layers/0",
    "lateral_4": "_fpn_features_generator/residual_blocks/0/0",
    "lateral_3": "_fpn_features_generator/residual_blocks/1/0",
    "smooth_4": "_fpn_features_generator/conv_layers/0/0",
    "smooth_4_norm": "_fpn_features_generator/conv_layers/0/1",
    "smooth_3": "_fpn_features_generator/conv_layers/1/0",
    "smooth_3_norm": "_fpn_features_generator/conv_layers/1/1",
    "coarse_6": "_coarse_feature_layers/0/0",
    "coarse_6_norm": "_coarse_feature_layers/0/1",
    "coarse_7": "_coarse_feature_layers/1/0",
    "coarse_7_norm": "_coarse_feature_layers/1/1",
}
_BOX_PREDICTOR = "_box_prediction_head/_box_encoder_layers/0"
_CLASS_PREDICTOR = "_prediction_heads/class_predictions_with_background/_class_predictor_layers/0"


def checkpoint_variables(detector: Detector) -> dict[str, keras.Variable]:
    """Checkpoint key -> variable, for every variable of the detector."""
    return {
        f"model/{prefix}/{_leaf(layer, variable)}{SUFFIX}": variable
        for prefix, layer in _layers(detector)
        for variable in layer.weights
    }


def _layers(detector: Detector) -> Iterator[tuple[str, keras.layers.Layer]]:
    # The reference's backbone is a functional Keras model, whose checkpoint numbers the layers that have weights.
    weighted = [layer for layer in detector.backbone.layers if layer.weights]
    for number, layer in enumerate(weighted):
        yield f"_feature_extractor/classification_backbone/layer_with_weights-{number}", layer
    for name, prefix in _PYRAMID.items():
        yield f"_feature_extractor/{prefix}", detector.pyramid.get_layer(name)
    for number in range(detector.base.family.head_layers):
        yield (
            f"_box_predictor/_head_scope_conv_layers/PredictionTower/{number}",
            detector.heads.get_layer(f"tower_{number}"),
        )
        for index, level in enumerate(detector.base.levels):
            # Each level's list holds convolution, normalisation and activation in turn; only the second is its own.
            yield (
                f"_box_predictor/_base_tower_layers_for_heads/box_encodings/{index}/{3 * number + 1}",
                detector.heads.get_layer(f"tower_{number}_level_{level}_norm"),
            )
    yield f"_box_predictor/{_BOX_PREDICTOR}", detector.heads.get_layer("box_predictor")
    yield f"_box_predictor/{_CLASS_PREDICTOR}", detector.class_predictor


def _leaf(layer: keras.layers.Layer, variable: keras.Variable) -> str:
    return "depthwise_kernel" if isinstance(layer, keras.layers.DepthwiseConv2D) else variable.name
