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

from collections.abc import Collection

import keras

from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.models.heads import tower_names
from sagemaker_object_detection.models.pyramids import Fusion
from sagemaker_object_detection.weights.checkpoint import SUFFIX

# The first group is collected before the backbone. The reference numbers the lists of the others from the coarse end:
# index 0 is level 4.
_FPN_GROUPS: tuple[dict[str, str], ...] = (
    {
        "coarse_6": "_coarse_feature_layers/0/0",
        "coarse_6_norm": "_coarse_feature_layers/0/1",
        "coarse_7": "_coarse_feature_layers/1/0",
        "coarse_7_norm": "_coarse_feature_layers/1/1",
    },
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
_CLASSES = "class_predictions_with_background"

Layers = list[tuple[str, keras.layers.Layer]]
"""Path within its part -> layer, in the reference's order."""


def model_garden_variables(detector: Detector, stored: Collection[str]) -> dict[str, keras.Variable]:
    """Name -> variable, for every variable of the detector, in the grammar that the stored names follow."""
    if any(name.startswith("_model/") for name in stored):
        return saved_model_variables(detector, stored)
    return checkpoint_variables(detector)


def checkpoint_variables(detector: Detector) -> dict[str, keras.Variable]:
    """Key in a checkpoint -> variable, for every variable of the detector."""
    return {
        f"model/{part}/{path}/{_leaf(layer, variable)}{SUFFIX}": variable
        for part, groups in _parts(detector).items()
        for group in groups
        for path, layer in group
        for variable in layer.weights
    }


def saved_model_variables(detector: Detector, stored: Collection[str]) -> dict[str, keras.Variable]:
    """Key in a SavedModel -> variable, for every variable of the detector.

    Some models were saved with both lists and some with `variables` alone; where a part has a `trainable_variables`
    list, it holds the trainable ones and the other list the rest, under their positions among all.

    Args:
        stored: the SavedModel's keys, which tell what lists it has.
    """
    lists = {key.rsplit("/", 3)[0] for key in stored if key.endswith(SUFFIX)}
    named: dict[str, keras.Variable] = {}
    for part, groups in _parts(detector).items():
        prefix = f"_model/{part}"
        separate = f"{prefix}/trainable_variables" in lists
        ordered: list[keras.Variable] = []
        for group in groups:
            weights = [variable for _, layer in group for variable in layer.weights]
            ordered += sorted(weights, key=lambda variable: not _is_trainable(variable))
        trainable = [variable for variable in ordered if separate and _is_trainable(variable)]
        named |= {f"{prefix}/trainable_variables/{n}{SUFFIX}": variable for n, variable in enumerate(trainable)}
        named |= {
            f"{prefix}/variables/{n}{SUFFIX}": variable
            for n, variable in enumerate(ordered)
            if not (separate and _is_trainable(variable))
        }
    return named


def _is_trainable(variable: keras.Variable) -> bool:
    # By name: freezing a layer changes `variable.trainable`, but not what a file calls it.
    return not variable.name.startswith("moving_")


def _parts(detector: Detector) -> dict[str, list[Layers]]:
    """The two parts of a detector, as groups of layers."""
    extractor = _backbone_groups(detector)
    if detector.base.bifpn_repeats:
        extractor += _bifpn_groups(detector)
    else:
        coarse, *others = (
            [(path, detector.pyramid.get_layer(name)) for name, path in group.items()] for group in _FPN_GROUPS
        )
        extractor = [coarse, *extractor, *others]
    return {"_feature_extractor": extractor, "_box_predictor": [_head_group(detector)]}


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
        ("_box_prediction_head/_box_encoder_layers/0", heads.get_layer("box_predictor")),
        (f"_prediction_heads/{_CLASSES}/_class_predictor_layers/0", detector.class_predictor),
    ]
    towers = ("PredictionTower",) if len(names) == 1 else ("BoxPredictionTower", "ClassPredictionTower")
    for name, tower, output in zip(names, towers, ("box_encodings", _CLASSES), strict=False):
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
