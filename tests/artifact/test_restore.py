"""What a job starts from, when the weights are the Model Garden's: which model, which classes, to the last variable."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_models import TINY

from sagemaker_object_detection.artifact.restore import Start, _matched, find_start
from sagemaker_object_detection.catalogue import find
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.weights import coco_classes
from sagemaker_object_detection.weights.checkpoint import SUFFIX, fingerprint
from sagemaker_object_detection.weights.model_garden import checkpoint_variables, saved_model_variables
from sagemaker_object_detection.weights.sources import find_source

SMALL = find("ssd_mobilenet_v2_fpnlite_320x320")
LABELS = Labels(ids=(1, 3), names=("circle", "square"))
COCO_IDS = tuple(coco_classes.CLASSES)
COCO = Labels(ids=COCO_IDS, names=tuple(coco_classes.CLASSES.values()))


def write_published(folder: Path, detector: Detector, config: str = "") -> None:
    """A published tree: the checkpoint of a detector, and a configuration beside it."""
    write_variables(folder / "checkpoint/ckpt-0", checkpoint_variables(detector))
    (folder / "pipeline.config").write_text(config)


def write_variables(prefix: Path, variables: dict[str, keras.Variable]) -> None:
    prefix.parent.mkdir(parents=True)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.convert_to_tensor(variable.value) for variable in variables.values()],
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    detector = build_detector(SMALL, coco_classes.COLUMNS, seed=1)
    bias = detector.class_predictor.bias
    bias.assign(np.arange(bias.shape[0], dtype=np.float32))  # tells every column
    write_published(folder, detector)
    return folder


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory) -> Path:
    """As somebody may have trained it with the reference: two classes, and a configuration of another model."""
    folder = tmp_path_factory.mktemp("fine_tuned")
    config = "model { ssd { num_classes: 7 image_resizer { fixed_shape_resizer { height: 640 width: 640 } } } }"
    write_published(folder, build_detector(SMALL, 2, seed=1), config)
    return folder


def start_from(folder: Path, labels: Labels = LABELS, **values: str) -> Start:
    return find_start(find_source(str(folder), None).fetch(), read(values), labels)


@pytest.mark.slow
def test_a_new_class_predictor_on_a_published_model_and_all_else_as_published(published):
    start = start_from(published)
    assert start.base == SMALL
    detector, expected = build_detector(SMALL, 2, seed=5), build_detector(SMALL, coco_classes.COLUMNS, seed=1)
    top = [variable.numpy() for variable in detector.class_predictor.weights]
    start.install(detector)
    for before, variable in zip(top, detector.class_predictor.weights, strict=True):
        np.testing.assert_array_equal(before, variable.numpy())
    kept = {variable.path for variable in detector.class_predictor.weights}
    for variable, other in zip(detector.weights, expected.weights, strict=True):
        if variable.path not in kept:
            np.testing.assert_array_equal(variable.numpy(), other.numpy(), err_msg=variable.path)


@pytest.mark.parametrize(
    "labels",
    [
        COCO,
        Labels(ids=tuple(reversed(COCO.names)), names=tuple(reversed(COCO.names))),
        Labels(COCO_IDS, tuple(map(str, COCO_IDS))),
    ],
    ids=["names and ids", "names in another order", "ids without names"],
)
def test_cocos_own_classes_keep_the_published_class_predictor(published, labels):
    start = start_from(published, labels, reinitialize_top_layer="False")
    detector = build_detector(SMALL, len(labels), seed=5)
    start.install(detector)
    by_name = {name: index for index, name in coco_classes.CLASSES.items()}
    ids = [by_name[name] if name in by_name else int(name) for name in labels.names]
    columns = coco_classes.COLUMNS + 1
    expected = [[anchor * columns + index for index in (0, *ids)] for anchor in range(6)]
    np.testing.assert_array_equal(detector.class_predictor.bias.numpy().reshape(6, -1), expected)


def test_other_classes_than_cocos_need_a_new_class_predictor(published):
    start = start_from(published, reinitialize_top_layer="False")
    with pytest.raises(UserError) as caught:
        start.install(build_detector(SMALL, 2))
    listed = ", ".join(list(coco_classes.CLASSES.values())[:20])
    assert str(caught.value) == (
        f"pretrained_weights=\"{published}\": the model's classes are not the data's: added circle, square; removed "
        f'{listed} and 60 more; expected the same classes; set reinitialize_top_layer="Auto" to train a new class '
        "prediction layer"
    )


def test_coco_has_80_classes_in_90_columns():
    assert len(coco_classes.CLASSES) == len(set(coco_classes.CLASSES.values())) == 80
    assert (min(COCO_IDS), max(COCO_IDS)) == (1, coco_classes.COLUMNS)
    assert (coco_classes.CLASSES[1], coco_classes.CLASSES[44], coco_classes.CLASSES[90]) == (
        *("person", "bottle", "toothbrush"),
    )


@pytest.mark.slow
def test_a_fine_tuned_class_predictor_is_kept_where_the_number_of_classes_is_the_datas(fine_tuned, caplog):
    start = start_from(fine_tuned, reinitialize_top_layer="False", model_id=SMALL.name)
    detector = build_detector(SMALL, 2, seed=5)
    start.install(detector)
    for variable, other in zip(detector.weights, build_detector(SMALL, 2, seed=1).weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), other.numpy(), err_msg=variable.path)
    assert "does not say what its 2 classes are: they are taken to be the data's, in order: circle, square." in (
        caplog.text
    )


@pytest.mark.slow
def test_checkpoint_of_another_number_of_classes_needs_a_new_class_predictor(fine_tuned):
    labels = Labels(ids=(1, 2, 3), names=("a", "b", "c"))
    start = start_from(fine_tuned, labels, reinitialize_top_layer="False")
    with pytest.raises(UserError) as caught:
        start.install(build_detector(start.base, 3))
    assert str(caught.value) == (
        f'reinitialize_top_layer: got "False", but pretrained_weights="{fine_tuned}" tells 2 classes apart and the '
        'data has 3; expected the same classes: set it to "Auto" to train a new class prediction layer'
    )
    start_from(fine_tuned, labels).install(build_detector(start.base, 3))


def test_an_edited_configuration_beside_true_weights_decides_the_size_at_most(fine_tuned):
    assert start_from(fine_tuned).base.name == "ssd_mobilenet_v2_fpnlite_640x640"
    assert start_from(fine_tuned, model_id=SMALL.name).base == SMALL


def test_a_model_id_of_another_architecture_is_refused_before_anything_is_built(published):
    with pytest.raises(UserError) as caught:
        start_from(published, model_id="ssd_mobilenet_v1_fpn_640x640")
    assert str(caught.value) == (
        f"model_id: got 'ssd_mobilenet_v1_fpn_640x640', but the variables of pretrained_weights=\"{published}\" are "
        "those of ssd_mobilenet_v2_fpnlite_320x320 or ssd_mobilenet_v2_fpnlite_640x640; leave model_id out or make it "
        "agree"
    )


@pytest.mark.slow
def test_a_file_without_a_class_predictor_cannot_keep_it(published, tmp_path):
    detector = build_detector(SMALL, 2, seed=1)
    (tmp_path / "checkpoint").mkdir()
    variables = {
        key: variable
        for key, variable in checkpoint_variables(detector).items()
        if "_class_predictor_layers" not in key
    }
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "checkpoint/ckpt-0"),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.convert_to_tensor(variable.value) for variable in variables.values()],
    )
    start_from(tmp_path).install(build_detector(SMALL, 2))
    with pytest.raises(UserError) as caught:
        start_from(tmp_path, reinitialize_top_layer="False").install(build_detector(SMALL, 2))
    assert str(caught.value) == (
        f'reinitialize_top_layer: got "False", but pretrained_weights="{tmp_path}" holds no class prediction layer to '
        'keep; set it to "Auto"'
    )


RED_BLUE = Labels(ids=(1, 2), names=("red", "blue"))


@pytest.mark.parametrize(
    ("old", "new", "places"),
    [
        (RED_BLUE, RED_BLUE, [0, 1]),
        (RED_BLUE, Labels((1, 2), ("blue", "red")), [1, 0]),
        (RED_BLUE, Labels((7, 9), ("red", "blue")), [0, 1]),
        (RED_BLUE, Labels(("1", "2"), ("red", "blue")), [0, 1]),
        (RED_BLUE, Labels((1, 2), ("1", "2")), [0, 1]),
        (Labels((1, 2), ("1", "2")), RED_BLUE, [0, 1]),
        # Names that are not told apart say nothing: ids do.
        (Labels((1, 2), ("x", "x")), Labels((1, 2), ("x", "x")), [0, 1]),
    ],
)
def test_classes_are_the_same_by_name_where_both_sides_have_names_and_else_by_id(old, new, places):
    assert _matched("weights", old, new) == places


@pytest.mark.parametrize(
    ("new", "added", "removed"),
    [
        (Labels((1, 2), ("cat", "dog")), "cat, dog", "red, blue"),
        (Labels((1, 3), ("1", "3")), "3", "2"),
        (Labels((1, 2, 3), ("red", "blue", "green")), "green", "none"),
    ],
)
def test_other_classes_are_refused_with_the_difference(new, added, removed):
    with pytest.raises(UserError, match=f"weights: the model's classes .*: added {added}; removed {removed}; "):
        _matched("weights", RED_BLUE, new)


def test_own_model_with_classes_in_another_order_keeps_their_meaning(trained, tiny_catalogue):
    swapped = Labels(ids=(1, 3, 7), names=("triangle", "circle", "square"))
    usual = Labels(ids=(1, 3, 7), names=("circle", "square", "triangle"))
    detectors = []
    for labels in (usual, swapped):
        detector = build_detector(TINY, 3)
        start_from(trained.root / "model", labels).install(detector)
        detectors.append(detector)
    biases = [detector.class_predictor.bias.numpy().reshape(6, 4) for detector in detectors]
    np.testing.assert_array_equal(biases[1], biases[0][:, [0, 3, 1, 2]])
    assert len(set(biases[0][0, 1:])) == 3
    with pytest.raises(UserError, match="added cat; removed circle; expected the same classes"):
        start_from(trained.root / "model", Labels((1, 3, 7), ("cat", "square", "triangle")))


def test_an_artifact_whose_index_is_gone_is_refused_in_words(tmp_path):
    prefix = tmp_path / "1/variables/variables"
    with pytest.raises(UserError) as caught:
        fingerprint(prefix)
    assert str(caught.value) == (
        f"{prefix}: the checkpoint cannot be read (variables.index: No such file or directory); expected "
        "variables.index and every variables.data-* file as they were written: copy the folder again"
    )


def test_the_same_weights_have_one_fingerprint_in_both_forms_of_the_model_garden(published, tmp_path):
    """Or a restart that got them from another place, or another host, would be another job."""
    detector = build_detector(SMALL, coco_classes.COLUMNS, seed=1)
    bias = detector.class_predictor.bias
    bias.assign(np.arange(bias.shape[0], dtype=np.float32))
    starts = [start_from(published)]
    for lists in (["variables"], ["variables", "trainable_variables"]):
        first = [f"_model/_feature_extractor/{name}/0{SUFFIX}" for name in lists]
        first += [f"_model/_box_predictor/{name}/0{SUFFIX}" for name in lists]
        folder = tmp_path / str(len(lists))
        write_variables(folder / "variables/variables", saved_model_variables(detector, first))
        starts.append(start_from(folder))
    bias.assign(bias + 1)
    write_variables(tmp_path / "other/checkpoint/ckpt-0", checkpoint_variables(detector))
    other = start_from(tmp_path / "other")
    assert len({start.fingerprint for start in starts}) == 1
    assert len({start.former_fingerprint for start in starts}) == 3
    assert other.fingerprint != starts[0].fingerprint
    assert starts[0].former_fingerprint == fingerprint(published / "checkpoint/ckpt-0")


def test_the_fingerprint_of_weights_differs_where_one_value_does(tmp_path):
    prints = []
    for value in (1.0, 1.0, 1.5):
        folder = tmp_path / str(len(prints))
        path = tf.train.Checkpoint(a=tf.Variable([value]), b=tf.Variable([2.0])).write(str(folder / "ckpt"))
        prints.append(fingerprint(Path(path)))
    assert prints[0] == prints[1] != prints[2]
