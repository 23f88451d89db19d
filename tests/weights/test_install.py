from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.catalogue import CATALOGUE
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.weights.install import install, install_checkpoint
from sagemaker_object_detection.weights.model_garden import SUFFIX, checkpoint_variables

BASE = CATALOGUE[0]
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


@pytest.fixture(scope="module")
def stored() -> Detector:
    return build_detector(BASE, 2, seed=1)


@pytest.fixture
def detector() -> Detector:
    return build_detector(BASE, 2, seed=2)


def test_every_variable_comes_from_the_checkpoint(stored, detector, tmp_path):
    step = {"step" + SUFFIX: np.int64(5), "save_counter" + SUFFIX: np.int64(1)}
    slot = {STEM_KERNEL + "/.OPTIMIZER_SLOT/optimizer/momentum" + SUFFIX: np.ones((3, 3, 3, 32), np.float32)}
    optimizer = {"optimizer/iter" + SUFFIX: np.int64(5), "_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"graph")}
    prefix = write_checkpoint(tmp_path / "checkpoint/ckpt-0", {**arrays_of(stored), **step, **slot, **optimizer})
    install_checkpoint(detector, prefix)
    for variable, other in zip(detector.weights, stored.weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), other.numpy(), err_msg=variable.path)


def test_class_predictor_can_stay_as_it_was_with_another_number_of_classes(stored, tmp_path):
    detector = build_detector(BASE, 5, seed=2)
    before = [variable.numpy() for variable in detector.class_predictor.weights]
    install_checkpoint(detector, write_checkpoint(tmp_path / "ckpt-0", arrays_of(stored)), keep_class_predictor=True)
    for variable, value in zip(detector.class_predictor.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(
        detector.backbone.get_layer("stem").kernel.numpy(), stored.backbone.get_layer("stem").kernel.numpy()
    )


def test_another_number_of_classes_is_refused_with_the_shapes(stored, tmp_path):
    prefix = write_checkpoint(tmp_path / "ckpt-0", arrays_of(stored))
    with pytest.raises(UserError) as raised:
        install_checkpoint(build_detector(BASE, 5), prefix)
    assert str(raised.value) == (
        f"{prefix} as weights of ssd_mobilenet_v2_fpnlite_320x320 with 5 classes: the variables do not fit: "
        f"2 of another shape: {CLASS_PREDICTOR}/pointwise_kernel [1, 1, 128, 18] instead of [1, 1, 128, 36], "
        f"{CLASS_PREDICTOR}/bias [18] instead of [36]; expected exactly the variables of that model: "
        "give weights of the same base model, or name their base model as model_id"
    )


def test_missing_and_left_over_variables_are_listed_and_nothing_is_assigned(stored, detector, tmp_path):
    arrays = arrays_of(stored)
    del arrays[STEM_KERNEL + SUFFIX]
    arrays["model/extra" + SUFFIX] = np.zeros(3, np.float32)
    prefix = write_checkpoint(tmp_path / "ckpt-0", arrays)
    before = detector.get_weights()
    with pytest.raises(UserError) as raised:
        install_checkpoint(detector, prefix)
    assert f"1 missing: {STEM_KERNEL}; 1 left over: model/extra; expected" in str(raised.value)
    for value, other in zip(detector.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)


def test_long_lists_are_cut():
    with pytest.raises(UserError) as raised:
        install({}, {f"variable_{i}": (1,) for i in range(300)}, lambda name: np.zeros(1), source="weights")
    listed = ", ".join(f"variable_{i}" for i in (0, 1, 10, 100, 101))
    assert f"weights: the variables do not fit: 300 left over: {listed} and 295 more; expected" in str(raised.value)


@pytest.mark.parametrize("damage", ["index missing", "index cut", "data missing", "data cut"])
def test_damaged_checkpoint_is_named(stored, detector, tmp_path, damage):
    prefix = write_checkpoint(tmp_path / "ckpt-0", arrays_of(stored))
    what, how = damage.split()
    file = tmp_path / ("ckpt-0.index" if what == "index" else "ckpt-0.data-00000-of-00001")
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match="the checkpoint cannot be read") as raised:
        install_checkpoint(detector, prefix)
    assert str(raised.value).startswith(f"{prefix}: ")
    assert "copy the checkpoint folder again" in str(raised.value)
