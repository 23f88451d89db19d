"""SageMaker's own description of its requests, which boto3 carries: a request is held against it before it is sent.

boto3 itself checks names, types and lower limits alone; upper limits, words and patterns are otherwise told by the
service, one at a time.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session

from sagemaker_object_detection.sentences import nearest, shown

Request = dict[str, Any]
_MANY = 8
"""More words than these are not listed in a sentence."""


def problems(request: Mapping[str, Any], operation: str, expectations: Mapping[str, str]) -> list[tuple[str, str]]:
    """Every value in a request that the service would refuse: (path, the rest of the sentence) for each.

    Args:
        request: the arguments of the call, of the right names and types, which boto3 checks.
        operation: the API's name of the call, such as CreateTrainingJob.
        expectations: by path, what completes "expected ..." better than the API's own pattern does. A path is the
            names of members joined by dots; positions in lists are not in it.
    """
    return [
        (path, f"got {shown(value)}; expected {unmet}")
        for path, value, shape in _values(request, _input_shape(operation), "")
        if (unmet := _unmet(value, shape, expectations.get(path, "")))
    ]


def words(operation: str, path: str) -> frozenset[str]:
    """The words that a member of a request may be; its path is written as that of a problem is."""
    shape = _input_shape(operation)
    for name in path.split("."):
        shape = shape.members[name]
    return frozenset(shape.enum)


@cache
def _input_shape(operation: str) -> Any:
    return botocore.session.get_session().get_service_model("sagemaker").operation_model(operation).input_shape


def _values(value: Any, shape: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Path, value and shape of everything in a value."""
    yield path, value, shape
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from _values(member, shape.members[name], f"{path}.{name}" if path else name)
    elif shape.type_name == "list":
        for member in value:
            yield from _values(member, shape.member, path)
    elif shape.type_name == "map":
        for name, member in value.items():
            yield from _values(name, shape.key, path)
            yield from _values(member, shape.value, path)


def _unmet(value: Any, shape: Any, expectation: str) -> str:
    """Completes "expected ..." of a value that is not as it must be: in the words of `expectation` if there are any,
    unless a limit above says more. Else nothing."""
    limits = shape.metadata
    size = len(value) if hasattr(value, "__len__") else value
    unit = "" if size is value else " characters" if shape.type_name == "string" else " entries"
    if size > limits.get("max", size):
        return f"at most {limits['max']}{unit}"
    if size < limits.get("min", size):
        return expectation or f"at least {limits['min']}{unit}"
    words = limits.get("enum", [value])
    if value not in words:
        guess = nearest(value, words) if len(words) > _MANY else None
        known = f"the {len(words)} values this boto3 knows" if len(words) > _MANY else ", ".join(words)
        return f"one of {known}" + (f"; did you mean {guess}?" if guess else "")
    pattern = limits.get("pattern")
    matches = pattern is None or _compiled(pattern).fullmatch(value)
    return "" if matches else expectation or f"text that matches {pattern}"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    r"""A pattern of the API. Its classes such as \p{L} are Java's, and Python's expressions have none."""
    return re.compile(re.sub(r"\\p\{(\w+)\}", lambda found: _java_class(found[1]), pattern), re.DOTALL)


@cache
def _java_class(name: str) -> str:
    """What stands between brackets for a class of Java's: Alnum, or the first letter of general categories."""
    if name == "Alnum":
        return "A-Za-z0-9"
    members = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == name)
    ranges: list[list[int]] = []
    for code in members:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
