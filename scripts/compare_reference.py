#!/usr/bin/env python3
"""Compares a model with what the reference implementation computed for the same weights and images.

    python scripts/compare_reference.py PACK...

A pack (<model>.npz) holds the reference's figures for random weights, two photographs and one set of ground truth. The
weights are a function of their checkpoint keys, so that the pack needs nothing beside it. For every quantity this
prints the largest difference and how much counts as agreement, and it exits with 1 where one is beyond that.

The reference computed in float32, and so do we; on a processor whose kernels round otherwise, networks with random
weights make more of that than the tolerances allow, above all in training mode. Where something is beyond them, the
same model is therefore computed in float64: what the reference differs from that by, times three, counts as agreement
too, up to a limit.
"""

import argparse
import contextlib
import hashlib
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.preprocess import to_network_input
from sagemaker_object_detection.errors import JobError, UserError, first_line
from sagemaker_object_detection.models.detector import Detector, Predictions, build_detector
from sagemaker_object_detection.models.drop_connect import DropConnect
from sagemaker_object_detection.models.postprocess import detections
from sagemaker_object_detection.training.losses import (
    batch_terms,
    classification_per_anchor,
    detection_losses,
    localization_per_anchor,
    regularization_loss,
)
from sagemaker_object_detection.training.targets import Targets, assign_targets
from sagemaker_object_detection.weights.checkpoint import SUFFIX, read_model_garden
from sagemaker_object_detection.weights.install import install_model_garden
from sagemaker_object_detection.weights.model_garden import checkpoint_variables
from sagemaker_object_detection.weights.recognition import recognise_variables

Pack = Mapping[str, np.ndarray]
DAMAGED = (OSError, EOFError, zipfile.BadZipFile, KeyError, IndexError, ValueError, TypeError)
"""What a pack that is cut short, lacks fields or holds others' figures ends in."""

ROUNDINGS = 3.0
"""Ours and the reference's, and as much again: roundings of one size differ by chance."""
INFERENCE, TRAINING = 10.0, 500.0
"""Leeways. The reference's feature maps differ from those in float64 by up to 5 times the tolerance (EfficientDet, with
random weights), what an anchor adds to the loss by up to 10 times. Batch statistics of two images are badly
conditioned: there box encodings differ by up to 380 times and gradients by 170 (MobileNet V1)."""


@dataclass(frozen=True)
class Comparison:
    """One quantity: the largest difference, in the unit of its tolerance."""

    quantity: str
    difference: float
    tolerance: float
    leeway: float = 1.0
    """How many times the tolerance rounding may come to on another processor."""

    def allowing(self, rounding: float) -> "Comparison":
        """With the tolerance that the reference's own rounding asks for."""
        asked = min(ROUNDINGS * rounding, self.leeway * self.tolerance)
        return replace(self, tolerance=max(self.tolerance, asked))

    @property
    def agrees(self) -> bool:
        return self.difference <= self.tolerance  # False for NaN


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare models with the reference implementation's figures.")
    parser.add_argument("packs", nargs="+", type=Path, metavar="PACK")
    agreed = True
    for path in parser.parse_args().packs:
        try:
            comparisons = compare(path)
        except JobError as error:
            print(f"{path}: {error}", file=sys.stderr)
            agreed = False
            continue
        except DAMAGED as error:  # wherever it shows; the others are compared all the same
            what = f"{type(error).__name__}: {first_line(error)}"
            print(f"{path}: not a whole reference pack ({what}); expected every field of one", file=sys.stderr)
            agreed = False
            continue
        print(path.name)
        for comparison in comparisons:
            mark = "" if comparison.agrees else "   BEYOND"
            print(f"  {comparison.quantity:42} {comparison.difference:9.2e}  of {comparison.tolerance:7.1e}{mark}")
        beyond = sum(not comparison.agrees for comparison in comparisons)
        print(f"  {len(comparisons) - beyond} of {len(comparisons)} quantities agree")
        agreed = agreed and not beyond
    return 0 if agreed else 1


