"""What a file name says of where its picture came from: which other pictures are copies of it, or frames beside it.

Numbers alone say nothing. The tables of words are what augmenting exports, libraries and people write.
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_SEPARATOR = r"[\s_\-.()#@:/]"
_NUMBER = rf"{_SEPARATOR}{{0,2}}\d{{1,4}}(?:\.\d+)?(?:deg|cw|ccw)?"
_CHANGES = (
    r"aug(?:m(?:ent(?:ed|ation)?)?)?|(?:hor(?:izontal)?|ver(?:tical)?)[_-]?flip(?:ped)?|[hv]?flip(?:ped)?(?:[_-]?(?:[hvxy]|lr|ud|hor(?:izontal(?:ly)?)?|ver(?:tical(?:ly)?)?))?|"
    r"[hv]?mirror(?:ed)?|rot(?:at(?:e|ed|ion))?|copy|copia|kopie|copie|"
    r"dup(?:licate)?d?|\d{1,3}deg"
)
"""What is done to a picture, and hardly ever in one."""
_MAYBE_CHANGES = (
    r"blur(?:red|ry)?|nois[ey]|bright(?:er|ness)?|dark(?:er|en)?|contrast|gamma|hue|sat(?:uration)?|gr[ae]y(?:scale)?|"
    r"crop(?:ped)?|resized?|scaled?|zoom(?:ed)?|shear(?:ed)?|shift(?:ed)?|transl\w{0,7}|jitter|cutout|equali\w{0,4}|"
    r"clahe|sharp(?:en|ened)?|invert(?:ed)?|affine|distort(?:ed)?|elastic|lr|ud|edit(?:ed)?|orig(?:inal)?|compressed"
)
"""What may as well be in a picture, or where it was taken: it counts where the picture without it is there."""
_SURE_TAIL = re.compile(rf"(.*?\w){_SEPARATOR}+(?:{_CHANGES})(?:{_NUMBER})?\)?", re.IGNORECASE | re.DOTALL)
_SURE_HEAD = re.compile(
    rf"(?:{_CHANGES})(?:{_SEPARATOR}{{0,2}}\d{{1,3}})?(?:{_SEPARATOR}{{1,2}}of)?{_SEPARATOR}+(.*\w.*)",
    re.IGNORECASE | re.DOTALL,
)
_MAYBE_TAIL = re.compile(rf"(.*\w){_SEPARATOR}+(?:{_MAYBE_CHANGES})(?:{_NUMBER})?", re.IGNORECASE | re.DOTALL)
_BRACKETS = re.compile(r"(.*\w) ?\(\d{1,3}\)", re.DOTALL)
# https://docs.roboflow.com: the name, its suffix, and a hash of what was done to it.
_ROBOFLOW = re.compile(r"(.+?)(?:[._](?:jpe?g|png|bmp|webp|tiff?))?\.rf\.[\w-]{6,}", re.IGNORECASE | re.DOTALL)
# Augmentor's: FOLDER_original_NAME.jpg_UUID.
_AUGMENTOR = re.compile(r"[^/]*_original_(.+)\.\w{2,4}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_SUFFIXES = r"mp4|mov|avi|mkv|webm|m4v|mpe?g|wmv|3gp"
_OF_FILE = re.compile(rf"(.+?[._](?:{_SUFFIXES}))(?:{_SEPARATOR}.*\d.*)?", re.IGNORECASE | re.DOTALL)
_OF_FRAME = re.compile(
    rf"(.*?)(?<![a-z])(?:frames?|frm){_SEPARATOR}*\d[\d\s_\-.()#@:/]*(?:s|ms)?", re.IGNORECASE | re.DOTALL
)
_OF_VIDEO = re.compile(
    rf"(.*(?<![a-z])(?:videos?|vid|clips?|movie|footage|seq|sequence)(?![a-z]).*?){_SEPARATOR}+\d+\)?",
    re.IGNORECASE | re.DOTALL,
)
_VIDEO_WORDS = re.compile(r"videos?|vid|clips?|movie|footage|seq(?:uence)?|frames?|frm|im(?:a)?ge?s?", re.IGNORECASE)

_LONGEST = 300
"""Characters of a name that is looked at."""
_MOST_CHANGES = 50
"""More pictures with one origin, which is none of them, are a set of pictures that is called so."""
_MOST_BRACKETS = 5
"""More names like "image (7).jpg" are numbers that somebody's computer gave to unlike pictures."""


@dataclass(frozen=True)
class Origin:
    """picture: what all copies of a picture have in common. derived: whether the name says that it is a copy. video:
    what all frames of a video have in common, None where the name says nothing of one. named: whether that tells the
    video from others."""

    picture: str
    derived: bool
    video: str | None
    named: bool


def find_origins(file_names: Sequence[str]) -> list[Origin]:
    """What the names of N files, all of one data set, say of where the pictures came from."""
    stems = [os.path.splitext(name)[0] for name in file_names]
    known = set(stems)
    pictures = [_unchanged(stem, known) for stem in stems]
    families: dict[str, list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        families[picture].append(index)
    for picture, members in families.items():
        if len(members) > _MOST_CHANGES and picture not in known:
            for index in members:
                pictures[index] = _exported(stems[index])
    by_number: dict[str, list[int]] = defaultdict(list)
    for index, stem in enumerate(pictures):
        if (match := _BRACKETS.fullmatch(stem)) is not None and match[1] in known:
            by_number[match[1]].append(index)
    for picture, members in by_number.items():
        if len(members) <= _MOST_BRACKETS:
            for index in members:
                pictures[index] = picture
    return [_origin(stem, picture) for stem, picture in zip(stems, pictures, strict=True)]


def _origin(stem: str, picture: str) -> Origin:
    short = picture[:_LONGEST]
    match = _OF_FILE.fullmatch(short) or _OF_FRAME.fullmatch(short) or _OF_VIDEO.fullmatch(short)
    video = None if match is None else match[1]
    return Origin(picture, picture != stem, video, bool(re.search(r"\w", _VIDEO_WORDS.sub("", video or ""))))


def _exported(stem: str) -> str:
    """The name that a picture had before a tool that augments exported it."""
    for pattern in (_ROBOFLOW, _AUGMENTOR):
        if (match := pattern.fullmatch(stem)) is not None:
            return match[1]
    return stem


def _unchanged(stem: str, known: set[str]) -> str:
    """The name without what it says of changes to the picture."""
    if len(stem) > _LONGEST:
        return stem
    stem = _exported(stem)
    while (match := _SURE_TAIL.fullmatch(stem) or _SURE_HEAD.fullmatch(stem)) is not None:
        stem = match[1]
    if (match := _MAYBE_TAIL.fullmatch(stem)) is not None:
        picture = _unchanged(match[1], known)
        if picture in known or match[1] in known:
            return picture
    return stem


def number_in(picture: str) -> tuple[tuple[str, str], int] | None:
    """The last number of a name, and what stands before and after it; None where there is none."""
    digits = list(re.finditer(r"\d+", picture))
    if not digits:
        return None
    start, end = digits[-1].span()
    return (picture[:start], picture[end:]), int(picture[start:end][-18:])
