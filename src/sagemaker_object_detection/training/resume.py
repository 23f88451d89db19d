"""Going on where a checkpoint was taken, on every host of a job alike."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from sagemaker_object_detection.devices.replicas import Replicas
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.models.detector import Detector
from sagemaker_object_detection.step.training_step import TrainingStep
from sagemaker_object_detection.training.best import Best
from sagemaker_object_detection.training.checkpoints import Checkpoints
from sagemaker_object_detection.training.identity import without_whole
from sagemaker_object_detection.training.progress import Progress, State


def find_state(checkpoints: Checkpoints, best: Best, detector: Detector, replicas: Replicas) -> State:
    """Where the job stands. The arrays are the chief's, which alone needs to have the folder of checkpoints.

    Args:
        best: before any epoch; its early stopping is in force, whatever a checkpoint's was.

    Raises:
        UserError: the checkpoint is another job's, or the hosts' data are not the same.
    """
    _compare_hosts(checkpoints.identity, replicas)
    state = checkpoints.newest(detector.variables) or State(Progress(best))
    progress = state.progress
    if replicas.hosts > 1:
        progress = msgspec.json.decode(replicas.tell(msgspec.json.encode(progress)), type=Progress)
    return replace(state, progress=progress.stopping_as(best))


def _compare_hosts(identity: Mapping[str, str], replicas: Replicas) -> None:
    """Refuses, on all of them, hosts that do not have the same data, weights and hyperparameters."""
    if replicas.hosts == 1:
        return
    chiefs = msgspec.json.decode(replicas.tell(msgspec.json.encode(identity)), type=dict[str, str])
    others = [name for name, value in identity.items() if chiefs.get(name) != value]
    if replicas.any(bool(others)):
        what = ", ".join(without_whole(others))
        raise UserError(
            f"this host's job is not the first host's: {what} differ; every host needs the whole of the same data, and "
            "the same weights and hyperparameters: see that every channel is FullyReplicated"
            if others
            else "another host of this job has other data, weights or hyperparameters than this one; its own log says "
            "which"
        )


def restore(state: State, step: TrainingStep, replicas: Replicas) -> None:
    """Puts the chief's arrays into the detector and the optimizer of every host. Called on all of them.

    Raises:
        UserError: the arrays are not those of this detector and its optimizer.
    """
    variables = [*step.detector.variables, *step.optimizer.variables]
    values = [*state.weights, *state.optimizer] if state.weights else []
    if replicas.any(
        bool(values) and [value.shape for value in values] != [(*variable.shape,) for variable in variables]
    ):
        raise UserError(
            "checkpoints: the newest holds other arrays than the optimizer of this job has; expected the job's own: "
            "give it an empty folder (checkpoint_s3_uri)"
        )
    for variable, value in zip(variables, values, strict=bool(values)):
        variable.assign(value)
    replicas.take_from_chief(variables)
