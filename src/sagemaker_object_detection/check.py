"""The `check` verb: everything `train` would refuse, found without training, on any machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.kinds import Value
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.train import read_and_validate


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
    """Validates the job's files, its hyperparameters and its data; with wrong hyperparameters the data too, by the
    defaults."""
    problems: list[str] = []
    resolved: Mapping[str, Value] = {}
    hyperparameters = read({})
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

    from sagemaker_object_detection.dataset.load import load_splits  # after the job's files: NumPy and TensorFlow

    with TemporaryDirectory() as report_folder:
        try:
            load_splits(
                job.training,
                job.validation,
                bbox_format=hyperparameters.bbox_format,
                invalid_boxes=hyperparameters.invalid_boxes,
                validation_split_ratio=hyperparameters.validation_split_ratio,
                seed=hyperparameters.seed,
                report_folder=Path(report_folder),
            )
        except UserError as error:
            problems += error.problems
    return Check(resolved, tuple(problems))
