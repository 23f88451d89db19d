"""What a job can do without: a failure there costs one line of the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sagemaker_object_detection.errors import first_line

log = logging.getLogger(__name__)
_SHOWN = 300


@contextmanager
def optional(what: str, consolation: str) -> Iterator[None]:
    """Turns any Exception inside into one warning: `what` could not be written, and `consolation`."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {first_line(error)}".split())[:_SHOWN]
        log.warning("%s could not be written (%s): %s.", what, reason, consolation)
