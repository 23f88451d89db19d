"""The kinds of hyperparameter: one string becomes one value, or is refused.

Each kind has `expected`, which completes "expected ...", and `parse`, which takes text without blanks and quotes
around it and raises ValueError for what it refuses.
"""

import re
from dataclasses import dataclass

from sagemaker_object_detection import catalogue

MAX_INTEGER = 2**31 - 1
"""Counts and seeds become int32 tensors."""

Value = bool | int | float | str | None

AUTO = "Auto"
"""The word by which a hyperparameter is left to the job."""


def written(value: Value) -> str:
    """A value as text that every reader takes for the same: 8 for "8.0", True for "TRUE", Auto for None."""
    return AUTO if value is None else str(value)


# Python's own float() also reads nan, inf, underscores and other scripts' digits.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A float in [low, high]; Auto, where there is one, is None."""

    low: float
    high: float
    auto: bool = False

    @property
    def expected(self) -> str:
        return f"{'Auto or ' * self.auto}a number from {self.low} to {self.high}"

    def parse(self, text: str) -> float | None:
        if self.auto and text.lower() == AUTO.lower():
            return None
        if not _NUMBER.fullmatch(text) or not self.low <= float(text) <= self.high:
            raise ValueError(text)
        return float(text) + 0.0  # "-0" is plain zero


@dataclass(frozen=True)
class Integer(Number):
    """A whole number in [low, high]; "5.0" is one. Auto, where there is one, is None."""

    low: int
    high: int = MAX_INTEGER

    @property
    def expected(self) -> str:
        return super().expected.replace("a number", "a whole number")

    def parse(self, text: str) -> int | None:
        number = super().parse(text)
        if number is not None and not number.is_integer():
            raise ValueError(text)
        return None if number is None else int(number)


@dataclass(frozen=True)
class Choice:
    """One of some words, in any case."""

    options: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.options)}"

    def parse(self, text: str) -> str:
        for option in self.options:
            if option.lower() == text.lower():
                return option
        raise ValueError(text)


@dataclass(frozen=True)
class Flag:
    """True or False as words, in any case; Auto, where there is one, is None."""

    auto: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        return (AUTO, "True", "False") if self.auto else ("True", "False")

    @property
    def expected(self) -> str:
        return f"{'Auto, ' * self.auto}True or False"

    def parse(self, text: str) -> bool | None:
        word = Choice(self.options).parse(text)
        return None if word == AUTO else word == "True"


@dataclass(frozen=True)
class ModelName:
    """A base model by its id or its short name, which is the value."""

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for base in catalogue.CATALOGUE for name in (base.model_id, base.name)))

    @property
    def expected(self) -> str:
        return f"a model id, or one of {', '.join(base.name for base in catalogue.CATALOGUE)}"

    def parse(self, text: str) -> str:
        base = catalogue.find(text)
        if base is None:
            raise ValueError(text)
        return base.name


@dataclass(frozen=True)
class Text:
    """Any text but the empty one; the words have their meaning in any case."""

    words: tuple[str, ...]
    otherwise: str

    @property
    def expected(self) -> str:
        return f"{', '.join(self.words)}, {self.otherwise}"

    def parse(self, text: str) -> str:
        if not text:
            raise ValueError(text)
        return text.lower() if text.lower() in self.words else text


Kind = Number | Choice | Flag | ModelName | Text
