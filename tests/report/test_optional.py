"""What may fail without failing the job, and what may not."""

import logging
import re

import pytest

from sagemaker_object_detection.job.metrics import METRICS
from sagemaker_object_detection.report.optional import optional


def test_a_failure_is_one_line_that_no_metric_regex_reads(caplog):
    with caplog.at_level(logging.INFO), optional("The report", "the model is whole"):
        raise OSError(28, "No space left\non device, loss=0.5, Val_mAP=0.9")
    assert caplog.messages == [
        "The report could not be written (OSError: [Errno 28] No space left on device, loss:0.5, Val_mAP:0.9): the "
        "model is whole."
    ]
    assert not any(re.search(metric.regex, caplog.text) for metric in METRICS)


def test_an_interruption_is_no_failure(caplog):
    with pytest.raises(KeyboardInterrupt), optional("The report", "the model is whole"):
        raise KeyboardInterrupt
    assert caplog.messages == []
