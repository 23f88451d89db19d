"""How sentences show names and values that come from somebody else."""

from collections.abc import Sequence

import pytest

from sagemaker_object_detection.sentences import (
    MAX_LINE,
    as_json,
    as_lines,
    described,
    listed,
    nearest,
    plain,
    printable,
    quoted,
    shortlist,
    shown,
    suggestion,
)


def test_lists_say_how_many_more_there_are():
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c"], 1) == "a and 2 more"
    assert (listed([]), listed([], none="nothing")) == ("none", "nothing")
    assert shortlist(["a", 1]) == "'a', 1"


def test_foreign_text_is_escaped_and_bounded():
    assert shown("a\nb") == r"'a\nb'"
    assert shown("x" * 100) == f"'{'x' * 80}...'"
    assert as_json({"a": None}) == '{"a": null}'
    assert as_json(["x" * 100]) == f'["{"x" * 78}...'


HOSTILE = ("\x1b[31m", "\r\n", "\x85", "\u2028", "\u202e", "\u2066", "\ud800", "\0", "\x7f", "x" * 1_000_000)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:8]))
@pytest.mark.parametrize(
    "write",
    [
        *(shown, plain, quoted, as_json, described, printable, as_lines),
        lambda text: listed([text]),
        lambda text: shortlist([text]),
    ],
)
def test_nothing_hostile_gets_through(write, hostile):
    written = write(f"a{hostile}b")
    assert len(written) <= MAX_LINE + 10
    assert not any(character in written for character in "\x1b\r\x85\u2028\u202e\u2066\ud800\0\x7f")
    assert write is as_lines or "\n" not in written


def test_lists_look_at_what_they_show():
    class Many(Sequence[int]):
        def __len__(self):
            return 10**9

        def __getitem__(self, index):
            assert index < 8
            return index

    assert shortlist(Many()) == listed(Many()) == "0, 1, 2, 3, 4, 5, 6, 7 and 999999992 more"


def test_values_of_a_file_are_shown_with_their_kind():
    assert [described(value) for value in (None, True, 1, 1.5, "a", [1], {})] == [
        "null",
        "the value true",
        "the number 1",
        "the number 1.5",
        'the text "a"',
        "a list [1]",
        "an object {}",
    ]


def test_nearest_reads_dashes_and_capitals():
    assert nearest(" Batch-Size", ["epochs", "batch_size"]) == "batch_size"
    assert nearest("zzz", ["epochs", "batch_size"]) is None


def test_suggestion_names_the_nearest_or_what_else_to_do():
    assert suggestion("epoch", ["epochs"], "remove it") == "did you mean epochs?"
    assert suggestion("zzz", ["epochs"], "remove it") == "remove it"