def compare(path: Path) -> list[Comparison]:
    """Every comparison of one pack.

    Raises:
        UserError: not a pack, or of a model this package does not have.
    """
    try:
        with np.load(path) as archive:
            pack = {key: archive[key] for key in archive.files}
        name = str(pack["model"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"not a readable reference pack ({error}); expected an .npz file with a field 'model'"
        ) from error
    base = catalogue.find(name)
    if base is None:
        known = ", ".join(known.name for known in catalogue.CATALOGUE)
        raise UserError(f"the pack is of {name}, which this package does not have; it has {known}")
    comparisons = _compare(pack, base, "float32")
    if all(comparison.agrees for comparison in comparisons):
        return comparisons
    exact = _compare(pack, base, "float64")
    return [one.allowing(other.difference) for one, other in zip(comparisons, exact, strict=True)]


def _compare(pack: Pack, base: BaseModel, dtype: str) -> list[Comparison]:
    """Every comparison, with the network, the losses and the gradients in this number format."""
    with tempfile.TemporaryDirectory(prefix="pack-") as folder:
        stored = read_model_garden(write_checkpoint(pack, Path(folder)))
        candidates = recognise_variables(stored)
        if base not in candidates:
            recognised = " or ".join(candidate.name for candidate in candidates)
            raise UserError(f"the pack is of {base.name}, but its variables are recognised as those of {recognised}")
        with reference_logistic():
            classes = pack["class_logits"].shape[-1] - base.family.background_column
            detector = build_detector(base, classes, dtype=dtype)
        install_model_garden(detector, stored, class_columns=range(detector.num_classes))

    prepared = [to_network_input(tf.cast(pack[f"image{i}"], tf.float32), base) for i in range(2)]
    images = tf.stack([image for image, _ in prepared])
    true_shapes = tf.stack([true_shape for _, true_shape in prepared])
    targets = assign_targets(detector.anchors, pack["gt_boxes"], pack["gt_classes"], pack["gt_weights"], base.family)
    wide = Targets(*(tf.cast(field, dtype) if field.dtype.is_floating else field for field in targets))
    return [
        *_inputs(pack, detector, images, true_shapes),
        *_targets(pack, targets),
        *_inference(pack, detector, images, true_shapes, wide),
        *_training(pack, detector, images, wide),  # moves the statistics: last
    ]


@contextlib.contextmanager
def reference_logistic() -> Iterator[None]:
    """Detectors built inside compute the logistic function as the reference's TensorFlow did: e ** x / (1 + e ** x).

    That of TensorFlow 2.21 differs from it in the last bit of half its values. Nothing is wrong with either, but a deep
    EfficientNet with random weights makes 3e-4 of it, which would hide differences that matter.
    """

    class Logistic(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            exponential = ops.exp(x)
            return exponential / (1.0 + exponential)

    with (
        mock.patch.object(ops, "sigmoid", lambda x: Logistic()(x)),
        mock.patch.object(ops, "silu", lambda x: x * Logistic()(x)),
    ):
        yield


def write_checkpoint(pack: Pack, folder: Path) -> Path:
    """Writes the pack's weights as the checkpoint they were published in, object graph included; returns its prefix."""
    prefix = folder / "checkpoint" / "ckpt-0"
    prefix.parent.mkdir()
    tensors = {key: tf.constant(array) for key, array in pack_weights(pack).items()}
    tensors["_CHECKPOINTABLE_OBJECT_GRAPH"] = tf.constant(pack["object_graph"].tobytes())
    tensors["save_counter" + SUFFIX] = tf.constant(1, tf.int64)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )
    return prefix


def pack_weights(pack: Pack) -> dict[str, np.ndarray]:
    """Checkpoint key -> float32 array: moving statistics are stored, all else is drawn from its key and the seed."""
    weights = {}
    for key, text in zip(pack["weight_keys"].tolist(), pack["weight_shapes"].tolist(), strict=True):
        shape = tuple(int(size) for size in text.split(",") if size)
        value = pack[f"stored:{key}"] if f"stored:{key}" in pack else _draw(key, shape, int(pack["seed"]))
        weights[key] = (value * pack.get(f"scale:{key}", np.float32(1))).astype(np.float32)
    return weights


def _draw(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    # RandomState, because its stream never changes.
    digest = hashlib.md5(f"{seed}|{key}|".encode()).hexdigest()
    random = np.random.RandomState(int(digest[:8], 16))
    leaf = key.removesuffix(SUFFIX).rsplit("/", 1)[-1]
    if leaf in ("kernel", "pointwise_kernel") and len(shape) == 4:
        value = random.normal(0, np.sqrt(1.6 / np.prod(shape[:3])), shape)
        predictor = "_class_predictor_layers" in key or "_box_encoder_layers" in key
        return value * 0.3 if predictor else value
    if leaf == "depthwise_kernel":
        return random.normal(0, np.sqrt(1.6 / (shape[0] * shape[1])), shape)
    if leaf == "kernel":
        return random.normal(0, np.sqrt(1.0 / shape[0]), shape)
    if leaf == "gamma":
        return random.uniform(0.7, 1.3, shape)
    if leaf in ("per_input_weights", "bifpn_combine_weights"):
        return random.uniform(-0.2, 1.5, shape)
    value = random.normal(0, 0.2, shape)
    return value - 3.0 if leaf == "bias" and "_class_predictor_layers" in key else value


def _inputs(pack: Pack, detector: Detector, images: Any, true_shapes: Any) -> Iterator[Comparison]:
    stride = int(pack["preprocessed_stride"])
    expected = pack["preprocessed"]
    value_range = float(expected.max() - expected.min())
    difference = _absolute(images.numpy()[:, ::stride, ::stride], expected) / value_range
    yield Comparison("preprocessing (of the value range)", difference, 1e-6)
    yield Comparison("true image shapes", _absolute(true_shapes, pack["true_image_shapes"]), 0)
    yield Comparison("number of anchors", abs(len(detector.anchors) - int(pack["num_anchors"])), 0)
    yield Comparison("anchors", _absolute(detector.anchors[pack["sampled_anchors"]], pack["anchors"]), 2e-7)


def _targets(pack: Pack, targets: Targets) -> Iterator[Comparison]:
    ours = Targets(*(np.asarray(field)[:, pack["sampled_anchors"]] for field in targets))
    yield Comparison("matches", _absolute(ours.matches, pack["match"]), 0)
    yield Comparison("class targets", _absolute(ours.class_targets, pack["cls_target_class"]), 0)
    yield Comparison("class weights", _absolute(ours.class_weights, pack["cls_weights"]), 0)
    yield Comparison("regression weights", _absolute(ours.box_weights, pack["reg_weights"]), 0)
    yield Comparison("regression targets", _absolute(ours.box_targets, pack["reg_targets"]), 1e-5)


def _inference(pack: Pack, detector: Detector, images: Any, true_shapes: Any, targets: Targets) -> Iterator[Comparison]:
    family, sampled = detector.base.family, pack["sampled_anchors"]
    taps = detector.backbone(images, training=False)
    levels = detector.pyramid(taps[-3:], training=False)
    for field, maps in (("backbone", taps), ("feature_map", levels)):
        for number, ours in enumerate(maps):
            expected, shape = pack[f"{field}_{number}"], pack[f"{field}_{number}_shape"].tolist()
            if list(ours.shape[1:]) != shape[1:]:
                raise UserError(f"{field}_{number} has shape {list(ours.shape[1:])}, the reference's has {shape[1:]}")
            rows, columns = (max(1, size // 6) for size in shape[1:3])
            ours = np.asarray(ours)[0, ::rows, ::columns]
            yield Comparison(f"{field}_{number}", _mixed(ours, expected), 1e-4, INFERENCE)

    predictions = detector(images, training=False)
    for quantity, ours in (("box_encodings", predictions.box_encodings), ("class_logits", predictions.class_logits)):
        yield Comparison(quantity, _mixed(np.asarray(ours)[:, sampled], pack[quantity]), 1e-4, INFERENCE)

    for term, value in _loss_terms(predictions, targets, detector).items():
        yield Comparison(f"{term}_loss", _relative(value, pack[f"{term}_loss"]), 1e-5, INFERENCE)
    count = len(detector.regularized_kernels)
    yield Comparison("number of L2 terms", abs(count - int(pack["num_regularizers"])), 0)
    per_anchor = (
        ("loc_loss_per_anchor", localization_per_anchor(predictions, targets)),
        ("cls_loss_per_anchor", classification_per_anchor(predictions, targets, family)),
    )
    for quantity, ours in per_anchor:
        # What an anchor adds may be next to nothing: below the mean, differences are compared on the mean's scale.
        expected = pack[quantity]
        yield Comparison(
            quantity, _mixed(np.asarray(ours)[:, sampled], expected, float(expected.mean())), 1e-5, INFERENCE
        )
    yield from _detections(pack, predictions, detector, true_shapes)


def _detections(pack: Pack, predictions: Predictions, detector: Detector, true_shapes: Any) -> Iterator[Comparison]:
    """Detections are paired by anchor and class; those whose scores tie with the last place's may differ."""
    predictions = Predictions(*(tf.cast(field, tf.float32) for field in predictions))  # there is no other suppression
    found = detections(predictions, detector.anchors, true_shapes, detector.base)
    counts = pack["num_detections"].astype(int)
    yield Comparison("number of detections", _absolute(found.count, counts), 0)
    unpaired, score_difference, box_difference = 0, 0.0, 0.0
    for image, count in enumerate(counts):
        ours = _by_anchor_and_class(
            *(
                np.asarray(field)[image, :count]
                for field in (found.anchor_indices, found.classes, found.scores, found.boxes)
            )
        )
        theirs = _by_anchor_and_class(
            *(pack[f"detection_{field}"][image, :count] for field in ("anchor_indices", "classes", "scores", "boxes"))
        )
        last = min((score for score, _ in theirs.values()), default=0.0)
        unpaired += sum((ours.get(pair) or theirs[pair])[0] > last + 1e-5 for pair in ours.keys() ^ theirs.keys())
        for pair in ours.keys() & theirs.keys():
            score_difference = max(score_difference, _absolute(ours[pair][0], theirs[pair][0]))
            box_difference = max(box_difference, _absolute(ours[pair][1], theirs[pair][1]))
        order_difference = _absolute(np.asarray(found.scores)[image], pack["detection_scores"][image])
        score_difference = max(score_difference, order_difference)
    yield Comparison("detections only one side has", unpaired, 0)
    yield Comparison("detection scores", score_difference, 1e-5, INFERENCE)
    yield Comparison("detection boxes", box_difference, 1e-4, INFERENCE)


def _by_anchor_and_class(
    anchors: np.ndarray, classes: np.ndarray, scores: np.ndarray, boxes: np.ndarray
) -> dict[tuple[int, int], tuple[float, np.ndarray]]:
    rows = zip(anchors.tolist(), classes.astype(int).tolist(), scores.tolist(), boxes, strict=True)
    return {(anchor, label): (score, box) for anchor, label, score, box in rows}


def _training(pack: Pack, detector: Detector, images: Any, targets: Targets) -> Iterator[Comparison]:
    """One pass in training mode: losses, gradients by checkpoint key, and the statistics it leaves.

    Drop-connect is random, so that with it only what does not depend on it can be compared: the statistics before the
    first block that drops, and the gradients of the variables that only the L2 term knows.
    """
    named: dict[str, keras.Variable] = checkpoint_variables(detector)
    trained = {key: variable.value for key, variable in named.items() if variable.trainable}
    known = _without_noise(detector)

    @tf.function
    def training_pass(images: Any) -> tuple[Any, dict[str, Any], list[Any]]:
        with tf.GradientTape() as tape:
            predictions = detector(images, training=True)
            terms = _loss_terms(predictions, targets, detector)
            total = tf.add_n(list(terms.values()))
        return predictions.box_encodings, {**terms, "total": total}, tape.gradient(total, list(trained.values()))

    encodings, terms, gradients = training_pass(images)
    statistics = {key: np.mean(np.asarray(named[key], np.float64)) for key in pack["bn_keys"].tolist()}
    if known is None:
        sampled = np.asarray(encodings)[:, pack["sampled_anchors"]]
        yield Comparison("train_box_encodings", _mixed(sampled, pack["train_box_encodings"]), 1e-4, TRAINING)
        for term in ("localization", "classification", "total"):
            yield Comparison(f"train_{term}_loss", _relative(terms[term], pack[f"train_{term}_loss"]), 1e-4, TRAINING)

    ours = dict(zip(trained, gradients, strict=True))
    keys = pack["grad_keys"].tolist()
    yield Comparison("trained variables only one side has", len(ours.keys() ^ set(keys)), 0)
    absent = [ours.get(key) is None for key in keys]
    yield Comparison("gradients that are none on one side", _absolute(absent, pack["grad_is_none"]), 0)
    # A batch normalisation takes out again what a beta just before it adds: such a gradient is only rounding, of about
    # 1e-7 of the largest. Norms below this floor are therefore compared on its scale, not on their own.
    floor = 1e-4 * float(np.max(pack["grad_norms"]))
    bounds = {key: max(norm, floor) for key, norm in zip(keys, pack["grad_norms"].tolist(), strict=True)}
    compared = [
        key for key in keys if ours.get(key) is not None and (known is None or id(named[key]) in known.gradients)
    ]

    def norms_and_sums(found: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        wide = {key: np.asarray(found[key], np.float64) for key in compared}
        return {key: (float(np.linalg.norm(gradient)), float(gradient.sum())) for key, gradient in wide.items()}

    def apart(one: Mapping[str, tuple[float, float]], other: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """The largest differences of norms and of sums. A sum may vanish where the norm does not: it is compared on the
        scale of the largest it could be."""
        sizes = {key: np.sqrt(trained[key].shape.num_elements()) for key in compared}
        norms = [abs(one[key][0] - other[key][0]) / bounds[key] for key in compared]
        sums = [abs(one[key][1] - other[key][1]) / (bounds[key] * sizes[key]) for key in compared]
        return max(norms), max(sums)

    mine = norms_and_sums(ours)
    theirs = dict(zip(keys, zip(pack["grad_norms"].tolist(), pack["grad_sums"].tolist(), strict=True), strict=True))
    norms, sums = apart(mine, theirs)
    yield Comparison("gradient norms", norms, 1e-3, TRAINING)
    yield Comparison("gradient sums (of the norm's bound)", sums, 1e-3, TRAINING)

    chosen = [known is None or id(named[key]) in known.statistics for key in statistics]
    difference = _relative(np.array(list(statistics.values()))[chosen], pack["bn_mean_of_updated"][chosen])
    yield Comparison("updated moving statistics", difference, 1e-4, TRAINING)


@dataclass(frozen=True)
class _Noiseless:
    """Ids of the variables whose gradients, and whose updates, drop-connect does not reach."""

    gradients: frozenset[int]
    statistics: frozenset[int]


def _without_noise(detector: Detector) -> _Noiseless | None:
    """None where nothing is random."""
    layers = detector.backbone.layers
    drops = [number for number, layer in enumerate(layers) if isinstance(layer, DropConnect) and layer.rate > 0]
    if not drops:
        return None
    rest = detector.classifier.weights if detector.classifier is not None else []
    before = [variable for layer in layers[: drops[0]] for variable in layer.weights]
    return _Noiseless(frozenset(map(id, rest)), frozenset(map(id, before)))


def _loss_terms(predictions: Predictions, targets: Targets, detector: Detector) -> dict[str, Any]:
    losses = detection_losses(predictions, targets, detector.base.family)
    localization, classification = batch_terms(losses, tf.ones_like(losses.matched))
    return {
        "localization": localization,
        "classification": classification,
        "regularization": regularization_loss(detector),
    }


def _absolute(ours: Any, expected: Any) -> float:
    return float(np.max(np.abs(np.asarray(ours, np.float64) - np.asarray(expected, np.float64)), initial=0.0))


def _mixed(ours: Any, expected: Any, scale: float = 1.0) -> float:
    """Relative above `scale`, and below it in units of it."""
    expected = np.asarray(expected, np.float64)
    return float(np.max(np.abs(np.asarray(ours, np.float64) - expected) / np.maximum(np.abs(expected), scale)))


def _relative(ours: Any, expected: Any) -> float:
    """Relative to the expected value, where that is not 0."""
    expected = np.asarray(expected, np.float64)
    difference = np.abs(np.asarray(ours, np.float64) - expected)
    return float(np.max(difference / np.where(expected == 0, 1.0, np.abs(expected))))


if __name__ == "__main__":
    sys.exit(main())
