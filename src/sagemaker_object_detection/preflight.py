"""What can be known of a job in its first second: its files, its hyperparameters, and where its weights lie."""

from dataclasses import dataclass, replace

from sagemaker_object_detection.devices.driver import find_driver_problem
from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.hyperparameters.read import Hyperparameters, read_what_is_right
from sagemaker_object_detection.job.config import Job
from sagemaker_object_detection.training.checkpoints import checkpoint_problems
from sagemaker_object_detection.weights.sources import Source, find_source


@dataclass(frozen=True)
class Preflight:
    """What is known of a job before anything slow is imported, and every problem found so far.

    Hyperparameters that are wrong hold their defaults; `source` is None where no weights were found, or nobody looked
    for them.
    """

    hyperparameters: Hyperparameters
    source: Source | None
    problems: tuple[str, ...]


def preflight(job: Job) -> Preflight:
    """As `examine`, for a job that is to run here: problems of this machine count too, and come last.

    Raises:
        PlatformError: nothing is wrong but the machine.
    """
    found = examine(job)
    if (problem := find_driver_problem()) is None:
        return found
    if not found.problems:
        raise PlatformError(problem)
    return replace(found, problems=(*found.problems, problem))


def examine(job: Job) -> Preflight:
    """Never raises a UserError, whose sentences are in `problems`."""
    source = None
    hyperparameters, wrong_values = read_what_is_right(job.hyperparameters, has_model_channel=job.model is not None)
    problems = [*job.problems, *wrong_values]
    if not job.problems:
        problems += _without_validation(job, hyperparameters)
        if job.checkpoints is not None:
            # Those that are wrong hold their defaults, which no checkpoint is to be held against.
            problems += checkpoint_problems(job.checkpoints, None if wrong_values else hyperparameters)
        try:
            source = find_source(hyperparameters.pretrained_weights, job.model, hyperparameters.model_id)
        except UserError as error:
            problems += error.problems
    return Preflight(hyperparameters, source, tuple(problems))


def _without_validation(job: Job, hyperparameters: Hyperparameters) -> list[str]:
    if job.validation is not None or hyperparameters.validation_split_ratio > 0:
        return []
    needing = {
        "early_stopping": hyperparameters.early_stopping,
        "objective": hyperparameters.objective != "Auto",
        "a tuning job": job.tuning_objective is not None,
    }
    return [
        f"{name}: needs a validation set, and there is none: validation_split_ratio is 0 and the job has no validation "
        "channel; add the channel or raise validation_split_ratio"
        for name, used in needing.items()
        if used
    ]
