"""Reading the files of a data set: what cannot be read is a problem with a sentence, and the reading goes on."""

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from sagemaker_object_detection.dataset.annotation_file import MAX_BYTES
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.sentences import is_printable

_IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif")
)
"""Also of formats that are refused: an image that silently was not there would be worse."""
# Python's own float() also reads nan, inf, underscores and other scripts' digits.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_MAX_DIGITS = 64


class Findings:
    """The problems of a source, as a reader finds them."""

    def __init__(self, format: str) -> None:
        self.format = format
        self.problems: list[Problem] = []

    def add(self, kind: str, text: str) -> None:
        """kind: what sort, in the plural. text: the whole sentence."""
        self.problems.append(Problem(self.format, kind, text))

    def read_bytes(self, path: Path, expected: str) -> bytes | None:
        """The file's content; None where it cannot be read, which is a problem then."""
        try:
            state = path.stat()
            if stat.S_ISREG(state.st_mode) and state.st_size <= MAX_BYTES:
                return path.read_bytes()
            if stat.S_ISREG(state.st_mode):
                fault = f"has {state.st_size} bytes; at most {MAX_BYTES} are read"
            else:  # reading a pipe may wait for ever
                fault = f"is {'a folder' if stat.S_ISDIR(state.st_mode) else 'a pipe, a device or a socket'}"
        except FileNotFoundError:
            fault = "does not exist"
        except OSError as error:
            fault = f"cannot be read ({error.strerror})"
        self.add("unreadable files", f"{path}: {fault}. Expected {expected}.")
        return None

    def read_lines(self, path: Path, expected: str) -> list[str] | None:
        """The lines of a UTF-8 text file, without their ends; None where it cannot be read, likewise."""
        raw = self.read_bytes(path, expected)
        if raw is None:
            return None
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.add("unreadable files", f"{path}: is not UTF-8 (byte {error.start + 1}). Save it as UTF-8 text.")
            return None
        # Not splitlines(), which also splits at characters that editors do not count as lines.
        return text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []

    def is_folder(self, path: Path, expected: str) -> bool:
        """Whether there is such a folder; that there is none is a problem."""
        if os.path.isdir(path):
            return True
        what = "is not a folder" if os.path.lexists(path) else "does not exist"
        self.add("missing folders", f"{path}: {what}. Expected {expected}.")
        return False

    def walk(self, folder: Path) -> Iterator[str]:
        """Paths of all files below the folder, relative to it, in order; links are followed, hidden files left out. A
        folder that cannot be listed is a problem: what it holds would be missing without a word."""

        def unreadable(error: OSError) -> None:
            text = f"{error.filename}: cannot be listed ({error.strerror}). Let it be read, or move it elsewhere."
            self.add("unreadable folders", text)

        above: dict[str, frozenset[str]] = {}
        for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
            real = os.path.realpath(place)
            chain = above.pop(place, frozenset())
            if real in chain:  # a link to a folder above itself
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            above |= {os.path.join(place, name): chain | {real} for name in folders}
            inner = os.path.relpath(place, folder)
            yield from (
                name if inner == "." else f"{inner}/{name}" for name in sorted(files) if not name.startswith(".")
            )

    def is_name(self, place: str, name: str) -> bool:
        """Whether this can be the name of a class."""
        if name and is_printable(name):
            return True
        fault = f"the class's name is {name!r}" if name else "the class's name is empty"
        self.add("unusable class names", f"{place}: {fault}; expected text in one line. Correct it there.")
        return False

    def image_name(self, place: str, name: str) -> str | None:
        """The path below the images folder, in its shortest form; None where it would lead elsewhere: a problem."""
        fault = ""
        if not name or not is_printable(name):
            fault = "is not the name of a file"
        elif posixpath.isabs(name):
            fault = "is an absolute path"
        elif ".." in name.split("/"):
            fault = 'contains ".."'
        if not fault:
            return posixpath.normpath(name)
        self.add("refused file names", f"{place}: {name!r} {fault}. Expected a path below the folder of the images.")
        return None


def is_image(name: str) -> bool:
    """Whether the name is that of an image, usable or not."""
    return posixpath.splitext(name)[1].lower() in _IMAGE_SUFFIXES


def parse_number(text: str) -> float | None:
    """The finite number that the text is, or None."""
    text = text.strip()
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if abs(number) < float("inf") else None


def parse_side(text: str) -> int | None:
    """The number of pixels that the text is, 0 or more, or None."""
    number = parse_number(text)
    return int(number) if number is not None and number.is_integer() and 0 <= number < 2**31 else None
