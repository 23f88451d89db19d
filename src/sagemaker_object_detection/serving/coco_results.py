"""COCO's results (https://cocodataset.org/#format-results): detections, and the ids of the images they belong to."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sagemaker_object_detection.dataset.annotation_entries import Id
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.sentences import printable, shortlist
from sagemaker_object_detection.serving.image_files import ImageFile

_DECIMALS = 3
"""Of a pixel."""
_EXPECTED = (
    'expected JSON with a list "images", each with file_name and id: annotations.json of a channel, or a COCO file'
)


class _Image(msgspec.Struct, gc=False):
    file_name: str
    id: int | str


class _Document(msgspec.Struct, gc=False):
    images: list[_Image]


def image_ids(files: Sequence[ImageFile], annotations: Path | None) -> list[Id]:
    """What the results call each image.

    Args:
        annotations: a JSON file with `images`. An image below a folder has the id of the file_name that is its path
            there; a file that was given itself, of the file_name that is its plain name. None: the ids are these paths,
            or the paths of the files as they were given.

    Raises:
        UserError: the file cannot be read, or does not say which id an image has, or two images have the same.
    """
    if annotations is None:
        ids: list[Id] = [str(file.path) if file.name is None else file.name for file in files]
    else:
        ids = _ids_of(files, annotations)
    counts = Counter(ids)
    if shared := [id_ for id_, count in counts.items() if count > 1]:
        alike = [str(file.path) for file, id_ in zip(files, ids, strict=True) if counts[id_] > 1]
        raise UserError(
            f"--format coco: several images would have the same image_id ({shortlist(shared)}): {shortlist(alike)}; "
            "expected an id for each: name every image once, or the folder that holds them all"
        )
    return ids


def _ids_of(files: Sequence[ImageFile], annotations: Path) -> list[Id]:
    known: defaultdict[str, set[Id]] = defaultdict(set)
    for image in _read(annotations):
        known[image.file_name].add(image.id)
    names = [file.path.name if file.name is None else file.name for file in files]
    missing = [name for name in names if name not in known]
    ambiguous = [name for name in names if name in known and len(known[name]) > 1]
    for fault, concerned in (("does not list", missing), ("has several ids for", ambiguous)):
        if concerned:
            raise UserError(
                f"--annotations: {str(annotations)!r} {fault} {len(concerned)} of {len(names)} images: "
                f"{shortlist(concerned)}; of its {len(known)} file names the first are {shortlist(known, 3)}; "
                "expected one id for each image's path below the folder that is given, or for the plain name of a file "
                "that is given itself"
            )
    return [id_ for name in names for id_ in known[name]]


def _read(annotations: Path) -> list[_Image]:
    try:
        raw = read_regular(annotations)
        raw = raw.removeprefix(b"\xef\xbb\xbf")
        images = msgspec.json.decode(raw, type=_Document).images
        if not strict_json.repeats_a_key(raw):
            return images
        reason = "gives a key twice in one object"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        reason = f"is not such a file ({printable(str(error))})"
    raise UserError(f"--annotations: {str(annotations)!r} {reason}; {_EXPECTED}")


def coco_results(
    answer: Mapping[str, Any], image_id: Id, displayed: tuple[int, int], category_ids: Sequence[Id]
) -> list[dict[str, object]]:
    """Every detection of an image, best first; boxes are [x, y, width, height] in pixels.

    Args:
        answer: of `artifact.inference.respond`.
        displayed: height and width of the image once its EXIF orientation is applied.
        category_ids: by class.
    """
    height, width = displayed
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[index],
            "bbox": [
                round(side, _DECIMALS)
                for side in (xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height)
            ],
            "score": score,
        }
        for (xmin, ymin, xmax, ymax), index, score in zip(
            answer["normalized_boxes"], answer["classes"], answer["scores"], strict=True
        )
    ]


def array_lines(results: Iterable[dict[str, object]]) -> Iterator[str]:
    """The lines of one JSON array, each as soon as the result after it is there."""
    yield "["
    line = None
    for result in results:
        if line is not None:
            yield f"{line},"
        line = json.dumps(result)
    if line is not None:
        yield line
    yield "]"
