"""The text that hyperparameters arrive as, and the names people misspell."""

import difflib
import json
from collections.abc import Iterable


def unquote(text: str) -> str:
    """The text without surrounding blanks and without one layer of JSON quoting, which framework estimators add."""
    text = text.strip()
    if text.startswith('"'):
        try:
            return str(json.loads(text)).strip()
        except ValueError:
            return text
    return text


def is_given(text: str) -> bool:
    """False for Python's None, which the SDKs pass on as "None" or "null"."""
    return unquote(text) not in ("None", "null")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name a misspelled one most probably means, or None."""
    matches = difflib.get_close_matches(name.strip().lower().replace("-", "_"), list(known), n=1)
    return matches[0] if matches else None
