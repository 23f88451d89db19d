"""The entries of an annotation file, and a patient reader that names every one that is wrong.

It takes an order of magnitude more time and memory than a typed decoder, so it is for files that such a one refuses.
"""

import math
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec.structs import FieldInfo

from sagemaker_object_detection.dataset.box_keys import SET
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.images.signatures import other_than_json
from sagemaker_object_detection.sentences import MAX_TEXT, described, is_name, quoted, shortlist

ANNOTATIONS_FILE = "annotations.json"

Id = int | str
Side = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None
"""0, as None, is unknown."""
ORIGIN_KEYS = ("group", "video_id", "seq_id")
"""What an entry of an image may have in common with others of one origin."""
Box = tuple[float, float, float, float]
Flag = Literal[0, 1, "0", "1", "true", "false", "True", "False"] | bool | None
"""As JSON writers and those who turn CSV into JSON write it."""


def first_origin(*values: Any) -> Id | None:
    """The first that names an origin. -1 and empty text are how tools write that there is none, and what another tool
    has under its key is no fault here, whatever it is."""
    given = (value for value in values if isinstance(value, int | str) and not isinstance(value, bool))
    return next((value for value in given if value not in _NO_ORIGINS), None)


_NO_ORIGINS = (-1, "-1", "")


class ImageEntry(msgspec.Struct, gc=False, omit_defaults=True):
    file_name: str
    id: Id
    height: Side = None
    width: Side = None
    group: Id | None = None
    video_id: Any = None
    seq_id: Any = None

    @property
    def origin(self) -> Id | None:
        """What the image has in common with others of one origin: our own key, TAO's and CocoVID's, or COCO Camera
        Traps' ("seq_id")."""
        return first_origin(self.group, self.video_id, self.seq_id)


class AnnotationEntry(msgspec.Struct, gc=False, omit_defaults=True):
    image_id: Id
    bbox: Box
    category_id: Id
    iscrowd: Flag = 0
    ignore: Flag = 0

    @property
    def is_ignored(self) -> bool:
        """Whether these two say that it is no object but a region to ignore: a crowd, a group, or what is marked so."""
        return self.iscrowd in SET or self.ignore in SET


class CategoryEntry(msgspec.Struct, gc=False):
    id: Id
    name: str


class Document(msgspec.Struct, gc=False):
    images: list[ImageEntry]
    annotations: list[AnnotationEntry]
    categories: list[CategoryEntry] | None = None


_EXPECTED = {
    Flag: "0 or 1",
    str: "text",
    Id: "a whole number or text",
    Side: "a whole number of pixels, 1 or more, or 0 for unknown",
    Id | None: "a whole number or text",
    Box: "four finite numbers",
}
_PRINTABLE = (
    f"text of at most {MAX_TEXT} characters, without line breaks, control characters and halves of surrogate pairs"
)


def has_unprintable(document: Document) -> bool:
    """Whether a category's name or an id that is text is too long for one, or may not stand in a line of text."""
    values = {
        *chain.from_iterable((image.id, image.group) for image in document.images),
        *chain.from_iterable((each.image_id, each.category_id) for each in document.annotations),
        *chain.from_iterable((category.id, category.name) for category in document.categories or ()),
    }
    return any(isinstance(value, str) and not is_name(value) for value in values)


@dataclass(frozen=True)
class RefusedIds:
    """Ids of the entries that could not be read: what refers to them is no mistake of its own. lost: how many entries
    have no readable id, so that as many ids may be theirs."""

    images: frozenset[Id] = frozenset()
    categories: frozenset[Id] = frozenset()
    lost_images: int = 0
    lost_categories: int = 0


class UnreadableFileError(Exception):
    """The file as a whole cannot be read; the message continues "annotations.json ..."."""


class _InvalidEntryError(Exception):
    """The message is the rest of the sentence."""


_DOCUMENT = "Expected a JSON object with the lists images and annotations"
_Entry = TypeVar("_Entry", ImageEntry, AnnotationEntry, CategoryEntry)


