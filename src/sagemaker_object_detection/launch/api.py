"""SageMaker's own description of its requests, which boto3 carries: a request is held against it before it is sent.

boto3 itself checks names and types alone; lengths, words and patterns are otherwise told by the service, one at a time.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session

from sagemaker_object_detection.sentences import nearest

Request = dict[str, Any]
_TYPES: dict[str, type[Any]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
}
_MAX_SHOWN = 80
_MANY = 8
"""More words than these are not listed in a sentence."""


def problems(request: Mapping[str, Any], operation: str, expectations: Mapping[str, str]) -> list[tuple[str, str]]:
    """Everything in a request that the service would refuse: (path, the rest of the sentence) for each.

    Args:
        request: the arguments of the call.
        operation: the API's name of the call, such as CreateTrainingJob.
        expectations: by path, what completes "expected ..." better than the API's own pattern does. A path is the
            names of members joined by dots; positions in lists are not in it.
    """
    return list(_problems(request, _input_shape(operation), "", expectations))


@cache
def _input_shape(operation: str) -> Any:
    return botocore.session.get_session().get_service_model("sagemaker").operation_model(operation).input_shape


def _problems(value: Any, shape: Any, path: str, expectations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if not isinstance(value, _TYPES[shape.type_name]) or (shape.type_name == "integer" and isinstance(value, bool)):
        yield path, f"got {shown(value)}; expected {shape.type_name}"
        return
    if expected := _too_much(value, shape) or _unmet(value, shape, expectations.get(path, "")):
        yield path, f"got {shown(value)}; expected {expected}"
    if shape.type_name == "structure":
        for name in shape.required_members:
            if name not in value:
                here = _join(path, name)
                yield here, f"missing; expected {expectations.get(here, 'a value')}"
        for name, member in value.items():
            if name in shape.members:
                yield from _problems(member, shape.members[name], _join(path, name), expectations)
            else:
                yield _join(path, name), f"unknown; expected one of {', '.join(shape.members)}"
    elif shape.type_name == "list":
        for member in value:
            yield from _problems(member, shape.member, path, expectations)
    elif shape.type_name == "map":
        for name, member in value.items():
            yield from _problems(name, shape.key, path, expectations)
            yield from _problems(member, shape.value, path, expectations)


def _size(value: Any, shape: Any) -> tuple[int, str]:
    """What the limits of a shape are about, and its unit."""
    if shape.type_name in ("integer", "long"):
        return value, ""
    unit = "characters" if shape.type_name == "string" else "entries"
    return (len(value) if hasattr(value, "__len__") else 0), f" {unit}"


def _too_much(value: Any, shape: Any) -> str:
    """Completes "expected ..." of a value that is too large or too long; else nothing."""
    size, unit = _size(value, shape)
    most = shape.metadata.get("max", size)
    return f"at most {most}{unit}" if size > most else ""


def _unmet(value: Any, shape: Any, expectation: str) -> str:
    """Completes "expected ..." of a value that is not as it must be, in the words of `expectation` if there are any."""
    limits = shape.metadata
    size, unit = _size(value, shape)
    if size < limits.get("min", size):
        return expectation or f"at least {limits['min']}{unit}"
    if shape.type_name != "string":
        return ""
    if "enum" in limits and value not in limits["enum"]:
        return _one_of(value, limits["enum"])
    pattern = _compiled(limits.get("pattern", ""))
    if pattern is None or pattern.fullmatch(value):
        return ""
    return expectation or f"text that matches {pattern.pattern}"


def _one_of(value: str, words: list[str]) -> str:
    if len(words) <= _MANY:
        return f"one of {', '.join(words)}"
    guess = nearest(value, words)
    return f"one of the {len(words)} values this boto3 knows" + (f"; did you mean {guess}?" if guess else "")


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """None where there is no pattern, and where it is one of Java's that Python's expressions do not have."""
    try:
        return re.compile(pattern, re.DOTALL) if pattern else None
    except re.error:
        return None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def shown(value: Any) -> str:
    """A value as a sentence shows it: quoted, and not longer than a line."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
