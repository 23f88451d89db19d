"""JSON that somebody else wrote: one error for all that may be wrong with it."""

import base64
import gzip

import pytest

from sagemaker_object_detection.files.strict_json import JsonError, parse, repeats_a_key


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
        (gzip.compress(b"[]", mtime=0), "is compressed with gzip", "Unpack it, as gunzip does"),
        (b"PK\x03\x04", "is a zip archive", "Unpack it"),
        (b"version https://git-lfs.github.com", "is a Git LFS pointer", "Fetch the file itself, as git lfs pull does"),
        (base64.b64encode(b'{"images": []}'), "is base64 text", "Decode it, as base64 -d does"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", "is XML or a web page", "Write JSON, or fetch the file again"),
        (
            b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>",
            "is an error of S3's, NoSuchKey",
            "Fetch the file again",
        ),
        (b'{"a": 1}\n{"a": 2}\n', "holds JSON Lines, a value a line", "Write one JSON value"),
        (b"[]\n  x", "is not valid JSON: line 2, column 3: Extra data", "Correct it there"),
        (b"9" * 5000, "holds a number with thousands of digits", "Correct it there"),
    ],
)
def test_what_is_wrong_is_a_sentence(raw: bytes, fault: str, advice: str) -> None:
    with pytest.raises(JsonError) as raised:
        parse(raw)
    assert str(raised.value).startswith(fault)
    assert raised.value.advice == advice


def test_a_repeated_key_is_found_wherever_it_is_and_shown_in_one_line() -> None:
    repeated = [
        b'{"a": 1, "a": 1}',
        b'[{"b": [{"a": {}, "c": "}", "a": 2}]}]',
        b'{"\\u0061": 1, "a": 2}',
        b'{"a": {"a": 1}, "b": 2, "a": 3}',
    ]
    assert [repeats_a_key(raw) for raw in repeated] == [True] * 4
    innocent = [
        b'{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}',
        b"[1e999, 3, NaN]",
        b'{"a": "\\"a\\": 1, \\"a\\""}',
        b"9" * 5000,
    ]
    assert [repeats_a_key(raw) for raw in innocent] == [False] * 4
    with pytest.raises(JsonError) as raised:
        parse(f'{{"\\u001b{"x" * 10_000}": 1, "\\u001b{"x" * 10_000}": 2}}')
    assert str(raised.value) == f"gives '\\x1b{'x' * 79}...' twice in one object"
