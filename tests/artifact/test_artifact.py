"""The model directory: the reference exporter's signatures, weights by name, and no half-written model."""

import contextlib
import io
import json
import os
import stat
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_models import TINY

from sagemaker_object_detection.artifact import export as exported
from sagemaker_object_detection.artifact.export import Exporter, ServingModel
from sagemaker_object_detection.artifact.model_info import read_model_info
from sagemaker_object_detection.artifact.restore import find_start
from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.weights.sources import find_source

pytestmark = pytest.mark.usefixtures("tiny_catalogue")
LABELS = Labels(ids=(1, 3, 7), names=("circle", "square", "triangle"))


def start_from(trained, values, labels):
    return find_start(find_source(str(trained.root / "model"), None).fetch(), read(values), labels)


@pytest.fixture(scope="module")
def module(trained):
    return tf.saved_model.load(str(trained.root / "model/1"))


@pytest.fixture(scope="module")
def image(trained):
    path = sorted((trained.root / "input/data/validation/images").iterdir())[0]
    return tf.io.decode_image(path.read_bytes()), path.read_bytes()


def test_serving_default_has_the_reference_exporters_names_and_shapes(module, image):
    signature = module.signatures["serving_default"]
    assert signature.structured_input_signature[1] == {
        "input_tensor": tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")
    }
    outputs = signature(input_tensor=image[0][None])
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "detection_boxes": (1, 100, 4),
        "detection_scores": (1, 100),
        "detection_classes": (1, 100),
        "detection_anchor_indices": (1, 100),
        "detection_multiclass_scores": (1, 100, 4),
        "num_detections": (1,),
        "raw_detection_boxes": (1, 516, 4),
        "raw_detection_scores": (1, 516, 4),
    }
    assert {value.dtype for value in outputs.values()} == {tf.float32}


def test_classes_are_one_based_and_scores_are_those_of_their_anchors(module, image):
    outputs = {name: value[0].numpy() for name, value in module.signatures["serving_default"](image[0][None]).items()}
    count = int(outputs["num_detections"])
    assert count > 0
    classes = outputs["detection_classes"][:count].astype(int)
    assert set(classes) <= {1, 2, 3}
    assert not outputs["detection_classes"][count:].any()
    anchors = outputs["detection_anchor_indices"][:count].astype(int)
    raw = outputs["raw_detection_scores"][anchors]
    np.testing.assert_array_equal(outputs["detection_multiclass_scores"][:count], raw)
    # Column 0 is the background's, so a 1-based class is its own column.
    np.testing.assert_array_equal(outputs["detection_scores"][:count], raw[np.arange(count), classes])


def test_encoded_images_are_answered_as_decoded_ones(module, image):
    pixels, encoded = image
    flipped = tf.io.encode_png(tf.reverse(pixels, [1])).numpy()
    batch = module.signatures["encoded_images"](image_bytes=tf.constant([encoded, flipped]))
    single = module.signatures["serving_default"](pixels[None])
    assert batch["detection_boxes"].shape == (2, 100, 4)
    # By anchor, since the order of equal scores is left to rounding.
    count = int(batch["num_detections"][0])
    anchors, classes, scores, boxes = (
        batch[f"detection_{name}"][0, :count].numpy() for name in ("anchor_indices", "classes", "scores", "boxes")
    )
    raw_scores, raw_boxes = (single[f"raw_detection_{name}"][0].numpy() for name in ("scores", "boxes"))
    places = anchors.astype(int)
    np.testing.assert_allclose(scores, raw_scores[places, classes.astype(int)], atol=1e-5)
    np.testing.assert_allclose(boxes, np.clip(raw_boxes[places], 0, 1), atol=1e-4)
    assert count == int(single["num_detections"][0]) > 50
    assert set(batch) == set(single) - {"raw_detection_boxes", "raw_detection_scores"}


def test_a_model_of_more_detections_answers_with_as_many(trained, image):
    start = start_from(trained, {}, LABELS)
    detector = build_detector(start.base, 3)
    start.install(detector)
    models = [ServingModel(detector, limit) for limit in (100, 150)]
    few, many = (model.detect_encoded(tf.constant([image[1]])) for model in models)
    assert many["detection_boxes"].shape == (1, 150, 4)
    assert many["detection_multiclass_scores"].shape == (1, 150, 4)
    assert many["num_detections"][0] > 100
    for name in ("boxes", "scores", "classes", "anchor_indices"):
        kept = many[f"detection_{name}"][:, :100]
        np.testing.assert_array_equal(kept, few[f"detection_{name}"], err_msg=name)


