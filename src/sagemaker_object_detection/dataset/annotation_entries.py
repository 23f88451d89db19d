"""The entries of an annotation file, and a patient reader that names every one that is wrong.

It takes an order of magnitude more time and memory than a typed decoder, so it is for files that such a one refuses.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.sentences import described, is_printable, shortlist

ANNOTATIONS_FILE = "annotations.json"
_MAX_SIDE = 2**31 - 1

Id = int | str
Side = Annotated[int, msgspec.Meta(ge=1, le=_MAX_SIDE)] | None


class ImageEntry(msgspec.Struct, gc=False):
    file_name: str
    id: int | str
    height: Side = None
    width: Side = None


class AnnotationEntry(msgspec.Struct, gc=False):
    image_id: int | str
    bbox: tuple[float, float, float, float]
    category_id: int | str


class CategoryEntry(msgspec.Struct, gc=False):
    id: int | str
    name: str


class Document(msgspec.Struct, gc=False):
    images: list[ImageEntry]
    annotations: list[AnnotationEntry]
    categories: list[CategoryEntry] | None = None


def has_unprintable(document: Document) -> bool:
    """Whether a category's name or an id that is text holds a character that may not stand in a line of text."""
    values: set[Id] = {image.id for image in document.images}
    for annotation in document.annotations:
        values.add(annotation.image_id)
        values.add(annotation.category_id)
    for category in document.categories or ():
        values |= {category.id, category.name}
    return any(isinstance(value, str) and not is_printable(value) for value in values)


class UnreadableFileError(Exception):
    """The file as a whole cannot be read; the message says why."""


class _InvalidFieldError(Exception):
    """One field of one entry; the message is the rest of the sentence."""


_Entry = TypeVar("_Entry")


class PatientReader:
    """Looks at every entry by itself. Collects `problems`; what is right is kept, so that later checks see it too.

    Args:
        channel: what the entries are entries of, for sentences.
        file_name: of the file that is read, likewise.
    """

    def __init__(self, channel: str, file_name: str = ANNOTATIONS_FILE) -> None:
        self._channel = channel
        self._file_name = file_name
        self.problems: list[Problem] = []

    def read(self, raw: bytes) -> tuple[Document, list[int], list[int]]:
        """The readable entries, and the positions of images and annotations in the file.

        Raises:
            UnreadableFileError: not JSON, or not an object with lists `images` and `annotations`.
        """
        content = self._parse(raw)
        if not isinstance(content, dict):
            raise self._unreadable(
                f"holds {described(content)}; expected an object with the lists images and annotations."
            )
        for key in ("images", "annotations", "categories"):
            optional = key == "categories"
            if key not in content and not optional:
                keys = f"its keys are {shortlist(list(content))}" if content else "it has no keys"
                raise self._unreadable(f'has no list "{key}"; {keys}. Expected the lists images and annotations.')
            value = content.get(key)
            if not isinstance(value, list) and not (optional and value is None):
                raise self._unreadable(f'has {described(value)} as "{key}"; expected a list of objects.')
        images = dict(self._entries("images", content["images"], _image))
        names = {image.id: image.file_name for image in images.values()}
        annotations = dict(self._entries("annotations", content["annotations"], _annotation, names))
        categories = None
        if content.get("categories") is not None:
            categories = [entry for _, entry in self._entries("categories", content["categories"], _category)]
        document = Document(list(images.values()), list(annotations.values()), categories)
        return document, list(images), list(annotations)

    def _parse(self, raw: bytes) -> Any:
        if not raw.strip():
            raise self._unreadable("is empty. Expected a JSON object with the lists images and annotations.")
        try:
            return strict_json.parse(raw)
        except JsonError as error:
            raise self._unreadable(f"{error}. {error.advice}.") from None

    def _unreadable(self, rest: str) -> UnreadableFileError:
        return UnreadableFileError(f"{self._channel}: {self._file_name} {rest}")

    def _entries(
        self,
        key: str,
        entries: list[Any],
        read: Callable[[dict[str, Any]], _Entry],
        names: Mapping[Id, str] | None = None,
    ) -> Iterator[tuple[int, _Entry]]:
        for row, entry in enumerate(entries):
            try:
                if not isinstance(entry, dict):
                    raise _InvalidFieldError(f" is {described(entry)}; expected an object")
                yield row, read(entry)
            except _InvalidFieldError as error:
                image_id = entry.get("image_id") if isinstance(entry, dict) else None
                name = names.get(image_id) if names and isinstance(image_id, int | str) else None
                image = f", image {name!r}" if name is not None else ""
                text = f"{self._channel} {key}[{row}]{image}{error}. Correct it in {self._file_name}."
                self.problems.append(Problem(self._channel, f"unreadable entries of {key}", text))


def _image(entry: dict[str, Any]) -> ImageEntry:
    return ImageEntry(
        _text(entry, "file_name"), _identifier(entry, "id"), _side(entry, "height"), _side(entry, "width")
    )


def _annotation(entry: dict[str, Any]) -> AnnotationEntry:
    return AnnotationEntry(_identifier(entry, "image_id"), _bbox(entry), _identifier(entry, "category_id"))


def _category(entry: dict[str, Any]) -> CategoryEntry:
    return CategoryEntry(_identifier(entry, "id"), _printable("name", _text(entry, "name")))


def _present(entry: dict[str, Any], field: str) -> Any:
    if entry.get(field) is None:
        raise _InvalidFieldError(f": {field} is missing" if field not in entry else f": {field} is null")
    return entry[field]


def _text(entry: dict[str, Any], field: str) -> str:
    value = _present(entry, field)
    if not isinstance(value, str):
        raise _InvalidFieldError(f": {field} is {described(value)}; expected text")
    return value


def _printable(field: str, value: str) -> str:
    if not is_printable(value):
        raise _InvalidFieldError(
            f": {field} is {described(value)}; expected text without line breaks, control characters and halves of "
            f"surrogate pairs"
        )
    return value


def _identifier(entry: dict[str, Any], field: str) -> Id:
    value = _present(entry, field)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise _InvalidFieldError(f": {field} is {described(value)}; expected a whole number or text")
    return _printable(field, value) if isinstance(value, str) else value


def _side(entry: dict[str, Any], field: str) -> int | None:
    value = entry.get(field)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_SIDE:
        raise _InvalidFieldError(f": {field} is {described(value)}; expected a whole number of pixels, 1 or more")
    return value


def _bbox(entry: dict[str, Any]) -> tuple[float, float, float, float]:
    value = _present(entry, "bbox")
    if isinstance(value, list) and len(value) == 4 and all(_is_finite_number(number) for number in value):
        return (float(value[0]), float(value[1]), float(value[2]), float(value[3]))
    raise _InvalidFieldError(f": bbox is {described(value)}; expected four finite numbers")


def _is_finite_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False
