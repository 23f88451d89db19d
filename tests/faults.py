"""Deliberate faults, to see which tier of tests catches each: a table, and a program that puts them in one at a time.

Every fault is a subtle slip that breaks one promise to users. One that nothing catches is a missing test; one that only
a slower tier catches is waited for. After a change to the tests, the same faults must be caught as before:

    .venv/bin/python tests/faults.py                                  all of them, which takes hours
    .venv/bin/python tests/faults.py second-signal-restarts-the-grace focal-alpha-swapped

It works in a temporary copy of the checkout, changed and new files included. The tests of the unchanged copy have to
pass before the first fault. Exit code 1: nothing caught one of the faults, 2: the unchanged copy fails.

`test_faults.py` sees to it that the table fits the source. It would catch every fault itself, and is left out here.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared import SHARED_DIR

ROOT = Path(__file__).resolve().parents[1]
TIERS: dict[str, tuple[str, ...]] = {
    "inner loop": (),
    "slow": ("-m", "not nightly and not docker and not clients and not gpu_wheels and not runtimes"),
}
"""Options of pytest. Each tier holds the one before it."""
TIER_SECONDS = 3600.0
"""Some faults let two processes wait for each other. A run that takes so long has caught its fault."""
_SRC = "src/sagemaker_object_detection"


@dataclass(frozen=True)
class Fault:
    """`old` stands once in the file at `path`, from the repository's root; `new` in its place is the fault."""

    name: str
    path: str
    old: str
    new: str

    def planted(self, source: str) -> str:
        """The file's text with the fault in it. Raises a ValueError where the table no longer fits it."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: {source.count(self.old)} places in {self.path}; expected one")
        return source.replace(self.old, self.new)


FAULTS = (
    # Those that every reorganisation of the tests is held against.
    Fault(
        "best-epoch-by-the-wrong-sign",
        f"{_SRC}/training/best.py",
        "return new - old if self.maximize else old - new",
        "return new - old",
    ),
    Fault(
        "last-validation-line-of-the-last-epoch",
        f"{_SRC}/outputs.py",
        "for line in metrics.validation_lines(saved.number, result.metrics):",
        "for line in metrics.validation_lines(saved.number, getattr(progress.epochs[-1].validation, 'metrics', {})):",
    ),
    Fault(
        "checkpoint-renamed-before-it-is-synced",
        f"{_SRC}/files/whole.py",
        "            os.fsync(file.fileno())\n",
        "            pass\n",
    ),
    Fault(
        "sigterm-heard-at-the-end-of-an-epoch",
        f"{_SRC}/training/loop.py",
        "last = index == schedule.steps_per_epoch or self._stop.agreed_soon()",
        "last = index == schedule.steps_per_epoch",
    ),
    Fault(
        "micro-batch-gradients-not-divided-by-the-total",
        f"{_SRC}/step/passes.py",
        "        targets, _ = step.match(images)\n",
        "        targets, matched = step.match(images)\n",
    ),
    Fault(
        "class-index-off-by-one",
        f"{_SRC}/artifact/export.py",
        "(tf.cast(found.classes, tf.float32) + 1.0) * real",
        "tf.cast(found.classes, tf.float32) * real",
    ),
    Fault(
        "exif-ignored-in-validation",
        f"{_SRC}/dataset/reader.py",
        "self._orientations = tf.constant(dataset.orientations)",
        "self._orientations = tf.constant(dataset.orientations if input_size else np.ones_like(dataset.orientations))",
    ),
    Fault(
        "inverted-box-let-through",
        f"{_SRC}/dataset/check_boxes.py",
        'return np.asarray(self.kinds != "")',
        'return np.asarray(~np.isin(self.kinds, ["", INVERTED]))',
    ),
    Fault(
        "early-stopping-patience-off-by-one",
        f"{_SRC}/training/best.py",
        "self.waited >= self.patience",
        "self.waited > self.patience",
    ),
    Fault(
        "loss-of-a-negative-image-left-out",
        f"{_SRC}/models/losses.py",
        "return localization, ops.sum(losses.classification * image_weights) / matched",
        "there = ops.cast(losses.matched > 0, losses.matched.dtype)\n"
        "    return localization, ops.sum(losses.classification * image_weights * there) / matched",
    ),
    Fault(
        "a-variable-of-a-checkpoint-not-loaded",
        f"{_SRC}/weights/install.py",
        "for name, array in arrays.items():\n        variables[name]",
        "for name, array in list(arrays.items())[1:]:\n        variables[name]",
    ),
    Fault(
        "drop-connect-counts-calls-not-steps",
        f"{_SRC}/models/drop_connect.py",
        'self._step.assign(ops.cast(step, "int32"))',
        "self._step.assign_add(1)",
    ),
    Fault("nms-threshold-of-another-family", f"{_SRC}/catalogue.py", "nms_iou=0.5,", "nms_iou=0.6,"),
    Fault(
        # Two guards in one fault: either of them alone keeps links in.
        "link-followed-out-of-an-archive",
        f"{_SRC}/weights/archive.py",
        """            opened.extractall(target, filter="data")
    except OSError as error:
        raise bounds.NoRoomError(
            f"{origin}: the disk is full while unpacking {name} below {target.parent}; give the job a larger volume"
        ) from error


