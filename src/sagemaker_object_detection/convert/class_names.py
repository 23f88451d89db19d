"""Class names of a data set that writes classes as numbers: `--names`, a text file, or the `names` of a data.yaml.

Of YAML only what such files hold is read: a list or a numbered list of names, in brackets or one a line. Everything
else there is refused by its line. A name is what is written: `no` is "no", which YAML itself would read as false.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from sagemaker_object_detection.convert.files import Findings

_EXPECTED = "a text file with one name a line, or a data.yaml"
_TOP_LEVEL = re.compile(r"""["']?([\w.-]+)["']?\s*:(?:\s+(.*))?$""")
_NUMBERED = re.compile(r"(0|[1-9][0-9]{0,8})\s*:\s+(.+)$")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""")
_NOT_FIRST = "[]{},#&*!|>'\"%@`?:"
"""What no plain name begins with: for YAML it is something else, or an error."""
_UNDERSTOOD = (
    "expected names: [cat, dog], or one name a line as - cat or as 0: cat. Write it so, or give the names with --names"
)


class _UnreadableYamlError(Exception):
    """The message continues "file line N: ..."."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def split_names(text: str, findings: Findings) -> dict[int, str]:
    """The names of `--names cat,dog`, by class number."""
    names = [name.strip() for name in text.split(",")]
    _check_distinct([(f"--names, name {number}", name) for number, name in enumerate(names, 1)], findings)
    return dict(enumerate(names))


def read_names(path: Path, findings: Findings) -> dict[int, str]:
    """The names in a file, by class number; what is wrong with it is added to the findings."""
    lines = findings.read_lines(path, _EXPECTED)
    if lines is None:
        return {}
    if path.suffix.lower() in (".yaml", ".yml"):
        try:
            numbered = _names_of_yaml(lines)
        except _UnreadableYamlError as error:
            place = f"{path} line {error.line}" if error.line else f"{path}"
            findings.add("unreadable class names", f"{place}: {error}; {_UNDERSTOOD}.")
            return {}
    else:
        while lines and not lines[-1].strip():
            lines.pop()
        numbered = [(number + 1, number, line.strip()) for number, line in enumerate(lines)]
    if not numbered:
        findings.add("unreadable class names", f"{path}: holds no class name. Expected {_EXPECTED}.")
    _check_distinct([(f"{path} line {line}", name) for line, _, name in numbered], findings)
    names: dict[int, str] = {}
    for line, number, name in numbered:
        if number in names:
            text = f"{path} line {line}: class {number} is there already. Give every class a number of its own."
            findings.add("unreadable class names", text)
        names[number] = name
    return dict(sorted(names.items()))


def _check_distinct(named: Sequence[tuple[str, str]], findings: Findings) -> None:
    """A name that can be none, or that comes twice, is a problem. named: the place of each, and the name."""
    first: dict[str, str] = {}
    for place, name in named:
        if not findings.is_name(place, name):
            continue
        if name in first:
            text = f"{place}: the name {name!r} is there already ({first[name]}). Give every class a name of its own."
            findings.add("duplicate class names", text)
        first.setdefault(name, place)


def _names_of_yaml(lines: Sequence[str]) -> list[tuple[int, int, str]]:
    """(line, class number, name) of each entry of the key `names`."""
    begin, value = 0, ""
    for number, line in enumerate(lines, 1):
        found = _TOP_LEVEL.match(line)
        if found and found[1] == "names":
            if begin:
                raise _UnreadableYamlError(number, "names is there a second time")
            begin, value = number, (found[2] or "").strip()
    if not begin:
        raise _UnreadableYamlError(0, "has no key names")
    value = "" if value.startswith("#") else value
    if not value:
        return _block(lines, begin)
    if value[0] not in "[{":
        raise _UnreadableYamlError(begin, f"names is {value!r}")
    return _flow(lines, begin, value)


def _block(lines: Sequence[str], begin: int) -> list[tuple[int, int, str]]:
    """One name a line: "- cat", or "0: cat"."""
    names: list[tuple[int, int, str]] = []
    kinds: set[bool] = set()
    for number, line in enumerate(lines[begin:], begin + 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not line[0].isspace() and not text.startswith("- "):
            break
        numbered = _NUMBERED.match(text)
        if not text.startswith("- ") and not numbered:
            raise _UnreadableYamlError(number, f"got {text!r}")
        name, rest = _scalar(numbered[2] if numbered else text[2:].strip(), number)
        if rest and not rest.startswith("#"):
            raise _UnreadableYamlError(number, f"got {text!r}")
        names.append((number, int(numbered[1]) if numbered else len(names), name))
        kinds.add(numbered is None)
        if len(kinds) > 1:
            raise _UnreadableYamlError(number, "names is a list and numbered at once")
    return names


def _flow(lines: Sequence[str], begin: int, value: str) -> list[tuple[int, int, str]]:
    """Names in brackets, "[cat, dog]" or "{0: cat, 1: dog}", which may go over several lines."""
    closing = {"[": "]", "{": "}"}[value[0]]
    names: list[tuple[int, int, str]] = []
    number, rest = begin, value[1:]
    expects_name = True
    while True:
        rest = rest.lstrip()
        if not rest or rest.startswith("#"):
            if number >= len(lines):
                raise _UnreadableYamlError(begin, f"names has no closing {closing!r}")
            rest, number = lines[number], number + 1
        elif rest[0] == closing:
            if (behind := rest[1:].strip()) and not behind.startswith("#"):
                raise _UnreadableYamlError(number, f"got {behind!r} behind the names")
            return names
        elif rest[0] == "," and not expects_name:
            rest, expects_name = rest[1:], True
        elif expects_name:
            key = len(names)
            if closing == "}":
                numbered = _NUMBERED.match(rest)
                if not numbered:
                    raise _UnreadableYamlError(number, f"got {rest!r}")
                key, rest = int(numbered[1]), numbered[2]
            name, rest = _scalar(rest, number)
            names.append((number, key, name))
            expects_name = False
        else:
            raise _UnreadableYamlError(number, f"got {rest!r}")


def _scalar(text: str, line: int) -> tuple[str, str]:
    """The name at the beginning of the text, and what follows it."""
    if text[:1] in ("'", '"'):
        quoted = _QUOTED.match(text)
        if quoted:
            inner = quoted[0]
            try:
                name = inner[1:-1].replace("''", "'") if inner[0] == "'" else str(json.loads(inner))
            except ValueError:  # an escape that YAML has and JSON has not
                raise _UnreadableYamlError(line, f"got {inner}") from None
            return name, text[quoted.end() :].strip()
    elif text and text[0] not in _NOT_FIRST and not re.match(r"-(\s|$)", text):
        end = _plain_end(text)
        return text[:end].strip(), text[end:].strip()
    raise _UnreadableYamlError(line, f"got {text!r}")


def _plain_end(text: str) -> int:
    """Where a name without quotes ends: at the brackets' own characters, a comment, or what would make it a key."""
    for index, character in enumerate(text):
        following = text[index + 1 : index + 2]
        if character in ",[]{}" or (character == "#" and index and text[index - 1] in " \t"):
            return index
        if character == ":" and (not following or following in " \t,[]{}"):
            return index
    return len(text)
