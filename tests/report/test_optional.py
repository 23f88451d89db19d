"""What may fail without failing the job, and what may not."""

import logging

import pytest

from sagemaker_object_detection.report.optional import optional


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
