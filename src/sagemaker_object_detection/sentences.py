"""How sentences show what comes from somebody else: names and values, escaped and not longer than a line."""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

MAX_SHOWN = 80
"""Characters of one foreign text in a sentence."""
MAX_TEXT = 300
"""Characters of one that may be longer: an address, a path, what a library says of an error."""
_MAX_NAMES = 8
# Control characters, line separators and lone surrogates: names and ids stand in log lines, which a line break in a
# name could forge, and in files that are UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_KINDS = {dict: "an object", list: "a list", str: "the text", bool: "the value", float: "the number", int: "the number"}


def is_printable(text: str) -> bool:
    """Whether a name or an id may stand in a line of text."""
    return _UNPRINTABLE.search(text) is None


def printable(text: str, most: int = MAX_TEXT) -> str:
    """Foreign text as it is, but for what is not printable, which is escaped; cut after `most` characters."""
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], _cut(text, most))


def shown(value: object) -> str:
    """A value as Python writes it, so text is quoted and escaped; cut after `MAX_SHOWN` characters."""
    return repr(_cut(value)) if isinstance(value, str) else _cut(repr(value))


def as_json(value: Any) -> str:
    """A value as a JSON file has it; cut after `MAX_SHOWN` characters."""
    try:
        return _cut(json.dumps(value))
    except RecursionError:
        return "..."


def plain(name: str) -> str:
    """A name as it is if it is an ordinary one, else as `shown`."""
    return name if name.isidentifier() and len(name) <= MAX_SHOWN else shown(name)


def _cut(text: str, most: int = MAX_SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def described(value: Any) -> str:
    """A value of a JSON file, with its kind, as in "the text "7""."""
    return "null" if value is None else f"{_KINDS[type(value)]} {as_json(value)}"


def listed(names: Sequence[object], most: int = _MAX_NAMES, none: str = "none") -> str:
    """A few of the names, each `printable`, and how many more there are: "a, b and 3 more". `none` if there is none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(str(name)) for name in names[:most]) + more if names else none


def shortlist(names: Sequence[object]) -> str:
    """`listed`, with names quoted if they are text."""
    return listed([repr(name) for name in names])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name a misspelled one most probably means, or None."""
    matches = difflib.get_close_matches(name.strip().lower().replace("-", "_"), list(known), n=1)
    return matches[0] if matches else None


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about an unknown name: "did you mean epochs?", or `otherwise`."""
    guess = nearest(name, known)
    return f"did you mean {guess}?" if guess else otherwise
