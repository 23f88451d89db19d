"""The whole job, top to bottom: what a run does, in the order in which it does it."""

import logging
from dataclasses import replace

import msgspec

from sagemaker_object_detection.devices.driver import device_text
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.kinds import AUTO
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.job.config import Job
from sagemaker_object_detection.job.paths import prepare_outputs
from sagemaker_object_detection.job.stop import NEVER, StoppedError, StopSignal
from sagemaker_object_detection.preflight import preflight
from sagemaker_object_detection.weights.sources import Source

log = logging.getLogger(__name__)


def train(job: Job) -> None:
    """Runs the job; raises a JobError where it cannot be done."""
    with StopSignal() as stop:
        log.info("Device: %s.", device_text())
        prepare_outputs(job.paths)
        found = preflight(job)
        if found.source is None or found.problems:
            raise UserError(found.problems)
        for note in (*job.notes, *found.hyperparameters.notes):
            log.info(note)
        if job.checkpoints is None:
            log.info(
                "No checkpoints: a job that is restarted begins anew. Give it checkpoint_s3_uri, or %s.",
                job.paths.checkpoints,
            )
        try:
            _train(job, found.hyperparameters, found.source, stop)
        except StoppedError:
            log.warning("Stopped by a signal before the first step: there is no model to save.")


