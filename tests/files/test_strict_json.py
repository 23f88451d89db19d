"""JSON that somebody else wrote: one error for all that may be wrong with it."""

import pytest

from sagemaker_object_detection.files.strict_json import JsonError, parse


def test_numbers_may_stay_the_text_they_were_written_in() -> None:
    assert parse(b'{"a": 1e-05, "b": [5.0, NaN]}', numbers_as_text=True) == {"a": "1e-05", "b": ["5.0", "NaN"]}
    assert parse('{"a": 1e-05}') == {"a": 1e-05}
    assert parse(b"\xef\xbb\xbf[]") == []


@pytest.mark.parametrize(
    ("raw", "fault", "advice"),
    [
        (b"{", "is not valid JSON: line 1, column 2: Expecting property name", "Correct it there"),
        (b'[\n{"a": {"b": 1, "b": 1}}]', "gives 'b' twice in one object", "Give every key once"),
        (b'"\xff"', "is not UTF-8 (byte 2)", "Save it as UTF-8 text"),
        ("[]".encode("utf-16"), "is UTF-16", "Save it as UTF-8 text"),
        (b"[" * 200_000, "is nested too deeply", "Correct it there"),
        (b"9" * 5000, "holds a number with thousands of digits", "Correct it there"),
    ],
)
def test_what_is_wrong_is_a_sentence(raw: bytes, fault: str, advice: str) -> None:
    with pytest.raises(JsonError) as raised:
        parse(raw)
    assert str(raised.value).startswith(fault)
    assert raised.value.advice == advice
