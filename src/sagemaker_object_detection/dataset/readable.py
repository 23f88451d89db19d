"""Says which image is at fault where a batch cannot be read: all were checked, but files may change under a job."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import tensorflow as tf

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.errors import JobError, PlatformError, UserError
from sagemaker_object_detection.files.regular import SpecialFileError
from sagemaker_object_detection.images.decoding import check_decoding
from sagemaker_object_detection.images.headers import (
    BYTES_PER_PIXEL,
    NO_ROOM,
    Header,
    UnusableImageError,
    read_headers,
    without_room,
)
from sagemaker_object_detection.sentences import quoted

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
_OF_HOST = "device:CPU"
"""In an error where memory ran out: the machine's memory, and not a GPU's."""
_AT_ONCE = 64
_AGAIN = "Start the job again."


B = TypeVar("B")


def readable(
    batches: Iterable[B], dataset: Dataset, upcoming: Callable[[int], Iterable[int]] = lambda number: ()
) -> Iterator[B]:
    """Lets batches through, and turns the error of one that cannot be read into a sentence about its file.

    The first file that is no longer what was checked is looked for when it has happened, beginning with the images of
    the batch that did not come; files that are in order cost a decoding each.

    Args:
        batches: from `training_batches` or `evaluation_batches`, of `dataset`, also as devices take them.
        upcoming: number of a batch, counted from 0 for the first of `batches`, -> indices of its images, as far as they
            are known.

    Raises:
        UserError: a file is gone, unreadable, damaged, or another image than was checked; it is named. Or: memory
            has no room for what is decoded at a time; the largest is named.
        PlatformError: the channel is gone, or its storage fails.
        Anything else that iterating raises, as it is: also an error of reading for which no file is to blame.
    """
    iterator = iter(batches)
    for number in itertools.count():
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except tf.errors.ResourceExhaustedError as error:
            if _OF_HOST in str(error):
                raise _without_room(dataset) from error
            raise
        except _READ_ERRORS as error:
            told = _explanation(error, dataset, [int(index) for index in upcoming(number)])
            if told is None:
                raise
            raise told from error
        yield batch
        del batch  # else it would stay in memory while the next one is made


def _without_room(dataset: Dataset) -> UserError:
    largest = int(dataset.sizes.astype(np.int64).prod(axis=1).argmax())
    height, width = dataset.sizes[largest].tolist()
    problem = without_room(width, height, int(BYTES_PER_PIXEL * height * width))
    return UserError(
        "memory has no room for the images that are read at a time. The largest: "
        f"image {quoted(dataset.file_names[largest])} in {dataset.images} {problem}"
    )


def _explanation(error: Exception, dataset: Dataset, first: list[int]) -> JobError | None:
    folder = dataset.images
    try:
        with os.scandir(folder) as entries:
            gone = None if any(entries) else "it is empty"  # as the place of a file system that is no longer mounted
    except OSError as obstacle:
        gone = f"it cannot be listed: {obstacle.strerror}"
    if gone is not None:
        return PlatformError(f"{folder} is gone ({gone}); it held the job's images when the job began. {_AGAIN}")
    # Those that are suspected, then the ones after the first of them, around to the beginning.
    count, start = len(dataset.file_names), first[0] if first else 0
    for index, problem in _changed(dataset, list(dict.fromkeys([*first, *range(start, count), *range(start)]))):
        image = f"image {quoted(dataset.file_names[index])} in {folder}"
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


def _changed(dataset: Dataset, order: list[int]) -> Iterator[tuple[int, UnusableImageError]]:
    """The images that are no longer what was checked, in this order. Only a few are looked at ahead."""
    for place in range(0, len(order), _AT_ONCE):
        indices = order[place : place + _AT_ONCE]
        paths = [dataset.path(index) for index in indices]
        found = [_problem(dataset, index, header) for index, header in zip(indices, read_headers(paths), strict=True)]
        whole = {index: header for index, header in zip(indices, found, strict=True) if isinstance(header, Header)}
        decoded = check_decoding([dataset.path(index) for index in whole], list(whole.values()))
        problems = dict(zip(indices, found, strict=True)) | dict(zip(whole, decoded, strict=True))
        for index, each in problems.items():
            if isinstance(each, UnusableImageError) and each.kind != NO_ROOM:
                yield index, each


def _problem(dataset: Dataset, index: int, header: Header | UnusableImageError) -> Header | UnusableImageError:
    """The header, unless something is wrong with it."""
    if isinstance(header, UnusableImageError):
        return header
    turned = dataset.orientations[index] >= 5
    height, width = (int(side) for side in dataset.sizes[index][:: -1 if turned else 1])
    if header.stored == (height, width):
        return header
    found = f"is {header.width} wide and {header.height} high as stored, no longer {width} and {height}."
    return UnusableImageError("images of another size", found)
