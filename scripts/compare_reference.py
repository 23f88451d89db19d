#!/usr/bin/env python3
"""Compares a model with what the reference implementation computed for the same weights and images.

    python scripts/compare_reference.py PACK...

A pack (<model>.npz) holds the reference's figures for random weights, two photographs and one set of ground truth. The
weights are a function of their checkpoint keys, so that the pack needs nothing beside it. For every quantity this
prints the largest difference and how much counts as agreement, and it exits with 1 if one is beyond that.

A pack may lack figures, as those of large models do. All that it holds is compared, and the fields it lacks are named.
If it holds nothing to compare, or lacks what its figures are computed from, that is an error.

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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.errors import JobError, UserError, first_line
from sagemaker_object_detection.geometry.anchors import anchors_per_cell
from sagemaker_object_detection.images.network_input import to_network_input
from sagemaker_object_detection.models.detector import Detector, Predictions, build_detector
from sagemaker_object_detection.models.drop_connect import DropConnect
from sagemaker_object_detection.models.losses import (
    batch_terms,
    classification_per_anchor,
    detection_losses,
    localization_per_anchor,
    regularization_loss,
)
from sagemaker_object_detection.models.postprocess import Detections, detections
from sagemaker_object_detection.models.targets import Targets, assign_targets
from sagemaker_object_detection.weights.checkpoint import SUFFIX, read_model_garden
from sagemaker_object_detection.weights.install import install_model_garden
from sagemaker_object_detection.weights.model_garden import checkpoint_variables
from sagemaker_object_detection.weights.recognition import recognise_variables

DAMAGED = (OSError, EOFError, zipfile.BadZipFile, KeyError, IndexError, ValueError, TypeError)
"""What a pack that is cut short or holds others' figures ends in."""

PAIRED = ("num_detections", *(f"detection_{field}" for field in ("anchor_indices", "classes", "scores", "boxes")))
CLASS_BIAS = (
    f"model/_box_predictor/_prediction_heads/class_predictions_with_background/_class_predictor_layers/0/bias{SUFFIX}"
)

ROUNDINGS = 3.0
"""Ours and the reference's, and as much again: roundings of one size differ by chance."""
INFERENCE, TRAINING = 10.0, 500.0
"""Leeways. The reference's feature maps differ from those in float64 by up to 5 times the tolerance (EfficientDet, with
random weights), what an anchor adds to the loss by up to 10 times. Batch statistics of two images are badly
conditioned: there box encodings differ by up to 380 times and gradients by 170 (MobileNet V1)."""


class Pack(dict[str, np.ndarray]):
    """The arrays of a pack by field. Every figure may be missing; what figures are computed from may not."""

    def __missing__(self, field: str) -> np.ndarray:
        raise UserError(f"the pack lacks {field}; it may lack figures, but not what they are computed from")


@dataclass(frozen=True)
class Quantity:
    """One quantity to compare, and what a pack must hold for it."""

    name: str
    fields: tuple[str, ...]
    """The reference's figures. If the pack lacks one of them, the quantity is not compared."""
    difference: Callable[..., float]
    """The largest difference, in the unit of the tolerance. Takes our `Evaluation`, then the arrays of the fields."""
    tolerance: float
    leeway: float = 1.0
    """How many times the tolerance rounding may come to on another processor."""


@dataclass(frozen=True)
class Comparison:
    """A quantity that was compared: the largest difference, in the unit of its tolerance."""

    quantity: str
    difference: float
    tolerance: float
    leeway: float = 1.0

    def allowing(self, rounding: float) -> "Comparison":
        """With the tolerance that the reference's own rounding asks for."""
        asked = min(ROUNDINGS * rounding, self.leeway * self.tolerance)
        return replace(self, tolerance=max(self.tolerance, asked))

    @property
    def agrees(self) -> bool:
        return self.difference <= self.tolerance  # False for NaN


