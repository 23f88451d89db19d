"""Which frame boxes are in, through validation, export and prediction, for landscape, portrait and square images.

The detector here knows nothing but finds the bright part of its input, so every figure can be foretold. Images are
once or twice as large as the input, and edges lie on even pixels: resizing keeps them exactly.
"""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import StopWhen
from PIL import Image, ImageOps
from tiny_models import TINY, TINY_PADDED

from sagemaker_object_detection.artifact.export import Exporter, ServingModel
from sagemaker_object_detection.artifact.model_info import model_info
from sagemaker_object_detection.catalogue import CATALOGUE, BaseModel
from sagemaker_object_detection.dataset.annotations import Dataset, IgnoredRegions, Labels
from sagemaker_object_detection.dataset.pipeline import evaluation_batches
from sagemaker_object_detection.evaluation.evaluator import Evaluator
from sagemaker_object_detection.geometry.box_coder import encode_boxes
from sagemaker_object_detection.images.network_input import scale_pixels
from sagemaker_object_detection.job.stop import GRACE_SECONDS
from sagemaker_object_detection.models.detector import Predictions, build_detector
from sagemaker_object_detection.models.postprocess import detections
from sagemaker_object_detection.serving.predict import predict_files

PADDED = next(base for base in CATALOGUE if base.family.keep_aspect_ratio)
pytestmark = pytest.mark.usefixtures("tiny_catalogue")
LABELS = Labels(ids=(1,), names=("bright",))
# ymin xmin ymax xmax, normalised to the image, of a landscape, a portrait and a square one.
BOXES = np.array([[0.25, 0.125, 0.75, 0.5], [0.5, 0.25, 1.0, 0.75], [0.0, 0.5, 0.75, 1.0]], np.float32)


class BrightnessDetector:
    """Its one anchor's box is drawn around the pixels of the network input that are nearer to white than to black."""

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self.num_classes = 1
        self.anchors = np.array([[0.25, 0.25, 0.75, 0.75]], np.float32)
        half = float(scale_pixels(tf.fill([3], 127.5), base.family)[0])
        self.threshold = keras.Variable(half, name="threshold", trainable=False)
        self.variables = self.regularized_kernels = [self.threshold]

    def __call__(self, images: tf.Tensor, training: bool) -> Predictions:
        assert not training
        bright = images[..., 0] > self.threshold.value
        rows, columns = tf.reduce_any(bright, axis=2), tf.reduce_any(bright, axis=1)
        corners = [_first(rows), _first(columns), _last(rows) + 1, _last(columns) + 1]
        boxes = tf.stack(corners, axis=-1)[:, None, :] / self.base.input_size
        encodings = encode_boxes(tf.cast(boxes, tf.float32), tf.constant(self.anchors), self.base.family.box_code_scale)
        logits = tf.zeros_like(encodings[..., :1]) + 6.0
        return Predictions(encodings, tf.concat([-logits] * self.base.family.background_column + [logits], axis=-1))


def brightness_detector(base: BaseModel) -> Any:
    return BrightnessDetector(base)


def _first(there: tf.Tensor) -> tf.Tensor:
    return tf.argmax(tf.cast(there, tf.uint8), axis=1)


def _last(there: tf.Tensor) -> tf.Tensor:
    return there.shape[1] - 1 - _first(tf.reverse(there, [1]))


@pytest.fixture(scope="module", params=[TINY_PADDED, TINY], ids=["padded", "stretched"])
def base(request: pytest.FixtureRequest) -> BaseModel:
    return request.param