def read_patiently(
    raw: bytes, channel: str, file_name: str = ANNOTATIONS_FILE
) -> tuple[Document, list[int], list[int], list[Problem], RefusedIds]:
    """Look at every entry by itself; what is right is kept, so that later checks see it too.

    Args:
        channel, file_name: of what the entries are, for sentences.

    Returns:
        the readable entries, the positions of images and annotations in the file, what is wrong, and the ids of those
        that are left out.

    Raises:
        UnreadableFileError: not JSON, or not an object with lists `images` and `annotations`.
    """
    problems: list[Problem] = []
    names: dict[Id, str] = {}
    refused: dict[str, list[Id | None]] = {"images": [], "annotations": [], "categories": []}

    def readable(key: str, kind: type[_Entry]) -> dict[int, _Entry]:
        """By position."""
        fields, found = msgspec.structs.fields(kind), {}
        for row, entry in enumerate(content.get(key) or ()):
            try:
                found[row] = kind(**_values(entry, fields))
            except _InvalidEntryError as error:
                refused[key].append(_id_of(entry))
                image_id = entry.get("image_id") if isinstance(entry, dict) else None
                name = names.get(image_id) if isinstance(image_id, int | str) else None
                image = f", image {quoted(name)}" if name is not None else ""
                text = f"{channel} {key}[{row}]{image}{error}. Correct it in {file_name}."
                problems.append(Problem(channel, f"unreadable entries of {key}", text))
        return found

    content = _parse(raw)
    images = readable("images", ImageEntry)
    names |= {image.id: image.file_name for image in images.values()}
    annotations = readable("annotations", AnnotationEntry)
    categories = list(readable("categories", CategoryEntry).values())
    document = Document(list(images.values()), list(annotations.values()), categories)
    left_out = RefusedIds(
        images=frozenset(id_ for id_ in refused["images"] if id_ is not None),
        categories=frozenset(id_ for id_ in refused["categories"] if id_ is not None),
        lost_images=refused["images"].count(None),
        lost_categories=refused["categories"].count(None),
    )
    return document, list(images), list(annotations), problems, left_out


def _id_of(entry: object) -> Id | None:
    given = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(given, float) and given.is_integer():
        return int(given)
    usable = isinstance(given, str) and is_name(given)
    return given if usable or (isinstance(given, int) and not isinstance(given, bool)) else None


def _parse(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        raise UnreadableFileError(f"is empty. {_DOCUMENT}.")
    try:
        content = strict_json.parse(raw)
    except JsonError as error:
        if other := other_than_json(raw):
            name, remedy = other
            raise UnreadableFileError(f"is {name}. {_DOCUMENT}: {remedy}.") from None
        raise UnreadableFileError(f"{error}. {error.advice}.") from None
    if not isinstance(content, dict):
        found = described(content)
        raise UnreadableFileError(f"holds {found}; expected an object with the lists images and annotations.")
    for key in ("images", "annotations", "categories"):
        value = content.get(key)
        if isinstance(value, list) or (key == "categories" and value is None):
            continue
        if key not in content:
            keys = f"its keys are {shortlist(content)}" if content else "it has no keys"
            raise UnreadableFileError(f'has no list "{key}"; {keys}. Expected the lists images and annotations.')
        raise UnreadableFileError(f'has {described(value)} as "{key}"; expected a list of objects.')
    return content


def _values(entry: object, fields: tuple[FieldInfo, ...]) -> dict[str, Any]:
    """Raises _InvalidEntryError for the first field that is wrong."""
    if not isinstance(entry, dict):
        raise _InvalidEntryError(f" is {described(entry)}; expected an object")
    values = {}
    for field in fields:
        name, given = field.name, entry.get(field.name)
        if given is None and field.required:
            hint = "; there is a segmentation: write the box around it" if name == "bbox" and _has_shape(entry) else ""
            raise _InvalidEntryError(f": {name} is {'null' if name in entry else 'missing'}{hint}")
        value: Any = given
        if isinstance(given, float) and given.is_integer():  # 7.0 is as good as 7
            value = int(given)
        try:
            value = msgspec.convert(value, field.type)
        except (msgspec.ValidationError, UnicodeEncodeError):  # the latter of halves of surrogate pairs
            value = None
        if (value is None and given is not None) or (name == "bbox" and not all(map(math.isfinite, value))):
            hint = ""
            if name == "bbox" and isinstance(given, list):
                rotated = len(given) in (5, 8)
                hint = " (a rotated box or a polygon has more; write the upright box around it)" if rotated else ""
                hint = (
                    " (there is a segmentation; write the box around it)" if not given and _has_shape(entry) else hint
                )
            raise _InvalidEntryError(f": {name} is {described(given)}; expected {_EXPECTED[field.type]}{hint}")
        if isinstance(value, str) and name != "file_name" and field.type is not Any and not is_name(value):
            raise _InvalidEntryError(f": {name} is {described(given)}; expected {_PRINTABLE}")
        values[name] = value
    return values


def _has_shape(entry: dict[str, Any]) -> bool:
    return bool(entry.get("segmentation"))
