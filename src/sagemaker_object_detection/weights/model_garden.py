"""What the Model Garden's files call a detector's variables, in both of the ways they are published.

A checkpoint (`checkpoint/ckpt-0`) names a variable by the path of Python attributes that leads to it, so that the keys
follow the reference's source rather than a layer's purpose:

    model/_feature_extractor/_fpn_features_generator/top_layers/0/kernel

A SavedModel (`saved_model/variables/variables`, the form TensorFlow Hub distributes) knows only the two parts of the
detector and numbers each part's variables, in the order in which Keras 2 collects them:

    _model/_feature_extractor/variables/277

Keras 2 collects from groups of layers: first every trainable variable of a group, then the others. So one description,
the groups in their order with the path of each layer, gives both grammars.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import keras

from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.models.heads import tower_names
from sagemaker_object_detection.models.pyramids import Fusion
from sagemaker_object_detection.weights.checkpoint import SUFFIX

# The reference numbers its lists of layers from the coarse end: index 0 of these is level 4.
_FPN_GROUPS = (
    {"lateral_5": "_fpn_features_generator/top_layers/0"},
    {
        "lateral_4": "_fpn_features_generator/residual_blocks/0/0",
        "lateral_3": "_fpn_features_generator/residual_blocks/1/0",
    },
    {
        "smooth_4": "_fpn_features_generator/conv_layers/0/0",
        "smooth_4_norm": "_fpn_features_generator/conv_layers/0/1",
        "smooth_3": "_fpn_features_generator/conv_layers/1/0",
        "smooth_3_norm": "_fpn_features_generator/conv_layers/1/1",
    },
)
_COARSE_GROUP = {
    "coarse_6": "_coarse_feature_layers/0/0",
    "coarse_6_norm": "_coarse_feature_layers/0/1",
    "coarse_7": "_coarse_feature_layers/1/0",
    "coarse_7_norm": "_coarse_feature_layers/1/1",
}
_BOX_TOWER, _CLASS_TOWER, _ONE_TOWER = "BoxPredictionTower", "ClassPredictionTower", "PredictionTower"
_BOXES, _CLASSES = "box_encodings", "class_predictions_with_background"
_BOX_PREDICTOR = "_box_prediction_head/_box_encoder_layers/0"
_CLASS_PREDICTOR = f"_prediction_heads/{_CLASSES}/_class_predictor_layers/0"

Layers = list[tuple[str, keras.layers.Layer]]
"""Path within its part -> layer, in the reference's order."""


@dataclass(frozen=True)
class _Part:
    """One of the two parts of a detector, as groups of layers."""

    name: str
    groups: list[Layers]


def model_garden_variables(detector: Detector, stored: Iterable[str]) -> dict[str, keras.Variable]:
    """Name -> variable, for every variable of the detector, in the grammar that the stored names follow."""
    names = list(stored)
    if any(name.startswith("_model/") for name in names):
        return saved_model_variables(detector, names)
    return checkpoint_variables(detector)


def checkpoint_variables(detector: Detector) -> dict[str, keras.Variable]:
    """Key in a checkpoint -> variable, for every variable of the detector."""
    return {
        f"model/{part.name}/{path}/{_leaf(layer, variable)}{SUFFIX}": variable
        for part in _parts(detector)
        for group in part.groups
        for path, layer in group
        for variable in layer.weights
    }


def saved_model_variables(detector: Detector, stored: Iterable[str]) -> dict[str, keras.Variable]:
    """Key in a SavedModel -> variable, for every variable of the detector.

    Some models were saved with both lists and some with `variables` alone; where a part has a `trainable_variables`
    list, it holds the trainable ones and the other list the rest, under their positions among all.

    Args:
        stored: the SavedModel's keys, which tell what lists it has.
    """
    lists = {key.rsplit("/", 3)[0] for key in stored if key.endswith(SUFFIX)}
    named: dict[str, keras.Variable] = {}
    for part in _parts(detector):
        prefix = f"_model/{part.name}"
        has_trainable = f"{prefix}/trainable_variables" in lists
        ordered = [variable for group in part.groups for variable in _collected(layer for _, layer in group)]
        trainable = [variable for variable in ordered if _is_trainable(variable)] if has_trainable else []
        listed = {id(variable) for variable in trainable}
        named |= {f"{prefix}/trainable_variables/{n}{SUFFIX}": variable for n, variable in enumerate(trainable)}
        named |= {
            f"{prefix}/variables/{n}{SUFFIX}": variable
            for n, variable in enumerate(ordered)
            if id(variable) not in listed
        }
    return named


