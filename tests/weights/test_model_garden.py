import hashlib

from shared import shared

from sagemaker_object_detection.catalogue import CATALOGUE
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.weights.model_garden import checkpoint_variables


def lines() -> list[str]:
    variables = checkpoint_variables(build_detector(CATALOGUE[0], 90))
    return sorted(f"{key} {list(variable.shape)}" for key, variable in variables.items())


def test_keys_and_shapes_are_the_published_checkpoints():
    # Digest of the sorted "key shape" lines of the index published with ssd_mobilenet_v2_fpnlite_320x320.
    digest = hashlib.sha256("\n".join(lines()).encode()).hexdigest()
    assert digest == "5909f80f903dadc7368314f5bb67c0a8d400305d39c9bba16194e0799f46d398"


def test_keys_and_shapes_equal_the_published_list():
    path = shared("zoo/published.ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8.ckpt-0.tsv")
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    published = [f"{key} [{shape.strip('(),')}]" for key, shape, _ in rows if key.startswith("model/")]
    assert lines() == sorted(published)


def test_every_variable_has_a_key_of_its_own():
    detector = build_detector(CATALOGUE[0], 2)
    variables = checkpoint_variables(detector)
    assert {id(variable) for variable in variables.values()} == {id(variable) for variable in detector.weights}
    assert len(variables) == 384


def test_layers_that_shapes_cannot_tell_apart_have_their_own_keys():
    variables = checkpoint_variables(build_detector(CATALOGUE[0], 2))
    paths = {key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): variable.path for key, variable in variables.items()}
    extractor, predictor = "model/_feature_extractor", "model/_box_predictor"
    backbone, towers = f"{extractor}/classification_backbone", f"{predictor}/_base_tower_layers_for_heads"
    expected = {
        f"{backbone}/layer_with_weights-2/depthwise_kernel": "backbone/block_0_depthwise/kernel",
        f"{backbone}/layer_with_weights-14/depthwise_kernel": "backbone/block_2_depthwise/kernel",
        f"{extractor}/_fpn_features_generator/conv_layers/0/1/gamma": "pyramid/smooth_4_norm/gamma",
        f"{extractor}/_coarse_feature_layers/1/0/pointwise_kernel": "pyramid/coarse_7/pointwise_kernel",
        f"{predictor}/_head_scope_conv_layers/PredictionTower/3/depthwise_kernel": "heads/tower_3/depthwise_kernel",
        f"{towers}/box_encodings/4/7/moving_mean": "heads/tower_2_level_7_norm/moving_mean",
    }
    assert {key: paths[key] for key in expected} == expected
