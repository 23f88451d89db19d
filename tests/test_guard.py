"""What ends a command becomes its exit code."""

import logging

import pytest

from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.guard import optional, run_guarded
from sagemaker_object_detection.job.stop import StoppedError


def raiser(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (lambda: None, 0),
        (lambda: 2, 2),
        (raiser(UserError("a")), 2),
        (raiser(PlatformError("a")), 3),
        (raiser(OSError(28, "No space left on device")), 3),
        (raiser(ValueError("a")), 1),
        (raiser(KeyboardInterrupt()), 130),
        (raiser(StoppedError()), 130),
    ],
)
def test_exit_codes(run, code):
    assert run_guarded(run, lambda error: None) == code


def test_sentences_go_to_stderr_and_a_traceback_with_a_fault_of_ours(capsys):
    run_guarded(raiser(UserError(["a", "b"])))
    assert capsys.readouterr() == ("", "UserError: 2 problems:\n1. a\n2. b\n")
    run_guarded(raiser(ValueError("odd")))
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert "AlgorithmError: ValueError: odd" in told


def test_a_failure_is_one_line(caplog):
    with caplog.at_level(logging.INFO), optional("The report", "the model is whole"):
        raise OSError(28, "No space left on device\nand more of it")
    assert caplog.messages == [
        "The report could not be written (OSError: [Errno 28] No space left on device): the model is whole."
    ]


def test_an_interruption_is_no_failure(caplog):
    with pytest.raises(KeyboardInterrupt), optional("The report", "the model is whole"):
        raise KeyboardInterrupt
    assert caplog.messages == []
