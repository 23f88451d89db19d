"""What a job leaves behind: the model, its figures, the last lines of the log, and then what it can do without."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sagemaker_object_detection.artifact.export import Exporter
from sagemaker_object_detection.artifact.model_info import add_thresholds, model_info, read_model_info, versions
from sagemaker_object_detection.artifact.network_process import NetworkProcess
from sagemaker_object_detection.artifact.restore import Start
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.load import Splits
from sagemaker_object_detection.dataset.problems import DataReport, SecondLook, write_report
from sagemaker_object_detection.evaluation import verdict
from sagemaker_object_detection.evaluation.evaluation import CONFIDENT
from sagemaker_object_detection.evaluation.evaluator import Evaluator
from sagemaker_object_detection.guard import optional
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.job import metrics
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.report.evaluation_files import write_evaluation
from sagemaker_object_detection.report.figures import Figures, compute_figures
from sagemaker_object_detection.report.metrics_file import write_metrics
from sagemaker_object_detection.report.pictures import Picture, draw_worst
from sagemaker_object_detection.report.place import remove_page
from sagemaker_object_detection.report.second_look import find_second_looks
from sagemaker_object_detection.report.tensorboard import TensorBoard
from sagemaker_object_detection.sentences import listed, quoted
from sagemaker_object_detection.training.progress import Progress
from sagemaker_object_detection.training.recipe import recorded

log = logging.getLogger(__name__)

REPORT_SECONDS = 45.0
"""With less time than this before the process is killed there is no report: it takes four seconds, on a machine with
ten other processes for each core thirty, and the detector may have to go over the validation images once more."""
_CLASSES_SHOWN = 20


def tell_epoch(progress: Progress, board: TensorBoard, hyperparameters: Hyperparameters) -> None:
    """Writes the newest epoch's event file, and warns of a collapse in the epoch in which it happens."""
    epoch = progress.epochs[-1]
    board.write(epoch)
    before, signs = (
        verdict.collapse(each.validation, progress.start) if each and each.validation else []
        for each in ([None, *progress.epochs][-2], epoch)
    )
    if signs and not before:
        log.warning(
            "After epoch %d the model is collapsing: %s. The cause: %s.",
            epoch.number,
            "; ".join(signs),
            verdict.collapse_advice(hyperparameters),
        )


def write_outputs(
    detector: Detector,
    exporter: Exporter,
    progress: Progress,
    hyperparameters: Hyperparameters,
    start: Start,
    splits: Splits,
    evaluator: Evaluator | None,
    board: TensorBoard,
    stop: StopSignal,
    paths: Paths,
) -> None:
    """Writes the detector as the job's model, and the figures of its epochs; then the report, if that can be done.

    The last validation lines of the log belong to the weights that are saved: SageMaker takes a metric's last value.

    Args:
        start: what training started from.
        evaluator: that of the validation set, None where there is none.
        stop: how much time is left.
    """
    if stop.requested:
        log.info("Saving the model; %.0f seconds are left before the process is killed.", stop.seconds_left)
    saved, fault = progress.saved, None
    result = saved.validation if saved else None
    training, validation = splits.training, splits.validation
    info = model_info(
        detector.base,
        training.labels,
        hyperparameters=recorded(hyperparameters, detector.base),
        weights={"origin": start.origin, "fingerprint": start.fingerprint},
        fingerprints={
            "training": training.fingerprint,
            **({"validation": validation.fingerprint} if validation else {}),
        },
        epoch=saved.number if saved else None,
        metrics=result.metrics if result else {},
        per_class=result.coco.per_class if result else None,
        sample_bits=training.sample_bits,
    )
    exporter.write(training.labels, info)
    write_metrics(progress.epochs, saved, paths.output_data)
    if saved is not None and result is not None:
        log.info(
            "The saved model is that of epoch %d. Its metrics once more, as a tuning job takes the last value:",
            saved.number,
        )
        for line in metrics.validation_lines(saved.number, result.metrics):
            log.info(line)
        fault = verdict.sentence(result, progress.start, hyperparameters, loaded=start.loaded)
        if fault:
            log.warning("%s", fault)
    log.info("The model is in %s.", paths.model)
    with NetworkProcess(paths.model, detector.base, stop), optional("The report", "the model is whole"):
        remove_page(paths.output_data)
        if stop.seconds_left < REPORT_SECONDS:
            log.warning("There is no report: %.0f seconds are left before the process is killed.", stop.seconds_left)
            return
        # Late: what draws takes a second to import, and training does not wait for it.
        from sagemaker_object_detection.report.page import PageContent, Run, write_page

        figures, pictures, looks = _find_mistakes(progress, validation, evaluator, info, paths)
        if saved is not None:
            board.write_pictures(saved.number, pictures)
        if looks:
            write_report(paths.output_data, [], splits.report, looks)
        findings = PageContent(
            base=detector.base,
            versions=info["versions"],
            report=splits.report,
            evaluated=validation,
            result=result,
            figures=figures,
            pictures=pictures,
            second_looks=looks,
            values=info["hyperparameters"],
            run=Run(training, hyperparameters, fault, progress.epochs, saved),
        )
        log.info("The report is in %s.", write_page(findings, paths.output_data))
    if splits.test is not None:
        with optional("The figures of the test channel", "the model is whole; evaluate can make them"):
            _measure(detector, splits.test, splits.report, hyperparameters, stop, paths)