@dataclass(frozen=True)
class Result:
    """What became of one pack's quantities."""

    comparisons: list[Comparison]
    skipped: list[str]
    """The quantities that were not compared."""
    lacking: list[str]
    """The fields they would take, and the pack lacks."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare models with the reference implementation's figures.")
    parser.add_argument("packs", nargs="+", type=Path, metavar="PACK")
    agreed = True
    for path in parser.parse_args().packs:
        try:
            result = compare(path)
        except JobError as error:
            print(f"{path}: {error}", file=sys.stderr)
            agreed = False
            continue
        except DAMAGED as error:  # wherever it shows; the others are compared all the same
            what = f"{type(error).__name__}: {first_line(error)}"
            print(f"{path}: not a sound reference pack ({what}); expected one as it was written", file=sys.stderr)
            agreed = False
            continue
        print(path.name)
        for comparison in result.comparisons:
            mark = "" if comparison.agrees else "   BEYOND"
            print(f"  {comparison.quantity:42} {comparison.difference:9.2e}  of {comparison.tolerance:7.1e}{mark}")
        compared, beyond = len(result.comparisons), sum(not comparison.agrees for comparison in result.comparisons)
        print(f"  {compared - beyond} of {compared} quantities agree")
        if result.skipped:
            quantities, fields = ", ".join(result.skipped), ", ".join(result.lacking)
            print(f"  {len(result.skipped)} not compared: {quantities}; the pack lacks {fields}")
        agreed = agreed and not beyond
    return 0 if agreed else 1


def compare(path: Path) -> Result:
    """Compares all that a pack holds.

    Raises:
        UserError: not a pack, of a model this package does not have, or without what its figures depend on.
    """
    try:
        with np.load(path) as archive:
            pack = Pack((field, archive[field]) for field in archive.files)
    except (OSError, ValueError) as error:
        raise UserError(f"not a readable reference pack ({error}); expected an .npz file") from error
    name = str(pack["model"])
    base = catalogue.find(name)
    if base is None:
        known = ", ".join(known.name for known in catalogue.CATALOGUE)
        raise UserError(f"the pack is of {name}, which this package does not have; it has {known}")
    result = _compare(pack, base, "float32")
    if all(comparison.agrees for comparison in result.comparisons):
        return result
    exact = _compare(pack, base, "float64")
    pairs = zip(result.comparisons, exact.comparisons, strict=True)
    return replace(result, comparisons=[one.allowing(other.difference) for one, other in pairs])


def _compare(pack: Pack, base: BaseModel, dtype: str) -> Result:
    """Compares with the network, the losses and the gradients in this number format."""
    ours = Evaluation(pack, rebuild_detector(pack, base, dtype))
    result = Result([], [], [])
    for quantity in _quantities(ours.detector):
        lacking = [field for field in quantity.fields if field not in pack]
        if lacking:
            result.skipped.append(quantity.name)
            result.lacking.extend(field for field in lacking if field not in result.lacking)
            continue
        difference = quantity.difference(ours, *(pack[field] for field in quantity.fields))
        result.comparisons.append(Comparison(quantity.name, difference, quantity.tolerance, quantity.leeway))
    if not result.comparisons:
        raise UserError("the pack holds nothing to compare; expected figures of the reference, such as class_logits")
    return result


def rebuild_detector(pack: Pack, base: BaseModel, dtype: str) -> Detector:
    """The detector with the pack's weights, which it reads from the checkpoint they stand for."""
    with tempfile.TemporaryDirectory(prefix="pack-") as folder:
        stored = read_model_garden(write_checkpoint(pack, Path(folder)))
        candidates = recognise_variables(stored)
        if base not in candidates:
            recognised = " or ".join(candidate.name for candidate in candidates)
            raise UserError(f"the pack is of {base.name}, but its variables are recognised as those of {recognised}")
        columns = stored.shapes[CLASS_BIAS][0] // anchors_per_cell(base.family)
        with reference_logistic():
            detector = build_detector(base, columns - base.family.background_column, dtype=dtype)
        install_model_garden(detector, stored, class_columns=range(detector.num_classes))
    return detector