def _refusal(member: tarfile.TarInfo) -> str | None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return "lies outside the archive's own folder"
    if member.issym() or member.islnk():
        return "is a link"
""",
        """            opened.extractall(target, filter="tar")
    except OSError as error:
        raise bounds.NoRoomError(
            f"{origin}: the disk is full while unpacking {name} below {target.parent}; give the job a larger volume"
        ) from error


def _refusal(member: tarfile.TarInfo) -> str | None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return "lies outside the archive's own folder"
    if member.issym() or member.islnk():
        return None
""",
    ),
    Fault(
        "served-answer-given-to-another-request",
        f"{_SRC}/serving/queue.py",
        "for image, outputs in zip(batch, answers, strict=True):",
        "for image, outputs in zip(reversed(batch), answers, strict=True):",
    ),
    # The job.
    Fault(
        "failure-file-too-long", f"{_SRC}/job/failure.py", "MAX_CHARACTERS = 1024 - 64", "MAX_CHARACTERS = 2048 - 64"
    ),
    Fault(
        "failure-file-missing-for-user-errors",
        f"{_SRC}/__main__.py",
        'if options.verb == "train" and not isinstance(error, RootError):',
        'if options.verb == "train" and not isinstance(error, UserError):',
    ),
    Fault(
        "failure-file-of-an-earlier-run-stays",
        f"{_SRC}/job/paths.py",
        "    with contextlib.suppress(OSError):\n        paths.failure.unlink()\n",
        "",
    ),
    Fault("user-error-exits-with-1", f"{_SRC}/errors.py", "exit_code = 2", "exit_code = 1"),
    Fault(
        "loss-line-without-its-last-dot",
        f"{_SRC}/job/metrics.py",
        "samples/sec, {_rendered('loss', loss)}.\"",
        "samples/sec, {_rendered('loss', loss)}\"",
    ),
    Fault(
        "class-name-read-as-a-metric",
        f"{_SRC}/__main__.py",
        "text = without_metrics(as_lines(super().format(record)))",
        "text = as_lines(super().format(record))",
    ),
    Fault(
        "repeated-key-passes",
        f"{_SRC}/dataset/annotation_file.py",
        "has_unprintable(document) or strict_json.repeats_a_key(raw)",
        "has_unprintable(document)",
    ),
    Fault(
        "log-line-not-escaped",
        f"{_SRC}/sentences.py",
        "return _ESCAPED.sub(lambda found: repr(found[0])[1:-1], _cut(text, most))",
        "return _cut(text, most)",
    ),
    Fault(
        "tuning-objective-ignored",
        f"{_SRC}/train.py",
        "choose_objective(hyperparameters.objective, job.tuning_objective, has_boxes)",
        "choose_objective(hyperparameters.objective, None, has_boxes)",
    ),
    Fault(
        "trials-of-a-tuning-job-share-checkpoints",
        f"{_SRC}/job/config.py",
        'checkpoints /= Path(os.environ.get("TRAINING_JOB_NAME", "")).name.strip(".")',
        'checkpoints /= "trials"',
    ),
    Fault(
        "second-signal-restarts-the-grace",
        f"{_SRC}/job/stop.py",
        "        elif self._since is None:\n            self._since = time.monotonic()",
        "        else:\n            self._since = time.monotonic()",
    ),
    Fault(
        "script-ended-by-a-signal-exits-with-1",
        f"{_SRC}/script_mode/supervisor.py",
        "exit_code = status if status > 0 else 128 - status",
        "exit_code = status if status > 0 else 1",
    ),
    Fault(
        "script-mode-not-recognised",
        f"{_SRC}/job/config.py",
        'unquote(platform.get(name, ""))',
        'unquote(platform.get("", ""))',
    ),
    Fault("shell-stays-process-1", "container/train", "exec python -P", "python -P"),
    # Hyperparameters.
    Fault(
        "default-batch-size-changed",
        f"{_SRC}/hyperparameters/table.py",
        'over all devices together.",\n        default="3",',
        'over all devices together.",\n        default="4",',
    ),
    Fault(
        "false-read-as-true",
        f"{_SRC}/hyperparameters/kinds.py",
        'return None if word == AUTO else word == "True"',
        "return None if word == AUTO else bool(word)",
    ),
    Fault(
        "unknown-hyperparameter-ignored",
        f"{_SRC}/hyperparameters/read.py",
        "for name in values if name not in BY_NAME]",
        "for name in values if name not in BY_NAME and nearest(name, BY_NAME)]",
    ),
    # The data.
    Fault(
        "xywh-read-as-xyxy",
        f"{_SRC}/dataset/check_boxes.py",
        'declared = BY_SETTING["xyxy" if bbox_format == AUTO else bbox_format]',
        'declared = BY_SETTING["xyxy"]',
    ),
    Fault(
        "any-share-of-boxes-left-out",
        f"{_SRC}/dataset/check_boxes.py",
        "return invalid > max(FEW_DROPPED, _MOST_DROPPED * count) and invalid < count",
        "return False",
    ),
    Fault(
        "shares-read-as-pixels",
        f"{_SRC}/dataset/conventions.py",
        "_THINNEST = 1.0 - 1e-6",
        "_THINNEST = 0.0",
    ),
    Fault(
        "images-in-percent-let-through",
        f"{_SRC}/dataset/judgement.py",
        "mixed = part is not None\n",
        "mixed = False\n",
    ),
    Fault(
        "contradicting-segmentations-not-heard",
        f"{_SRC}/dataset/testimony.py",
        "_AGREE = 0.9",
        "_AGREE = 1.1",
    ),
    Fault(
        "category-ids-in-the-order-of-the-file",
        f"{_SRC}/dataset/check_classes.py",
        "ids = sorted(categories, key=lambda id_: (isinstance(id_, str), id_))",
        "ids = list(categories)",
    ),
    Fault(
        "hidden-colours-shown",
        f"{_SRC}/images/decoding.py",
        "lambda: layers[..., :3], lambda: _on_white(layers))",
        "lambda: layers[..., :3], lambda: layers[..., :3])",
    ),
    Fault(
        "scans-hidden-by-a-scan-header",
        f"{_SRC}/images/walk.py",
        "place = file.tell() + length",
        "place = file.tell()",
    ),
    Fault(
        "texts-behind-the-pixels-not-counted",
        f"{_SRC}/images/walk.py",
        'elif kind == b"IEND":',
        'elif kind == b"IDAT":',
    ),
    Fault(
        "image-of-unknown-size-let-through",
        f"{_SRC}/images/walk.py",
        "if frame is None or marker != START_OF_SCAN:",
        "if frame is None:",
    ),
    Fault(
        "16-bits-scaled-by-their-own-channel",
        f"{_SRC}/dataset/load.py",
        'if name != "test" for pixels',
        'if name == "training" for pixels',
    ),
    Fault(
        "orientation-in-xmp-missed-by-the-exported-model",
        f"{_SRC}/images/exif.py",
        "unsaid = (by_exif == 0) & (found.xmp >= 0)",
        "unsaid = (by_exif == 0) & (found.xmp < 0)",
    ),
    Fault(
        "any-share-of-images-left-out",
        f"{_SRC}/dataset/check_pixels.py",
        "MAX_DROPPED = 0.1",
        "MAX_DROPPED = 1.0",
    ),
    Fault(
        "link-followed-out-of-a-channel",
        f"{_SRC}/dataset/check_images.py",
        "target = os.path.realpath(folder / file_name)",
        "target = os.path.abspath(folder / file_name)",
    ),
    Fault(
        "file-given-to-two-images",
        f"{_SRC}/dataset/image_names.py",
        "(first := self.used.setdefault(match.files[0], index)) != index",
        "(first := self.used.setdefault(match.files[0], index)) < 0",
    ),
    Fault(
        "labels-before-their-adjustment-read",
        f"{_SRC}/dataset/ground_truth.py",
        "last = max((attributes[each].newest for each in adjusting)",
        "last = min((attributes[each].newest for each in adjusting)",
    ),
    Fault(
        "validation-images-also-trained-on",
        f"{_SRC}/dataset/split.py",
        "return np.setdiff1d(np.arange(count), validation), validation",
        "return np.arange(count), validation",
    ),
    Fault(
        "order-of-images-depends-on-the-process",
        f"{_SRC}/dataset/pipeline.py",
        "key = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(epoch, tf.int64)])",
        "key = tf.stack([tf.constant(hash(str(self.seed)), tf.int64), tf.cast(epoch, tf.int64)])",
    ),
    Fault(
        "augmentation-depends-on-chance",
        f"{_SRC}/dataset/pipeline.py",
        "key = tf.stack([tf.constant(order.seed, tf.int64), position])",
        "key = tf.random.uniform([2], maxval=2**62, dtype=tf.int64)",
    ),
    Fault(
        "box-of-a-mirrored-image-not-mirrored",
        f"{_SRC}/dataset/augment.py",
        "tf.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=1)",
        "tf.stack([ymin, xmin, ymax, xmax], axis=1)",
    ),
    Fault(
        "images-that-fill-up-count",
        f"{_SRC}/dataset/pipeline.py",
        "blank._replace(image_weights=tf.zeros([]))",
        "blank",
    ),
    Fault(
        "validation-sees-shrunken-photographs",
        f"{_SRC}/dataset/pipeline.py",
        "_column_reader(dataset, name)",
        "_column_reader(dataset, name, base.input_size)",
    ),
    # What the published weights were trained with.
    Fault(
        "anchors-by-scale-before-ratio",
        f"{_SRC}/geometry/anchors.py",
        "[(scales / ratios * side).ravel(), (scales * ratios * side).ravel()]",
        "[(scales / ratios * side).T.ravel(), (scales * ratios * side).T.ravel()]",
    ),
    Fault(
        "box-heights-encoded-as-centres-are",
        f"{_SRC}/geometry/box_coder.py",
        "ops.log(height / anchor_height) * scale[2]",
        "ops.log(height / anchor_height) * scale[0]",
    ),
    Fault(
        "box-code-scale-of-another-family",
        f"{_SRC}/catalogue.py",
        "box_code_scale=(1.0, 1.0, 1.0, 1.0),",
        "box_code_scale=(10.0, 10.0, 5.0, 5.0),",
    ),
    Fault(
        "frozen-statistics-move",
        f"{_SRC}/models/batch_norm.py",
        "        if training and self.trainable:",
        "        if training:",
    ),
    Fault(
        "folded-normalization-leaves-the-bias-unscaled",
        f"{_SRC}/models/folding.py",
        "offset = offset + self.bias * scale",
        "offset = offset + self.bias",
    ),
    Fault(
        "anchor-that-overlaps-by-half-is-background",
        f"{_SRC}/models/targets.py",
        "ops.max(iou, axis=1) >= MATCH_IOU",
        "ops.max(iou, axis=1) > MATCH_IOU",
    ),
    Fault(
        "focal-alpha-swapped",
        f"{_SRC}/models/losses.py",
        "alpha = (1.0 - family.focal_alpha) - (1.0 - 2.0 * family.focal_alpha) * positive",
        "alpha = family.focal_alpha + (1.0 - 2.0 * family.focal_alpha) * positive",
    ),
    # Training.
    Fault(
        "l2-term-missing",
        f"{_SRC}/step/gradients.py",
        "loss = localization + classification + regularization\n",
        "loss = localization + classification\n",
    ),
    Fault(
        "regularization-counted-by-every-replica",
        f"{_SRC}/step/passes.py",
        "step.gradients_of(count, count * self._share)",
        "step.gradients_of(1, count * self._share)",
    ),
    Fault(
        "loss-scale-left-out",
        f"{_SRC}/step/gradients.py",
        "scaled = loss * tf.cast(share.loss_scale, loss.dtype)",
        "scaled = loss",
    ),
    Fault(
        "step-out-of-memory-moves-statistics-twice",
        f"{_SRC}/step/replica_step.py",
        "with tf.control_dependencies([tf.group(*gradients, *statistics)]):",
        "with tf.control_dependencies([]):",
    ),
    Fault(
        "memory-failure-of-cudnn-not-recognised",
        f"{_SRC}/step/training_step.py",
        "return any(sign in text for sign in _MEMORY_ERRORS)",
        "return False",
    ),
    Fault(
        "statistics-of-one-replica-alone",
        f"{_SRC}/step/replica_step.py",
        "moments = self.replicas.sum_in_step(tf.identity(moments)) / self.replicas.count",
        "pass",
    ),
    Fault(
        "padding-of-training-images-not-zero",
        f"{_SRC}/images/network_input.py",
        "return scaled * rows[:, :, None, None] * columns[:, None, :, None]",
        "return scaled",
    ),
    Fault(
        "devices-are-given-each-others-images",
        f"{_SRC}/devices/replicas.py",
        "lambda context: parts[context.replica_id_in_sync_group - first]",
        "lambda context: parts[0]",
    ),
    Fault(
        "top-layer-only-trains-the-boxes-too",
        f"{_SRC}/step/training_step.py",
        "return detector.class_predictor.trainable_variables",
        "return detector.heads.trainable_variables",
    ),
    Fault(
        "random-weights-frozen",
        f"{_SRC}/training/recipe.py",
        '    if not situation.loaded:\n        return False, "from random weights"\n    images',
        "    images",
    ),
    Fault(
        "new-layers-have-the-rate-of-loaded-ones",
        f"{_SRC}/step/optimizer.py",
        "if id(variable) in started_anew or len(variable.shape) < 2",
        "if len(variable.shape) < 2",
    ),
    Fault(
        "loaded-kernels-have-the-whole-rate",
        f"{_SRC}/step/optimizer.py",
        "lr=self.own_rate(variable, tf.cast(learning_rate, variable.dtype)),",
        "lr=tf.cast(learning_rate, variable.dtype),",
    ),
    Fault(
        "older-checkpoints-take-the-new-recipe",
        f"{_SRC}/training/identity.py",
        "known = row.before if given == AUTO else given",
        "known = None if given == AUTO else given",
    ),
    Fault(
        "auto-overrules-the-checkpoint",
        f"{_SRC}/training/recipe.py",
        "if row.name in in_force:",
        "if row.name in ():",
    ),
    Fault(
        "recipe-for-random-weights",
        f"{_SRC}/training/recipe.py",
        "if situation.loaded else (PLAIN",
        "if True else (PLAIN",
    ),
    Fault(
        "collapse-judged-by-precision-alone",
        f"{_SRC}/evaluation/verdict.py",
        "if now.spread is not None and now.spread < min(",
        "if now.spread is not None and finds_nothing(now) and now.spread < min(",
    ),
    Fault(
        "channels-dead-that-live-in-one-image",
        f"{_SRC}/evaluation/evaluator.py",
        "np.minimum(seen[0], low)",
        "np.maximum(seen[0], low)",
    ),
    Fault(
        "learning-rate-not-warmed-up",
        f"{_SRC}/step/optimizer.py",
        "warm_up = round(WARM_UP_SHARE * total_steps)",
        "warm_up = 0",
    ),
    Fault(
        "cosine-ends-above-zero",
        f"{_SRC}/step/optimizer.py",
        "CosineDecay(0.0, total_steps - warm_up, warmup_target",
        "CosineDecay(0.0, total_steps, warmup_target",
    ),
    Fault(
        "trapezoid-does-not-cool-down",
        f"{_SRC}/step/optimizer.py",
        "(self._total - done) / self._down",
        "self._total / self._down",
    ),
    Fault(
        "weights-of-the-last-epoch-saved",
        f"{_SRC}/training/loop.py",
        "        if evaluation is None or best.epoch == epoch.number:\n            self._best_weights = weights",
        "        self._best_weights = weights",
    ),
    # Stops, restarts, several hosts.
    Fault(
        "optimizer-not-resumed",
        f"{_SRC}/training/resume.py",
        "[*state.weights, *state.optimizer]",
        "[*state.weights, *(variable.numpy() for variable in step.optimizer.variables)]",
    ),
    Fault(
        "resume-repeats-the-images-of-an-epoch",
        f"{_SRC}/training/progress.py",
        "return self.epoch * steps_per_epoch + len(self.losses)",
        "return self.epoch * steps_per_epoch",
    ),
    Fault(
        "checkpoint-of-another-learning-rate-accepted",
        f"{_SRC}/hyperparameters/table.py",
        'default="0.001",\n',
        'default="0.001",\n        on_resume="free",\n',
    ),
    Fault(
        "checkpoint-of-other-validation-data-accepted",
        f"{_SRC}/training/identity.py",
        'validation.fingerprint[:_SHOWN] if validation else "none"',
        '"any"',
    ),
    Fault(
        "damaged-checkpoint-has-no-predecessor",
        f"{_SRC}/training/checkpoints.py",
        "for path in reversed(found):",
        "for path in found[-1:]:",
    ),
    Fault(
        "stop-of-a-worker-not-heard",
        f"{_SRC}/devices/replicas.py",
        "total = self._sum(tf.constant(float(flag)))",
        "total = self._sum(tf.constant(float(flag and self.is_chief)))",
    ),
    Fault(
        "worker-writes-a-model-too",
        f"{_SRC}/train.py",
        "        if replicas.is_chief:\n            write_outputs(",
        "        if replicas.hosts:\n            write_outputs(",
    ),
    # Validation.
    Fault(
        "map-and-map-50-swapped",
        f"{_SRC}/evaluation/coco.py",
        '"mAP", "mAP_50", "mAP_75",',
        '"mAP_50", "mAP", "mAP_75",',
    ),
    Fault(
        "validation-losses-depend-on-the-batch",
        f"{_SRC}/evaluation/evaluator.py",
        "matched = tf.maximum(1.0, losses.matched)",
        "matched = tf.maximum(1.0, tf.reduce_mean(losses.matched))",
    ),
    # The artifact.
    Fault(
        "model-info-before-the-rest",
        f"{_SRC}/artifact/export.py",
        "for name in (CODE, LABELS_FILE, FILE_NAME):",
        "for name in (FILE_NAME, CODE, LABELS_FILE):",
    ),
    Fault(
        "model-copied-into-its-place",
        f"{_SRC}/artifact/export.py",
        "(temporary / _UNFINISHED).rename(model / SAVED_MODEL)",
        "__import__('shutil').copytree(temporary / _UNFINISHED, model / SAVED_MODEL)",
    ),
    Fault(
        "labels-in-alphabetical-order",
        f"{_SRC}/artifact/export.py",
        '{"labels": list(labels.names), ',
        '{"labels": sorted(labels.names), ',
    ),
    Fault(
        "exif-ignored-by-the-exported-model",
        f"{_SRC}/artifact/export.py",
        "decode(encoded, exif_orientation(encoded), ",
        "decode(encoded, tf.constant(1), ",
    ),
    # Answers.
    Fault(
        "best-anchors-settle-every-image",
        f"{_SRC}/models/postprocess.py",
        "tf.cond(tf.reduce_all(sure),",
        "tf.cond(tf.reduce_any(found.count >= 0),",
    ),
    Fault(
        "evaluate-leaves-the-class-predictor-new",
        f"{_SRC}/artifact/restore.py",
        "_install_artifact(_prefix(artifact), range(len(info.labels)), detector)",
        "_install_artifact(_prefix(artifact), None, detector)",
    ),
    Fault(
        "thresholds-of-another-class",
        f"{_SRC}/artifact/inference.py",
        "scores[place] >= cuts[classes[place]]",
        "scores[place] >= cuts[0]",
    ),
    Fault(
        "n-predictions-pads-the-answer",
        f"{_SRC}/artifact/inference.py",
        "kept = list(range(count))",
        "kept = list(range(max(count, accept.n_predictions or 0)))",
    ),
    Fault(
        "any-accept-refused",
        f"{_SRC}/artifact/inference.py",
        'if media_type in (_JSON, "application/*", "*/*"):',
        'if media_type in (_JSON, "application/*"):',
    ),
    Fault(
        "exported-file-that-loses-too-much-is-written",
        f"{_SRC}/runtimes/export_model.py",
        "if result.loss > max_loss:",
        "if result.loss > 1.0:",
    ),
    Fault(
        "mobile-input-padded-with-black",
        f"{_SRC}/images/network_input.py",
        "    colour = padding_colour(base.family)\n",
        "    colour = tf.zeros([3])\n",
    ),
    Fault(
        "mobile-labels-in-the-wrong-order",
        f"{_SRC}/runtimes/tflite_metadata.py",
        "for label in labels))",
        "for label in sorted(labels, reverse=True)))",
    ),
    Fault("payload-limit-lowered", f"{_SRC}/serving/settings.py", "MAX_PAYLOAD_IN_MB = 25", "MAX_PAYLOAD_IN_MB = 6"),
    Fault(
        "batch-of-two-models",
        f"{_SRC}/serving/queue.py",
        "if batch and image.model is not batch[0].model:",
        "if batch and image.model is None:",
    ),
    Fault(
        "models-beyond-their-room",
        f"{_SRC}/serving/models.py",
        "if self._most is not None and len(self._entries) + len(self._leaving) >= self._most:",
        "if self._most is not None and len(self._entries) > self._most:",
    ),
    Fault(
        "jumpstart-script-run-as-the-users",
        f"{_SRC}/serving/handlers/script.py",
        "if sum(mark in text for mark in _JUMPSTART_MARKS) >= 2:",
        "if sum(mark in text for mark in _JUMPSTART_MARKS) > 3:",
    ),
    Fault(
        "too-many-pixels-answered-as-a-bad-image",
        f"{_SRC}/serving/body.py",
        "RequestError(413 if too_large else 400, ",
        "RequestError(400, ",
    ),
    Fault("bombs-kept-to-their-end", f"{_SRC}/serving/body.py", "self._refuse(beyond(", "(beyond("),
    Fault(
        "sigterm-cuts-requests-off", f"{_SRC}/serving/server.py", "REFUSING_SECONDS = 18.0", "REFUSING_SECONDS = 0.0"
    ),
    Fault(
        "headers-waited-for-without-end",
        f"{_SRC}/serving/connections.py",
        "self._head.set(HEAD_SECONDS, self._refuse_head)",
        "pass",
    ),
    Fault(
        "newest-connection-makes-room",
        f"{_SRC}/serving/connections.py",
        "oldest = next(iter(self._waiting))",
        "oldest = next(reversed(self._waiting))",
    ),
    Fault(
        "two-jobs-on-one-root",
        f"{_SRC}/job/claim.py",
        "fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
    ),
    Fault(
        "link-among-drawings-followed",
        f"{_SRC}/serving/whole_files.py",
        "Path(os.path.realpath(path)) if named else path",
        "Path(os.path.realpath(path))",
    ),
    Fault(
        "images-predicted-in-sorted-order",
        f"{_SRC}/serving/predict.py",
        "files = find_images(list(images))",
        "files = find_images(sorted(images))",
    ),
    Fault(
        "coco-results-by-class-index",
        f"{_SRC}/serving/coco_results.py",
        '"category_id": category_ids[index],',
        '"category_id": index,',
    ),
    # Data in other formats.
    Fault(
        "voc-box-a-pixel-short",
        f"{_SRC}/geometry/boxes.py",
        "- [1.0, 1.0, 0.0, 0.0]",
        "- [1.0, 1.0, 1.0, 1.0]",
    ),
    Fault(
        "yolo-centre-read-as-corner",
        f"{_SRC}/dataset/conventions.py",
        "return part[centre] - part[size] / 2, part[centre] + part[size] / 2",
        "return part[centre], part[centre] + part[size]",
    ),
    Fault(
        "regions-to-ignore-learned-as-background",
        f"{_SRC}/models/targets.py",
        'return 1.0 - ops.cast(ignored, "float32")',
        'return 1.0 + 0.0 * ops.cast(ignored, "float32")',
    ),
    Fault(
        "crowds-evaluated-as-objects",
        f"{_SRC}/evaluation/coco.py",
        '"bbox": box, "iscrowd": iscrowd}',
        '"bbox": box, "iscrowd": 0}',
    ),
    Fault(
        "crowds-converted-as-boxes",
        f"{_SRC}/convert/coco.py",
        "table.category_ids[code], numbers, outline, is_ignored)",
        "table.category_ids[code], numbers, outline)",
    ),
    # Weights.
    Fault(
        "size-limit-for-each-file-alone",
        f"{_SRC}/weights/bounds.py",
        "elif self.bytes > MAX_BYTES:",
        "elif size > MAX_BYTES:",
    ),
    Fault(
        "s3-key-escapes-its-folder",
        f"{_SRC}/weights/s3.py",
        'if any(part in ("", ".", "..") for part',
        'if any(part in ("", ".") for part',
    ),
    Fault(
        "fetched-weights-kept-unread",
        f"{_SRC}/weights/sources.py",
        "read_all(found)  # nothing else",
        "pass  # nothing else",
    ),
    Fault(
        "published-weights-of-another-model-kept",
        f"{_SRC}/weights/sources.py",
        "_check_base(found, self.expected)",
        "pass",
    ),
    Fault(
        "name-of-a-variable-in-the-fingerprint",
        f"{_SRC}/weights/checkpoint.py",
        "digests = sorted(",
        "digests = list(",
    ),
    Fault(
        "size-of-an-aspect-ratio-resizer-not-read",
        f"{_SRC}/weights/recognition.py",
        "(?:height|min_dimension)",
        "(?:height)",
    ),
    Fault("password-shown", f"{_SRC}/weights/naming.py", '_CREDENTIALS.sub("...@", place)', "place"),
    Fault(
        "variable-may-lie-beyond-its-file",
        f"{_SRC}/weights/checkpoint_index.py",
        "if end > held:",
        "if False:",
    ),
    Fault(
        "variables-may-share-bytes",
        f"{_SRC}/weights/checkpoint_index.py",
        "if entry.offset < end:",
        "if False:",
    ),
    Fault(
        "model-loaded-with-an-index-that-is-not-judged",
        f"{_SRC}/serving/predictor.py",
        "        judge_checkpoint(folder / _VARIABLES)\n",
        "",
    ),
    Fault(
        "foreign-text-not-escaped",
        f"{_SRC}/sentences.py",
        "repr(found[0])[1:-1]",
        "found[0]",
    ),
    # The report.
    Fault("class-names-are-html", f"{_SRC}/report/page.py", "autoescape=True", "autoescape=False"),
    Fault(
        "lower-of-two-equal-thresholds",
        f"{_SRC}/report/figures.py",
        "best = int(f1.argmax())",
        "best = len(f1) - 1 - int(f1[::-1].argmax())",
    ),
    Fault(
        "tensorboard-counts-epochs-from-1",
        f"{_SRC}/report/tensorboard.py",
        "            epoch.number,\n            [tf.compat",
        "            epoch.number + 1,\n            [tf.compat",
    ),
    # What starts a job.
    Fault(
        "channel-prefix-without-its-slash",
        f"{_SRC}/launch/training.py",
        'address if is_whole or address.endswith("/") else f"{address}/"',
        "address",
    ),
    Fault(
        "hyperparameters-sent-as-typed",
        f"{_SRC}/launch/training.py",
        'request["HyperParameters"] = sent',
        'request["HyperParameters"] = values["--hyperparameters"]',
    ),
    Fault(
        "manifests-images-copied-again",
        f"{_SRC}/launch/manifests.py",
        'if f"images/{name}" not in present',
        "if name not in present",
    ),
    Fault(
        "tuning-job-always-maximizes",
        f"{_SRC}/launch/tuning.py",
        '["Type"] = _DIRECTIONS[values["--objective"]]',
        '["Type"] = "Maximize"',
    ),
    Fault(
        "legal-range-described-as-the-tuning-range",
        f"{_SRC}/describe.py",
        '"MaxValue": tunable.high, "ScalingType"',
        '"MaxValue": str(row.kind.high), "ScalingType"',
    ),
    # GPUs.
    Fault(
        "gpu-without-device-files-unnoticed",
        f"{_SRC}/devices/prepare.py",
        "[str(gpu) for gpu in driver.gpus] if driver and driver.gpus else device_files()",
        "device_files()",
    ),
    Fault(
        "hopper-accepted-with-any-driver-for-cuda-12",
        f"{_SRC}/devices/driver.py",
        '_Requirement((9, 0), (12, 5), "555"),',
        '_Requirement((9, 0), (12, 0), "525"),',
    ),
    Fault(
        "unusable-gpu-not-hidden-from-the-server",
        f"{_SRC}/devices/prepare.py",
        "        use_the_cpu()\n        return False\n",
        "        return False\n",
    ),
)


def copy_checkout(copy: Path) -> None:
    """What git tracks or would add, as it is in the working tree."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(lambda name: name and os.path.lexists(ROOT / name), names):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)


