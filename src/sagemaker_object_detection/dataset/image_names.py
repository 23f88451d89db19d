"""Finds the files that are meant by names which are written otherwise than the files are called.

Names are written on one machine, and the files copied to another. Each way in which the two come to differ is a row of
FORMS: a function that makes both the same again. The rows are applied one after the other, to names and to files, and
after each a name that ends as the path of one file alone does, or is an end of it, means that file. So the least change
that leads to a file decides, and a name that then fits several files equally well means none.
"""

import difflib
import itertools
import os
import posixpath
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from sagemaker_object_detection.images.headers import MISSING, UnusableImageError
from sagemaker_object_detection.sentences import quoted, shortlist, shown

MAX_LENGTH = 4096
"""Characters of a name, and of a path that Linux opens: nothing longer is the name of a file."""
_MAX_FOLDERS = 32
_MAX_GUESSES = 200
"""Names for which a similar one is looked for: no list that people read has more."""
_NEIGHBOURS = 25
_LIKENESS = 0.75
"""Of a guess. difflib's own is 0.6, at which `left.jpg` is like `light.jpg`."""
_JPEG = re.compile(r"\.(jpe|jpeg|jfif)$", re.IGNORECASE)
_START = re.compile(r"(?:[a-z][a-z0-9+.-]+://[^/]*)?/*(?:[a-z]:(?=/))?(?:~?/)*", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_QUERY = re.compile(r"^(https?://[^?#]*)[?#].*$", re.IGNORECASE | re.DOTALL)
_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
_NO_DIGITS = re.compile(r"[^0-9]+")


@dataclass(frozen=True)
class Form:
    """A way of writing names. said: completes "names are written". plain: the text without what is special to it."""

    said: str
    plain: Callable[[str], str]


def _below_start(text: str) -> str:
    """Without bucket, host, drive or root, and without steps upwards; only as it is where there is none of these."""
    text = _QUERY.sub(r"\1", text)
    rest = text[_START.match(text).end() :]  # type: ignore[union-attr]  # it matches the empty text, too
    return posixpath.normpath("/" + rest)[1:]


_ELSEWHERE = Form("as addresses or paths of another place", _below_start)
FORMS = (
    Form("with backslashes", lambda text: text.replace("\\", "/")),
    _ELSEWHERE,
    Form("URL-encoded", unquote),
    Form("with + for a space", lambda text: text.replace("+", " ")),
    Form("with spaces around them", lambda text: "/".join(part.strip() for part in text.split("/"))),
    Form("in another Unicode form", lambda text: unicodedata.normalize("NFC", text)),
    Form("in other capitals", str.casefold),
    Form("with another suffix of JPEG", lambda text: _JPEG.sub(".jpg", text)),
)
_OTHER_FOLDERS = "with other folders"


@dataclass(frozen=True)
class Match:
    """What a name means: one file; or several, if they fit equally well; else, if it is not `sure`, files with a
    similar name. forms: in what the name differs from the one file, each completes "names are written"."""

    files: Sequence[str]
    sure: bool
    forms: tuple[str, ...] = ()


def find_files(names: Iterable[str], files: Sequence[str], *, by_base_name: bool) -> dict[str, Match]:
    """What each of the names means, none of which is the path of a file.

    It takes time in proportion to the names and the files, whatever they are.

    Args:
        names: paths, in any form.
        files: paths below a folder, with "/" between their parts.
        by_base_name: whether folders that contradict each other do not matter, as those of a bucket; the file is then
            the one with the most parts of its path in common, from its end on. Else it is only a guess.
    """
    found: dict[str, Match] = {}
    partly: dict[str, list[str]] = {}
    written = {name: name for name in names if len(name) <= MAX_LENGTH}
    present: Mapping[str, str] = {file: file for file in files}
    for form in FORMS:
        if not written:
            break
        written = {name: form.plain(text) for name, text in written.items()}
        present = {file: form.plain(text) for file, text in present.items()}
        whole, ends = _index(present, {end for text in written.values() for end in _ends(text)})
        for name, text in list(written.items()):
            end = next((end for end in _ends(text) if end in ends), None)
            if end is None:
                continue
            if end in whole or end == text:
                found[name] = _match(name, whole.get(end) or ends[end])
                del written[name]
            elif name not in partly:
                partly[name] = ends[end]
    for name, candidates in partly.items():
        if written.pop(name, None) is not None:
            found[name] = _match(name, candidates) if by_base_name else Match(candidates, sure=False)
    similar = _Similar(files if written else ())
    for name in itertools.islice(written, _MAX_GUESSES):
        found[name] = Match(similar.to(name), sure=False)
    return found


def _index(present: Mapping[str, str], wanted: set[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Files by their whole paths, and by all that their paths end in, as far as that is wanted."""
    whole: dict[str, list[str]] = {}
    ends: dict[str, list[str]] = {}
    for file, text in present.items():
        if text in wanted:
            whole.setdefault(text, []).append(file)
        for end in _ends(text):
            if end in wanted:
                ends.setdefault(end, []).append(file)
    return whole, ends


def _ends(path: str) -> Iterator[str]:
    """The path, and the path without its first part, its first two, ...; none of a path that ends in a folder."""
    if not path or path.endswith("/"):
        return
    yield path
    start = path.find("/")
    for _ in range(_MAX_FOLDERS):
        if start < 0:
            return
        yield path[start + 1 :]
        start = path.find("/", start + 1)


def _match(name: str, files: Sequence[str]) -> Match:
    return Match(files, sure=True, forms=_differences(name, files[0]) if len(files) == 1 else ())


def _differences(name: str, file: str) -> tuple[str, ...]:
    """The forms without which the two would have less in common, and whether their folders differ."""
    said, changing = [], []
    a, b = name, file
    for form in FORMS:
        plain = form.plain(a), form.plain(b)
        if form is _ELSEWHERE and plain[0] != posixpath.normpath(a):
            said.append(form.said)
        if plain != (a, b):
            changing.append(form)
        a, b = plain
    same, differ = _common_parts(a, b), a != b
    for left_out in changing:
        a, b = name, file
        for form in changing:
            if form is not left_out:
                a, b = form.plain(a), form.plain(b)
        if left_out is not _ELSEWHERE and _common_parts(a, b) < same:
            said.append(left_out.said)
    if differ and _ELSEWHERE.said not in said:
        said.append(_OTHER_FOLDERS)
    return tuple(said)


def _common_parts(a: str, b: str) -> int:
    """How many parts of two paths, from their ends on, are the same."""
    pairs = zip(reversed(a.split("/")), reversed(b.split("/")), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


class _Similar:
    """Files by the digits in their names: frame_12.png is not meant by frame_13.png, however alike the two are."""

    def __init__(self, files: Sequence[str]) -> None:
        self._by_digits: dict[str, list[tuple[str, str]]] = {}
        for file in files:
            stem = _plain_stem(file)
            self._by_digits.setdefault(_digits(stem), []).append((stem, file))
        for group in self._by_digits.values():
            group.sort()

    def to(self, name: str) -> Sequence[str]:
        """The file whose name is the same but for its suffix, or most similar; none if no name is alike."""
        stem = _plain_stem(name)
        group = self._by_digits.get(_digits(stem), [])
        place = bisect_left(group, (stem, ""))
        near = dict(group[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS])
        return [near[guess] for guess in difflib.get_close_matches(stem, near, 1, _LIKENESS)]


def _plain_stem(path: str) -> str:
    """The last part of a path in the plainest form, without its suffix and the zeros before its numbers."""
    for form in FORMS:
        path = form.plain(path)
    return _ZEROS.sub("", posixpath.splitext(posixpath.basename(path))[0])


def _digits(stem: str) -> str:
    return _NO_DIGITS.sub(" ", stem)


def is_file_name(name: str) -> bool:
    """Whether a file can be called so. (Of a path of a million parts every part would be looked for.)"""
    return 0 < len(name) <= MAX_LENGTH and not any(
        ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in name
    )


def leads_elsewhere(name: str) -> str | None:
    """Why a name may not be used below a folder as it is, if so."""
    if _ADDRESS.match(name):
        return "is an address"
    if posixpath.isabs(name):
        return "is an absolute path"
    return 'contains ".."' if ".." in name.split("/") else None


@dataclass
class Search:
    """Looks for the files that are meant by names of which none is that of a file, in one folder.

    Args:
        folder: where the files lie.
        list_files: what it holds, as paths below it; called if something is to be found.
        used: paths below the folder, in their shortest form, and the images that have them. It grows.
        named: how sentences name an image that has a file already.
        addresses: whether names are addresses in a bucket: their form is no news, and folders do not matter.
    """

    folder: Path
    list_files: Callable[[], Sequence[str]]
    used: dict[str, int]
    named: Callable[[int], str]
    addresses: bool = False
    _forms: dict[tuple[str, ...], list[tuple[str, str]]] = field(default_factory=dict, init=False)

    def find(self, lost: Mapping[int, str]) -> dict[int, str | UnusableImageError]:
        """The file of each image, as a path below the folder, or what is wrong. No file is given to two images.

        Args:
            lost: names by the indices of their images.
        """
        names = set(lost.values())
        files = [file for file in self.list_files() if file not in names] if lost else []  # links that lead nowhere
        matches = find_files(lost.values(), files, by_base_name=self.addresses)
        found: dict[int, str | UnusableImageError] = {}
        for index, name in lost.items():
            match = matches.get(name, Match((), sure=False))
            if not match.sure:
                found[index] = self._not_found(name, match)
            elif len(match.files) > 1:
                advice = f"Write the path of one of them below {self.folder.name}/."
                if self.addresses:
                    advice = "Give their folders the names that they have in the bucket."
                text = f"may be {shortlist(match.files)} in {self.folder}. {advice}"
                found[index] = UnusableImageError("ambiguous file names", text)
            elif (first := self.used.setdefault(match.files[0], index)) != index:
                text = (
                    f"would be {quoted(match.files[0])}, which is the file of {self.named(first)} already. Merge the "
                    "two, or add the file that is missing."
                )
                found[index] = UnusableImageError("duplicate file names", text)
            else:
                found[index] = match.files[0]
                self._forms.setdefault(match.forms, []).append((name, match.files[0]))
        return found

    def _not_found(self, name: str, match: Match) -> UnusableImageError:
        if (refused := None if self.addresses else leads_elsewhere(name)) is not None:
            kind, fault, advice = "refused file names", refused, f"Expected a path below {self.folder.name}/."
        elif os.path.islink(self.folder / name):
            return UnusableImageError(MISSING, "does not exist. It is a link that leads nowhere: mend it.")
        elif os.path.isfile(self.folder.parent / name):
            return UnusableImageError(MISSING, f"does not exist. It lies beside {self.folder.name}/: move it there.")
        else:
            fault = f"is not in {self.folder}" if self.addresses else "does not exist"
            kind, advice = MISSING, "Add the file or remove its entry."
        guess = f"Did you mean {shortlist(match.files)}? " if match.files else ""
        return UnusableImageError(kind, f"{fault}. {guess}{advice}")

    def notes(self) -> list[tuple[str, int]]:
        """Each way in which names that were found differ from their files, with an example, and how many do."""
        told: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for forms, pairs in self._forms.items():
            if unusual := tuple(form for form in forms if not (self.addresses and form == _ELSEWHERE.said)):
                told.setdefault(unusual, []).extend(pairs)
        return [
            (f"{' and '.join(forms)}, such as {shown(pairs[0][0])} for {shown(pairs[0][1])}", len(pairs))
            for forms, pairs in told.items()
        ]


def files_of_channel(folder: Path) -> list[str]:
    """Paths of the files below a folder, relative to it. No link to another folder is followed, and names that begin
    with a dot are left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inner = Path(os.path.relpath(place, folder))
        found += [(inner / name).as_posix() for name in sorted(files) if not name.startswith(".")]
    return found
