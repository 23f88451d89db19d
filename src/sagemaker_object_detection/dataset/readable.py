"""Says which image is at fault where a batch cannot be read: all were checked, but files may change under a job."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.images import Header, UnusableImageError, check_decoding, read_headers
from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.errors import JobError, PlatformError, UserError
from sagemaker_object_detection.files.regular import SpecialFileError

_READ_ERRORS = (
    tf.errors.AbortedError,  # the file changed while it was read
    tf.errors.DataLossError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,  # it is a folder now
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
_USERS_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, SpecialFileError)
_AT_ONCE = 64
_AGAIN = "Start the job again."


B = TypeVar("B")


def readable(
    batches: Iterable[B], dataset: Dataset, upcoming: Callable[[int], Iterable[int]] | None = None
) -> Iterator[B]:
    """Lets batches through, and turns the error of one that cannot be read into a sentence about its file.

    The first file that is no longer what was checked is looked for when it has happened, beginning with the images of
    the batch that did not come; files that are in order cost a decoding each.

    Args:
        batches: from `training_batches` or `evaluation_batches`, of `dataset`, also as devices take them.
        upcoming: number of a batch, counted from 0 for the first of `batches`, -> indices of its images. None for the
            order of the data set, which is that of `evaluation_batches`.

    Raises:
        UserError: a file is gone, unreadable, damaged, or another image than was checked; it is named.
        PlatformError: the channel is gone, or its storage fails.
        Anything else that iterating raises, as it is: also an error of reading for which no file is to blame.
    """
    iterator = iter(batches)
    count, indices = 0, None  # indices: of the batch before
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except _READ_ERRORS as error:
            if upcoming is not None:
                first = [int(index) for index in upcoming(count)]
            else:
                first = [] if indices is None else [int(np.max(indices)) + 1]
            told = _explanation(error, dataset, first)
            if told is None:
                raise
            raise told from error
        count, indices = count + 1, batch.indices if isinstance(batch, Batch) else None
        yield batch
        del batch  # else it would stay in memory while the next one is made


def _explanation(error: Exception, dataset: Dataset, first: list[int]) -> JobError | None:
    folder = dataset.images
    try:
        with os.scandir(folder) as entries:
            gone = None if any(entries) else "it is empty"  # as the place of a file system that is no longer mounted
    except OSError as obstacle:
        gone = f"it cannot be listed: {obstacle.strerror}"
    if gone is not None:
        return PlatformError(f"{folder} is gone ({gone}); it held the job's images when the job began. {_AGAIN}")
    for index, problem in _changed(dataset, _search_order(len(dataset.file_names), first)):
        image = f"image {dataset.file_names[index]!r} in {folder}"
        if problem.cause is not None and not isinstance(problem.cause, _USERS_ERRORS):
            return PlatformError(f"{image} cannot be read ({problem.cause.strerror}): its storage fails. {_AGAIN}")
        return UserError(
            f"{image} {problem} It was in order when the job checked it, so it has changed since. Leave the files of a "
            "running job as they are, and start it again."
        )
    if os.fspath(folder) in str(error):
        cause = str(error).strip().splitlines()[-1]
        return PlatformError(
            f"a file in {folder} could not be read, and now all of them can be ({cause}): its storage fails now and "
            f"then. {_AGAIN}"
        )
    return None


def _search_order(count: int, first: list[int]) -> list[int]:
    """Every image once: those that are suspected, then the ones after the first of them, around to the beginning."""
    suspects = [index for index in dict.fromkeys(first) if 0 <= index < count]
    start = suspects[0] if suspects else 0
    return list(dict.fromkeys([*suspects, *range(start, count), *range(start)]))


def _changed(dataset: Dataset, order: list[int]) -> Iterator[tuple[int, UnusableImageError]]:
    """The images that are no longer what was checked, in this order. Only a few are looked at ahead."""
    for place in range(0, len(order), _AT_ONCE):
        indices = order[place : place + _AT_ONCE]
        paths = [dataset.images / dataset.file_names[index] for index in indices]
        headers = read_headers(paths)
        problems = {
            path: _problem(dataset, index, header) for path, index, header in zip(paths, indices, headers, strict=True)
        }
        whole = {path: header for path, header in zip(paths, headers, strict=True) if problems[path] is None}
        decoded = check_decoding(list(whole), [header for header in whole.values() if isinstance(header, Header)])
        problems |= dict(zip(whole, decoded, strict=True))
        for index, path in zip(indices, paths, strict=True):
            if (problem := problems[path]) is not None:
                yield index, problem


def _problem(dataset: Dataset, index: int, header: Header | UnusableImageError) -> UnusableImageError | None:
    """What the header says against the file."""
    if isinstance(header, UnusableImageError):
        return header
    turned = dataset.orientations[index] >= 5
    height, width = (int(side) for side in dataset.sizes[index][:: -1 if turned else 1])
    if header.stored == (height, width):
        return None
    found = f"is {header.width} wide and {header.height} high as stored, no longer {width} and {height}."
    return UnusableImageError("images of another size", found)