def environment(copy: Path) -> dict[str, str]:
    """The copy's source comes before the checkout's, which `.venv` has installed, and no bytecode outlives a fault."""
    path = os.pathsep.join(filter(None, [str(copy / "src"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "SHARED_DIR": str(SHARED_DIR)}


def imported_from(copy: Path) -> Path:
    """The file that the tests will import the package from."""
    command = [sys.executable, "-c", "import sagemaker_object_detection as package; print(package.__file__)"]
    done = subprocess.run(command, cwd=copy, env=environment(copy), capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def first_failure(copy: Path, options: Sequence[str]) -> str:
    """The first test that fails, "" where all pass. No process of theirs is left."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", f"--basetemp={copy.with_name('pytest')}"]
    process = subprocess.Popen(
        [*command, "--ignore=tests/test_faults.py", *options],
        cwd=copy,
        env=environment(copy),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIER_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end within {TIER_SECONDS:.0f} seconds"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    return failed[1] if failed else f"pytest ended with {process.returncode}: {output[-300:]!r}"


def catch(fault: Fault, copy: Path) -> tuple[str, str]:
    """The first tier that catches the fault, "nothing" where none does, and the first test that fails there."""
    path = copy / fault.path
    source = path.read_text(encoding="utf-8")
    path.write_text(fault.planted(source), encoding="utf-8")
    try:
        found = ((tier, first_failure(copy, options)) for tier, options in TIERS.items())
        return next(((tier, failure) for tier, failure in found if failure), ("nothing", ""))
    finally:
        path.write_text(source, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Catches the faults that are named, or all; prints a row of the table as soon as it is known."""
    parser = argparse.ArgumentParser(description="Shows which tier of tests catches each deliberate fault.")
    parser.add_argument("names", nargs="*", metavar="FAULT", help="default: all of them")
    parser.add_argument("--list", action="store_true", help="print their names and places")
    options = parser.parse_args(arguments)
    known = {fault.name: fault for fault in FAULTS}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; --list prints the names")
    chosen = [known[name] for name in options.names] or list(FAULTS)
    if options.list:
        print("\n".join(f"{fault.name}: {fault.path}" for fault in chosen))
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that the copy is removed
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        copy = Path(folder).resolve() / "copy"
        copy_checkout(copy)
        if not (place := imported_from(copy)).is_relative_to(copy):
            print(f"tests would import {place}; expected a file below {copy}", file=sys.stderr)
            return 2
        if failure := first_failure(copy, list(TIERS.values())[-1]):
            print(f"the unchanged copy fails: {failure}", file=sys.stderr)
            return 2
        print("| fault | caught by | first failing test | seconds |\n|---|---|---|---|", flush=True)
        tiers = []
        for fault in chosen:
            started = time.monotonic()
            tier, failure = catch(fault, copy)
            tiers.append(tier)
            print(f"| {fault.name} | {tier} | {failure} | {time.monotonic() - started:.0f} |", flush=True)
    return int("nothing" in tiers)


if __name__ == "__main__":
    sys.exit(main())
