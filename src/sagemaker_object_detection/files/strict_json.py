"""JSON from somebody else: what Python's parser would pass over or raise in five ways is one error with a sentence."""

import json
import re
from collections import Counter
from typing import Any

from sagemaker_object_detection.sentences import shown

_MARK = b"\xef\xbb\xbf"
"""What some editors write before UTF-8 text."""


_OTHERS = (
    (b"\x1f\x8b", "is compressed with gzip", "Unpack it, as gunzip does"),
    (b"PK\x03\x04", "is a zip archive", "Unpack it"),
    (b"version https://git-lfs", "is a Git LFS pointer", "Fetch the file itself, as git lfs pull does"),
    (b"eyJ", "is base64 text", "Decode it, as base64 -d does"),
    (b"ewo", "is base64 text", "Decode it, as base64 -d does"),
    (b"<", "is XML or a web page", "Write JSON, or fetch the file again"),
)
"""First bytes of what is not JSON, what it is, and what to do."""
_S3_ERROR = re.compile(rb"<Error>\s*<Code>(\w{1,80})</Code>")


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
    if isinstance(raw, bytes):
        _refuse_others(raw.removeprefix(_MARK)[:1000].lstrip())
    kept = str if numbers_as_text else None
    try:
        text = raw.removeprefix(_MARK).decode() if isinstance(raw, bytes) else raw
        return json.loads(text, parse_int=kept, parse_float=kept, parse_constant=kept, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        utf_16 = bytes(raw[:2]) in (b"\xff\xfe", b"\xfe\xff")  # type: ignore[arg-type]
        fault = "is UTF-16" if utf_16 else f"is not UTF-8 (byte {error.start + 1})"
        raise JsonError(fault, "Save it as UTF-8 text") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 1 and error.colno == 1:
            raise JsonError("holds JSON Lines, a value a line", "Write one JSON value") from None
        raise JsonError(f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except JsonError:
        raise
    except RecursionError:
        raise JsonError("is nested too deeply") from None
    except ValueError:  # an integer of more than 4,300 digits
        raise JsonError("holds a number with thousands of digits") from None


def repeats_a_key(raw: bytes) -> bool:
    """Whether JSON text gives a key twice in one object, which decoders with types pass over; also where it is no JSON.

    Nothing is built of it, so that it takes half the time of a typed decoder, and little memory.
    """

    def check(pairs: list[tuple[str, Any]]) -> None:
        _unique(pairs)

    try:
        json.loads(raw, parse_int=len, parse_float=len, object_pairs_hook=check)
    except (ValueError, RecursionError):
        return True
    return False


def _refuse_others(start: bytes) -> None:
    if (found := _S3_ERROR.search(start)) is not None:
        raise JsonError(f"is an error of S3's, {found[1].decode()}", "Fetch the file again")
    for signature, what, advice in _OTHERS:
        if start.startswith(signature):
            raise JsonError(what, advice)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise JsonError(f"gives {shown(repeated)} twice in one object", "Give every key once")
    return unique
