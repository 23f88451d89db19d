"""Hyperparameters as text -> one frozen, typed value, or every problem at once."""

from collections.abc import Mapping
from typing import Any

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.kinds import AUTO, Number, Value, written
from sagemaker_object_detection.hyperparameters.table import BY_NAME, ROWS, Hyperparameters, Row
from sagemaker_object_detection.job.config import is_given, unquote
from sagemaker_object_detection.sentences import nearest, plain, shown

_MAX_GUESSES = 100
"""Unknown names for which a similar one is looked for: no job has more names."""

__all__ = ["Hyperparameters", "canonical", "read", "read_what_is_right"]


def read(values: Mapping[str, str], *, has_model_channel: bool = False) -> Hyperparameters:
    """Read the user's values, text by name.

    Raises:
        UserError: with every value that is not legal, every unknown name, and every name given along with its alias.
    """
    hyperparameters, problems = read_what_is_right(values, has_model_channel=has_model_channel)
    if problems:
        raise UserError(problems)
    return hyperparameters


def read_what_is_right(
    values: Mapping[str, str], *, has_model_channel: bool = False
) -> tuple[Hyperparameters, tuple[str, ...]]:
    """`read` for further checks of a job that will be refused: defaults where a value is wrong, and every problem."""
    given = {name: text for name, text in values.items() if is_given(text)}
    parsed: dict[str, Any] = {row.name: row.default_value for row in ROWS}
    changed: set[str] = set()
    problems = []
    for row in ROWS:
        spellings = [name for name in (row.name, *row.aliases) if name in given]
        if len(spellings) > 1:
            problems.append(f"{spellings[1]}: another name of {row.name}, which is given too; give only {row.name}")
        for name in spellings:
            try:
                parsed[row.name] = row.kind.parse(unquote(given[name]))
            except ValueError:
                problems.append(
                    f"{name}: got {shown(given[name])}; expected {row.kind.expected} (default {row.shown_default})"
                )
            if parsed[row.name] != row.default_value:
                changed.add(row.name)
    unknown = [name for name in values if name not in BY_NAME]
    problems += [_unknown(name, has_guess=number < _MAX_GUESSES) for number, name in enumerate(unknown)]
    notes = [note for row in ROWS if row.name in changed and (note := _unused(row, parsed, has_model_channel))]
    return Hyperparameters(**parsed, notes=tuple(notes)), tuple(problems)


def canonical(values: Mapping[str, str], hyperparameters: Hyperparameters) -> dict[str, str]:
    """What was given, under the names of the table and as it writes values: all that a registered algorithm knows.

    A number that is left to the job is left out, as None is: among numbers CreateAlgorithm has no word.

    Args:
        values: as they were given, text by name.
        hyperparameters: what `read_what_is_right` made of them.
    """
    given = {BY_NAME[name] for name, text in values.items() if name in BY_NAME and is_given(text)}
    texts = {row: written(getattr(hyperparameters, row.name)) for row in ROWS if row in given}
    return {row.name: text for row, text in texts.items() if not (isinstance(row.kind, Number) and text == AUTO)}


def _unused(row: Row, parsed: Mapping[str, Value], has_model_channel: bool) -> str | None:
    if row.used_when and parsed[row.used_when.name] not in row.used_when.values:
        actual = f"{row.used_when.name} is {parsed[row.used_when.name]}"
        return f"{row.name}: has no effect, because {actual}; it is used when {row.used_when}"
    if row.name == "pretrained_weights" and has_model_channel:
        return f"{row.name}: has no effect, because the model channel brings the weights"
    return None


def _unknown(name: str, *, has_guess: bool) -> str:
    guess = nearest(name, BY_NAME) if has_guess else None
    advice = f"did you mean {BY_NAME[guess].name}?" if guess else "remove it; `describe` lists every hyperparameter"
    return f"{plain(name)}: unknown; {advice}"