def _train(job: Job, hyperparameters: Hyperparameters, source: Source, stop: StopSignal) -> None:
    # TensorFlow costs seconds to import, so what needs it waits until the job is known to be right.
    from sagemaker_object_detection.artifact.export import Exporter
    from sagemaker_object_detection.artifact.restore import find_start
    from sagemaker_object_detection.dataset.anchor_coverage import log_coverage
    from sagemaker_object_detection.dataset.load import load_splits
    from sagemaker_object_detection.dataset.pipeline import Order, training_batches
    from sagemaker_object_detection.dataset.readable import readable
    from sagemaker_object_detection.devices.number_format import choose_number_format
    from sagemaker_object_detection.devices.prepare import prepare_devices
    from sagemaker_object_detection.devices.replicas import find_replicas
    from sagemaker_object_detection.evaluation.collapse import Channels
    from sagemaker_object_detection.evaluation.evaluator import Evaluator
    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.outputs import tell_epoch, write_outputs
    from sagemaker_object_detection.report.tensorboard import TensorBoard
    from sagemaker_object_detection.step.features import keep_features
    from sagemaker_object_detection.step.optimizer import build_optimizer, layer_shares
    from sagemaker_object_detection.step.training_step import TrainingStep, choose_trainable
    from sagemaker_object_detection.training.best import Best, choose_objective
    from sagemaker_object_detection.training.checkpoints import Checkpoints, has_checkpoints, kept_settings
    from sagemaker_object_detection.training.divergence import DivergenceCheck
    from sagemaker_object_detection.training.identity import formerly, identity, in_force
    from sagemaker_object_detection.training.loop import Loop, Schedule
    from sagemaker_object_detection.training.recipe import Situation, settle, steps_per_epoch
    from sagemaker_object_detection.training.resume import find_state, restore

    # 1. The data, checked to the last box.
    capability = prepare_devices(stop)
    policy = choose_number_format(hyperparameters.mixed_precision, capability)
    replicas = find_replicas(job.hosts, job.current_host, stop)
    # Until the first step a stop ends the job, unless an earlier run left something to save; several hosts agree later.
    early = stop if replicas.hosts == 1 and not has_checkpoints(job.checkpoints) else NEVER
    report_folder = job.paths.output_data if replicas.is_chief else None
    kept = kept_settings(job.checkpoints if replicas.is_chief else None)
    if replicas.hosts > 1:
        kept = msgspec.json.decode(replicas.tell(msgspec.json.encode(kept)), type=dict[str, str])
    splits_itself = job.validation is None and hyperparameters.validation_split_ratio > 0
    if splits_itself and hyperparameters.split_by == AUTO and "split_by" in kept:
        hyperparameters = replace(hyperparameters, split_by=kept["split_by"])
        log.info("split_by is %s, as the checkpoint has it.", hyperparameters.split_by)
    splits = load_splits(
        job.training, job.validation, hyperparameters, test=job.test, report_folder=report_folder, stop=early
    )
    data, validation = splits.training, splits.validation
    batch_size, count = hyperparameters.batch_size, len(data.file_names)
    if batch_size > count:
        log.warning("batch_size is %d, but there are %d training images: every step repeats images.", batch_size, count)

    # 2. The model, with the weights it starts from: they are fetched now that nothing else can be wrong.
    weights = source.fetch(early)
    start = find_start(weights, hyperparameters, data.labels)
    with replicas.scope():
        detector = build_detector(start.base, len(data.labels), dtype=policy, seed=hyperparameters.seed)
    start.install(detector)
    if replicas.is_chief:
        log_coverage(data, start.base)

    # 3. How far an earlier run of this job came.
    has_boxes = validation is None or len(validation.boxes) > 0
    best = Best(
        choose_objective(hyperparameters.objective, job.tuning_objective, has_boxes),
        hyperparameters.early_stopping_min_delta,
        hyperparameters.early_stopping_patience if hyperparameters.early_stopping else None,
    )
    checkpoints = Checkpoints(
        job.checkpoints if replicas.is_chief else None,
        identity(hyperparameters, start.base, start.fingerprint, data, validation, best.objective, policy),
        formerly(start.former_fingerprint, data, validation),
    )
    with replicas.blamed(), checkpoints:
        state = find_state(checkpoints, best, detector, replicas)
        situation = Situation(
            base=start.base,
            loaded=start.loaded,
            origin=start.origin,
            images=count,
            objects=max(each.max_boxes for each in (data, validation) if each is not None),
            replicas=replicas.count,
            objective=best.objective.key,
            new_top_layer=start.new_top_layer,
            number_format=policy,
            gpu=capability is not None,
        )
        hyperparameters = settle(hyperparameters, situation, state.progress.in_force)
        state = replace(state, progress=replace(state.progress, in_force=in_force(hyperparameters)))
        progress = state.progress
        freeze, l2 = bool(hyperparameters.freeze_batch_norm), hyperparameters.regularizers_l2
        replicas.log_share(batch_size, frozen=freeze)

        # 4. The training step, and the order of the images.
        epochs = hyperparameters.epochs or start.base.default_epochs
        schedule = Schedule(epochs, steps_per_epoch(hyperparameters, count), batch_size)
        order = Order(count, batch_size, hyperparameters.seed)
        only_top, augment = hyperparameters.train_only_on_top_layer, hyperparameters.augmentation
        with replicas.scope():
            variables = choose_trainable(detector, only_top_layer=only_top, freeze_batch_norm=freeze)
            shares = layer_shares(variables, start.new_variables(detector), hyperparameters)
            step = TrainingStep(
                detector,
                build_optimizer(hyperparameters, schedule.total_steps, shares),
                variables,
                l2=l2,
                warm_up_statistics=not start.loaded,
                replicas=replicas,
                micro_batch=progress.micro_batch,
                features=keep_features(detector, count) if only_top and not augment and replicas.count == 1 else None,
                xla=bool(hyperparameters.xla),
            )
        restore(state, step, replicas)
        first, (low, high) = progress.steps(schedule.steps_per_epoch), replicas.share(batch_size)
        stream = training_batches(
            data,
            start.base,
            order,
            augment=augment,
            first_step=first,
            share=(low, high),
            parts=replicas.count // replicas.hosts,
        )
        batches = readable(replicas.distributed(stream), data, lambda number: order.batch(first + number)[low:high])

        # 5. Train, with a validation after every epoch; the detector comes out with the best epoch's weights.
        assert hyperparameters.max_detections is not None
        evaluate = None
        if validation is not None and replicas.is_chief:
            evaluate = Evaluator(
                detector,
                validation,
                l2=l2,
                max_detections=hyperparameters.max_detections,
                stop=stop,
                channels=Channels(detector),
            )
        if replicas.any(stop.requested) and not progress.begun:
            raise StoppedError
        exporter = Exporter(detector, job.paths.model, hyperparameters.max_detections, data.sample_bits)
        if replicas.is_chief:
            exporter.prepare()  # now, because a stop leaves little time
        board = TensorBoard(job.tensorboard if replicas.is_chief else None, progress.epochs)
        loop = Loop(
            step,
            schedule,
            DivergenceCheck(hyperparameters.learning_rate, order, data.file_names),
            evaluate,
            stop,
            replicas,
            checkpoints,
            lambda progress: tell_epoch(progress, board, hyperparameters),
            measure_start=start.loaded,
        )
        progress = loop.run(batches, state)

        # 6. What the job leaves behind; the other hosts wait until it is written.
        if replicas.is_chief:
            write_outputs(
                detector, exporter, progress, hyperparameters, start, splits, evaluate, board, stop, job.paths
            )
        replicas.wait()
