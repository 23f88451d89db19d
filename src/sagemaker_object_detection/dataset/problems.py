"""What is wrong with the data: every problem is collected, a readable few are raised, all are written to a file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.whole import whole_file
from sagemaker_object_detection.images.headers import SAMPLE_BITS

logger = logging.getLogger(__name__)

REPORT_FILE = "data_report.json"
MAX_LISTED = 20
"""Problems named in the exception. Its text goes to the failure file and the log; the rest is in the report file."""


@dataclass(frozen=True)
class Problem:
    """One fault of the data. kind: what sort, in the plural, as in "missing images". text: the whole sentence."""

    channel: str
    kind: str
    text: str


@dataclass(frozen=True)
class ChannelReport:
    """What is in one channel, and what was done to it."""

    channel: str
    images: int
    images_without_boxes: int
    boxes: int
    boxes_per_class: dict[str, int]
    clipped_boxes: int
    """Reached outside their image, by at most a pixel unless invalid_boxes is "clip"."""
    dropped_boxes: int
    exif_turned_images: int
    exif_ignored_images: int
    """Carry an EXIF orientation, but their annotations are for the pixels as stored."""
    xmp_turned_images: int = 0
    """Of those that are turned: their orientation is in XMP data alone."""
    deep_images: int = 0
    """Have 16 bits a sample."""
    sample_bits: int = SAMPLE_BITS
    """How many of these 16 bits all channels use; the upper 8 of them are what is seen."""
    transparent_images: int = 0
    """Are transparent in part, and seen on white."""
    flat_images: int = 0
    """Have boxes, but are all but of one colour."""
    dropped_images: tuple[str, ...] = ()
    """What is wrong with images that were left out, a sentence each."""
    ignored_regions: int = 0
    """Crowds, and what is marked so: neither learned nor counted as mistakes."""
    repeated_boxes: int = 0
    """Were there already, and are trained on once."""
    conventions: str = ""
    """How the channel's boxes are read, how many fit so, and how many the next best way; empty if none was judged."""


@dataclass(frozen=True)
class Likeness:
    """Images of one origin, by one rule.

    channel: where they are; of those in "training and validation" the validation's are counted. groups: how many
    origins. examples: of a few origins, the file names of two images each.
    """

    channel: str
    rule: str
    images: int
    groups: int
    examples: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class DataReport:
    """decisions: sentences about what was decided by the data itself, such as which images are held out."""

    channels: tuple[ChannelReport, ...]
    warnings: tuple[str, ...]
    decisions: tuple[str, ...] = ()
    alike: tuple[Likeness, ...] = ()


@dataclass(frozen=True)
class SecondLook:
    """A validation image that deserves one. reason: in a few words. loss: of the saved weights,
    None where it was not measured. score: of the most
    confident detection that contradicts the boxes, None where none does."""

    file_name: str
    reason: str
    loss: float | None
    score: float | None


def write_report(
    folder: Path, problems: Sequence[Problem], report: DataReport, second_look: Sequence[SecondLook] = ()
) -> None:
    """Write `data_report.json` into `folder`. A folder that cannot be written costs a warning, never the job.

    Args:
        second_look: known when training is over.
    """
    content = {"problems": problems, **vars(report), "second_look": second_look}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / REPORT_FILE) as unfinished:
            unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
    except OSError as error:
        logger.warning("%s could not be written to %s: %s.", REPORT_FILE, folder, error.strerror)


class DataError(UserError):
    """Something is wrong with the data.

    `problems` has all sentences, first those that are listed: at most MAX_LISTED, taken in turns from every kind, in
    the order of the file.

    Args:
        listed: how many are listed instead.
        rest: what is said of the others.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        listed: int = MAX_LISTED,
        rest: str = f"{REPORT_FILE} in the job's output lists them all.",
    ) -> None:
        by_kind: dict[tuple[str, str], list[int]] = {}
        for number, problem in enumerate(problems):
            by_kind.setdefault((problem.kind, problem.channel), []).append(number)
        turns = sorted((turn, number) for numbers in by_kind.values() for turn, number in enumerate(numbers))
        first = sorted(number for _, number in turns[:listed])
        others = sorted(number for _, number in turns[listed:])
        super().__init__((problems[number].text for number in [*first, *others]), listed=listed, rest=rest)
