"""Files that a person asks for: there once they are whole. What hinders them is told of the option that named them."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from sagemaker_object_detection.files import whole
from sagemaker_object_detection.files.disk import DISK_FAULTS, blaming

_EXPECTED = {
    "--draw": "expected a folder that may be written to, or a path where one can be made",
    "--output": "expected a file that may be written, or a path where one can be made",
}


def writing(option: str, path: Path) -> AbstractContextManager[None]:
    """Blames an OSError on the path that `option` gave, unless the disk or the reader of a pipe is at fault."""
    return blaming(
        lambda error: f"{option}: {str(path)!r} cannot be written ({error.strerror}); {_EXPECTED[option]}",
        (*DISK_FAULTS, errno.EPIPE),
    )


@contextmanager
def whole_file(option: str, path: Path, *, named: bool = True) -> Iterator[Path]:
    """Where to write what is to be the file `path`: a name beside it, that begins with a dot, until the end of the
    block. If that is left by an exception, whatever was there under `path` stays.

    Args:
        named: whether somebody has named the file itself: then a pipe or a device is written, and where there is a link
            the file that it leads to. In a folder that was named others may have put one, which is replaced.
    """
    with writing(option, path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # which of the two exists would not be said
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        if path.is_dir() and (named or not path.is_symlink()):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        special = named and path.exists() and not path.is_file()
    if special:
        yield path
        return
    with ExitStack() as stack:
        yield stack.enter_context(whole.whole_file(Path(os.path.realpath(path)) if named else path))
        with writing(option, path):
            stack.pop_all().close()


@contextmanager
def lines_to(option: str, path: Path | None) -> Iterator[Callable[[str], None]]:
    """What writes lines to a file, or to stdout where `path` is None."""
    if path is None:
        yield lambda line: print(line, flush=True)
        return
    with whole_file(option, path) as unfinished:
        with writing(option, path):
            file = unfinished.open("w", encoding="utf-8")

        def write(line: str) -> None:
            with writing(option, path):
                print(line, file=file, flush=True)

        with file:
            yield write
