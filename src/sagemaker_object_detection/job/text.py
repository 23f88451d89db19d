"""The text that hyperparameters arrive as."""

import json


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
