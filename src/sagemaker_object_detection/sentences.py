"""How sentences show what comes from somebody else: names and values, escaped and not longer than a line."""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any

MAX_SHOWN = 80
"""Characters of one foreign text in a sentence."""
MAX_TEXT = 300
"""Characters of one that may be longer: an address, a path, what a library says of an error."""
MAX_LINE = 8000
"""Characters of a line of a log or a terminal."""
_MAX_NAMES = 8
# Control characters, line separators and lone surrogates: names and ids stand in log lines, which a line break in a
# name could forge, and in files that are UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# A name may hold marks of its direction, but in a sentence they would turn what stands behind them.
_ESCAPED = re.compile(f"{_UNPRINTABLE.pattern}|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_KINDS = {dict: "an object", list: "a list", str: "the text", bool: "the value", float: "the number", int: "the number"}


def is_printable(text: str) -> bool:
    """Whether text may stand in a line as it is."""
    return _UNPRINTABLE.search(text) is None


def is_name(text: str) -> bool:
    """Whether it can be the name or the id of a class or an image: printable, and of at most `MAX_TEXT` characters."""
    return len(text) <= MAX_TEXT and is_printable(text)


def printable(text: str, most: int = MAX_TEXT) -> str:
    """Foreign text as it is, but for what is not printable, which is escaped; cut after `most` characters."""
    return _ESCAPED.sub(lambda found: repr(found[0])[1:-1], _cut(text, most))


def as_lines(text: str, most: int = MAX_LINE) -> str:
    """Text of several lines as a log or a terminal may have it: each is `printable`. What is ours stays as it is; it is
    for what no sentence has escaped."""
    return "\n".join(printable(line, most) for line in text.split("\n"))


def shown(value: object) -> str:
    """A value as Python writes it, so text is quoted and escaped; cut after `MAX_SHOWN` characters."""
    return repr(_cut(value)) if isinstance(value, str) else _cut(repr(value))


def quoted(name: object) -> str:
    """The name of a file or a class, or an id, quoted and escaped if it is text; cut after `MAX_TEXT` characters."""
    return repr(_cut(name, MAX_TEXT)) if isinstance(name, str) else _cut(repr(name), MAX_TEXT)


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


def listed(names: Collection[object], most: int = _MAX_NAMES, none: str = "none") -> str:
    """A few of the names, each `printable`, and how many more there are: "a, b and 3 more". `none` if there is none."""
    return _few([printable(str(name)) for name in islice(names, most)], len(names), none)


def shortlist(names: Collection[object], most: int = _MAX_NAMES) -> str:
    """`listed`, with each `quoted`. It looks at no more names than it shows: it stands in sentences of which there is
    one for each of many boxes."""
    return _few([quoted(name) for name in islice(names, most)], len(names))


def _few(shown_names: Sequence[str], count: int, none: str = "none") -> str:
    more = f" and {count - len(shown_names)} more" if count > len(shown_names) else ""
    return ", ".join(shown_names) + more if count else none


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number of things: "1 image", "2 images". many: their plural, if it is not `one` with an s."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name a misspelled one most probably means, or None. It takes milliseconds where many are known."""
    if len(name) > MAX_SHOWN:
        return None
    matches = difflib.get_close_matches(name.strip().lower().replace("-", "_"), list(known), n=1)
    return matches[0] if matches else None


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about an unknown name: "did you mean epochs?", or `otherwise`."""
    guess = nearest(name, known)
    return f"did you mean {guess}?" if guess else otherwise
