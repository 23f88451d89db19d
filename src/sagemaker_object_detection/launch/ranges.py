"""What a tuning job may try of each hyperparameter: what the table recommends, the built-in's, or what was given."""

from dataclasses import replace

from sagemaker_object_detection.hyperparameters.kinds import Choice, Flag, Integer, Kind, ModelName, Number, written
from sagemaker_object_detection.hyperparameters.table import BY_NAME, Row, Tunable, TunableRange
from sagemaker_object_detection.sentences import nearest, shown

_SCALINGS = {word.lower(): word for word in ("Auto", "Linear", "Logarithmic", "ReverseLogarithmic")}
BUILT_IN = "built-in"
"""In place of a range: the one that the built-in algorithm's page recommends."""
MAX_VALUES = 30
"""Of one hyperparameter, and hyperparameters of one tuning job: the developer guide's quotas."""


def read_tuned(texts: list[str], problems: list[str]) -> dict[Row, Tunable]:
    """What to tune, from texts such as `learning_rate`, `learning_rate=1e-5:1e-2`, `optimizer=adam,sgd`,
    `learning_rate=built-in`.

    What is wrong is added to `problems`.
    """
    found: dict[Row, Tunable] = {}
    for text in texts:
        name, equals, given = text.partition("=")
        try:
            row = BY_NAME.get(name.strip())
            if row is None:
                guess = nearest(name, BY_NAME)
                advice = f"did you mean {BY_NAME[guess].name}?" if guess else "`describe` lists every hyperparameter"
                raise ValueError(f"no hyperparameter; {advice}")
            if row in found:
                raise ValueError(f"{row.name} is given twice; expected every name once")
            recommended = row.built_in if given.strip() == BUILT_IN else row.tunable or row.built_in
            if equals and given.strip() != BUILT_IN:
                found[row] = _given(row, given)
            elif recommended is None:
                raise ValueError(f"the table recommends no range; expected one, such as {_example(row)}")
            else:
                found[row] = recommended
        except ValueError as error:
            problems.append(f"--tune {shown(text)}: {error}")
    return found


def _given(row: Row, text: str) -> Tunable:
    """A range or words as they were given. Raises a ValueError that says what is wrong with them."""
    parts = [part.strip() for part in text.split(":")]
    if len(parts) == 1 or not isinstance(row.kind, Number):
        return _given_words(row, tuple(word.strip() for word in text.split(",")))
    low, high, *last = parts
    if len(last) > 1 or not all(word.lower() in _SCALINGS for word in last):
        scalings = ", ".join(_SCALINGS.values())
        raise ValueError(f"expected LOW:HIGH or LOW:HIGH:SCALING with one of {scalings}, such as {_example(row)}")
    numbers = replace(row.kind, auto=False)  # no word is the end of a range
    least, most = (_legal(row, numbers, end, " at both ends") for end in (low, high))
    if not float(low) < float(high):
        raise ValueError(f"the low end is {low} and the high end {high}; expected a low end below the high one")
    known = row.tunable or row.built_in
    own = known.scaling if isinstance(known, TunableRange) else "Auto"
    scaling = _SCALINGS[last[0].lower()] if last else own if _can_scale(own, float(low), float(high)) else "Auto"
    if not _can_scale(scaling, float(low), float(high)):
        limits = "above 0" if scaling == "Logarithmic" else "from 0 and below 1"
        raise ValueError(f"the range is {low} to {high}; expected one {limits} for the scaling {scaling}")
    return TunableRange(least, most, scaling)


def _given_words(row: Row, words: tuple[str, ...]) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(_legal(row, row.kind, word) for word in words))
    if len(values) < len(words):
        raise ValueError("a value is given twice; expected every value once")
    if len(words) > MAX_VALUES:
        raise ValueError(f"{len(words)} values; expected at most {MAX_VALUES}")
    return values


def _can_scale(scaling: str, low: float, high: float) -> bool:
    """Logarithms need numbers above 0, and reverse ones numbers from 0 and below 1."""
    if scaling == "Logarithmic":
        return low > 0
    return scaling != "ReverseLogarithmic" or (low >= 0 and high < 1)


def _legal(row: Row, kind: Kind, text: str, where: str = "") -> str:
    """The text as the table writes its value. Raises a ValueError for what is none."""
    try:
        return written(kind.parse(text))
    except ValueError:
        expected = f"{kind.expected}{where}, such as {_example(row)}"
        raise ValueError(f"got {shown(text)}; expected {expected}") from None


def _example(row: Row) -> str:
    known = row.tunable or row.built_in
    if isinstance(known, TunableRange):
        return f"{row.name}={known.low}:{known.high}"
    if isinstance(row.kind, Number):
        return f"{row.name}=5:20" if isinstance(row.kind, Integer) else f"{row.name}={row.kind.low}:{row.kind.high}"
    words = row.kind.options if isinstance(row.kind, Choice | Flag | ModelName) else ("VALUE", "VALUE")
    return f"{row.name}={words[0]},{words[-1]}"
