"""The whole job, top to bottom: what a run does, in the order in which it does it."""

import logging
import math

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.job import metrics
from sagemaker_object_detection.job.config import Job
from sagemaker_object_detection.job.paths import Paths, prepare_outputs
from sagemaker_object_detection.job.stop import StopSignal
from sagemaker_object_detection.preflight import preflight
from sagemaker_object_detection.weights.bounds import StoppedError
from sagemaker_object_detection.weights.sources import Source

log = logging.getLogger(__name__)

FEW_IMAGES_PER_REPLICA = 32
"""Below this, freeze_batch_norm "Auto" freezes loaded statistics: frozen was better at 2 to 16 (README, "Measured")."""


def train(paths: Paths) -> None:
    """Runs the job whose files lie below `paths`; raises a JobError where it cannot be done."""
    with StopSignal() as stop:
        prepare_outputs(paths)
        found = preflight(paths)
        if found.job is None or found.source is None or found.problems:
            raise UserError(found.problems)
        for note in found.hyperparameters.notes:
            log.info(note)
        if found.job.checkpoints is not None:
            log.warning("This version writes no checkpoints to %s: a restarted job begins anew.", found.job.checkpoints)
        try:
            _train(found.job, found.hyperparameters, found.source, stop)
        except StoppedError:
            log.warning("Stopped by a signal before the first step: there is no model to save.")


def _train(job: Job, hyperparameters: Hyperparameters, source: Source, stop: StopSignal) -> None:
    # TensorFlow costs seconds to import, so what needs it waits until the job is known to be right.
    from sagemaker_object_detection.artifact.export import export
    from sagemaker_object_detection.artifact.model_info import model_info
    from sagemaker_object_detection.artifact.restore import find_start
    from sagemaker_object_detection.dataset.load import load_job_data
    from sagemaker_object_detection.dataset.pipeline import batch_indices, training_batches
    from sagemaker_object_detection.evaluation.report import epoch_figures, write_metrics
    from sagemaker_object_detection.evaluation.validation import Evaluator, warn_if_useless
    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.training.best import Best, choose_objective
    from sagemaker_object_detection.training.devices import prepare_devices
    from sagemaker_object_detection.training.loop import Schedule, fit
    from sagemaker_object_detection.training.optimizer import build_optimizer
    from sagemaker_object_detection.training.replicas import find_replicas
    from sagemaker_object_detection.training.step import TrainingStep, choose_trainable

    # 1. The data, checked to the last box.
    policy = prepare_devices(hyperparameters.mixed_precision)
    replicas = find_replicas(job.hosts, job.current_host)
    splits = load_job_data(job, hyperparameters, report_folder=job.paths.output_data if replicas.is_chief else None)
    data, validation, max_boxes = splits.training, splits.validation, splits.max_boxes
    if hyperparameters.batch_size > len(data.file_names):
        log.warning(
            "batch_size is %d, but there are %d training images: every step repeats images.",
            hyperparameters.batch_size,
            len(data.file_names),
        )

    # 2. The model, with the weights it starts from: they are fetched now that nothing else can be wrong.
    weights = source.fetch(lambda: stop.requested)
    start = find_start(weights, hyperparameters, data.labels)
    hyperparameters = hyperparameters.for_model(start.base)
    with replicas.scope():
        detector = build_detector(start.base, len(data.labels), dtype=policy, seed=hyperparameters.seed)
    start.install(detector)

    # 3. The training step, and the order of the images.
    batch_size, seed = hyperparameters.batch_size, hyperparameters.seed
    freeze = hyperparameters.freeze_batch_norm
    if freeze is None:
        freeze = start.loaded and batch_size / replicas.count < FEW_IMAGES_PER_REPLICA
    replicas.log_share(batch_size, frozen=freeze)
    schedule = Schedule(
        epochs=hyperparameters.epochs or start.base.default_epochs,
        steps_per_epoch=math.ceil(len(data.file_names) / batch_size),
        batch_size=batch_size,
        learning_rate=hyperparameters.learning_rate,
        file_names=lambda step: [
            data.file_names[index] for index in batch_indices(len(data.file_names), batch_size, seed, step)
        ],
    )
    only_top = hyperparameters.train_only_on_top_layer
    with replicas.scope():
        step = TrainingStep(
            detector,
            build_optimizer(hyperparameters, schedule.total_steps),
            choose_trainable(detector, only_top_layer=only_top, freeze_batch_norm=freeze),
            l2=hyperparameters.regularizers_l2,
            warm_up_statistics=not start.loaded,
            replicas=replicas,
        )
    share = replicas.share(batch_size)
    batches = training_batches(data, start.base, batch_size, max_boxes, seed, hyperparameters.augmentation, share=share)

    # 4. Validation after every epoch, and which epoch is the best.
    evaluate = None
    if validation is not None and replicas.is_chief:
        evaluate = Evaluator(
            detector,
            validation,
            max_boxes=max_boxes,
            l2=hyperparameters.regularizers_l2,
            stop_requested=lambda: stop.requested,
        )
    has_boxes = validation is None or len(validation.boxes) > 0
    best = Best(
        choose_objective(hyperparameters.objective, job.tuning_objective, has_boxes),
        hyperparameters.early_stopping_min_delta,
        hyperparameters.early_stopping_patience if hyperparameters.early_stopping else None,
    )

    # 5. Train; the detector comes out with the best epoch's weights.
    with replicas.blamed():
        if replicas.any(stop.requested):
            raise StoppedError
        outcome = fit(detector, step, iter(batches), schedule, evaluate, best, lambda: stop.requested, replicas)
    if not replicas.is_chief:
        replicas.wait()
        return

    # 6. What the job leaves behind. The last validation lines belong to the weights that are saved.
    if outcome.stopped:
        log.info("Saving the model; %.0f seconds are left before the process is killed.", stop.seconds_left)
    saved, result = outcome.saved, outcome.saved.validation if outcome.saved else None
    info = model_info(
        start.base,
        data.labels,
        hyperparameters=hyperparameters.resolved(),
        fingerprints={"training": data.fingerprint, **({"validation": validation.fingerprint} if validation else {})},
        epoch=saved.number if saved else None,
        metrics=result.metrics if result else {},
    )
    export(detector, data.labels, info, job.paths.model)
    figures = [epoch_figures(e.number, e.loss, e.samples_per_second, e.validation) for e in outcome.epochs]
    write_metrics(figures, saved.number if saved else None, job.paths.output_data)
    if saved is not None and result is not None:
        for line in metrics.validation_lines(saved.number, result.metrics):
            log.info(line)
        warn_if_useless(result)
    log.info("The model is in %s.", job.paths.model)
    replicas.wait()
