import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY, TINY_PADDED, add_backbones

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.weights.checkpoint import SUFFIX, StoredVariables, read_model_garden
from sagemaker_object_detection.weights.install import install, install_model_garden, stored_classes
from sagemaker_object_detection.weights.model_garden import checkpoint_variables, saved_model_variables

add_backbones()
BASE = TINY
CLASS_PREDICTOR = "model/_box_predictor/_prediction_heads/class_predictions_with_background/_class_predictor_layers/0"
STEM_KERNEL = "model/_feature_extractor/classification_backbone/layer_with_weights-0/kernel"


def write_checkpoint(prefix: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A checkpoint with exactly these keys, as tf.train.Checkpoint would write it."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(arrays)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(arrays[name]) for name in names],
    )
    return prefix


def arrays_of(detector: Detector) -> dict[str, np.ndarray]:
    return {key: variable.numpy() for key, variable in checkpoint_variables(detector).items()}


def saved_model_arrays_of(detector: Detector, *lists: str) -> dict[str, np.ndarray]:
    first = [f"_model/{part}/{name}/0{SUFFIX}" for part in ("_feature_extractor", "_box_predictor") for name in lists]
    return {key: variable.numpy() for key, variable in saved_model_variables(detector, first).items()}


def assert_same_weights(one: Detector, other: Detector) -> None:
    for variable, counterpart in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), counterpart.numpy(), err_msg=variable.path)


@pytest.fixture(scope="module")
def stored() -> Detector:
    return build_detector(BASE, 2, seed=1)


@pytest.fixture
def detector() -> Detector:
    return build_detector(BASE, 2, seed=2)


def test_every_variable_comes_from_the_checkpoint(stored, detector, tmp_path):
    step: dict[str, Any] = {"step" + SUFFIX: np.int64(5), "save_counter" + SUFFIX: np.int64(1)}
    slot = {STEM_KERNEL + "/.OPTIMIZER_SLOT/optimizer/momentum" + SUFFIX: np.ones((3, 3, 3, 8), np.float32)}
    optimizer: dict[str, Any] = {
        "optimizer/iter" + SUFFIX: np.int64(5),
        "_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"graph"),
    }
    prefix = write_checkpoint(tmp_path / "checkpoint/ckpt-0", {**arrays_of(stored), **step, **slot, **optimizer})
    install_model_garden(detector, read_model_garden(prefix), class_columns=(0, 1))
    assert_same_weights(detector, stored)


