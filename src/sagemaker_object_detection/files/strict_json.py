"""JSON from somebody else: what Python's parser would pass over or raise in five ways is one error with a sentence."""

import json
from collections import Counter
from typing import Any

_MARK = b"\xef\xbb\xbf"
"""What some editors write before UTF-8 text."""


class JsonError(ValueError):
    """The text cannot be read. `str(error)` continues "the file ...", and `advice` says what to do."""

    def __init__(self, fault: str, advice: str = "Correct it there") -> None:
        super().__init__(fault)
        self.advice = advice


def parse(raw: bytes | str, *, numbers_as_text: bool = False) -> Any:
    """The value that JSON text stands for.

    Args:
        raw: in UTF-8, if it is bytes.
        numbers_as_text: whether numbers stay the text they were written in.

    Raises:
        JsonError: the text is not UTF-8, not JSON, nested too deeply, or gives a key twice in one object, of which
            `json.loads` would keep the last. Or it has an integer of more digits than Python reads.
    """
    kept = str if numbers_as_text else None
    try:
        text = raw.removeprefix(_MARK).decode() if isinstance(raw, bytes) else raw
        return json.loads(text, parse_int=kept, parse_float=kept, parse_constant=kept, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        utf_16 = bytes(raw[:2]) in (b"\xff\xfe", b"\xfe\xff")  # type: ignore[arg-type]
        fault = "is UTF-16" if utf_16 else f"is not UTF-8 (byte {error.start + 1})"
        raise JsonError(fault, "Save it as UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except JsonError:
        raise
    except RecursionError:
        raise JsonError("is nested too deeply") from None
    except ValueError:  # an integer of more than 4,300 digits
        raise JsonError("holds a number with thousands of digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise JsonError(f"gives {repeated!r} twice in one object", "Give every key once")
    return unique
