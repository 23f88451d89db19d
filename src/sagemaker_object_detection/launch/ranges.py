"""What a tuning job may try of each hyperparameter: what the table recommends, the built-in's, or what was given."""

from dataclasses import dataclass
from typing import Any, Literal

from sagemaker_object_detection.hyperparameters.kinds import Choice, Flag, Integer, ModelName, Number
from sagemaker_object_detection.hyperparameters.table import ROWS, Row, Tunable, TunableRange
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.sentences import nearest

_SCALINGS = ("Auto", "Linear", "Logarithmic", "ReverseLogarithmic")
BUILT_IN = "built-in"
"""In place of a range: the one that the built-in algorithm's page recommends."""
MAX_VALUES = 30
"""Of one hyperparameter, and hyperparameters of one tuning job: the developer guide's quotas."""


@dataclass(frozen=True)
class Tuned:
    """What a tuning job may try of one hyperparameter: words, or a range of numbers."""

    row: Row
    words: tuple[str, ...] = ()
    low: str = ""
    high: str = ""
    scaling: str = "Auto"

    @property
    def api_type(self) -> Literal["Categorical", "Integer", "Continuous"]:
        if self.words:
            return "Categorical"
        return "Integer" if isinstance(self.row.kind, Integer) else "Continuous"

    @property
    def api_range(self) -> dict[str, Any]:
        if self.words:
            return {"Name": self.row.name, "Values": list(self.words)}
        return {
            "Name": self.row.name,
            "MinValue": self.low,
            "MaxValue": self.high,
            "ScalingType": self.scaling,
        }


def read_tuned(texts: list[str], problems: list[str]) -> tuple[Tuned, ...]:
    """What to tune, from texts such as `learning_rate`, `learning_rate=1e-5:1e-2`, `optimizer=adam,sgd`,
    `learning_rate=built-in`.

    What is wrong is added to `problems`.
    """
    rows = {name: row for row in ROWS for name in (row.name, *row.aliases)}
    found: dict[str, Tuned] = {}
    for text in texts:
        name, equals, given = text.partition("=")
        row = rows.get(name.strip())
        if row is None:
            guess = nearest(name, rows)
            advice = f"did you mean {rows[guess].name}?" if guess else "`describe` lists every hyperparameter"
            problems.append(f"--tune {api.shown(text)}: no hyperparameter; {advice}")
        elif row.name in found:
            problems.append(f"--tune {api.shown(text)}: {row.name} is given twice; expected every name once")
        else:
            if given.strip() == BUILT_IN:
                one = _recommended(row, row.built_in)
            else:
                one = _given(row, given) if equals else _recommended(row, row.tunable or row.built_in)
            if isinstance(one, str):
                problems.append(f"--tune {api.shown(text)}: {one}")
            else:
                found[row.name] = one
    return tuple(found.values())


def _recommended(row: Row, tunable: Tunable) -> Tuned | str:
    """A range of the table; if it has none, what to do."""
    if isinstance(tunable, TunableRange):
        return Tuned(row, low=tunable.low, high=tunable.high, scaling=tunable.scaling)
    if tunable is not None:
        return Tuned(row, words=tunable)
    return f"the table recommends no range; expected one, such as {_example(row)}"


def _given(row: Row, text: str) -> Tuned | str:
    """A range or words as they were given, or what is wrong with them."""
    parts = [part.strip() for part in text.split(":")]
    if len(parts) == 1 or not isinstance(row.kind, Integer | Number):
        return _given_words(row, [word.strip() for word in text.split(",")])
    if len(parts) > 3 or (len(parts) == 3 and parts[2].lower() not in map(str.lower, _SCALINGS)):
        return f"expected LOW:HIGH or LOW:HIGH:SCALING with one of {', '.join(_SCALINGS)}, such as {_example(row)}"
    low, high = parts[:2]
    for end in (low, high):
        if not _is_legal(row, end):
            return f"got {api.shown(end)}; expected {row.kind.expected} at both ends, such as {_example(row)}"
    if not float(low) < float(high):
        return f"the low end is {low} and the high end {high}; expected a low end below the high one"
    known = row.tunable or row.built_in
    own = known.scaling if isinstance(known, TunableRange) else "Auto"
    scaling = parts[2] if len(parts) == 3 else own if _can_scale(own, float(low), float(high)) else "Auto"
    scaling = next(known for known in _SCALINGS if known.lower() == scaling.lower())
    if not _can_scale(scaling, float(low), float(high)):
        limits = "above 0" if scaling == "Logarithmic" else "from 0 and below 1"
        return f"the range is {low} to {high}; expected one {limits} for the scaling {scaling}"
    if isinstance(row.kind, Integer):  # which the container reads as "8.0" too, and the service does not
        low, high = str(row.kind.parse(low)), str(row.kind.parse(high))
    return Tuned(row, low=low, high=high, scaling=scaling)


def _given_words(row: Row, words: list[str]) -> Tuned | str:
    for word in words:
        if not _is_legal(row, word):
            return f"got {api.shown(word)}; expected {row.kind.expected}, such as {_example(row)}"
    if len({row.kind.parse(word) for word in words}) < len(words):
        return "a value is given twice; expected every value once"
    if len(words) > MAX_VALUES:
        return f"{len(words)} values; expected at most {MAX_VALUES}"
    return Tuned(row, words=tuple(words))


def _can_scale(scaling: str, low: float, high: float) -> bool:
    """Logarithms need numbers above 0, and reverse ones numbers from 0 and below 1."""
    if scaling == "Logarithmic":
        return low > 0
    return scaling != "ReverseLogarithmic" or (low >= 0 and high < 1)


def _is_legal(row: Row, text: str) -> bool:
    try:
        row.kind.parse(text)
    except ValueError:
        return False
    return True


def _example(row: Row) -> str:
    known = row.tunable or row.built_in
    if isinstance(known, TunableRange):
        return f"{row.name}={known.low}:{known.high}"
    if isinstance(row.kind, Number):
        return f"{row.name}={row.kind.low}:{row.kind.high}"
    if isinstance(row.kind, Integer):
        return f"{row.name}=5:20"
    words = row.kind.options if isinstance(row.kind, Choice | Flag | ModelName) else ("VALUE", "VALUE")
    return f"{row.name}={words[0]},{words[-1]}"
