"""The images that wait for a model, and the thread that answers them in batches."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sagemaker_object_detection.artifact.inference import RequestError
from sagemaker_object_detection.errors import first_line
from sagemaker_object_detection.images.walk import MAX_PIXELS

log = logging.getLogger(__name__)

Outputs = dict[str, Any]
"""Of one image, as `artifact.inference.respond` takes them."""

MAX_WAITING = 512
"""Images that may wait before others are turned away. Clients have 60 seconds: a longer queue helps nobody."""
PATIENCE = 55.0
"""Seconds after which an image that still waits is given up: SageMaker closes the request after 60."""
STUCK = 60.0
"""Seconds after which a batch that is under way counts as one that will never end."""


class DamagedImageError(Exception):
    """An image of a batch cannot be decoded."""


class NoRoomError(Exception):
    """Memory has no room for a batch."""


Detect = Callable[[Sequence[Any]], list[Outputs]]
"""A model: images, of the one kind it takes -> the outputs of each. Raises DamagedImageError where one cannot be
decoded."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    model: Detect
    contents: Any
    pixels: int
    since: float
    outputs: "Future[Outputs]" = field(default_factory=Future)


class BatchQueue:
    """Answers images in the order in which they come, as many of one model at a time as wait, up to `batch_size`.

    Nothing waits for a batch to fill: a single image is answered at once, and a batch forms while another is computed.
    All models of a server share one queue: two of them never compute at a time, in the memory of both.

    Args:
        batch_size: the most images of a batch.
    """

    def __init__(self, batch_size: int = 1) -> None:
        self.batch_size = batch_size
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._end = math.inf
        self._under_way_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether images are answered."""
        since = self._under_way_since
        return self._thread.is_alive() and (since is None or time.monotonic() - since < STUCK)

    def put(self, model: Detect, contents: Any, pixels: int) -> "Future[Outputs]":
        """The outputs to come of a model for an image of so many pixels; the future raises RequestError where there are
        none (400: it cannot be decoded; 503: it waited too long; 500: a fault of the model).

        Raises:
            RequestError: 503: too much waits already.
        """
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                raise RequestError(503, f"busy: {MAX_WAITING} images wait already; try again later")
            image = _Waiting(model, contents, pixels, time.monotonic())
            self._waiting.append(image)
            self._changed.notify()
        return image.outputs

    def stop_within(self, seconds: float) -> None:
        """Images whose turn has not come by then are refused (503)."""
        self._end = time.monotonic() + seconds

    def close(self, seconds: float) -> bool:
        """Answers what waits, and ends the thread; False where that takes longer than so many seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while batch := self._next():
            self._under_way_since = time.monotonic()
            self._answer(batch)
            self._under_way_since = None
            batch.clear()  # while this waits for the next, nothing keeps a model that is unloaded

    def _next(self) -> list[_Waiting]:
        """The images of the next batch, all of one model; none when the queue is closed and empty."""
        batch: list[_Waiting] = []
        with self._changed:
            while not batch:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    break
                pixels, later = 0, deque[_Waiting]()
                while self._waiting and len(batch) < self.batch_size:
                    image = self._waiting.popleft()
                    if batch and image.model is not batch[0].model:
                        later.append(image)
                        continue
                    # However small the files are: what they decode to has to fit into the memory all at once.
                    if batch and pixels + image.pixels > MAX_PIXELS:
                        later.append(image)
                        break
                    if not image.outputs.set_running_or_notify_cancel():
                        continue
                    if refusal := self._refusal(image):
                        image.outputs.set_exception(RequestError(503, refusal))
                        continue
                    batch.append(image)
                    pixels += image.pixels
                self._waiting.extendleft(reversed(later))
        return batch

    def _refusal(self, image: _Waiting) -> str | None:
        if time.monotonic() - image.since > PATIENCE:
            return f"busy: the image waited for more than {PATIENCE:.0f} seconds; try again"
        return "the server is stopping; try again" if time.monotonic() > self._end else None

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            answers = batch[0].model([image.contents for image in batch])
        except Exception as error:
            if len(batch) > 1:  # whichever image it was: the others are answered
                for image in batch:
                    self._answer([image])
            else:
                batch[0].outputs.set_exception(_told(error))
            return
        for image, outputs in zip(batch, answers, strict=True):
            image.outputs.set_result(outputs)


def _told(error: Exception) -> RequestError:
    if isinstance(error, DamagedImageError):
        return RequestError(400, "the image cannot be decoded: it is cut short or damaged; send the whole file")
    if isinstance(error, NoRoomError):
        return RequestError(503, "memory has no room to decode the image: shrink it, or give the server more memory")
    log.error("The model failed on an image.", exc_info=error)
    return RequestError(500, f"the model failed on this image ({type(error).__name__}: {first_line(error)})")
