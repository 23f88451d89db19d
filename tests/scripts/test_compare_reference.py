import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from shared import shared
from tiny_models import TINY, add_backbones, add_to_catalogue
from written_sets import program

from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.models.losses import regularization_loss
from sagemaker_object_detection.weights.model_garden import checkpoint_variables

PROGRAM = program("compare_reference")
INPUTS = ("model", "seed", "object_graph", "weight_keys", "weight_shapes", "image0", "image1")
GROUND_TRUTH = ("gt_boxes", "gt_classes", "gt_weights")
TRAINING = ("train_", "grad_", "bn_")


@pytest.fixture
def compare(monkeypatch, capsys):
    """Runs the program on packs: exit code, what it printed, and its errors."""

    def run(*packs):
        monkeypatch.setattr("sys.argv", ["compare_reference.py", *map(str, packs)])
        code = PROGRAM.main()
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("name", "quantities"),
    [
        pytest.param("ssd_mobilenet_v2_fpnlite_320x320", 39, marks=pytest.mark.slow),
        pytest.param("ssd_mobilenet_v1_fpn_640x640", 39, marks=pytest.mark.nightly),
        pytest.param("ssd_resnet50_v1_fpn_640x640", 39, marks=pytest.mark.nightly),
        # Drop-connect leaves five quantities of the training mode that cannot be compared.
        pytest.param("ssd_efficientdet_d0_512x512", 34, marks=pytest.mark.nightly),
    ],
)
def test_every_family_agrees_with_the_reference_in_every_quantity(compare, name, quantities):
    code, out, _ = compare(shared(f"reference/{name}.npz"))
    assert code == 0, out
    assert f"{quantities} of {quantities} quantities agree" in out
    assert "BEYOND" not in out
    assert "not compared" not in out


@pytest.fixture(scope="module")
def ours():
    """The evaluation of a tiny model with random weights."""
    with pytest.MonkeyPatch.context() as patch:
        add_to_catalogue(patch.setattr)
        add_backbones()
        # The product knows no telltale shape of it.
        patch.setattr(PROGRAM, "recognise_variables", lambda stored: (TINY,))
        random = np.random.default_rng(1)
        variables = checkpoint_variables(build_detector(TINY, 5))
        pack = PROGRAM.Pack(
            model=np.array(TINY.name),
            seed=np.array(1),
            object_graph=np.zeros(0, np.uint8),
            weight_keys=np.array(list(variables)),
            weight_shapes=np.array([",".join(map(str, variable.shape)) for variable in variables.values()]),
            image0=random.integers(0, 256, (48, 64, 3), np.uint8),
            image1=random.integers(0, 256, (80, 70, 3), np.uint8),
            gt_boxes=np.array([[[0.1, 0.1, 0.6, 0.7], [0.4, 0.3, 0.9, 0.5]], [[0, 0, 1, 1], [0, 0, 0, 0]]], np.float32),
            gt_classes=np.array([[0, 4], [2, 0]]),
            gt_weights=np.array([[1, 1], [1, 0]], np.float32),
        )
        pack |= {
            f"stored:{key}": random.uniform(0.5, 1.5, variable.shape).astype(np.float32)
            for key, variable in variables.items()
            if not variable.trainable
        }
        yield PROGRAM.Evaluation(pack, PROGRAM.rebuild_detector(pack, TINY, "float32"))