def png(samples, colour_type):
    """Of 16 bits a sample, [height, width, channels]."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_an_exported_model_sees_the_pixels_of_training(trained, image, tmp_path):
    """12 of 16 bits, transparency and XMP: the signature answers as if it were handed what training decodes."""
    start = start_from(trained, {}, LABELS)
    detector = build_detector(start.base, 3)
    start.install(detector)
    Exporter(detector, tmp_path / "model", sample_bits=12).write(LABELS, {"sample_bits": 12})
    saved = tf.saved_model.load(str(tmp_path / "model" / "1"))
    pixels = image[0].numpy().astype(np.uint16)
    alpha = np.full((*pixels.shape[:2], 1), 65535, np.uint16)
    seen = pixels.copy()
    alpha[:40], seen[:40] = 0, 255
    turned = io.BytesIO()
    Image.fromarray(image[0].numpy()).save(turned, "JPEG", quality=95, xmp=b'<x tiff:Orientation="3"/>')
    upright = tf.reverse(tf.io.decode_jpeg(turned.getvalue(), dct_method="INTEGER_ACCURATE"), [0, 1])
    for encoded, expected in (
        (png(pixels * 16, 2), pixels),
        (png(np.concatenate([pixels * 16, alpha], axis=-1), 6), seen),
        (turned.getvalue(), upright.numpy()),
    ):
        plain = tf.io.encode_png(expected.astype(np.uint8)).numpy()
        answers = saved.signatures["encoded_images"](image_bytes=tf.constant([encoded, plain]))
        for name, value in answers.items():
            np.testing.assert_array_equal(value[0], value[1], err_msg=name)
    assert answers["num_detections"][0] > 50


def test_any_image_size_is_taken(module):
    for height, width in ((1, 1), (33, 700)):
        noise = tf.cast(tf.random.stateless_uniform([1, height, width, 3], [1, 2], 0, 256, tf.int32), tf.uint8)
        boxes = module.signatures["serving_default"](noise)["detection_boxes"].numpy()
        assert boxes.min() >= 0.0
        assert boxes.max() <= 1.0


def test_weights_come_back_by_name(trained):
    start = start_from(trained, {}, LABELS)
    assert start.base == TINY
    assert start.loaded
    first, second = build_detector(start.base, 3, seed=1), build_detector(start.base, 3, seed=2)
    for detector in (first, second):
        start.install(detector)
    for one, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    noise = tf.random.stateless_uniform([1, 200, 300, 3], [3, 4], 0, 256, tf.int32)
    from sagemaker_object_detection.images.network_input import to_network_input

    network_input, _ = to_network_input(tf.cast(noise[0], tf.float32), start.base)
    loaded = tf.saved_model.load(str(trained.root / "model/1"))
    expected = loaded.signatures["serving_default"](tf.cast(noise, tf.uint8))["raw_detection_scores"]
    logits = first(network_input[None], training=False).class_logits
    np.testing.assert_allclose(tf.sigmoid(logits), expected, atol=1e-5)


def test_a_new_top_layer_keeps_everything_else(trained):
    start = start_from(trained, {"reinitialize_top_layer": "True"}, Labels(ids=("x", "y"), names=("x", "y")))
    detector = build_detector(start.base, 2, seed=9)
    top = [variable.numpy() for variable in detector.class_predictor.variables]
    first = detector.backbone.get_layer("level_1").kernel.numpy()
    start.install(detector)
    for before, variable in zip(top, detector.class_predictor.variables, strict=True):
        np.testing.assert_array_equal(before, variable.numpy())
    assert not np.array_equal(first, detector.backbone.get_layer("level_1").kernel.numpy())


def test_other_classes_are_named_with_the_way_out(trained):
    with pytest.raises(UserError) as caught:
        start_from(trained, {}, Labels((1, 3, 8), ("circle", "square", "star")))
    assert str(caught.value) == (
        f"pretrained_weights=\"{trained.root}/model\": the model's classes are not the data's: added star; removed "
        'triangle; expected the same classes; set reinitialize_top_layer="True" to train a new class prediction layer'
    )


def test_a_model_id_that_disagrees_with_the_weights_is_refused(trained):
    with pytest.raises(UserError, match=r"model_id: got '.*640x640', but .* holds a tiny_64x64"):
        start_from(trained, {"model_id": "ssd_mobilenet_v2_fpnlite_640x640"}, LABELS)


def test_half_a_model_is_no_model(tmp_path):
    with pytest.raises(UserError, match=r"holds no model_info\.json; expected the model directory"):
        read_model_info(tmp_path)
    (tmp_path / "model_info.json").write_text('{"base_model": "ssd')
    with pytest.raises(UserError, match=r"describes no model"):
        read_model_info(tmp_path)
    (tmp_path / "model_info.json").write_text(
        json.dumps({"format": 2, "base_model": DEFAULT_MODEL.name, "labels": ["a"], "category_ids": [1]})
    )
    with pytest.raises(UserError, match=r"in format 2; expected format 1"):
        read_model_info(tmp_path)


def test_what_was_prepared_is_written_with_the_present_weights_as_tensorflow_writes_them(tmp_path):
    detector = build_detector(TINY, 3)
    exporter = Exporter(detector, tmp_path / "model")
    exporter.prepare()
    assert list((tmp_path / "model").iterdir()) == []
    for number, variable in enumerate(detector.variables):
        variable.assign(variable + 0.25 * (number + 1))
    exporter.write(LABELS, {})
    tf.saved_model.save(ServingModel(detector), str(tmp_path / "plain"))
    ours, plain = (
        {path.relative_to(folder): path.read_bytes() for path in folder.glob("variables/*")}
        for folder in (tmp_path / "model/1", tmp_path / "plain")
    )
    assert ours.keys() == plain.keys()
    written, expected = (
        {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
        for reader in (tf.train.load_checkpoint(str(tmp_path / name)) for name in _CHECKPOINTS)
    )
    assert written.keys() == expected.keys()
    for key, value in expected.items():
        if key != "_CHECKPOINTABLE_OBJECT_GRAPH":  # that with signatures has more nodes
            np.testing.assert_array_equal(written[key], value, err_msg=key)
    assert (tmp_path / "model/1/saved_model.pb").stat().st_size > 0


_CHECKPOINTS = ("model/1/variables/variables", "plain/variables/variables")


def test_a_failed_export_leaves_the_earlier_model_and_nothing_else(tmp_path, monkeypatch):
    model = tmp_path / "model"
    (model / "1").mkdir(parents=True)
    (model / "model_info.json").write_text("earlier")

    def fail(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        Exporter(build_detector(TINY, 3), model).write(LABELS, {})
    assert sorted(path.name for path in model.iterdir()) == ["1", "model_info.json"]
    assert (model / "model_info.json").read_text() == "earlier"


def export_version(version, model, stop_before=-1):
    """Exports without a network: the SavedModel is one file. Files of a version hold its name.

    The renames, below `model`, where the folder that is made there is called "temporary". The one whose number is
    `stop_before` fails, as if the process ended there.
    """
    renames = []

    def write(folder):
        assert not folder.name.isdecimal()  # a server would take it for a version of the model
        folder.mkdir()
        (folder / "saved_model.pb").write_text(version)

    def rename(path, target):
        if len(renames) == stop_before:
            raise KeyboardInterrupt
        places = [place.relative_to(model).as_posix() for place in (path, target)]
        renames.append(tuple("temporary" if place.startswith(".") else place for place in places))
        os.rename(path, target)

    detector: Any = SimpleNamespace(variables=(), base=TINY, anchors=np.zeros((0, 4), np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", lambda path, target: rename(path, target))
        patch.setattr(exported, "ServingGraph", lambda *arguments: SimpleNamespace(write=write))
        Exporter(detector, model).write(Labels((7, 3), (version, "apple")), {"base_model": version})
    return renames


def texts_of(model):
    """Of every file but the handler, which is the same in every version."""
    paths = (path for path in model.rglob("*") if path.is_file() and path.suffix != ".py")
    return {path.relative_to(model).as_posix(): path.read_text() for path in paths}


def test_labels_are_in_the_order_of_the_class_indices(tmp_path):
    export_version("zebra", tmp_path)
    written = json.loads((tmp_path / "labels.json").read_text())
    assert written == {"labels": ["zebra", "apple"], "category_ids": [7, 3]}


def test_what_a_killed_export_left_is_removed(tmp_path):
    (tmp_path / ".export-killed/saved-model").mkdir(parents=True)
    export_version("new", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "code", "labels.json", "model_info.json"]


def test_every_user_may_read_a_model(tmp_path):
    export_version("new", tmp_path)
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {True: 0o777, False: 0o666}


def test_parts_of_a_model_arrive_by_renames_and_model_info_last(tmp_path):
    arrivals = [("temporary", name) for name in ("1", "code", "labels.json", "model_info.json")]
    assert export_version("old", tmp_path) == arrivals
    replaced = export_version("new", tmp_path)
    assert replaced[0] == ("model_info.json", "temporary")
    assert replaced[4:] == arrivals


@pytest.mark.parametrize("stop_before", range(9))
def test_model_is_whole_where_model_info_stands_wherever_export_ends(stop_before, tmp_path):
    versions = []
    for version in ("new", "old"):
        export_version(version, tmp_path)
        versions.append(texts_of(tmp_path))
    with contextlib.suppress(KeyboardInterrupt):
        export_version("new", tmp_path, stop_before)
    left = texts_of(tmp_path)
    assert ("model_info.json" in left) == (left in versions) == (stop_before in (0, 8))
