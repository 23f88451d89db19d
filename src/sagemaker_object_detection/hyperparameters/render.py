"""The hyperparameter table as its page, a tuning job and a CreateAlgorithm call want it."""

from typing import Any

from sagemaker_object_detection.hyperparameters.kinds import Choice, Flag, Integer, ModelName, Number
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


def parameter_ranges(*, built_in: bool = False) -> dict[str, list[dict[str, Any]]]:
    """The recommended ranges, or those of the built-in algorithm, as the ParameterRanges of a tuning job's config."""
    ranges: dict[str, list[dict[str, Any]]] = {
        "IntegerParameterRanges": [],
        "ContinuousParameterRanges": [],
        "CategoricalParameterRanges": [],
    }
    for row in ROWS:
        tunable = row.built_in if built_in else row.tunable
        if isinstance(tunable, TunableRange):
            kind = "Integer" if isinstance(row.kind, Integer) else "Continuous"
            ranges[f"{kind}ParameterRanges"].append(
                {
                    "Name": row.name,
                    "MinValue": tunable.low,
                    "MaxValue": tunable.high,
                    "ScalingType": tunable.scaling,
                }
            )
        elif tunable is not None:
            ranges["CategoricalParameterRanges"].append({"Name": row.name, "Values": list(tunable)})
    return ranges


def specifications() -> list[dict[str, Any]]:
    """The SupportedHyperParameters of a TrainingSpecification: types, legal ranges and defaults."""
    return [_specification(row) for row in ROWS]


def _specification(row: Row) -> dict[str, Any]:
    specification: dict[str, Any] = {
        "Name": row.name,
        "Description": row.help,
        "IsTunable": row.tunable is not None or row.built_in is not None,
        "IsRequired": False,
    }
    if row.default is not None and not (isinstance(row.kind, Integer | Number) and row.kind.auto):
        specification["DefaultValue"] = row.default
    match row.kind:
        case Integer(low, high, _):
            limits = {"MinValue": str(low), "MaxValue": str(high)}
            return {**specification, "Type": "Integer", "Range": {"IntegerParameterRangeSpecification": limits}}
        case Number(low, high, _):
            limits = {"MinValue": str(low), "MaxValue": str(high)}
            return {**specification, "Type": "Continuous", "Range": {"ContinuousParameterRangeSpecification": limits}}
        case Flag() | Choice() | ModelName():
            words = list(row.kind.options)
            if isinstance(row.kind, Flag):
                words += ["true", "false"]  # how ModelTrainer of the Python SDK v3 writes them
            values = {"Values": words}
            return {**specification, "Type": "Categorical", "Range": {"CategoricalParameterRangeSpecification": values}}
        case _:
            return {**specification, "Type": "FreeText"}


def _tuning_range(tunable: Tunable) -> str:
    if isinstance(tunable, TunableRange):
        return f"{tunable.low} to {tunable.high}, {tunable.scaling}"
    return ", ".join(tunable or ())