def _measure(
    detector: Detector,
    test: Dataset,
    report: DataReport,
    hyperparameters: Hyperparameters,
    stop: StopSignal,
    paths: Paths,
) -> None:
    """The saved weights on the test channel, by the thresholds that validation found."""
    limit = hyperparameters.max_detections
    assert limit is not None
    l2 = hyperparameters.regularizers_l2
    evaluator = Evaluator(detector, test, l2=l2, max_detections=limit, stop=stop, name="test")
    evaluation = evaluator() if not stop.requested else None
    found = evaluator.detections(evaluation, REPORT_SECONDS) if evaluation is not None else None
    if evaluation is None or found is None:
        log.warning("The test channel was not measured, because the job was stopped: evaluate can do it.")
        return
    info = read_model_info(paths.model)
    folder = paths.output_data / "test"
    folder.mkdir(exist_ok=True)
    write_evaluation(
        folder,
        detector.base,
        test,
        replace(report, channels=tuple(each for each in report.channels if each.channel == "test")),
        evaluation,
        found,
        thresholds=info.thresholds,
        values=info.hyperparameters,
        versions=versions(),
    )


def _find_mistakes(
    progress: Progress,
    validation: Dataset | None,
    evaluator: Evaluator | None,
    info: Mapping[str, Any],
    paths: Paths,
) -> tuple[Figures | None, list[Picture], list[SecondLook]]:
    """What the saved weights get wrong on the validation images, where that can be known; tells the thresholds, and
    writes them into the model and the metrics.

    Args:
        info: the content of model_info.json.
    """
    result = progress.saved.validation if progress.saved else None
    if validation is None or evaluator is None or result is None:
        return None, [], []
    found = evaluator.detections(result, REPORT_SECONDS)
    if found is None:
        return None, [], []
    figures = compute_figures(validation, found)
    named = zip(validation.labels.names, figures.classes, strict=True)
    thresholds = {name: one.threshold.score for name, one in named if one.threshold is not None}
    write_metrics(progress.epochs, progress.saved, paths.output_data, thresholds)
    if len(validation.boxes):
        add_thresholds(info, thresholds, paths.model)
    if len(validation.boxes):
        scores = [f"{quoted(name)} {score:.3f}" for name, score in thresholds.items()]
        shown = listed(scores, _CLASSES_SHOWN, none="none, as no detection is right")
        log.info("Suggested score thresholds, by the best F1 at IoU 0.5 (all are in model_info.json): %s.", shown)
        if verdict.shy(result):
            log.info(
                "No score is above %.1f, which is how focal loss leaves them and no fault: go by these thresholds.",
                CONFIDENT,
            )
    return figures, draw_worst(validation, figures), find_second_looks(validation, found, figures)
