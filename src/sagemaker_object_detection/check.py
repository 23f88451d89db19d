"""The `check` verb: everything `train` would refuse, found without training, on any machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.kinds import Value
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.job.config import Job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.preflight import preflight
from sagemaker_object_detection.weights.sources import Weights

if TYPE_CHECKING:
    from sagemaker_object_detection.artifact.restore import Start


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


def check(paths: Paths) -> Check:
    """Validates the job's files, its hyperparameters, all of its data, and the weights down to the last variable.

    With hyperparameters that are wrong the rest is checked all the same, with defaults in their places.
    """
    found = preflight(paths)
    problems = list(found.problems)
    resolved: Mapping[str, Value] = {}
    if not problems:
        # The weights may name another model, once the data is known to be right.
        base = catalogue.find(found.hyperparameters.model_id or catalogue.DEFAULT_MODEL.name)
        resolved = found.hyperparameters.for_model(base or catalogue.DEFAULT_MODEL).resolved()
    if found.job is not None:
        try:
            start = _check_data_and_weights(found.job, found.hyperparameters, found.weights)
            if not problems:
                resolved = found.hyperparameters.for_model(start.base).resolved()
        except UserError as error:
            problems += error.problems
    return Check(resolved, tuple(problems))


def _check_data_and_weights(job: Job, hyperparameters: Hyperparameters, weights: Weights | None) -> "Start":
    # Late, because it brings NumPy and TensorFlow.
    from sagemaker_object_detection.artifact.restore import find_start
    from sagemaker_object_detection.dataset.load import load_job_data
    from sagemaker_object_detection.models.detector import build_detector

    splits = load_job_data(job, hyperparameters, report_folder=None)
    labels = splits.training.labels
    start = find_start(weights, hyperparameters, labels)
    if start.loaded:
        start.install(build_detector(start.base, len(labels)))
    return start
