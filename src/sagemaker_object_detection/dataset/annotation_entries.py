"""The entries of an annotation file, and a patient reader that names every one that is wrong.

It takes an order of magnitude more time and memory than a typed decoder, so it is for files that such a one refuses.
"""

import math
from itertools import chain
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec.structs import FieldInfo

from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.sentences import described, is_printable, shortlist

ANNOTATIONS_FILE = "annotations.json"

Id = int | str
Side = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None
Box = tuple[float, float, float, float]


class ImageEntry(msgspec.Struct, gc=False):
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
        Traps' ("seq_id"). What another tool has under its key is no fault here, whatever it is."""
        found = (key for key in (self.group, self.video_id, self.seq_id) if isinstance(key, int | str))
        return next(found, None)


class AnnotationEntry(msgspec.Struct, gc=False):
    image_id: Id
    bbox: Box
    category_id: Id


class CategoryEntry(msgspec.Struct, gc=False):
    id: Id
    name: str


class Document(msgspec.Struct, gc=False):
    images: list[ImageEntry]
    annotations: list[AnnotationEntry]
    categories: list[CategoryEntry] | None = None


_EXPECTED = {
    str: "text",
    Id: "a whole number or text",
    Id | None: "a whole number or text",
    Side: "a whole number of pixels, 1 or more",
    Box: "four finite numbers",
}
_PRINTABLE = "text without line breaks, control characters and halves of surrogate pairs"


def has_unprintable(document: Document) -> bool:
    """Whether a category's name or an id that is text holds a character that may not stand in a line of text."""
    values = {
        *chain.from_iterable((image.id, image.group) for image in document.images),
        *chain.from_iterable((each.image_id, each.category_id) for each in document.annotations),
        *chain.from_iterable((category.id, category.name) for category in document.categories or ()),
    }
    return any(isinstance(value, str) and not is_printable(value) for value in values)


class UnreadableFileError(Exception):
    """The file as a whole cannot be read; the message continues "annotations.json ..."."""


class _InvalidEntryError(Exception):
    """The message is the rest of the sentence."""


_Entry = TypeVar("_Entry", ImageEntry, AnnotationEntry, CategoryEntry)


def read_patiently(
    raw: bytes, channel: str, file_name: str = ANNOTATIONS_FILE
) -> tuple[Document, list[int], list[int], list[Problem]]:
    """Look at every entry by itself; what is right is kept, so that later checks see it too.

    Args:
        channel, file_name: of what the entries are, for sentences.

    Returns:
        the readable entries, the positions of images and annotations in the file, and what is wrong.

    Raises:
        UnreadableFileError: not JSON, or not an object with lists `images` and `annotations`.
    """
    problems: list[Problem] = []
    names: dict[Id, str] = {}

    def readable(key: str, kind: type[_Entry]) -> dict[int, _Entry]:
        """By position."""
        fields, found = msgspec.structs.fields(kind), {}
        for row, entry in enumerate(content.get(key) or ()):
            try:
                found[row] = kind(**_values(entry, fields))
            except _InvalidEntryError as error:
                image_id = entry.get("image_id") if isinstance(entry, dict) else None
                name = names.get(image_id) if isinstance(image_id, int | str) else None
                image = f", image {name!r}" if name is not None else ""
                text = f"{channel} {key}[{row}]{image}{error}. Correct it in {file_name}."
                problems.append(Problem(channel, f"unreadable entries of {key}", text))
        return found

    content = _parse(raw)
    images = readable("images", ImageEntry)
    names |= {image.id: image.file_name for image in images.values()}
    annotations = readable("annotations", AnnotationEntry)
    categories = list(readable("categories", CategoryEntry).values())
    document = Document(list(images.values()), list(annotations.values()), categories)
    return document, list(images), list(annotations), problems


def _parse(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        raise UnreadableFileError("is empty. Expected a JSON object with the lists images and annotations.")
    try:
        content = strict_json.parse(raw)
    except JsonError as error:
        raise UnreadableFileError(f"{error}. {error.advice}.") from None
    if not isinstance(content, dict):
        found = described(content)
        raise UnreadableFileError(f"holds {found}; expected an object with the lists images and annotations.")
    for key in ("images", "annotations", "categories"):
        value = content.get(key)
        if isinstance(value, list) or (key == "categories" and value is None):
            continue
        if key not in content:
            keys = f"its keys are {shortlist(list(content))}" if content else "it has no keys"
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
            raise _InvalidEntryError(f": {name} is {'null' if name in entry else 'missing'}")
        value: Any = given
        if isinstance(given, float) and given.is_integer():  # 7.0 is as good as 7
            value = int(given)
        try:
            value = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            value = None
        if (value is None and given is not None) or (name == "bbox" and not all(map(math.isfinite, value))):
            raise _InvalidEntryError(f": {name} is {described(given)}; expected {_EXPECTED[field.type]}")
        if isinstance(value, str) and name != "file_name" and field.type is not Any and not is_printable(value):
            raise _InvalidEntryError(f": {name} is {described(given)}; expected {_PRINTABLE}")
        values[name] = value
    return values