@pytest.fixture(scope="module")
def dataset(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("images")
    size = base.input_size
    sizes = np.array([[size, 2 * size], [2 * size, size], [2 * size, 2 * size]], np.int32)
    for number, (box, (height, width)) in enumerate(zip(BOXES, sizes, strict=True)):
        ymin, xmin, ymax, xmax = (box * [height, width, height, width]).astype(int)
        pixels = np.zeros((height, width), np.uint8)
        pixels[ymin:ymax, xmin:xmax] = 255
        Image.fromarray(pixels).convert("RGB").save(folder / f"{number}.png")
    return Dataset(
        images=folder,
        file_names=("0.png", "1.png", "2.png"),
        sizes=sizes,
        orientations=np.ones(3, np.uint8),
        offsets=np.arange(4, dtype=np.int64),
        boxes=BOXES,
        classes=np.zeros(3, np.int32),
        labels=LABELS,
        fingerprint="",
    )


@pytest.fixture(scope="module")
def model(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    info = model_info(base, LABELS, hyperparameters={}, weights={}, fingerprints={}, epoch=None, metrics={})
    Exporter(brightness_detector(base), folder).write(LABELS, info)
    return folder


@pytest.fixture(scope="module")
def signatures(model: Path) -> Any:
    return tf.saved_model.load(str(model / "1")).signatures


def test_validation_compares_boxes_of_one_frame(base: BaseModel, dataset: Dataset) -> None:
    evaluation = Evaluator(brightness_detector(base), dataset, l2=0.0)()
    assert evaluation is not None
    # The losses: ground truth and predictions in the network input's frame.
    assert evaluation.metrics["localization_loss"] == pytest.approx(0, abs=1e-9)
    # The COCO figures: ground truth and detections in the image's frame, in original pixels.
    assert evaluation.metrics["mAP"] == pytest.approx(1)
    assert evaluation.coco.overall["mAP_75"] == pytest.approx(1)
    assert evaluation.confident_images == 3


def test_a_validation_set_that_does_not_fill_its_batches(
    base: BaseModel, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sagemaker_object_detection.evaluation.evaluator.BATCH_SIZE", 2)
    evaluation = Evaluator(brightness_detector(base), dataset, l2=0.0)()
    assert evaluation is not None
    assert evaluation.metrics["localization_loss"] == pytest.approx(0, abs=1e-9)
    assert evaluation.metrics["mAP"] == pytest.approx(1)
    assert evaluation.confident_images == 3


def test_the_detections_of_the_last_validation_are_still_there(base: BaseModel, dataset: Dataset) -> None:
    evaluator = Evaluator(brightness_detector(base), dataset, l2=0.0)
    evaluation = evaluator()
    assert evaluation is not None
    found = evaluator.detections(evaluation, math.inf)
    assert found is not None
    assert found.count.tolist() == [1, 1, 1]
    np.testing.assert_allclose(found.boxes[:, 0], BOXES, atol=1e-6)


def test_detections_of_other_weights_than_the_last_are_made_again(base: BaseModel, dataset: Dataset) -> None:
    stopping: list[bool] = []
    detector = brightness_detector(base)
    evaluator = Evaluator(detector, dataset, l2=0.0, stop=StopWhen(lambda: bool(stopping)))
    saved = evaluator()
    right = detector.threshold.numpy()
    detector.threshold.assign(1e6)  # nothing is as bright: boxes are not where they were
    last = evaluator()
    detector.threshold.assign(right)
    assert saved is not None
    assert last is not None
    stopping.append(True)
    assert evaluator() is None
    assert evaluator.detections(saved, GRACE_SECONDS + 1) is None
    found = evaluator.detections(saved, 45.0)
    assert found is not None
    np.testing.assert_allclose(found.boxes[:, 0], BOXES, atol=1e-6)
    assert not np.allclose(evaluator.detections(last, math.inf).boxes[:, 0], BOXES)


def test_both_signatures_answer_in_the_frame_of_the_image(signatures: Any, dataset: Dataset) -> None:
    paths = [dataset.images / name for name in dataset.file_names]
    together = signatures["encoded_images"](image_bytes=tf.constant([path.read_bytes() for path in paths]))
    assert not together["detection_multiclass_scores"][:, 1:].numpy().any()
    for number, path in enumerate(paths):
        alone = signatures["serving_default"](tf.io.decode_png(path.read_bytes())[None])
        for boxes in (alone["detection_boxes"][0], together["detection_boxes"][number]):
            np.testing.assert_allclose(boxes[0], BOXES[number], atol=1e-6)
            assert not boxes[1:].numpy().any()


def test_encoded_photographs_are_turned_as_their_exif_says(base: BaseModel, signatures: Any) -> None:
    """Every orientation, against Pillow's turning of the pixels."""
    pixels = np.zeros((base.input_size, 2 * base.input_size, 3), np.uint8)
    pixels[: base.input_size // 2, : base.input_size // 4] = 255
    files, expected = [], []
    for orientation, form in zip(range(1, 9), ("PNG", "JPEG") * 4, strict=True):
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(file, form, exif=exif)
        files.append(file.getvalue())
        upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
        expected.append(signatures["serving_default"](tf.constant(upright[None]))["detection_boxes"][0, 0])
    assert len({tuple(np.round(box, 3)) for box in expected}) == 8
    found = signatures["encoded_images"](image_bytes=tf.constant(files))["detection_boxes"][:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_raw_boxes_are_in_the_frame_of_the_network_input(base: BaseModel, signatures: Any, dataset: Dataset) -> None:
    landscape = signatures["serving_default"](tf.io.decode_png((dataset.images / "0.png").read_bytes())[None])
    fraction = np.array([0.5, 1, 0.5, 1] if base.family.keep_aspect_ratio else [1, 1, 1, 1])
    np.testing.assert_allclose(landscape["raw_detection_boxes"][0, 0], BOXES[0] * fraction, atol=1e-6)


def test_prediction_answers_in_the_frame_of_the_image(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    paths = [dataset.images / name for name in dataset.file_names]
    answers = [json.loads(line) for line in predict_files(model, paths, tmp_path, 0.5)]
    for answer, box in zip(answers, BOXES, strict=True):
        np.testing.assert_allclose(answer["normalized_boxes"], [box[[1, 0, 3, 2]]], atol=1e-6)
        with Image.open(answer["drawing"]) as drawing, Image.open(answer["image"]) as image:
            assert drawing.size == image.size


@pytest.mark.slow
def test_an_efficientdet_detects_the_same_in_validation_and_when_served(tmp_path: Path) -> None:
    detector = build_detector(PADDED, 2, seed=4)
    shapes = [(300, 400), (400, 300)]
    for number, shape in enumerate(shapes):
        pixels = np.random.default_rng(number).integers(0, 256, (*shape, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    dataset = Dataset(
        images=tmp_path,
        file_names=("0.png", "1.png"),
        sizes=np.array(shapes, np.int32),
        orientations=np.ones(2, np.uint8),
        offsets=np.zeros(3, np.int64),
        boxes=np.zeros((0, 4), np.float32),
        classes=np.zeros(0, np.int32),
        labels=LABELS,
        fingerprint="",
    )
    serving = ServingModel(detector)
    for path, batch in zip(sorted(tmp_path.iterdir()), evaluation_batches(dataset, PADDED, 1), strict=True):
        found = detections(detector(batch.images, training=False), detector.anchors, batch.true_shapes, PADDED)
        served = serving.detect(tf.io.decode_png(path.read_bytes())[None])
        count = int(found.count[0])
        assert served["num_detections"].numpy().tolist() == [count]
        assert count > 50
        np.testing.assert_allclose(served["detection_scores"], found.scores, atol=1e-5)
        np.testing.assert_array_equal(served["detection_anchor_indices"], found.anchor_indices)
        np.testing.assert_allclose(served["detection_boxes"], found.boxes, atol=1e-4)
        # The frame is the image's: boxes reach its far edges, which are not those of the padded input.
        assert found.boxes.numpy().max(axis=(0, 1))[2:].tolist() == [1, 1]


class UnmovedDetector:
    """Its anchors are the halves of the input. For both it says the same, whatever it is shown: a box half an anchor's
    height too far down, and every class as likely as not."""

    base = replace(TINY, family=replace(TINY.family, box_code_scale=(1.0, 1.0, 1.0, 1.0)))
    num_classes = 1
    anchors = np.array([[0.0, 0.0, 1.0, 0.5], [0.0, 0.5, 1.0, 1.0]], np.float32)
    regularized_kernels = (np.array([1.0, 2.0], np.float32),)

    def __call__(self, images: tf.Tensor, training: bool) -> Predictions:
        count = tf.shape(images)[0]
        return Predictions(tf.tile([[[0.5, 0.0, 0.0, 0.0]] * 2], [count, 1, 1]), tf.zeros([count, 2, 2]))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_losses_are_the_mean_over_images_whatever_the_batch_size(
    batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images with no box, one and two, each of which is an anchor."""
    for number in range(3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{number}.png")
    detector: Any = UnmovedDetector()
    dataset = Dataset(
        images=tmp_path,
        file_names=("0.png", "1.png", "2.png"),
        sizes=np.full((3, 2), 64, np.int32),
        orientations=np.ones(3, np.uint8),
        offsets=np.array([0, 0, 1, 3], np.int64),
        boxes=detector.anchors[[0, 0, 1]],
        classes=np.zeros(3, np.int32),
        labels=LABELS,
        fingerprint="",
    )
    monkeypatch.setattr("sagemaker_object_detection.evaluation.evaluator.BATCH_SIZE", batch_size)
    evaluation = Evaluator(detector, dataset, l2=0.25)()
    assert evaluation is not None
    # Huber's loss of 0.5 is 0.125, for one of the four numbers of every matched anchor.
    localization = np.mean([0.0, 0.125 / 4, 2 * 0.125 / 4 / 2])
    # Of an image's four logits, one of each matched anchor should be set: -ln(0.5) * 0.5 ** 2 * alpha.
    right, wrong = np.log(2) / 4 * np.array([0.25, 0.75])
    classification = np.mean([4 * wrong, right + 3 * wrong, (2 * right + 2 * wrong) / 2])
    assert evaluation.metrics["localization_loss"] == pytest.approx(localization, rel=1e-6)
    assert evaluation.metrics["classification_loss"] == pytest.approx(classification, rel=1e-6)
    assert evaluation.total_loss == pytest.approx(localization + classification + 0.25 * (1 + 4), rel=1e-6)
    assert evaluation.confident_images == 0  # at a half, and not above
    # The lower half of the first image is not known: the second anchor learns nothing there.
    region = IgnoredRegions(np.array([0, 1, 1, 1]), detector.anchors[1:], np.zeros(1, np.int32))
    ignoring = Evaluator(detector, replace(dataset, ignored=region), l2=0.25)()
    assert ignoring is not None
    less = ignoring.metrics["classification_loss"]
    assert less == pytest.approx(classification - np.mean([2 * wrong, 0.0, 0.0]), rel=1e-6)
    assert ignoring.metrics["localization_loss"] == evaluation.metrics["localization_loss"]
