"""What a job is, as far as its checkpoints are of no use to another one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.hyperparameters.kinds import AUTO
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.hyperparameters.table import ROWS
from sagemaker_object_detection.sentences import printable
from sagemaker_object_detection.training.best import Objective

STARTING_WEIGHTS = "the fingerprint of the starting weights"
_DATA = {name: f"the fingerprint of the {name} data" for name in ("training", "validation")}
_FACT = "in the {} data, "
_FACTS = tuple(_FACT.format(name) for name in _DATA)
"""Names of what tells which part of the data differs begin so. Checkpoints of version 0.1.0 have none."""
_UNEXPLAINED = (
    "The version that wrote them did not say what in the data differs. If neither annotations nor images were changed, "
    "this version holds out other images or reads some of them in another way: finish the job with that version"
)
_SHOWN = 16
"""Digits of a fingerprint: enough to tell two apart, few enough to be read."""
_MAY_DIFFER = frozenset(row.name for row in ROWS if row.resume in ("free", "compared"))
_FREE = tuple(row.name for row in ROWS if row.resume == "free")
_KEPT = tuple(row.name for row in ROWS if row.resume == "kept")
"""What a job that goes on from a checkpoint keeps, if it is left to Auto."""


def settings(hyperparameters: Hyperparameters) -> dict[str, str]:
    """The hyperparameters that have to stay the same when a training is resumed, as text by name."""
    return {name: str(value) for name, value in hyperparameters.effective().items() if name not in _MAY_DIFFER}


def in_force(settled: Hyperparameters) -> dict[str, str]:
    """What a job that goes on keeps of what Auto came to, as text by name."""
    return {name: str(getattr(settled, name)) for name in _KEPT}


def identity(
    hyperparameters: Hyperparameters,
    base: BaseModel,
    start: str,
    training: Dataset,
    validation: Dataset | None,
    objective: Objective,
    number_format: str,
) -> dict[str, str]:
    """What a job is, for as far as its checkpoints are of no use to another one: text by name.

    Args:
        start: fingerprint of the weights it starts from.
        number_format: what mixed_precision came to on this machine; the optimizer's variables depend on it.
    """
    return {
        "the base model": base.name,
        STARTING_WEIGHTS: start[:_SHOWN],
        _DATA["training"]: training.fingerprint[:_SHOWN],
        _DATA["validation"]: validation.fingerprint[:_SHOWN] if validation else "none",
        **{
            f"{_FACT.format(name)}{part}": fact
            for name, dataset in (("training", training), ("validation", validation))
            for part, fact in (dataset.facts.items() if dataset else ())
        },
        "the objective": objective.key,
        "the number format": number_format,
        **settings(hyperparameters),
    }


def without_whole(names: Sequence[str]) -> list[str]:
    """Names of `identity` that differ, without a data set's fingerprint where its parts say more."""
    told = [whole for name, whole in _DATA.items() if any(each.startswith(_FACT.format(name)) for each in names)]
    return [name for name in names if name not in told]


def formerly(start: str | None, training: Dataset, validation: Dataset | None) -> dict[str, str]:
    """What version 0.1.0 said in `identity` of the same job in other words.

    Args:
        start: what it took for the fingerprint of the weights, if it said another than is said now.
    """
    said = {
        STARTING_WEIGHTS: start,
        _DATA["training"]: training.former_fingerprint,
        _DATA["validation"]: validation.former_fingerprint if validation else None,
    }
    return {name: text[:_SHOWN] for name, text in said.items() if text is not None}


def read_otherwise(stored: Mapping[str, str], present: Mapping[str, str]) -> str | None:
    """What to say if a checkpoint of this job is of a version that read the same data in another way."""
    if all(stored.get(name) == present.get(name) for name in _DATA.values()):
        return None
    return (
        "The checkpoint is of an earlier version, which read the same files in another way: regions to ignore as "
        "objects, repeated boxes several times, and of 16 bits a sample the upper 8. The training goes on with the "
        "data as it is read now."
    )


def with_newer_rows(in_force: Mapping[str, str], identity: Mapping[str, str]) -> dict[str, str]:
    """`in_force` of a checkpoint, and of each row that is newer than it what the program did before there was such a
    row."""
    found = dict(in_force)
    for row in ROWS:
        given = identity.get(row.name, AUTO)
        known = row.before if given == AUTO else given
        if row.name in _KEPT and known is not None:
            found.setdefault(row.name, known)
    return found


def other_job(
    folder: Path,
    stored: Mapping[str, str],
    present: Mapping[str, str],
    former: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """The problem with a checkpoint of another job than this one; only names of `present` count.

    What the job leaves to Auto goes on as it was. What a checkpoint does not know, because the row is newer, was what
    the program did before. What agrees with `former`, from `formerly`, is the same in other words.
    """
    before = {row.name: row.before for row in ROWS if row.before is not None}
    before |= {name: value for name, value in present.items() if name.startswith(_FACTS)}
    differing = [
        name
        for name, value in present.items()
        if {**before, **stored}.get(name) not in (value, former.get(name, value))
        and not (value == AUTO and name in _KEPT)
    ]
    found = [
        f"{name} was {printable(stored.get(name, 'not known'))} and is {printable(present[name])}"
        for name in without_whole(differing)
    ]
    unexplained = any(name in each for each in found for name in _DATA.values()) and not any(
        name.startswith(_FACTS) for name in stored
    )
    more = f". {_UNEXPLAINED}" if unexplained else ""
    return found and [
        f"checkpoints: {folder} holds those of another job: {'; '.join(found)}; expected its own: give this job an "
        f"empty folder (checkpoint_s3_uri), or make it agree. Only {', '.join(_FREE[:-1])} and {_FREE[-1]} may change"
        f"{more}"
    ]
