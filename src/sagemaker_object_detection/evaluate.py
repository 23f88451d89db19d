"""The `evaluate` verb: how good a model is on a labelled channel that it was not trained on.

The detector is built anew from the model's variables, and measured as a job's validation is: same images, same figures.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sagemaker_object_detection.dataset.problems import REPORT_FILE
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.disk import DISK_FAULTS
from sagemaker_object_detection.hyperparameters.kinds import written
from sagemaker_object_detection.hyperparameters.read import Hyperparameters, read, read_what_is_right
from sagemaker_object_detection.job.config import channel_problem
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.job.stop import StoppedError, StopSignal
from sagemaker_object_detection.report.place import EVALUATION_FILE, IMAGES_FILE, remove_page
from sagemaker_object_detection.weights.sources import source_at

log = logging.getLogger(__name__)

READ_AS_TRAINED = ("bbox_format", "invalid_boxes", "invalid_images", "max_detections", "mixed_precision")
"""Hyperparameters of the job that hold for an evaluation too, unless they are given."""
_USUAL_FORMAT = "xyxy"
MODEL_WAYS = "give the model directory that a training job wrote, its model.tar.gz, or a published base model"


@dataclass(frozen=True)
class Places:
    """Where things lie in a SageMaker Processing job, as AWS's examples mount them."""

    model: Path
    data: Path
    output: Path

    @classmethod
    def below(cls, paths: Paths) -> "Places":
        return cls(*(paths.processing / name for name in ("model", "test", "evaluation")))


def evaluate(places: Places, given: Mapping[str, str]) -> None:
    """Measures the model at `places.model` on the channel at `places.data`, and writes figures, page and each image's
    detections into `places.output`.

    Args:
        places: the model is a model directory, a model.tar.gz or a folder that holds one, or a published base model.
        given: hyperparameters that say how the channel is read, text by name.

    Raises:
        UserError: there is no model, or anything is wrong with the data, which may have no classes but the model's.
        StoppedError: a signal came. Nothing is left that looks like an evaluation.
    """
    problems = list(read_what_is_right(given)[1])
    if (problem := channel_problem(places.data, "images in images/ and their boxes in annotations.json")) is not None:
        problems.append(f"--data: {problem}")
    try:
        source = source_at(str(places.model), f"--model {places.model}", MODEL_WAYS)
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    _empty(places.output)
    with StopSignal() as stop:
        from sagemaker_object_detection.artifact.model_info import versions
        from sagemaker_object_detection.dataset.load import load_channel
        from sagemaker_object_detection.devices.number_format import choose_number_format
        from sagemaker_object_detection.devices.prepare import prepare_devices
        from sagemaker_object_detection.evaluation.collapse import Channels
        from sagemaker_object_detection.evaluation.evaluator import Evaluator
        from sagemaker_object_detection.models.postprocess import MAX_DETECTIONS
        from sagemaker_object_detection.report.evaluation_files import write_evaluation
        from sagemaker_object_detection.serving.restored import RestoredModel

        capability = prepare_devices(stop, doing="Evaluating")
        weights = source.fetch(stop)
        assert weights is not None
        model = RestoredModel.of(weights)
        hyperparameters = read_as_trained(model.hyperparameters, given)
        dataset, report = load_channel(
            "test",
            places.data,
            model.labels,
            hyperparameters,
            sample_bits=model.sample_bits,
            report_folder=places.output,
            stop=stop,
        )
        if seen := [name for name, known in model.fingerprints.items() if known == dataset.fingerprint]:
            sentence = (
                f"test: these are the {' and '.join(seen)} images of the model's own job, which finds them better than "
                "others. Give it images that it has not seen."
            )
            log.warning("%s", sentence)
            report = replace(report, warnings=(*report.warnings, sentence))
        detector = model.detector(choose_number_format(bool(hyperparameters.mixed_precision), capability))
        limit = hyperparameters.max_detections or MAX_DETECTIONS
        evaluator = Evaluator(
            detector, dataset, l2=None, max_detections=limit, stop=stop, channels=Channels(detector), name="test"
        )
        evaluation = evaluator()
        found = evaluator.detections(evaluation, 0.0) if evaluation is not None else None
        if evaluation is None or found is None:
            raise StoppedError
        write_evaluation(
            places.output,
            detector.base,
            dataset,
            report,
            evaluation,
            found,
            thresholds=model.thresholds,
            values=model.hyperparameters,
            versions=versions(),
        )


def read_as_trained(recorded: Mapping[str, Any], given: Mapping[str, str]) -> Hyperparameters:
    """How the channel is read: as the model's own job did it, unless something else is given."""
    kept = {name: written(recorded[name]) for name in READ_AS_TRAINED if name in recorded}
    if kept.get("bbox_format") == _USUAL_FORMAT:
        del kept["bbox_format"]  # which Auto comes to as well: boxes of new data are held against every other way
    kept = {name: text for name, text in kept.items() if not read_what_is_right({name: text})[1]}
    return read({**kept, **given})


def _empty(folder: Path) -> None:
    """Makes the folder, and removes an earlier evaluation, which would speak of another model."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (EVALUATION_FILE, IMAGES_FILE, REPORT_FILE):
            (folder / name).unlink(missing_ok=True)
        remove_page(folder)
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        raise UserError(
            f"--output: {folder} cannot be made ({error.strerror}); expected a folder that this process may write to"
        ) from None
