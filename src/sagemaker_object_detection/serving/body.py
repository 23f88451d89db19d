"""The body of a request as it arrives: counted, bounded, and given up where its beginning shows that it is refused."""

import io
from dataclasses import dataclass

from sagemaker_object_detection.artifact.inference import RequestError, is_image
from sagemaker_object_detection.images.walk import ImageError, measure

MAX_HELD_BYTES = 2**29
"""Of all bodies that are being read or wait. Beyond it requests are turned away: a full memory would end them all."""
_AHEAD_BYTES = 2**18


@dataclass
class Bodies:
    """All bodies of a server."""

    held: int = 0
    """Bytes: what is there of them, and what is announced next."""


class Body:
    """A body as it arrives. What it holds, and the next quarter of a megabyte that it says will come, is counted in
    `bodies.held` until it is dropped: bodies that are announced and do not come must not take the room of others.

    Args:
        bodies: all of the server.
        length: what the request says of it.
        limit: the most bytes that are accepted.
    """

    def __init__(self, bodies: Bodies, length: str, limit: int) -> None:
        self._bodies, self._limit = bodies, limit
        self._contents = io.BytesIO()  # which gives its bytes away without a copy
        self._judged = _AHEAD_BYTES // 2
        self._counted = self._announced = 0
        self.refusal: RequestError | None = None
        if length.isascii() and length.isdigit() and len(length) < 16:
            self._announced = int(length)
            self._count()

    def __len__(self) -> int:
        return self._contents.tell()

    def add(self, block: bytes) -> None:
        """A body that is refused is not kept."""
        if self.refusal is None:
            self._contents.write(block)
            self._count()

    def take(self) -> bytes:
        """The whole; it stays counted."""
        contents, self._contents = self._contents.getvalue(), io.BytesIO()
        return contents

    @property
    def is_due(self) -> bool:
        """Whether there is twice as much of it as `judge` has seen last."""
        return self.refusal is None and len(self) >= 2 * self._judged

    def judge(self) -> None:
        """Refuses an image of which what is there says already that it would hold a decoder for long."""
        self._judged = len(self)
        contents = self._contents.getvalue()
        try:
            if is_image(contents):
                measure(contents, self._announced or self._limit)
        except ImageError as error:
            self._refuse(beyond(error.too_large, f"the body {error}"))
        except ValueError:
            pass  # so far, or for ever: the whole is looked at again

    def drop(self) -> None:
        self._bodies.held -= self._counted
        self._counted = 0
        self._contents = io.BytesIO()

    def _refuse(self, refusal: RequestError) -> None:
        self.refusal = refusal
        self.drop()

    def _count(self) -> None:
        size = max(len(self), min(self._announced, len(self) + _AHEAD_BYTES))
        if max(size, self._announced) > self._limit:
            limit = self._limit / 2**20
            self._refuse(RequestError(413, f"more than {limit:g} MB are not accepted: shrink the image"))
        elif self._bodies.held + size - self._counted > MAX_HELD_BYTES:
            self._refuse(RequestError(503, "busy: the images under way fill the memory that is set aside; try again"))
        else:
            self._bodies.held += size - self._counted
            self._counted = size


def beyond(too_large: bool, sentence: str) -> RequestError:
    """Of an image that is beyond the bounds."""
    return RequestError(413 if too_large else 400, sentence)