@pytest.mark.parametrize("lists", [("variables",), ("variables", "trainable_variables")])
def test_every_variable_comes_from_the_saved_model(stored, detector, tmp_path, lists):
    graph = {"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"graph")}
    prefix = write_checkpoint(tmp_path / "variables/variables", {**saved_model_arrays_of(stored, *lists), **graph})
    install_model_garden(detector, read_model_garden(prefix), class_columns=(0, 1))
    assert_same_weights(detector, stored)


@pytest.mark.parametrize("grammar", [arrays_of, lambda detector: saved_model_arrays_of(detector, "variables")])
def test_class_predictor_can_stay_as_it_was_with_another_number_of_classes(stored, tmp_path, grammar):
    detector = build_detector(BASE, 5, seed=2)
    before = [variable.numpy() for variable in detector.class_predictor.weights]
    file = read_model_garden(write_checkpoint(tmp_path / "ckpt-0", grammar(stored)))
    assert stored_classes(detector, file) == 2
    install_model_garden(detector, file)
    for variable, value in zip(detector.class_predictor.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(
        detector.backbone.get_layer("level_1").kernel.numpy(), stored.backbone.get_layer("level_1").kernel.numpy()
    )


@pytest.mark.parametrize("base", [TINY, TINY_PADDED], ids=["background", "none"])
def test_classes_are_taken_from_their_columns(tmp_path, base):
    four, two = build_detector(base, 4, seed=1), build_detector(base, 2, seed=2)
    for number, bias in enumerate(four.class_predictor.bias.numpy()):
        assert bias == np.float32(-4.6), number
    four.class_predictor.bias.assign(np.arange(four.class_predictor.bias.shape[0], dtype=np.float32))
    file = read_model_garden(write_checkpoint(tmp_path / "ckpt-0", arrays_of(four)))
    assert stored_classes(two, file) == 4
    install_model_garden(two, file, class_columns=(3, 1))
    levels = [np.random.default_rng(0).normal(size=(1, *x.shape[1:])).astype(np.float32) for x in two.pyramid.outputs]
    first = int(base.family.background_column)
    expected, found = four.heads(levels)[1].numpy(), two.heads(levels)[1].numpy()
    np.testing.assert_allclose(found[..., first:], expected[..., [first + 3, first + 1]], atol=1e-4)
    np.testing.assert_allclose(found[..., :first], expected[..., :first], atol=1e-4)


def test_missing_and_left_over_variables_are_listed_and_nothing_is_assigned(stored, detector, tmp_path):
    arrays = arrays_of(stored)
    del arrays[STEM_KERNEL + SUFFIX]
    arrays["model/extra" + SUFFIX] = np.zeros(3, np.float32)
    prefix = write_checkpoint(tmp_path / "ckpt-0", arrays)
    before = detector.get_weights()
    with pytest.raises(UserError) as raised:
        install_model_garden(detector, read_model_garden(prefix), class_columns=(0, 1))
    assert f"1 missing: {STEM_KERNEL}; 1 left over: model/extra; expected" in str(raised.value)
    for value, other in zip(detector.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)


def test_a_class_predictor_of_another_shape_is_named(stored, detector, tmp_path):
    arrays = arrays_of(stored)
    arrays[f"{CLASS_PREDICTOR}/bias{SUFFIX}"] = np.zeros(17, np.float32)
    prefix = write_checkpoint(tmp_path / "ckpt-0", arrays)
    with pytest.raises(UserError) as raised:
        install_model_garden(detector, read_model_garden(prefix), class_columns=(0, 1))
    assert str(raised.value) == (
        f"{prefix} as weights of tiny_64x64: the variables do not fit: 1 of another shape: "
        f"{CLASS_PREDICTOR}/bias [17] instead of [18]; expected exactly the variables of that model: give a whole file "
        "of it"
    )


def test_a_class_predictor_that_is_not_wanted_has_to_fit_but_for_its_classes(stored, detector, tmp_path):
    name = f"{CLASS_PREDICTOR}/pointwise_kernel"
    for shape, fits in (((1, 1, 24, 6 * 8), True), ((1, 1, 23, 6 * 3), False), ((24, 6 * 3), False)):
        arrays = {**arrays_of(stored), name + SUFFIX: np.zeros(shape, np.float32)}
        file = read_model_garden(write_checkpoint(tmp_path / str(shape) / "ckpt-0", arrays))
        if fits:
            install_model_garden(detector, file)
            continue
        told = rf"1 of another shape: {name} {re.escape(str(list(shape)))} instead of \[1, 1, 24, 18\];"
        with pytest.raises(UserError, match=told):
            install_model_garden(detector, file)


def test_long_lists_are_cut(detector):
    stored = StoredVariables("file", {f"variable_{i}": (1,) for i in range(300)}, lambda name: np.zeros(1))
    with pytest.raises(UserError) as raised:
        install(detector, {}, stored, class_columns=None)
    listed = ", ".join(f"variable_{i}" for i in (0, 1, 10, 100, 101, 102, 103, 104))
    assert str(raised.value).startswith(
        f"file as weights of tiny_64x64: the variables do not fit: 300 left over: {listed} and 292 more; expected"
    )


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.full((3, 3, 3, 8), np.nan, np.float32), "not finite"),
        (np.full((3, 3, 3, 8), -np.inf, np.float32), "not finite"),
        (np.ones((3, 3, 3, 8), np.int32), "no floating-point numbers"),
    ],
)
def test_values_that_are_no_weights_are_refused_and_nothing_is_assigned(stored, detector, tmp_path, array, what):
    prefix = write_checkpoint(tmp_path / "ckpt-0", {**arrays_of(stored), STEM_KERNEL + SUFFIX: array})
    before = detector.get_weights()
    with pytest.raises(UserError) as raised:
        install_model_garden(detector, read_model_garden(prefix))
    assert f"the variables do not fit: 1 {what}: {STEM_KERNEL}; expected" in str(raised.value)
    for value, other in zip(detector.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)


def test_a_class_predictor_that_is_not_wanted_may_be_left_out_but_not_be_half_there(stored, detector, tmp_path):
    arrays = {key: value for key, value in arrays_of(stored).items() if CLASS_PREDICTOR not in key}
    install_model_garden(detector, read_model_garden(write_checkpoint(tmp_path / "none/ckpt-0", arrays)))
    arrays[f"{CLASS_PREDICTOR}/bias{SUFFIX}"] = np.zeros(6 * 8, np.float32)
    half = read_model_garden(write_checkpoint(tmp_path / "half/ckpt-0", arrays))
    with pytest.raises(UserError, match=r"2 missing: .*/0/depthwise_kernel, .*pointwise_kernel;"):
        install_model_garden(detector, half)


@pytest.mark.parametrize("shape", [(), (5,), (6,), (2, 12)])
def test_a_class_predictor_that_could_not_be_kept_has_no_classes(stored, detector, tmp_path, shape):
    arrays = {**arrays_of(stored), f"{CLASS_PREDICTOR}/bias{SUFFIX}": np.zeros(shape, np.float32)}
    file = read_model_garden(write_checkpoint(tmp_path / "ckpt-0", arrays))
    assert stored_classes(detector, file) is None


@pytest.mark.parametrize("damage", ["index missing", "index cut", "data missing", "data cut"])
def test_damaged_checkpoint_is_named(stored, detector, tmp_path, damage):
    prefix = write_checkpoint(tmp_path / "ckpt-0", arrays_of(stored))
    what, how = damage.split()
    file = tmp_path / ("ckpt-0.index" if what == "index" else "ckpt-0.data-00000-of-00001")
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:1000])
    before = detector.get_weights()
    with pytest.raises(UserError, match="the checkpoint cannot be read") as raised:
        install_model_garden(detector, read_model_garden(prefix), class_columns=(0, 1))
    assert str(raised.value).startswith(f"{prefix}: ")
    assert "copy the folder again" in str(raised.value)
    for value, other in zip(detector.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)