def _collected(layers: Iterable[keras.layers.Layer]) -> list[keras.Variable]:
    variables = [variable for layer in layers for variable in layer.weights]
    return [v for v in variables if _is_trainable(v)] + [v for v in variables if not _is_trainable(v)]


def _is_trainable(variable: keras.Variable) -> bool:
    # By name: freezing a layer changes `variable.trainable`, but not what a file calls it.
    return not variable.name.startswith("moving_")


def _parts(detector: Detector) -> tuple[_Part, _Part]:
    pyramid = _bifpn_groups(detector) if detector.base.bifpn_repeats else _fpn_groups(detector)
    backbone = _backbone_groups(detector)
    before = [] if detector.base.bifpn_repeats else [_named(detector.pyramid, _COARSE_GROUP)]
    return (
        _Part("_feature_extractor", [*before, *backbone, *pyramid]),
        _Part("_box_predictor", [_head_group(detector)]),
    )


def _named(model: keras.Model, paths: dict[str, str]) -> Layers:
    return [(path, model.get_layer(name)) for name, path in paths.items()]


def _backbone_groups(detector: Detector) -> list[Layers]:
    """Functional Keras models, whose checkpoints number the layers that have weights; each layer is a group."""

    def weighted(model: keras.Model) -> list[keras.layers.Layer]:
        return [layer for layer in model.layers if layer.weights]

    backbone = weighted(detector.backbone)
    if detector.classifier is None:
        return [[(f"classification_backbone/layer_with_weights-{n}", layer)] for n, layer in enumerate(backbone)]
    # The classifier is the whole network; what it shares with the detector is found under the detector's path.
    shared = [[(f"_efficientnet/layer_with_weights-{n}", layer)] for n, layer in enumerate(backbone)]
    rest = enumerate(weighted(detector.classifier), len(backbone))
    return shared + [[(f"classification_backbone/layer_with_weights-{n}", layer)] for n, layer in rest]


def _fpn_groups(detector: Detector) -> list[Layers]:
    return [_named(detector.pyramid, group) for group in _FPN_GROUPS]


def _bifpn_groups(detector: Detector) -> list[Layers]:
    """Nodes are numbered through: 0 and 1 make levels 6 and 7, then eight of every repeat."""
    names = ["level_6", "level_7"]
    for repeat in range(1, detector.base.bifpn_repeats + 1):
        names += [f"repeat_{repeat}_down_{level}" for level in (6, 5, 4, 3)]
        names += [f"repeat_{repeat}_up_{level}" for level in (4, 5, 6, 7)]
    groups: dict[str, Layers] = {"inputs": [], "fusions": [], "outputs": []}
    present = {layer.name: layer for layer in detector.pyramid.layers}
    for number, name in enumerate(names):
        # Only the first input of a node ever comes from the backbone.
        places = {
            f"{name}_input": ("inputs", f"node_input_blocks/{number}/0/1/0"),
            f"{name}_input_norm": ("inputs", f"node_input_blocks/{number}/0/1/1"),
            f"{name}_fusion": ("fusions", f"node_combine_op/{number}"),
            name: ("outputs", f"node_post_combine_block/{number}/1"),
            f"{name}_norm": ("outputs", f"node_post_combine_block/{number}/2"),
        }
        for layer, (group, path) in places.items():
            if layer in present:
                groups[group].append((f"_bifpn_stage/{path}", present[layer]))
    return list(groups.values())


def _head_group(detector: Detector) -> Layers:
    heads, names = detector.heads, tower_names(detector.base.family.shared_tower)
    layers: Layers = [
        (_BOX_PREDICTOR, heads.get_layer("box_predictor")),
        (_CLASS_PREDICTOR, detector.class_predictor),
    ]
    towers = (_ONE_TOWER,) if len(names) == 1 else (_BOX_TOWER, _CLASS_TOWER)
    for name, tower, output in zip(names, towers, (_BOXES, _CLASSES), strict=False):
        for index, level in enumerate(detector.base.levels):
            for number in range(detector.base.head_layers):
                if index == 0:  # The convolutions are the same on every level, and collected with the first.
                    convolution = heads.get_layer(f"{name}_{number}")
                    layers.append((f"_head_scope_conv_layers/{tower}/{number}", convolution))
                # Each level's list holds convolution, normalisation and activation in turn.
                norm = heads.get_layer(f"{name}_{number}_level_{level}_norm")
                layers.append((f"_base_tower_layers_for_heads/{output}/{index}/{3 * number + 1}", norm))
    return layers


def _leaf(layer: keras.layers.Layer, variable: keras.Variable) -> str:
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return "depthwise_kernel"
    return "bifpn_combine_weights" if isinstance(layer, Fusion) else str(variable.name)