@contextlib.contextmanager
def reference_logistic() -> Iterator[None]:
    """Detectors built inside compute the logistic function as the reference's TensorFlow did: e ** x / (1 + e ** x).

    That of TensorFlow 2.21 differs from it in the last bit of half its values. Nothing is wrong with either, but a deep
    EfficientNet with random weights makes 3e-4 of it, which would hide differences that matter.
    """

    class Logistic(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            # Above 88, e ** x overflows float32, and inf / inf is NaN. The bound changes no value: above 38, 1 + e ** x
            # rounds to e ** x even in float64, so that the quotient is 1 and its gradient 0.
            exponential = ops.exp(ops.minimum(x, 40.0))
            return exponential / (1.0 + exponential)

    with (
        mock.patch.object(ops, "sigmoid", lambda x: Logistic(dtype=x.dtype)(x)),
        mock.patch.object(ops, "silu", lambda x: x * Logistic(dtype=x.dtype)(x)),
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


class TrainingPass(NamedTuple):
    """What one pass in training mode computes, by checkpoint key."""

    box_encodings: Any
    losses: dict[str, Any]
    """localization, classification, and the total with the L2 terms: scalars."""
    gradients: dict[str, Any]
    """Of the total loss; None where it does not depend on the variable."""
    statistics: dict[str, float]
    """The mean of each moving statistic after the pass."""


class Evaluation:
    """What this package computes from a pack's weights, images and ground truth.

    Everything is computed when it is first asked for. What the pack has no figures for, such as the training pass of a
    large model, is never computed.
    """

    def __init__(self, pack: Pack, detector: Detector) -> None:
        self.pack = pack
        self.detector = detector
        self.variables: dict[str, keras.Variable] = checkpoint_variables(detector)
        self.trained = {key: variable.value for key, variable in self.variables.items() if variable.trainable}

    @cached_property
    def _prepared(self) -> list[tuple[Any, Any]]:
        return [
            to_network_input(tf.cast(self.pack[field], tf.float32), self.detector.base)
            for field in ("image0", "image1")
        ]

    @cached_property
    def images(self) -> Any:
        """float32 [2, S, S, 3]."""
        return tf.stack([image for image, _ in self._prepared])

    @cached_property
    def true_shapes(self) -> Any:
        """int32 [2, 3]."""
        return tf.stack([true_shape for _, true_shape in self._prepared])

    @cached_property
    def targets(self) -> Targets:
        boxes, classes, weights = (self.pack[f"gt_{field}"] for field in ("boxes", "classes", "weights"))
        return assign_targets(self.detector.anchors, boxes, classes, weights, self.detector.base.family)

    @cached_property
    def loss_targets(self) -> Targets:
        """Those in the number format of the network."""
        dtype = self.detector.variable_dtype
        return Targets(*(tf.cast(field, dtype) if field.dtype.is_floating else field for field in self.targets))

    @cached_property
    def maps(self) -> dict[str, Any]:
        """Field -> map [2, H, W, C]: the backbone's taps and the pyramid's levels."""
        taps = self.detector.backbone(self.images, training=False)
        levels = self.detector.pyramid(taps[-3:], training=False)
        return {**_numbered("backbone", taps), **_numbered("feature_map", levels)}

    @cached_property
    def predictions(self) -> Predictions:
        return self.detector(self.images, training=False)

    @cached_property
    def losses(self) -> dict[str, Any]:
        return _data_terms(self.predictions, self.loss_targets, self.detector)

    @cached_property
    def losses_per_anchor(self) -> tuple[Any, Any]:
        """Localization and classification, [2, A] each."""
        return (
            localization_per_anchor(self.predictions, self.loss_targets),
            classification_per_anchor(self.predictions, self.loss_targets, self.detector.base.family),
        )

    @cached_property
    def detections(self) -> Detections:
        # In float32, because there is no other suppression.
        predictions = Predictions(*(tf.cast(field, tf.float32) for field in self.predictions))
        return detections(predictions, self.detector.anchors, self.true_shapes, self.detector.base)

    @cached_property
    def training(self) -> TrainingPass:
        """Leaves the moving statistics as they were."""
        detector, targets = self.detector, self.loss_targets

        @tf.function
        def training_pass(images: Any) -> tuple[Any, dict[str, Any], list[Any]]:
            with tf.GradientTape() as tape:
                predictions = detector(images, training=True)
                terms = _data_terms(predictions, targets, detector)
                total = tf.add_n([*terms.values(), regularization_loss(detector)])
            gradients = tape.gradient(total, list(self.trained.values()))
            return predictions.box_encodings, {**terms, "total": total}, gradients

        moving = {key: variable for key, variable in self.variables.items() if not variable.trainable}
        before = {key: np.asarray(variable) for key, variable in moving.items()}
        encodings, losses, gradients = training_pass(self.images)
        statistics = {key: float(np.mean(np.asarray(variable, np.float64))) for key, variable in moving.items()}
        for key, variable in moving.items():
            variable.assign(before[key])
        return TrainingPass(encodings, losses, dict(zip(self.trained, gradients, strict=True)), statistics)

    @cached_property
    def noiseless(self) -> "_Noiseless":
        return _without_noise(self.detector)


@dataclass(frozen=True)
class _Noiseless:
    """Ids of the variables whose gradients, and whose updates, drop-connect does not reach."""

    gradients: frozenset[int]
    statistics: frozenset[int]


def _without_noise(detector: Detector) -> _Noiseless:
    layers = detector.backbone.layers
    drops = [number for number, layer in enumerate(layers) if isinstance(layer, DropConnect) and layer.rate > 0]
    if not drops:
        everything = frozenset(map(id, detector.weights))
        return _Noiseless(everything, everything)
    rest = detector.classifier.weights if detector.classifier is not None else []
    before = [variable for layer in layers[: drops[0]] for variable in layer.weights]
    return _Noiseless(frozenset(map(id, rest)), frozenset(map(id, before)))


def _data_terms(predictions: Predictions, targets: Targets, detector: Detector) -> dict[str, Any]:
    losses = detection_losses(predictions, targets, detector.base.family)
    localization, classification = batch_terms(losses, tf.ones_like(losses.matched))
    return {"localization": localization, "classification": classification}


Figure = Callable[[Evaluation], Any]
Measure = Callable[[Any, np.ndarray], float]


def _quantities(detector: Detector) -> list[Quantity]:
    """Every quantity of a model.

    Drop-connect is random, so that with it only what does not depend on it can be compared in training mode: the
    statistics before the first block that drops, and the gradients of the variables that only the L2 term knows.
    """
    maps = {**_numbered("backbone", detector.backbone.outputs), **_numbered("feature_map", detector.pyramid.outputs)}
    random = [
        _sampled("train_box_encodings", lambda ours: ours.training.box_encodings, _mixed, 1e-4, TRAINING),
        _whole("train_localization_loss", lambda ours: ours.training.losses["localization"], _relative, 1e-4, TRAINING),
        _whole(
            "train_classification_loss", lambda ours: ours.training.losses["classification"], _relative, 1e-4, TRAINING
        ),
        _whole("train_total_loss", lambda ours: ours.training.losses["total"], _relative, 1e-4, TRAINING),
    ]
    return [
        Quantity("preprocessing (of the value range)", ("preprocessed", "preprocessed_stride"), _preprocessing, 1e-6),
        _whole("true_image_shapes", lambda ours: ours.true_shapes, _absolute, 0, name="true image shapes"),
        _whole("num_anchors", lambda ours: len(ours.detector.anchors), _absolute, 0, name="number of anchors"),
        Quantity("anchors", ("anchors", "sampled_anchors"), _anchors, 2e-7),
        _sampled("match", lambda ours: ours.targets.matches, _absolute, 0, name="matches"),
        _sampled("cls_target_class", lambda ours: ours.targets.class_targets, _absolute, 0, name="class targets"),
        _sampled("cls_weights", lambda ours: ours.targets.class_weights, _absolute, 0, name="class weights"),
        _sampled("reg_weights", lambda ours: ours.targets.box_weights, _absolute, 0, name="regression weights"),
        _sampled("reg_targets", lambda ours: ours.targets.box_targets, _absolute, 1e-5, name="regression targets"),
        *(Quantity(field, (field, f"{field}_shape"), partial(_map, field), 1e-4, INFERENCE) for field in maps),
        _sampled("box_encodings", lambda ours: ours.predictions.box_encodings, _mixed, 1e-4, INFERENCE),
        _sampled("class_logits", lambda ours: ours.predictions.class_logits, _mixed, 1e-4, INFERENCE),
        _whole("localization_loss", lambda ours: ours.losses["localization"], _relative, 1e-5, INFERENCE),
        _whole("classification_loss", lambda ours: ours.losses["classification"], _relative, 1e-5, INFERENCE),
        _whole("regularization_loss", lambda ours: regularization_loss(ours.detector), _relative, 1e-5, INFERENCE),
        _whole(
            "num_regularizers",
            lambda ours: len(ours.detector.regularized_kernels),
            _absolute,
            0,
            name="number of L2 terms",
        ),
        _sampled("loc_loss_per_anchor", lambda ours: ours.losses_per_anchor[0], _mixed_by_mean, 1e-5, INFERENCE),
        _sampled("cls_loss_per_anchor", lambda ours: ours.losses_per_anchor[1], _mixed_by_mean, 1e-5, INFERENCE),
        _whole("num_detections", lambda ours: ours.detections.count, _absolute, 0, name="number of detections"),
        Quantity("detections only one side has", PAIRED, lambda *sides: _paired(*sides).unpaired, 0),
        Quantity("detection scores", PAIRED, lambda *sides: _paired(*sides).scores, 1e-5, INFERENCE),
        Quantity("detection boxes", PAIRED, lambda *sides: _paired(*sides).boxes, 1e-4, INFERENCE),
        *([] if detector.is_noisy else random),
        Quantity("trained variables only one side has", ("grad_keys",), _trained_variables, 0),
        Quantity("gradients that are none on one side", ("grad_keys", "grad_is_none"), _no_gradients, 0),
        Quantity("gradient norms", ("grad_keys", "grad_norms"), _gradient_norms, 1e-3, TRAINING),
        Quantity(
            "gradient sums (of the norm's bound)",
            ("grad_keys", "grad_norms", "grad_sums"),
            _gradient_sums,
            1e-3,
            TRAINING,
        ),
        Quantity("updated moving statistics", ("bn_keys", "bn_mean_of_updated"), _moved_statistics, 1e-4, TRAINING),
    ]


def _whole(
    field: str, figure: Figure, measure: Measure, tolerance: float, leeway: float = 1.0, name: str = ""
) -> Quantity:
    """A figure of which the field holds everything."""
    return Quantity(name or field, (field,), lambda ours, theirs: measure(figure(ours), theirs), tolerance, leeway)


def _sampled(
    field: str, figure: Figure, measure: Measure, tolerance: float, leeway: float = 1.0, name: str = ""
) -> Quantity:
    """A figure [2, A, ...] of which the field holds the sampled anchors."""

    def difference(ours: Evaluation, theirs: np.ndarray, sampled: np.ndarray) -> float:
        return measure(np.asarray(figure(ours))[:, sampled], theirs)

    return Quantity(name or field, (field, "sampled_anchors"), difference, tolerance, leeway)


def _preprocessing(ours: Evaluation, theirs: np.ndarray, stride: np.ndarray) -> float:
    value_range = float(theirs.max() - theirs.min())
    return _absolute(ours.images.numpy()[:, :: int(stride), :: int(stride)], theirs) / value_range


def _anchors(ours: Evaluation, theirs: np.ndarray, sampled: np.ndarray) -> float:
    return _absolute(ours.detector.anchors[sampled], theirs)


def _map(field: str, ours: Evaluation, theirs: np.ndarray, shape: np.ndarray) -> float:
    """A pack has some rows and columns of the first image's map."""
    found = ours.maps[field]
    if list(found.shape[1:]) != shape.tolist()[1:]:
        raise UserError(f"{field} has shape {list(found.shape[1:])}, the reference's has {shape.tolist()[1:]}")
    rows, columns = (max(1, size // 6) for size in found.shape[1:3])
    return _mixed(np.asarray(found)[0, ::rows, ::columns], theirs)


class _Paired(NamedTuple):
    """The differences of detections that have the same anchor and class, and how many have no partner."""

    unpaired: int
    scores: float
    boxes: float


def _paired(ours: Evaluation, counts: np.ndarray, *theirs: np.ndarray) -> _Paired:
    """theirs: anchor indices, classes, scores and boxes. Detections may differ if their scores tie with the last's."""
    found = ours.detections
    unpaired, scores, boxes = 0, [0.0], [0.0]
    for image, count in enumerate(counts.astype(int)):
        mine, other = (
            _by_anchor_and_class(*(np.asarray(field)[image, :count] for field in fields))
            for fields in ((found.anchor_indices, found.classes, found.scores, found.boxes), theirs)
        )
        last = min((score for score, _ in other.values()), default=0.0)
        unpaired += sum((mine.get(pair) or other[pair])[0] > last + 1e-5 for pair in mine.keys() ^ other.keys())
        scores += [_absolute(mine[pair][0], other[pair][0]) for pair in mine.keys() & other.keys()]
        boxes += [_absolute(mine[pair][1], other[pair][1]) for pair in mine.keys() & other.keys()]
        scores.append(_absolute(np.asarray(found.scores)[image], theirs[2][image]))
    return _Paired(unpaired, _largest(scores), _largest(boxes))


def _by_anchor_and_class(
    anchors: np.ndarray, classes: np.ndarray, scores: np.ndarray, boxes: np.ndarray
) -> dict[tuple[int, int], tuple[float, np.ndarray]]:
    rows = zip(anchors.tolist(), classes.astype(int).tolist(), scores.tolist(), boxes, strict=True)
    return {(anchor, label): (score, box) for anchor, label, score, box in rows}


def _trained_variables(ours: Evaluation, keys: np.ndarray) -> float:
    return len(ours.trained.keys() ^ set(keys.tolist()))


def _no_gradients(ours: Evaluation, keys: np.ndarray, none: np.ndarray) -> float:
    return _absolute([ours.training.gradients.get(key) is None for key in keys.tolist()], none)


def _gradient_norms(ours: Evaluation, keys: np.ndarray, norms: np.ndarray) -> float:
    return _largest(
        abs(float(np.linalg.norm(gradient)) - norms[row]) / _gradient_bound(norms, row)
        for row, gradient in _gradients(ours, keys)
    )


def _gradient_sums(ours: Evaluation, keys: np.ndarray, norms: np.ndarray, sums: np.ndarray) -> float:
    """A sum may vanish where the norm does not: it is compared on the scale of the largest it could be."""
    return _largest(
        abs(float(gradient.sum()) - sums[row]) / (_gradient_bound(norms, row) * np.sqrt(gradient.size))
        for row, gradient in _gradients(ours, keys)
    )


def _gradients(ours: Evaluation, keys: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Row among the keys, and our gradient, of every variable that can be compared."""
    for row, key in enumerate(keys.tolist()):
        gradient = ours.training.gradients.get(key)
        if gradient is not None and id(ours.variables[key]) in ours.noiseless.gradients:
            yield row, np.asarray(gradient, np.float64)


def _gradient_bound(norms: np.ndarray, row: int) -> float:
    """The scale of a gradient's differences.

    A batch normalisation takes out again what a beta just before it adds: such a gradient is only rounding, of about
    1e-7 of the largest. Norms below this floor are therefore compared on its scale, not on their own.
    """
    return max(float(norms[row]), 1e-4 * float(np.max(norms)))


def _moved_statistics(ours: Evaluation, keys: np.ndarray, theirs: np.ndarray) -> float:
    chosen = [id(ours.variables[key]) in ours.noiseless.statistics for key in keys.tolist()]
    return _relative([ours.training.statistics[key] for key in keys[chosen].tolist()], theirs[chosen])


def _numbered(kind: str, maps: Iterable[Any]) -> dict[str, Any]:
    """By field."""
    return {f"{kind}_{number}": found for number, found in enumerate(maps)}


def _largest(differences: Iterable[float]) -> float:
    """NaN if one of them is, unlike `max`."""
    return float(np.max(list(differences)))


def _absolute(ours: Any, expected: Any) -> float:
    return float(np.max(np.abs(np.asarray(ours, np.float64) - np.asarray(expected, np.float64)), initial=0.0))


def _mixed(ours: Any, expected: Any, scale: float = 1.0) -> float:
    """Relative above `scale`, and below it in units of it."""
    expected = np.asarray(expected, np.float64)
    return float(np.max(np.abs(np.asarray(ours, np.float64) - expected) / np.maximum(np.abs(expected), scale)))


def _mixed_by_mean(ours: Any, expected: np.ndarray) -> float:
    """What an anchor adds to a loss may be next to nothing: below the mean, it is compared on the mean's scale."""
    return _mixed(ours, expected, float(expected.mean()))


def _relative(ours: Any, expected: Any) -> float:
    """Relative to the expected value, where that is not 0."""
    expected = np.asarray(expected, np.float64)
    difference = np.abs(np.asarray(ours, np.float64) - expected)
    return float(np.max(difference / np.where(expected == 0, 1.0, np.abs(expected))))


if __name__ == "__main__":
    sys.exit(main())
