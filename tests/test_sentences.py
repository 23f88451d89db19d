"""How sentences show names and values that come from somebody else."""

from sagemaker_object_detection.sentences import as_json, described, listed, nearest, shortlist, shown, suggestion


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
