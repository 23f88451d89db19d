"""The hyperparameter table as the README, a tuning job and a CreateAlgorithm call want it."""

from typing import Any

from sagemaker_object_detection.hyperparameters.kinds import Choice, Flag, Integer, ModelName, Number
from sagemaker_object_detection.hyperparameters.table import ROWS, Row, TunableRange


def markdown() -> str:
    """The README's table; names of extensions are marked with a dagger."""
    lines = [
        "| name | legal | default | used when | tuning range | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        cells = (
            f"`{row.name}`" + (" †" if row.extension else ""),
            row.kind.expected,
            row.shown_default,
            str(row.used_when or "always"),
            _tuning_range(row),
            row.help + (f" Also accepted as `{'`, `'.join(row.aliases)}`." if row.aliases else ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "† An extension of this container; the built-in algorithm does not have it."])


def parameter_ranges() -> dict[str, list[dict[str, Any]]]:
    """The recommended ranges, as the ParameterRanges of a HyperParameterTuningJobConfig."""
    ranges: dict[str, list[dict[str, Any]]] = {
        "IntegerParameterRanges": [],
        "ContinuousParameterRanges": [],
        "CategoricalParameterRanges": [],
    }
    for row in ROWS:
        if isinstance(row.tunable, TunableRange):
            kind = "Integer" if isinstance(row.kind, Integer) else "Continuous"
            ranges[f"{kind}ParameterRanges"].append(
                {
                    "Name": row.name,
                    "MinValue": row.tunable.low,
                    "MaxValue": row.tunable.high,
                    "ScalingType": row.tunable.scaling,
                }
            )
        elif row.tunable and isinstance(row.kind, Choice | Flag):
            ranges["CategoricalParameterRanges"].append({"Name": row.name, "Values": list(row.kind.options)})
    return ranges


def specifications() -> list[dict[str, Any]]:
    """The SupportedHyperParameters of a TrainingSpecification: types, legal ranges and defaults."""
    return [_specification(row) for row in ROWS]


def _specification(row: Row) -> dict[str, Any]:
    specification: dict[str, Any] = {
        "Name": row.name,
        "Description": row.help,
        "IsTunable": bool(row.tunable),
        "IsRequired": False,
    }
    if row.default is not None:
        specification["DefaultValue"] = row.default
    match row.kind:
        case Integer(low, high):
            limits = {"MinValue": str(low), "MaxValue": str(high)}
            return {**specification, "Type": "Integer", "Range": {"IntegerParameterRangeSpecification": limits}}
        case Number(low, high):
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


def _tuning_range(row: Row) -> str:
    if isinstance(row.tunable, TunableRange):
        return f"{row.tunable.low} to {row.tunable.high}, {row.tunable.scaling}"
    return "every value" if row.tunable else ""