@pytest.fixture(scope="module")
def pack(ours):
    """A whole pack of that model. Its figures are our own: all agree."""
    sampled = np.arange(0, len(ours.detector.anchors), 3)
    training, gradients = ours.training, ours.training.gradients
    whole = {
        "preprocessed": ours.images[:, ::16, ::16],
        "preprocessed_stride": 16,
        "true_image_shapes": ours.true_shapes,
        "num_anchors": len(ours.detector.anchors),
        "sampled_anchors": sampled,
        "anchors": ours.detector.anchors[sampled],
        **{field: x[0, :: max(1, x.shape[1] // 6), :: max(1, x.shape[2] // 6)] for field, x in ours.maps.items()},
        **{f"{field}_shape": x.shape for field, x in ours.maps.items()},
        "localization_loss": ours.losses["localization"],
        "classification_loss": ours.losses["classification"],
        "regularization_loss": regularization_loss(ours.detector),
        "num_regularizers": len(ours.detector.regularized_kernels),
        "num_detections": ours.detections.count,
        **{f"detection_{field}": getattr(ours.detections, field) for field in ("boxes", "scores", "classes")},
        "detection_anchor_indices": ours.detections.anchor_indices,
        **{f"train_{term}_loss": training.losses[term] for term in ("localization", "classification", "total")},
        "grad_keys": list(gradients),
        "grad_is_none": [gradient is None for gradient in gradients.values()],
        "grad_norms": [0.0 if gradient is None else np.linalg.norm(gradient) for gradient in gradients.values()],
        "grad_sums": [0.0 if gradient is None else np.sum(gradient) for gradient in gradients.values()],
        "bn_keys": list(training.statistics),
        "bn_mean_of_updated": list(training.statistics.values()),
    }
    per_anchor = {
        "match": ours.targets.matches,
        "cls_target_class": ours.targets.class_targets,
        "cls_weights": ours.targets.class_weights,
        "reg_targets": ours.targets.box_targets,
        "reg_weights": ours.targets.box_weights,
        "box_encodings": ours.predictions.box_encodings,
        "class_logits": ours.predictions.class_logits,
        "loc_loss_per_anchor": ours.losses_per_anchor[0],
        "cls_loss_per_anchor": ours.losses_per_anchor[1],
        "train_box_encodings": training.box_encodings,
    }
    figures = whole | {field: np.asarray(figure)[:, sampled] for field, figure in per_anchor.items()}
    return ours.pack | {field: np.asarray(figure) for field, figure in figures.items()}


def figures(pack):
    return [field for field in pack if not field.startswith((*INPUTS, *GROUND_TRUTH, "stored:"))]


def without(pack, *prefixes):
    return {field: array for field, array in pack.items() if not field.startswith(prefixes)}


@pytest.mark.slow
def test_whole_pack_is_compared_in_every_quantity(compare, pack, tmp_path):
    np.savez(tmp_path / "whole.npz", **pack)
    code, out, _ = compare(tmp_path / "whole.npz")
    assert code == 0, out
    assert "38 of 38 quantities agree" in out
    assert "not compared" not in out


@pytest.mark.slow
def test_pack_without_training_figures_agrees_without_a_training_pass(compare, pack, tmp_path, monkeypatch):
    monkeypatch.delattr(PROGRAM.Evaluation, "training")
    np.savez(tmp_path / "inference.npz", **without(pack, *TRAINING))
    code, out, _ = compare(tmp_path / "inference.npz")
    assert code == 0, out
    assert "29 of 29 quantities agree" in out
    last = out.splitlines()[-1]
    assert last.startswith("  9 not compared: train_box_encodings, train_localization_loss, ")
    assert last.endswith("grad_is_none, grad_norms, grad_sums, bn_keys, bn_mean_of_updated")


@pytest.mark.slow
def test_pack_that_has_anchors_alone_needs_no_ground_truth(compare, pack, tmp_path):
    np.savez(tmp_path / "anchors.npz", **{field: pack[field] for field in (*INPUTS, "anchors", "sampled_anchors")})
    code, out, _ = compare(tmp_path / "anchors.npz")
    assert code == 0, out
    assert "1 of 1 quantities agree" in out
    assert "37 not compared" in out


@pytest.fixture
def compare_fields(ours, monkeypatch):
    """What the program finds of some fields of the pack, without another evaluation of the model."""
    monkeypatch.setattr(PROGRAM, "rebuild_detector", lambda *_: ours.detector)
    monkeypatch.setattr(PROGRAM, "Evaluation", lambda *_: ours)
    return lambda fields: PROGRAM._compare(PROGRAM.Pack(fields), TINY, "float32")


@pytest.mark.slow
def test_every_figure_may_be_missing(compare_fields, pack):
    for field in figures(pack):
        result = compare_fields(without(pack, field))
        assert field in result.lacking
        assert len(result.comparisons) + len(result.skipped) == 38
        assert all(comparison.agrees for comparison in result.comparisons)


@pytest.mark.slow
def test_no_figure_may_be_nan(compare_fields, pack):
    fields = [field for field in figures(pack) if pack[field].dtype.kind == "f"]
    for field in fields:
        wrong = pack[field].copy()
        wrong.flat[0] = np.nan
        result = compare_fields(pack | {field: wrong})
        assert not all(comparison.agrees for comparison in result.comparisons), field


@pytest.mark.slow
def test_wrong_figure_of_a_partial_pack_is_named(compare, pack, tmp_path):
    wrong = without(pack, *TRAINING, "feature_map_")
    wrong["class_logits"] = pack["class_logits"] + np.float32(0.01)
    np.savez(tmp_path / "wrong.npz", **wrong)
    code, out, _ = compare(tmp_path / "wrong.npz")
    assert code == 1
    assert [line.split()[0] for line in out.splitlines() if line.endswith("BEYOND")] == ["class_logits"]
    assert "23 of 24 quantities agree" in out


@pytest.mark.slow
def test_packs_that_cannot_be_compared_are_refused_with_a_sentence(compare, pack, tmp_path):
    cases = {
        "nothing": ({field: pack[field] for field in INPUTS}, "the pack holds nothing to compare"),
        "weights": (without(pack, "weight_keys"), "the pack lacks weight_keys; it may lack figures, but not what"),
        "images": (without(pack, "image1"), "the pack lacks image1; "),
        "truth": (without(pack, "gt_boxes"), "the pack lacks gt_boxes; "),
        "model": (without(pack, "model"), "the pack lacks model; "),
        "other": (
            pack | {"model": np.array("ssd_resnet50_v1_fpn_2048x2048")},
            "the pack is of ssd_resnet50_v1_fpn_2048",
        ),
        "foreign": (
            pack | {"class_logits": pack["class_logits"][:, :, :3]},
            "not a sound reference pack (ValueError: ",
        ),
    }
    paths = {name: tmp_path / f"{name}.npz" for name in (*cases, "text")}
    for name, (fields, _) in cases.items():
        np.savez(paths[name], **fields)
    paths["text"].write_text("no pack")
    code, out, errors = compare(*paths.values())
    assert (code, out) == (1, "")
    expected = [*(f"{paths[name]}: {sentence}" for name, (_, sentence) in cases.items())]
    expected.append(f"{paths['text']}: not a readable reference pack")
    said = errors.splitlines()
    assert len(said) == len(expected)
    for line, start in zip(said, expected, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logistic_neither_overflows_nor_loses_its_gradient(dtype):
    x = tf.constant([-1000, -100, -1, 0, 1, 88, 89, 100, 1000], dtype)
    with PROGRAM.reference_logistic(), tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        logistic, swish = ops.sigmoid(x), ops.silu(x)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-x.numpy().astype(np.float64)))
    slope = exact * (1 - exact)
    rounding = {"rtol": 4 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
    assert logistic.dtype == swish.dtype == dtype
    np.testing.assert_allclose(logistic, exact, **rounding)
    np.testing.assert_allclose(swish, x * exact, **rounding)
    np.testing.assert_allclose(tape.gradient(logistic, x), slope, **rounding)
    np.testing.assert_allclose(tape.gradient(swish, x), exact + x * slope, **rounding)


@pytest.mark.parametrize(("dtype", "largest"), [("float32", 88.0), ("float64", 700.0)])
def test_logistic_has_the_bits_of_the_references_formula(dtype, largest):
    x = tf.linspace(tf.constant(-largest, dtype), largest, 100_001)
    with PROGRAM.reference_logistic():
        np.testing.assert_array_equal(ops.sigmoid(x), tf.exp(x) / (1 + tf.exp(x)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logistic_has_the_gradients_of_the_references_formula(dtype):
    x = tf.linspace(tf.constant(-40.0, dtype), 40.0, 100_001)
    with PROGRAM.reference_logistic(), tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        exponential = tf.exp(x)
        logistic, plain = ops.sigmoid(x), exponential / (1 + exponential)
    np.testing.assert_array_equal(tape.gradient(logistic, x), tape.gradient(plain, x))
