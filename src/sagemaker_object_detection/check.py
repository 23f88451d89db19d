"""The `check` verb: everything `train` would refuse, found without training, on any machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.kinds import Value
from sagemaker_object_detection.hyperparameters.read import Hyperparameters, read
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.train import read_and_validate
from sagemaker_object_detection.weights.sources import find_weights


@dataclass(frozen=True)
class Check:
    """The values a job would run with (none where they are not all legal), and every problem as a sentence."""

    hyperparameters: Mapping[str, Value]
    problems: tuple[str, ...]

    def as_json(self) -> str:
        content = {"hyperparameters": dict(self.hyperparameters), "problems": list(self.problems)}
        return json.dumps(content, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        lines = [f"{name} = {value}" for name, value in self.hyperparameters.items()]
        lines += [f"{number}. {problem}" for number, problem in enumerate(self.problems, 1)]
        count = len(self.problems)
        return "\n".join([*lines, f"{count} problem{'' if count == 1 else 's'}."])


DATA_VALUES = ("bbox_format", "invalid_boxes", "validation_split_ratio", "seed")
"""The hyperparameters that decide what is right about the data."""


def check(paths: Paths) -> Check:
    """Validates the job's files, its hyperparameters, where its weights lie and all of its data.

    With hyperparameters that are wrong the data is checked all the same, by those that concern it, or their defaults.
    """
    problems: list[str] = []
    resolved: Mapping[str, Value] = {}
    try:
        job, hyperparameters = read_and_validate(paths)
        base = catalogue.find(hyperparameters.model_id or "") or (None if job.model else catalogue.DEFAULT_MODEL)
        resolved = (hyperparameters.for_model(base) if base else hyperparameters).resolved()
    except UserError as error:
        problems += error.problems
        try:
            job = read_job(paths)
        except UserError:
            return Check(resolved, tuple(problems))
        hyperparameters = _data_hyperparameters(job.hyperparameters)
    else:
        try:
            find_weights(hyperparameters.pretrained_weights, job.model)
        except UserError as error:
            problems += error.problems

    from sagemaker_object_detection.dataset.load import load_splits  # late: it brings NumPy, and TensorFlow with it
    from sagemaker_object_detection.dataset.problems import DataError

    try:
        load_splits(
            job.training,
            job.validation,
            bbox_format=hyperparameters.bbox_format,
            invalid_boxes=hyperparameters.invalid_boxes,
            validation_split_ratio=hyperparameters.validation_split_ratio,
            seed=hyperparameters.seed,
            report_folder=None,
        )
    except DataError as error:
        problems += error.every
    except UserError as error:
        problems += error.problems
    return Check(resolved, tuple(problems))


def _data_hyperparameters(values: Mapping[str, str]) -> Hyperparameters:
    try:
        return read({name: values[name] for name in DATA_VALUES if name in values})
    except UserError:
        return read({})
