"""The hyperparameter table as its page, a tuning job and a CreateAlgorithm call want it."""

from collections.abc import Iterable
from typing import Any

from sagemaker_object_detection.hyperparameters.kinds import Choice, Flag, Integer, ModelName, Number, Text
from sagemaker_object_detection.hyperparameters.table import ROWS, Resume, Row, Tunable, TunableRange

_ON_RESUME: dict[Resume, str] = {
    "same": "needs the same",
    "kept": "needs the same; Auto stays what it came to",
    "compared": "may have another, if it comes to the same",
    "free": "may have another",
}


def markdown() -> str:
    """The table of hyperparameters/README.md; names of extensions are marked with a dagger."""
    lines = [
        "| name | legal | default | used when | tuning range | the built-in's | a job that resumes | meaning |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        cells = (
            f"`{row.name}`" + (" †" if row.extension else ""),
            row.kind.expected,
            row.shown_default,
            str(row.used_when or "always"),
            _tuning_range(row.tunable),
            _tuning_range(row.built_in),
            _ON_RESUME[row.resume],
            row.help + (f" Also accepted as `{'`, `'.join(row.aliases)}`." if row.aliases else ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "† An extension of this container; the built-in algorithm does not have it."])


def parameter_ranges(ranges: Iterable[tuple[Row, Tunable | None]]) -> dict[str, list[dict[str, Any]]]:
    """What may be tried of each row as the ParameterRanges of a tuning job; rows without a range are left out."""
    found: dict[str, list[dict[str, Any]]] = {"Integer": [], "Continuous": [], "Categorical": []}
    for row, tunable in ranges:
        if isinstance(tunable, TunableRange):
            limits = {"MinValue": tunable.low, "MaxValue": tunable.high, "ScalingType": tunable.scaling}
            found[_api_type(row)].append({"Name": row.name, **limits})
        elif tunable is not None:
            found["Categorical"].append({"Name": row.name, "Values": list(tunable)})
    return {f"{kind}ParameterRanges": rows for kind, rows in found.items()}


def specification(row: Row) -> dict[str, Any]:
    """An entry in the SupportedHyperParameters of a TrainingSpecification: type, legal range and default."""
    described: dict[str, Any] = {
        "Name": row.name,
        "Description": row.help,
        "IsTunable": row.tunable is not None or row.built_in is not None,
        "IsRequired": False,
    }
    if row.default is not None and not (isinstance(row.kind, Number) and row.kind.auto):
        described["DefaultValue"] = row.default
    described["Type"] = kind = _api_type(row)
    match row.kind:
        case Number(low, high):
            legal: dict[str, Any] = {"MinValue": str(low), "MaxValue": str(high)}
        case Flag():  # the small words: how ModelTrainer of the Python SDK v3 writes them
            legal = {"Values": [*row.kind.options, "true", "false"]}
        case Choice() | ModelName():
            legal = {"Values": list(row.kind.options)}
        case _:
            return described
    return {**described, "Range": {f"{kind}ParameterRangeSpecification": legal}}


def _api_type(row: Row) -> str:
    if isinstance(row.kind, Number):
        return "Integer" if isinstance(row.kind, Integer) else "Continuous"
    return "FreeText" if isinstance(row.kind, Text) else "Categorical"


def _tuning_range(tunable: Tunable | None) -> str:
    if isinstance(tunable, TunableRange):
        return f"{tunable.low} to {tunable.high}, {tunable.scaling}"
    return ", ".join(tunable or ())
