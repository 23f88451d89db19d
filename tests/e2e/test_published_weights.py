"""Jobs that start from other weights: a published tarball, a model of an earlier job, and a model of that one."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import Run, run_tiny, run_verb, write_job

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.weights.checkpoint import SUFFIX, read_checkpoint
from sagemaker_object_detection.weights.model_garden import checkpoint_variables

pytestmark = pytest.mark.slow


def stored_weights(model: Path) -> dict[str, np.ndarray]:
    """The variables of a model directory by their paths."""
    stored = read_checkpoint(model / "1/variables/variables")
    return {
        key.removeprefix("weights/").removesuffix(SUFFIX).replace(".S", "/"): stored.read(key)
        for key in stored.shapes
        if key.startswith("weights/")
    }


def pack(folder: Path, archive: Path, name: str = "") -> None:
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as opened:
        for path in folder.iterdir():
            opened.add(path, f"{name}/{path.name}" if name else path.name)


def train(data: Path, root: Path, run: Callable[..., Run] = run_tiny, **values: object) -> str:
    if not (root / "input/data/training").exists():
        shutil.copytree(data, root / "input/data", dirs_exist_ok=True)
    write_job(root, {"batch_size": "4", "seed": "1", **values})
    done = run("train", "--root", root)
    assert done.code == 0, done.output + done.errors
    return done.output


@pytest.mark.parametrize("form", ["checkpoint", pytest.param("saved_model", marks=pytest.mark.nightly)])
def test_only_the_class_prediction_layer_of_a_published_tarball_moves(sample_root, tmp_path, form):
    from sagemaker_object_detection.weights.model_garden import saved_model_variables

    published = build_detector(DEFAULT_MODEL, 90, seed=11)
    published.moving_average.momentum = 0.0
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 320, 320, 3)).astype(np.float32)
    published(noise, training=True)  # statistics with which features do not vanish
    first = [f"_model/{part}/variables/0{SUFFIX}" for part in ("_feature_extractor", "_box_predictor")]
    variables, prefix = {
        "checkpoint": (checkpoint_variables(published), "checkpoint/ckpt-0"),
        "saved_model": (saved_model_variables(published, first), "saved_model/variables/variables"),
    }[form]
    tree = tmp_path / "tree"
    (tree / prefix).parent.mkdir(parents=True)
    tf.raw_ops.SaveV2(
        prefix=str(tree / prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.convert_to_tensor(variable.value) for variable in variables.values()],
    )
    (tree / "pipeline.config").write_text("model { ssd { num_classes: 2 } }")  # edited by hand, beside 90 classes
    root = tmp_path / "job"
    pack(tree, root / "input/data/model/model.tar.gz", DEFAULT_MODEL.weights.tarball)
    values = {"epochs": "2", "train_only_on_top_layer": "True", "learning_rate": "0.01"}
    output = train(sample_root / "input/data", root, run_verb, **values)
    assert 'Starting ssd_mobilenet_v2_fpnlite_320x320 from the weights of channel "model"' in output

    trained, before = stored_weights(root / "model"), {v.path: v.numpy() for v in published.weights}
    assert trained.keys() == before.keys()
    top = {variable.path for variable in published.class_predictor.weights}
    for path, value in trained.items():
        if path not in top:
            assert value.tobytes() == before[path].tobytes(), path
    initial = build_detector(DEFAULT_MODEL, 3, seed=1)
    for variable in initial.class_predictor.weights:
        assert trained[variable.path].shape == variable.shape
        assert not np.array_equal(trained[variable.path], variable.numpy()), variable.path


@pytest.mark.nightly
def test_training_goes_on_from_generation_to_generation(trained, tmp_path):
    parent = trained.root / "model"
    for generation in ("second", "third"):
        root = tmp_path / generation
        pack(parent, root / "input/data/model/model.tar.gz")
        # Nothing moves, so that every generation is its parent.
        train(trained.root / "input/data", root, epochs="1", learning_rate="0", freeze_batch_norm="True")
        before, after = stored_weights(parent), stored_weights(root / "model")
        assert after.keys() == before.keys()
        for path, value in after.items():
            assert value.tobytes() == before[path].tobytes(), path
        parent_info, info = (json.loads((model / "model_info.json").read_text()) for model in (parent, root / "model"))
        assert info["metrics"] == pytest.approx(parent_info["metrics"], rel=1e-4)
        assert info["category_ids"] == parent_info["category_ids"]
        parent = root / "model"


def test_a_model_of_this_container_takes_other_classes_with_a_new_top_layer(trained, tmp_path):
    root = tmp_path / "job"
    shutil.copytree(trained.root / "input/data", root / "input/data")
    for channel in ("training", "validation"):
        path = root / f"input/data/{channel}/annotations.json"
        document = json.loads(path.read_text().replace('"category_id": 7', '"category_id": 3'))
        document["categories"] = [{"id": 1, "name": "circle"}, {"id": 3, "name": "cornered"}]
        path.write_text(json.dumps(document))
    shutil.copytree(trained.root / "model", root / "input/data/model")
    train(
        root / "input/data",
        root,
        epochs="1",
        learning_rate="0",
        freeze_batch_norm="True",
        reinitialize_top_layer="True",
    )
    before, after = stored_weights(trained.root / "model"), stored_weights(root / "model")
    changed = {path for path, value in after.items() if value.tobytes() != before[path].tobytes()}
    assert changed == {f"heads/class_predictor/{leaf}" for leaf in ("depthwise_kernel", "pointwise_kernel", "bias")}
    assert json.loads((root / "model/labels.json").read_text())["labels"] == ["circle", "cornered"]
