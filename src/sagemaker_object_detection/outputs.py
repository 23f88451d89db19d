"""What a job leaves behind: the model, its figures, and the last lines of the log."""

import logging

from sagemaker_object_detection.artifact.export import export
from sagemaker_object_detection.artifact.model_info import model_info
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.evaluation.report import epoch_figures, write_metrics
from sagemaker_object_detection.evaluation.validation import Evaluation, warn_if_useless
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.job import metrics
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.training.loop import Outcome

log = logging.getLogger(__name__)


def write_outputs(
    detector: Detector,
    outcome: Outcome[Evaluation],
    hyperparameters: Hyperparameters,
    training: Dataset,
    validation: Dataset | None,
    paths: Paths,
) -> None:
    """Writes the detector as the job's model, and the figures of its epochs.

    The last validation lines of the log belong to the weights that are saved: SageMaker takes a metric's last value.
    """
    saved, result = outcome.saved, outcome.saved.validation if outcome.saved else None
    info = model_info(
        detector.base,
        training.labels,
        hyperparameters=hyperparameters.resolved(),
        fingerprints={
            "training": training.fingerprint,
            **({"validation": validation.fingerprint} if validation else {}),
        },
        epoch=saved.number if saved else None,
        metrics=result.metrics if result else {},
    )
    export(detector, training.labels, info, paths.model)
    figures = [epoch_figures(e.number, e.loss, e.samples_per_second, e.validation) for e in outcome.epochs]
    write_metrics(figures, saved.number if saved else None, paths.output_data)
    if saved is not None and result is not None:
        for line in metrics.validation_lines(saved.number, result.metrics):
            log.info(line)
        warn_if_useless(result)
    log.info("The model is in %s.", paths.model)
