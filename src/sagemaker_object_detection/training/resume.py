"""Going on where a checkpoint was taken, on every host of a job alike."""

from typing import TypeVar

import msgspec

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.training.best import Validation
from sagemaker_object_detection.training.checkpoints import Checkpoint, Checkpoints
from sagemaker_object_detection.training.progress import Progress
from sagemaker_object_detection.training.replicas import Replicas
from sagemaker_object_detection.training.step import TrainingStep

V = TypeVar("V", bound=Validation)


def find_progress(
    checkpoints: Checkpoints[V], fresh: Progress[V], detector: Detector, replicas: Replicas
) -> tuple[Progress[V], Checkpoint[V] | None]:
    """How far the job came before, or `fresh`; and on the chief the checkpoint that says so.

    The chief alone needs to have the folder: the other hosts are told.

    Raises:
        UserError: the checkpoint is another job's, or the hosts' data are not the same.
    """
    _compare_hosts(checkpoints.identity, replicas)
    checkpoint = checkpoints.newest(detector.variables)
    progress = checkpoint.progress if checkpoint else fresh
    if replicas.hosts > 1:
        told = replicas.tell(msgspec.json.encode(progress))
        progress = msgspec.json.decode(told, type=checkpoints.progress_type)
    return progress.stopping_as(fresh.best), checkpoint


def _compare_hosts(identity: dict[str, str], replicas: Replicas) -> None:
    """Refuses, on all of them, hosts that do not have the same data, weights and hyperparameters."""
    if replicas.hosts == 1:
        return
    chiefs = msgspec.json.decode(replicas.tell(msgspec.json.encode(identity)), type=dict[str, str])
    others = [name for name, value in identity.items() if chiefs.get(name) != value]
    if replicas.any(bool(others)):
        what = ", ".join(others)
        raise UserError(
            f"this host's job is not the first host's: {what} differ; every host needs the whole of the same data, and "
            "the same weights and hyperparameters: see that every channel is FullyReplicated"
            if others
            else "another host of this job has other data, weights or hyperparameters than this one; its own log says "
            "which"
        )


def restore(checkpoint: Checkpoint[V] | None, detector: Detector, step: TrainingStep, replicas: Replicas) -> None:
    """Puts a checkpoint's weights into the detector and the optimizer of every host. Called on all of them."""
    if checkpoint is not None:
        for variable, value in zip(detector.variables, checkpoint.weights, strict=True):
            variable.assign(value)
        step.state = checkpoint.optimizer
    replicas.take_from_chief([*detector.variables, *step.optimizer.variables])
