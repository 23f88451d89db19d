"""The `check` verb: everything `train` would refuse, found without training, on any machine."""

import json
from dataclasses import asdict, dataclass

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.devices.driver import find_driver_problem
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.kinds import Value
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.job.config import SCRIPT, Job, read_job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.preflight import examine
from sagemaker_object_detection.sentences import as_lines, shown
from sagemaker_object_detection.weights.sources import Source

_LISTED = 200
"""Problems in a text, as in the log of a job."""


@dataclass(frozen=True)
class Check:
    """The values a job would run with, and every problem as a sentence. There are no values where they are not all
    legal, or where the base model, which decides some of them, could not be told from the weights.

    `notes` are no problems: values that have no effect, and what could not be checked here. `anchors` says how well
    the base model's anchors cover the training boxes, where both are known and nothing was wrong before. `data` is what
    the log says of the data besides: warnings, and what was decided by it.
    """

    hyperparameters: dict[str, Value]
    anchors: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    data: tuple[str, ...] = ()

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def as_text(self) -> str:
        lines = [f"{name} = {value}" for name, value in self.hyperparameters.items()]
        lines += [f"note: {note}" for note in (*self.anchors, *self.notes)]
        count = len(self.problems)
        lines += [f"{number}. {problem}" for number, problem in enumerate(self.problems[:_LISTED], 1)]
        lines += [f"... and {count - _LISTED} more, which --json has."] if count > _LISTED else []
        return as_lines("\n".join([*lines, f"{count} problem{'' if count == 1 else 's'}."]))


def check(paths: Paths) -> Check:
    """Validates the job's files, its hyperparameters, all of its data, and the weights down to the last variable.

    With hyperparameters that are wrong the rest is checked all the same, with defaults in their places. Nothing is
    fetched: weights that are not on this machine are left to the job, which a note says. A job that runs a script of
    its own is not checked at all.
    """
    job = read_job(paths)
    if job.script is not None:
        note = f"{SCRIPT}: got {shown(job.script)}: script mode; neither the script nor what it is given was checked"
        return Check({}, (), (note,), ())
    found = examine(job)
    problems, data = list(found.problems), tuple[str, ...]()
    notes = [*job.notes, *found.hyperparameters.notes]
    if (problem := find_driver_problem()) is not None:
        notes.append(f"on this machine the job would end with exit code 3: {problem}")
    named = catalogue.find(found.hyperparameters.model_id or "")
    base: BaseModel | None = named or catalogue.DEFAULT_MODEL
    known, anchors = base, list[str]()
    source = found.source
    if source is not None and source.address is not None:
        first, *others = source.addresses
        otherwise = f", or if that fails from {' or '.join(others)}," if others else ""
        notes.append(
            f"{source.origin}: the weights will be fetched from {first}{otherwise} when the job runs; they were not "
            "checked here"
        )
        known = named or source.named_as
        source = None
    if not job.problems:
        try:
            known, anchors, told, data = _check_data_and_weights(job, found.hyperparameters, source, known)
            notes += told
            base = known or base
        except UserError as error:
            problems += error.problems
            if source is not None and (source.weights or source.archive):
                base = named  # which else only the weights could tell
    resolved = {} if found.problems or base is None else found.hyperparameters.for_model(base).resolved()
    return Check(resolved, () if found.problems else tuple(anchors), tuple(notes), tuple(problems), data)


def _check_data_and_weights(
    job: Job, hyperparameters: Hyperparameters, source: Source | None, known: BaseModel | None
) -> tuple[BaseModel | None, list[str], list[str], tuple[str, ...]]:
    """The base model that the weights are of, `known` without weights; how its anchors cover the boxes; what is to be
    said of max_detections; and of the data."""
    # Late, because it brings NumPy and TensorFlow.
    from sagemaker_object_detection.artifact.restore import find_start
    from sagemaker_object_detection.dataset.anchor_coverage import find_coverage
    from sagemaker_object_detection.dataset.load import load_splits
    from sagemaker_object_detection.devices.prepare import use_the_cpu
    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.models.postprocess import MAX_DETECTIONS
    from sagemaker_object_detection.training.recipe import enough_detections, told_of_lost_objects

    use_the_cpu()
    splits = load_splits(job.training, job.validation, hyperparameters, test=job.test, keep_pixels=False)
    data, report = splits.training, splits.report
    weights = source.fetch() if source is not None else None
    if weights is not None:
        start = find_start(weights, hyperparameters, data.labels)
        start.install(build_detector(start.base, len(data.labels)))
        known = start.base
    anchors = [finding.text for finding in find_coverage(data, known)] if known is not None else []
    objects = max(each.max_boxes for each in (data, splits.validation) if each is not None)
    limit, told = hyperparameters.max_detections, list[str]()
    if limit is None:
        limit = enough_detections(objects)
        if limit > MAX_DETECTIONS:
            told.append(f"max_detections: Auto comes to {limit}, as an image has {objects} objects")
    if (lost := told_of_lost_objects(limit, objects)) is not None:
        told.append(lost)
    return known, anchors, told, (*report.warnings, *report.decisions)
